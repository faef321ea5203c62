"""The clients that people use against CompreFace, DeepStack and CodeProject.AI, unchanged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from ..conftest import PORTRAIT
from ..running import Running
from .conftest import empty_gallery

pytestmark = pytest.mark.needs_clients

VARIANTS = PORTRAIT.with_name("astronaut_variants.jpg")
KEY = "0123456789abcdef-of-a-test"
Says = Callable[..., Any]


def document(server: Running, path: Path) -> dict[str, Any]:
    """What our own route says of a picture."""
    with server.client(headers={"x-api-key": KEY}) as client:
        answer = client.post("/api/v1/analyze?embeddings=true", files={"file": path.read_bytes()})
    found: dict[str, Any] = answer.json()
    return found


def same_box(box: dict[str, Any], face: dict[str, Any]) -> bool:
    names = ("x_min", "y_min", "x_max", "y_max")
    wanted = [round(value) for value in face["bbox"]]
    return [box[name] for name in names] == wanted


@pytest.fixture
def keyed(tmp_path: Path) -> Any:
    """A server that wants a key."""
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    with empty_gallery(tmp_path, api_key_file=keys) as server:
        yield server


def test_compreface_sdk(keyed: Running, client_says: Says, tmp_path: Path) -> None:
    mirrored = tmp_path / "mirrored.png"
    photo = cv2.imread(str(PORTRAIT))
    assert photo is not None
    cv2.imwrite(str(mirrored), photo[:, ::-1])
    said = client_says("run_compreface_sdk.py", keyed.port, KEY, PORTRAIT, mirrored, VARIANTS)
    (own,) = document(keyed, PORTRAIT)["faces"]
    assert said["subject"] == {"subject": "Eileen"}
    assert said["again"]["code"] == 43
    image = said["example"]["image_id"]
    assert said["example"]["subject"] == "Eileen"
    assert said["several"]["code"] == 31, said["several"]
    assert said["faces"]["faces"] == [{"image_id": image, "subject": "Eileen"}]
    assert said["faces"]["total_elements"] == said["faces"]["total_pages"] == 1
    recognized = said["recognized"]["result"]
    print([face["subjects"] for face in recognized])
    assert len(recognized) == 3
    for face in recognized:
        (subject,) = face["subjects"]
        assert subject["subject"] == "Eileen"
        assert subject["similarity"] > 0.97
        assert face["gender"]["value"] == "female"
        assert len(face["landmarks"]) == 5
        assert len(face["embedding"]) == len(own["embedding"])
        assert "mask" not in face
        assert face["execution_time"]["detector"] > 0
    assert "detector" in said["recognized"]["plugins_versions"]
    assert said["subjects"] == {"subjects": ["Eileen"]}
    assert said["verified"]["result"][0]["similarity"] > 0.99
    (detected,) = said["detected"]["result"]
    assert same_box(detected["box"], own), (detected["box"], own["bbox"])
    assert abs(detected["box"]["probability"] - own["det_score"]) < 5.1e-5
    pairs = zip(detected["embedding"], own["embedding"], strict=True)
    assert max(abs(a - b) for a, b in pairs) < 1e-6
    low, high = detected["age"]["low"], detected["age"]["high"]
    assert low <= own["attributes"]["age"] <= high, (detected["age"], own["attributes"])
    (compared,) = said["compared"]["result"]
    assert same_box(compared["source_image_face"]["box"], own)
    assert len(compared["face_matches"]) == 2
    assert said["renamed"] == {"updated": True}
    assert said["after"] == {"subjects": ["Collins"]}
    assert said["merged"] == {"updated": True}
    assert [face["subject"] for face in said["both"]["faces"]] == ["Collins", "Collins"]
    assert said["removed"]["subject"] == "Collins"
    assert said["missing"]["code"] == 44
    assert said["once"]["code"] == 44  # the same file as Collins's own, which stays
    assert said["emptied"] == {"deleted": 1}
    assert said["left"] == {"subjects": []}
    assert said["deleted"] == {"subject": "Third"}
    assert said["unknown"]["code"] == 42
    assert said["all"] == {"deleted": 0}


def test_compreface_sdk_without_the_key(keyed: Running, client_says: Says) -> None:
    """Every call gets an answer in CompreFace's form."""
    with keyed.client() as client:
        answer = client.get("/api/v1/recognition/subjects", headers={"x-api-key": "wrong"})
    assert answer.status_code == 401
    assert answer.json()["code"] == 10
    assert "key" in answer.json()["message"]


def check_deepstack(server: Running, said: dict[str, Any], least: float) -> None:
    (own,) = document(server, PORTRAIT)["faces"]
    (detected,) = said["detected"]
    assert same_box(detected, own)
    assert abs(detected["confidence"] - own["det_score"]) < 5.1e-5
    (before,) = said["before"]
    assert (before["userid"], before["confidence"]) == ("unknown", 0)
    assert said["list"] == ["Eileen Collins"]
    assert len(said["recognized"]) == 6
    print([face["confidence"] for face in said["recognized"]])
    for face in said["recognized"]:
        assert face["userid"] == "Eileen Collins"
        assert face["confidence"] >= least


def test_deepstack_sdk(keyed: Running, client_says: Says) -> None:
    said = client_says("run_deepstack_sdk.py", keyed.port, KEY, PORTRAIT, VARIANTS)
    check_deepstack(keyed, said, 0.9)
    assert said["registered"] is True
    assert said["bad"] == "Invalid image"
    assert said["deleted"] is True
    assert said["left"] == []


def test_deepstack_python(keyed: Running, client_says: Says) -> None:
    arguments = ("deepstack", keyed.port, KEY, PORTRAIT, VARIANTS)
    said = client_says("run_deepstack_python.py", *arguments)
    check_deepstack(keyed, said, 0.45)
    assert said["registered"] == "face added"
    assert said["bad"].startswith("DeepstackException: "), said["bad"]
    assert list(said["names"]) == ["Eileen Collins"]


def test_codeproject_ai_api(compat: Running, client_says: Says) -> None:
    """It sends no key."""
    arguments = ("codeproject", compat.port, "", PORTRAIT, VARIANTS)
    said = client_says("run_deepstack_python.py", *arguments)
    check_deepstack(compat, said, 0.45)
    assert said["registered"] == "face added"
    assert said["bad"].startswith("CodeProjectAIException: "), said["bad"]
    assert list(said["names"]) == ["Eileen Collins"]
