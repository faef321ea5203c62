"""CompreFace's routes: each with what it gives, and with bad input."""

from __future__ import annotations

import base64
import itertools
import json
import math
import uuid
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

VARIANTS = PORTRAIT.with_name("astronaut_variants.jpg")
R = "/api/v1/recognition"
ANY_ID = "00000000-0000-8000-8000-000000000000"
EMPTY = cv2.imencode(".png", np.full((64, 64, 3), 127, np.uint8))[1].tobytes()


@pytest.fixture
def client(compat: Running) -> Iterator[httpx.Client]:
    with compat.client() as client:
        yield client


@pytest.fixture
def example(client: httpx.Client, portrait: bytes) -> str:
    """The ID of the one example, of Eileen."""
    answer = client.post(f"{R}/faces?subject=Eileen", files={"file": portrait})
    assert answer.status_code == 201, answer.text
    image: str = answer.json()["image_id"]
    return image


def failure(answer: httpx.Response, status: int, code: int) -> str:
    body = answer.json()
    assert (answer.status_code, body.get("code")) == (status, code), answer.text
    assert set(body) == {"message", "code"}
    message: str = body["message"]
    return message


def expected(client: httpx.Client, first: bytes, second: bytes, faces: tuple[str, str]) -> float:
    """The similarity by the documented formula, from our own route's cosine.

    By its two anchors: the default threshold at 0.5, the median of genuine pairs, read from the
    calibration file, at 0.97; as a logistic function, which the hyperbolic tangent is.
    """
    form = {"face_a": faces[0], "face_b": faces[1]}
    answer = client.post("/api/v1/compare", files={"a": first, "b": second}, data=form).json()
    threshold, cosine = answer["decision"]["threshold"], answer["similarity"]
    name = answer["model"].partition("@")[0]
    folder = Path(__file__).parents[3] / "runtime" / "mobileface" / "matching" / "calibrations"
    curve = json.loads((folder / f"{name}.calibration.json").read_text())
    places = list(zip(curve["similarity"], curve["false_non_match_rate"]["value"], strict=True))
    median = next(
        x1 if y1 == 0.5 else x0 + (x1 - x0) * (0.5 - y0) / (y1 - y0)
        for (x0, y0), (x1, y1) in itertools.pairwise(places)
        if y0 <= 0.5 < y1
    )
    slope = math.log(0.97 / 0.03) / (median - threshold)
    return 1 / (1 + math.exp(-slope * (cosine - threshold)))


def test_subjects(client: httpx.Client, example: str, portrait: bytes) -> None:
    assert client.post(f"{R}/subjects", json={"subject": " Ann "}).json() == {"subject": "Ann"}
    assert client.get(f"{R}/subjects").json() == {"subjects": ["Ann", "Eileen"]}
    people = client.get(f"{R}/faces?subject=Ann").json()
    assert people["faces"] == []
    answer = client.post(f"{R}/recognize?prediction_count=-1", files={"file": portrait}).json()
    assert [subject["subject"] for subject in answer["result"][0]["subjects"]] == ["Eileen"]
    assert client.put(f"{R}/subjects/Eileen", json={"subject": "Ann"}).json() == {"updated": True}
    assert client.get(f"{R}/subjects").json() == {"subjects": ["Ann"]}
    listed = client.get(f"{R}/faces").json()["faces"]
    assert listed == [{"image_id": example, "subject": "Ann"}]
    assert client.put(f"{R}/subjects/Ann", json={"subject": "Äpfel"}).json() == {"updated": True}
    assert client.delete(f"{R}/subjects/Äpfel").json() == {"subject": "Äpfel"}
    assert client.delete(f"{R}/subjects").json() == {"deleted": 0}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "subjects", {}, 400, 5),
        ("POST", "subjects", {"subject": " "}, 400, 5),
        ("POST", "subjects", [], 400, 5),
        ("POST", "subjects", {"subject": "a/b"}, 400, 21),
        ("POST", "subjects", {"subject": "x" * 256}, 400, 21),
        ("POST", "subjects", {"subject": "Eileen"}, 400, 43),
        ("PUT", "subjects/Nobody", {"subject": "Ann"}, 404, 42),
        ("PUT", "subjects/Eileen", {"subject": ".."}, 400, 21),
        ("PUT", "subjects/Eileen", None, 400, 26),
        ("DELETE", "subjects/Nobody", None, 404, 42),
        ("DELETE", f"faces/{ANY_ID}", None, 404, 44),
        ("GET", f"faces/{ANY_ID}/img", None, 404, 44),
        ("GET", "faces?page=-1", None, 400, 26),
        ("GET", "faces?size=0", None, 400, 26),
        ("GET", "faces?subject=a/b", None, 400, 21),
        ("POST", "faces/delete", {"a": 1}, 400, 26),
        ("POST", "faces/delete", [1], 400, 26),
        ("POST", "embeddings/recognize", {"embeddings": []}, 400, 26),
        ("POST", "embeddings/recognize", {"embeddings": [["a"]]}, 400, 26),
        ("POST", "embeddings/recognize", {"embeddings": [[1.0, 2.0]]}, 400, 37),
        ("POST", "embeddings/recognize", {"embeddings": [[0] * 128]}, 400, 37),
        ("POST", "embeddings/recognize?prediction_count=0", {"embeddings": [[1]]}, 400, 12),
        ("POST", f"embeddings/faces/{ANY_ID}/verify", {"embeddings": [[1]]}, 404, 44),
        ("POST", "recognize", {"file": "not base64!"}, 400, 21),
        ("POST", "recognize", {"file": ""}, 400, 34),
        ("POST", "recognize", {"file": 7}, 400, 34),
        ("POST", "recognize", "text", 400, 34),
    ],
)
def test_bad_bodies(
    client: httpx.Client, example: str, method: str, path: str, body: Any, status: int, code: int
) -> None:
    options = {} if body is None else {"json": body}
    message = failure(client.request(method, f"{R}/{path}", **options), status, code)
    assert len(message) > 10
    assert "/tmp" not in message
    assert client.get(f"{R}/subjects").json() == {"subjects": ["Eileen"]}


@pytest.mark.parametrize("route", [f"{R}/recognize", "/api/v1/detection/detect", f"{R}/faces"])
def test_bad_pictures(client: httpx.Client, portrait: bytes, route: str) -> None:
    route += "?subject=Eileen"
    message = failure(client.post(route, files={"file": EMPTY}), 400, 28)
    assert message == "No face is found in the given image"
    failure(client.post(route, files={"file": b"no picture"}), 400, 21)
    failure(client.post(route, files={"other": portrait}), 400, 34)
    failure(client.post(route, data={"file": "text"}), 400, 34)
    failure(client.post(route), 400, 34)
    failure(client.post(route, files={"file": b""}), 400, 21)
    failure(client.post(f"{route}&det_prob_threshold=2", files={"file": portrait}), 400, 26)
    failure(client.post(f"{route}&det_prob_threshold=0.99", files={"file": portrait}), 400, 28)


def test_parameters(client: httpx.Client, example: str, portrait: bytes) -> None:
    files = {"file": portrait}
    failure(client.post(f"{R}/recognize?limit=-1", files=files), 400, 26)
    failure(client.post(f"{R}/recognize?prediction_count=0", files=files), 400, 12)
    failure(client.post(f"{R}/recognize?detect_faces=false", files=files), 400, 26)
    failure(client.post(f"{R}/faces", files=files), 400, 33)
    failure(client.post(f"{R}/faces?subject=a/b", files=files), 400, 21)
    failure(client.post(f"{R}/faces?subject=", files=files), 400, 21)
    failure(client.post(f"{R}/faces?subject=Ann", files={"file": VARIANTS.read_bytes()}), 400, 31)
    failure(client.post(f"{R}/faces/{ANY_ID}/verify", files=files), 404, 44)
    unknown = client.post(f"{R}/recognize?face_plugins=undefined,mask", files=files).json()
    assert set(unknown["result"][0]) == {"box", "subjects"}


def test_examples(client: httpx.Client, example: str, portrait: bytes) -> None:
    number = uuid.UUID(example)
    assert (number.version, number.variant) == (8, uuid.RFC_4122)
    again = client.post(f"{R}/faces?subject=Eileen", files={"file": portrait}).json()
    assert again == {"image_id": example, "subject": "Eileen"}
    text = "data:image/jpeg;base64," + base64.b64encode(portrait).decode()
    other = client.post(f"{R}/faces?subject=Ann", json={"file": text}).json()
    assert other["subject"] == "Ann"
    assert other["image_id"] != example
    page = client.get(f"{R}/faces?page=1&size=1").json()
    assert page["faces"] == [other]
    assert [page[name] for name in ("page_number", "page_size")] == [1, 1]
    assert [page[name] for name in ("total_pages", "total_elements")] == [2, 2]
    image = client.get(f"{R}/faces/{example}/img")
    assert image.content.startswith(b"\xff\xd8\xff")
    assert image.headers["content-type"] == "image/jpeg"
    assert client.get(f"/api/v1/static/any/images/{example}").content == image.content
    odd = client.post(f"{R}/faces/delete", content=rb'["\ud800", "", "\u0000", "\u00e4"]')
    assert (odd.status_code, odd.json()) == (200, [])
    deleted = client.post(f"{R}/faces/delete", json=[example, ANY_ID, example]).json()
    assert deleted == [{"image_id": example, "subject": "Eileen"}]
    assert client.get(f"{R}/subjects").json() == {"subjects": ["Ann", "Eileen"]}
    assert client.delete(f"{R}/faces?subject=Nobody").json() == {"deleted": 0}
    assert client.delete(f"{R}/faces").json() == {"deleted": 1}
    assert client.get(f"{R}/subjects").json() == {"subjects": []}


def test_similarities_are_those_of_the_formula(
    client: httpx.Client, example: str, portrait: bytes
) -> None:
    variants = VARIANTS.read_bytes()
    limited = client.post(f"{R}/recognize?limit=1", files={"file": variants}).json()["result"]
    verified = client.post(f"{R}/faces/{example}/verify?limit=1", files={"file": variants}).json()
    files = {"source_image": portrait, "target_image": variants}
    compared = client.post("/api/v1/verification/verify?limit=1", files=files).json()["result"][0]
    wanted = expected(client, portrait, variants, ("largest", "largest"))
    found = [
        limited[0]["subjects"][0]["similarity"],
        verified["result"][0]["similarity"],
        compared["face_matches"][0]["similarity"],
    ]
    print(found, wanted)
    assert max(abs(value - wanted) for value in found) < 1e-6
    assert 0.97 < wanted < 1


def test_embeddings(client: httpx.Client, example: str, portrait: bytes) -> None:
    route = "/api/v1/detection/detect?face_plugins=calculator"
    (face,) = client.post(route, files={"file": VARIANTS.read_bytes()}).json()["result"][:1]
    vector = face["embedding"]
    wanted = expected(client, portrait, VARIANTS.read_bytes(), ("largest", "largest"))
    body = {"embeddings": [vector]}
    (found,) = client.post(f"{R}/embeddings/recognize", json=body).json()["result"]
    assert found["embedding"] == vector
    (subject,) = found["similarities"]
    assert subject["subject"] == "Eileen"
    route = f"{R}/embeddings/faces/{example}/verify"
    (verified,) = client.post(route, json=body).json()["result"]
    own = client.post(
        "/api/v1/detection/detect?face_plugins=calculator", files={"file": portrait}
    ).json()["result"][0]["embedding"]
    body = {"source": own, "targets": [vector]}
    (compared,) = client.post("/api/v1/verification/embeddings/verify", json=body).json()["result"]
    values = [subject["similarity"], verified["similarity"], compared["similarity"]]
    print(values, wanted)
    assert max(abs(value - wanted) for value in values) < 1e-6
    for bad in ({}, {"targets": [vector]}, {"source": own}, {"source": "a", "targets": [vector]}):
        failure(client.post("/api/v1/verification/embeddings/verify", json=bad), 400, 26)
    huge = json.dumps({"source": own, "targets": [[10**400]]})
    failure(client.post("/api/v1/verification/embeddings/verify", content=huge), 400, 26)


def test_verification_needs_one_source_face(client: httpx.Client, portrait: bytes) -> None:
    route, variants = "/api/v1/verification/verify", VARIANTS.read_bytes()
    files = {"source_image": variants, "target_image": portrait}
    failure(client.post(route, files=files), 400, 31)
    failure(client.post(route, files={"source_image": portrait}), 400, 34)
    both = {"source_image": base64.b64encode(portrait).decode(), "target_image": "!"}
    failure(client.post(route, json=both), 400, 21)


def test_keys_and_limits(tmp_path: Path, portrait: bytes) -> None:
    key = "a-key-of-a-test-0123"
    (tmp_path / "keys").write_text(key)
    given: dict[str, Any] = {"api_key_file": tmp_path / "keys", "limits": {"body_bytes": 100_000}}
    with empty_gallery(tmp_path, **given) as server, server.client() as client:
        headers = {"x-api-key": key}
        failure(client.post(f"{R}/recognize", files={"file": portrait}), 401, 10)
        failure(client.get(f"/api/v1/static/wrong/images/{ANY_ID}"), 401, 10)
        failure(client.get(f"/api/v1/static/{key}/images/{ANY_ID}"), 404, 44)
        large = {"file": b"x" * 100_001}
        failure(client.post(f"{R}/recognize", files=large, headers=headers), 413, 21)
        assert client.get(f"{R}/subjects", headers=headers).json() == {"subjects": []}


def test_without_a_gallery_and_switched_off(portrait: bytes) -> None:
    with serving() as server, server.client() as client:
        assert "without a gallery" in failure(client.get(f"{R}/subjects"), 404, 0)
        failure(client.post(f"{R}/recognize", files={"file": portrait}), 404, 0)
        answer = client.post("/api/v1/detection/detect", files={"file": portrait})
        assert len(answer.json()["result"]) == 1
        files = {"source_image": portrait, "target_image": portrait}
        (result,) = client.post("/api/v1/verification/verify", files=files).json()["result"]
        assert result["face_matches"][0]["similarity"] > 0.999
    with serving(compatible={"compreface": False}) as server, server.client() as client:
        for path in (f"{R}/subjects", f"{R}/faces", f"/api/v1/static/a/images/{ANY_ID}"):
            assert client.get(path).status_code == 404
        for path in (f"{R}/recognize", "/api/v1/detection/detect", "/api/v1/verification/verify"):
            assert client.post(path, files={"file": portrait}).status_code == 404
        assert client.post("/v1/vision/face", files={"image": portrait}).json()["success"]
