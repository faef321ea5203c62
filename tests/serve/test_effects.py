"""Effects over HTTP give the pixels of the commands, and their errors."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from mobileface import FaceAnalyzer, read_image
from mobileface.commands.main import main
from mobileface.effects.makeup import makeup
from mobileface.effects.swap import MARK
from mobileface.errors import ModelNotFoundError
from mobileface.serve.effect_models import EffectModels
from mobileface.serve.effects_on_request import EFFECTS

from .conftest import PORTRAIT
from .running import Running, serving

SWAPPED = ("--face", "SECOND")
CASES: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "anonymize": ("anonymize", {}, ()),
    "anonymize pixelate": (
        "anonymize",
        {"method": "pixelate", "strength": 2},
        ("--method", "pixelate", "--strength", "2"),
    ),
    "enhance": ("enhance", {"strength": 0.5}, ("--strength", "0.5")),
    "makeup": ("makeup", {}, ()),
    "makeup strong": (
        "makeup",
        {"whiten": 0.3, "smooth": 0.9, "strength": 0.8},
        ("--whiten", "0.3", "--share", "0.9", "--strength", "0.8"),
    ),
    "makeup like": ("makeup", {"lips": 0.5}, ("--like", "SECOND", "--lips", "0.5")),
    "background blur": ("background", {"blur": 2}, ("--blur", "2")),
    "background color": ("background", {"color": "teal"}, ("--color", "teal")),
    "background picture": ("background", {}, ("--image", "SECOND")),
    "portrait": ("portrait", {}, ()),
    "portrait dark": (
        "portrait",
        {"darkness": 1.5, "keep_background": True, "line_width": 2},
        ("--darkness", "1.5", "--keep-background", "--line-width", "2"),
    ),
    "swap": ("swap", {}, SWAPPED),
    "swap all": ("swap", {"face": "all", "second_face": "largest"}, (*SWAPPED, "--to", "all")),
}


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait mirrored, in other colours."""
    path = tmp_path_factory.mktemp("second") / "second.png"
    image = read_image(PORTRAIT)[:, ::-1]
    cv2.imwrite(str(path), np.clip(image * np.array([0.8, 0.9, 1.1]), 0, 255).astype(np.uint8))
    return path


def sent(
    server: Running, name: str, form: dict[str, Any], picture: bytes, second: Path | None = None
) -> httpx.Response:
    files = {"file": ("photo.jpg", picture)}
    if second is not None:
        files["second"] = (second.name, second.read_bytes())
    with server.client() as client:
        return client.post(f"/api/v1/effects/{name}", data=form, files=files)


@pytest.mark.parametrize("case", CASES)
def test_pixels_are_those_of_the_command(
    running: Running, portrait: bytes, second: Path, tmp_path: Path, case: str
) -> None:
    name, form, arguments = CASES[case]
    out = tmp_path / "out.png"
    given = [str(second) if word == "SECOND" else word for word in arguments]
    assert main([name, str(PORTRAIT), *given, "--output", str(out)]) == 0
    other = second if "SECOND" in arguments else None
    answer = sent(running, name, {**form, "format": "png"}, portrait, other)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "no-store"
    found = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
    expected = cv2.imread(str(out), cv2.IMREAD_UNCHANGED)
    assert found is not None
    assert expected is not None
    assert found.shape == expected.shape
    difference = int(np.abs(found.astype(int) - expected).max())
    print(f"{case}: largest difference {difference} of 255")
    assert difference == 0
    assert answer.content == out.read_bytes()


def test_a_swap_says_so_in_both_formats(running: Running, portrait: bytes, second: Path) -> None:
    for form, media in (({"format": "png"}, "png"), ({}, "jpeg")):
        answer = sent(running, "swap", form, portrait, second)
        assert answer.headers["content-type"] == f"image/{media}"
        assert MARK.encode() in answer.content
    assert sent(running, "portrait", {}, portrait).headers["content-type"] == "image/png"


BLANK = cv2.imencode(".png", np.full((240, 240, 3), 120, np.uint8))[1].tobytes()
ERRORS: dict[str, tuple[str, dict[str, Any], bool, int, str]] = {
    "anonymize": ("anonymize", {}, False, 400, "no face found; nothing is covered"),
    "makeup": ("makeup", {}, False, 400, "no face found"),
    "makeup like": ("makeup", {}, True, 400, "no face found"),
    "background": ("background", {}, False, 400, "no person found; nothing is written"),
    "portrait": ("portrait", {}, False, 400, "no face found"),
    "swap": ("swap", {}, True, 400, "no face found"),
    "no second": ("swap", {}, False, 400, "'swap' needs a second picture"),
    "a second": ("enhance", {}, True, 400, "'enhance' takes no second picture"),
    "unknown": ("hats", {}, False, 404, "there is no effect 'hats'"),
    "foreign": ("enhance", {"blur": 1}, False, 400, "'enhance' has no option 'blur'"),
    "strength": ("anonymize", {"strength": 9}, False, 400, "is not between 1 and 4"),
    "method": ("anonymize", {"method": "x"}, False, 400, "unknown method 'x'"),
    "no number": ("anonymize", {"strength": "x"}, False, 422, "valid number"),
    "not finite": ("enhance", {"strength": "nan"}, False, 422, "finite number"),
    "gamma": ("enhance", {"gamma": -1}, False, 400, "gamma"),
    "lips alone": ("makeup", {"lips": 1}, False, 400, "lips belongs to makeup by example"),
    "both": ("makeup", {"whiten": 1}, True, 400, "whiten belongs to makeup without a second"),
    "two": ("background", {"blur": 1, "color": "red"}, False, 400, "one of"),
    "color": ("background", {"color": "x"}, False, 400, "unknown colour 'x'"),
    "width": ("portrait", {"line_width": 9}, False, 400, "between 0.5 and 3"),
    "face": ("swap", {"face": "x"}, True, 400, "does not choose a face"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_those_of_the_command(running: Running, second: Path, case: str) -> None:
    name, form, with_second, status, what = ERRORS[case]
    answer = sent(running, name, form, BLANK, second if with_second else None)
    assert answer.status_code == status, answer.text
    assert what in answer.json()["error"]["what"]


def test_a_rate_out_of_range(running: Running, portrait: bytes) -> None:
    answer = sent(running, "makeup", {"whiten": -2}, portrait)
    assert (answer.status_code, "rate" in answer.json()["error"]["what"]) == (400, True)


@pytest.mark.slow
def test_what_the_list_says_is_what_is_taken(running: Running, portrait: bytes) -> None:
    """Each listed option is accepted at its bounds, and refused beyond them."""
    with running.client() as client:
        effects = client.get("/api/v1/effects").json()["effects"]
    assert {effect["name"]: effect["second"] for effect in effects} == {
        "anonymize": "none",
        "enhance": "none",
        "makeup": "optional",
        "background": "optional",
        "portrait": "none",
        "swap": "required",
    }
    small = cv2.imencode(".png", read_image(PORTRAIT)[20:320, 100:400])[1].tobytes()
    for effect in (effect for effect in effects if effect["name"] != "makeup"):
        for option in effect["options"]:
            for end, step in (("low", -0.1), ("high", 0.1)):
                if option[end] is None:
                    continue
                for value, status in ((option[end], 200), (option[end] + step, 400)):
                    answer = sent(running, effect["name"], {option["name"]: value}, small)
                    assert answer.status_code == status, (effect["name"], option, value)


def test_all_options_are_form_fields(running: Running) -> None:
    with running.client() as client:
        document = client.get("/api/v1/openapi.json").json()
    operation = document["paths"]["/api/v1/effects/{name}"]["post"]
    (content,) = operation["requestBody"]["content"].values()
    fields = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    names = {option.name for effect in EFFECTS.values() for option in effect.options}
    assert set(fields["properties"]) == names | {"file", "second", "format"}
    assert set(operation["responses"]["200"]["content"]) >= {"image/jpeg", "image/png"}


def test_models_are_loaded_once_by_many_threads() -> None:
    models = EffectModels(None, 1)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(models.meshes())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(map(id, found))) == 1
    assert {
        session.threads for group in models.meshes().sessions.values() for session in group
    } == {1}


def test_makeup_without_a_model_of_meshes(portrait: bytes) -> None:
    """As the command: landmarks find the skin; effects that need meshes say what is missing."""

    class Without(EffectModels):
        def meshes(self) -> FaceAnalyzer:
            raise ModelNotFoundError("no model 'landmark_mesh'")

    models = Without(None, 1)
    assert models.skin() is models.skin()
    with serving() as server:
        server.service.effect_models = models
        found = sent(server, "makeup", {"format": "png"}, portrait)
        missing = sent(server, "swap", {}, portrait, PORTRAIT)
    image = read_image(PORTRAIT)
    faces = FaceAnalyzer(tasks=("detection", "landmarks"))(image)
    assert all(face.mesh is None for face in faces)
    expected = cv2.imencode(".png", makeup(image, faces))[1].tobytes()
    assert found.content == expected
    assert missing.status_code == 503
    assert missing.json()["error"]["what"] == "no model 'landmark_mesh'"


def test_many_pixels(portrait: bytes) -> None:
    with serving(limits={"pixels": 1000}) as server:
        for name in EFFECTS:
            second = PORTRAIT if name == "swap" else None
            answer = sent(server, name, {}, portrait, second)
            assert answer.status_code == 400
            assert "more than 1,000 pixels" in answer.json()["error"]["what"]
