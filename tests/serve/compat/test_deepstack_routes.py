"""The face routes of DeepStack and CodeProject.AI: each with what it gives, and with bad input."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from ..conftest import PORTRAIT
from ..running import Running, serving
from .conftest import empty_gallery

FACE = "/v1/vision/face"
VARIANTS = PORTRAIT.with_name("astronaut_variants.jpg")
ADDED = {
    "duration",
    "inferenceMs",
    "processMs",
    "analysisRoundTripMs",
    "moduleId",
    "moduleName",
    "code",
    "command",
}
EMPTY = cv2.imencode(".png", np.full((64, 64, 3), 127, np.uint8))[1].tobytes()


@pytest.fixture
def client(compat: Running) -> Iterator[httpx.Client]:
    with compat.client() as client:
        yield client


def failure(answer: httpx.Response, status: int = 400) -> str:
    body = answer.json()
    assert answer.status_code == body["code"] == status, answer.text
    assert body["success"] is False
    assert set(body) == {"success", "error", "code"}
    text: str = body["error"]
    assert "/tmp" not in text
    return text


def success(answer: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert answer.status_code == 200, answer.text
    assert body["success"] is True
    assert set(body) >= ADDED
    return body


def register(client: httpx.Client, name: str, *pictures: bytes) -> httpx.Response:
    files = {f"image{number}": picture for number, picture in enumerate(pictures, 1)}
    return client.post(f"{FACE}/register", files=files, data={"userid": name})


def test_detection(client: httpx.Client, portrait: bytes) -> None:
    found = success(client.post(FACE, files={"image": portrait}))
    (own,) = client.post("/api/v1/detect", files={"file": portrait}).json()["faces"]
    (face,) = found["predictions"]
    assert found["count"] == 1
    box = [face[name] for name in ("x_min", "y_min", "x_max", "y_max")]
    assert box == [round(value) for value in own["bbox"]]
    assert abs(face["confidence"] - own["det_score"]) < 5.1e-5
    form = {"min_confidence": "0.99"}
    none = success(client.post(FACE, files={"image": portrait}, data=form))
    assert none["predictions"] == []
    assert success(client.post(FACE, files={"image": EMPTY}))["predictions"] == []
    assert client.post(f"{FACE}/", files={"image": portrait}).status_code == 404


def test_people(client: httpx.Client, portrait: bytes) -> None:
    answer = success(register(client, "Eileen", portrait, b"no picture", EMPTY))
    print(answer["refused"])
    assert len(answer["refused"]) == 2
    assert success(client.post(f"{FACE}/list"))["faces"] == ["Eileen"]
    files = {"image": VARIANTS.read_bytes()}
    found = success(client.post(f"{FACE}/recognize", files=files))["predictions"]
    assert {face["userid"] for face in found} == {"Eileen"}
    least = min(face["confidence"] for face in found)
    form = {"min_confidence": str((least + 1) / 2)}
    some = success(client.post(f"{FACE}/recognize", files=files, data=form))["predictions"]
    unknown = [face["confidence"] for face in some if face["userid"] == "unknown"]
    print(least, unknown)
    assert unknown
    assert set(unknown) == {0}
    assert len(some) == len(found)
    form = {"userid": "Eileen"}
    assert success(client.post(f"{FACE}/delete", data=form))
    assert success(client.post(f"{FACE}/delete", data=form))  # as DeepStack
    assert success(client.post(f"{FACE}/list"))["faces"] == []


def test_match_is_compreface_s_similarity(client: httpx.Client, portrait: bytes) -> None:
    variants = VARIANTS.read_bytes()
    files = {"image1": portrait, "image2": variants}
    found = success(client.post(f"{FACE}/match", files=files))["similarity"]
    files = {"source_image": portrait, "target_image": variants}
    answer = client.post("/api/v1/verification/verify?limit=1", files=files).json()
    wanted = answer["result"][0]["face_matches"][0]["similarity"]
    print(found, wanted)
    assert abs(found - wanted) < 1e-6
    files = {"image1": portrait, "image2": EMPTY}
    assert "no face found" in failure(client.post(f"{FACE}/match", files=files))


def test_bad_input(client: httpx.Client, portrait: bytes) -> None:
    for path in (FACE, f"{FACE}/recognize"):
        assert failure(client.post(path)) == "No valid image file found"
        assert failure(client.post(path, data={"image": "text"})) == "No valid image file found"
        failure(client.post(path, files={"image": b"no picture"}))
        failure(client.post(path, files={"image": b""}))
        failure(client.post(path, files={"a": portrait, "b": portrait}))
        for value in ("2", "-1", "nan", "much"):
            form = {"min_confidence": value}
            text = failure(client.post(path, files={"image": portrait}, data=form))
            assert "min_confidence" in text
    assert "userid" in failure(client.post(f"{FACE}/register", files={"image": portrait}))
    assert "userid" in failure(client.post(f"{FACE}/delete", data={"userid": " "}))
    assert "image file" in failure(client.post(f"{FACE}/register", data={"userid": "Ann"}))
    assert "is a path" in failure(register(client, "a/b", portrait))
    assert "nobody's" in failure(register(client, "Unknown", portrait))
    assert "6 faces found" in failure(register(client, "Ann", VARIANTS.read_bytes()))
    assert "no face found" in failure(register(client, "Ann", EMPTY))
    failure(register(client, "Ann", *[portrait] * 21))
    failure(client.post(f"{FACE}/match", files={"image1": portrait}))
    assert success(client.post(f"{FACE}/list"))["faces"] == []


@pytest.mark.parametrize("path", ["", "/recognize", "/register", "/match", "/list", "/delete"])
def test_keys(tmp_path: Path, portrait: bytes, path: str) -> None:
    key = "a-key-of-a-test-0123"
    (tmp_path / "keys").write_text(key)
    files: dict[str, bytes] = {"image": portrait}
    if path == "/match":
        files["image2"] = portrait
    form = {"userid": "Ann"}
    given = {"api_key_file": tmp_path / "keys"}
    with empty_gallery(tmp_path, **given) as server, server.client() as client:
        failure(client.post(FACE + path, files=files, data=form), 401)
        failure(client.post(FACE + path, files=files, data={**form, "api_key": "no"}), 401)
        for name in ("api_key", "admin_key"):
            success(client.post(FACE + path, files=files, data={**form, name: key}))
        headers = {"x-api-key": key}
        success(client.post(FACE + path, files=files, data=form, headers=headers))


def test_limits_pings_and_switched_off(portrait: bytes) -> None:
    with serving(limits={"body_bytes": 100_000}) as server, server.client() as client:
        failure(client.post(FACE, files={"image": b"x" * 100_001}), 413)
        text = failure(client.post(f"{FACE}/recognize", files={"image": portrait}), 403)
        assert "without a gallery" in text
        origin = {"Origin": "https://elsewhere.example"}
        failure(client.post(FACE, files={"image": portrait}, headers=origin), 403)
        for path in ("/v1/status/ping", "/v1/server/status/ping"):
            assert client.get(path).json() == {"success": True}
    with serving(compatible={"deepstack": False}) as server, server.client() as client:
        for path in ("", "/recognize", "/register", "/match", "/list", "/delete"):
            assert client.post(FACE + path, files={"image": portrait}).status_code == 404
        assert client.get("/v1/status/ping").status_code == 404
