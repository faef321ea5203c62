"""What double-take 1.13.11.8 sends, recorded, and the fields of the answers that it reads.

It asks CompreFace's routes with a key in a header and the subject in the address, written as in a
form ("+" for a space); DeepStack's with a key in the form; and CodeProject.AI's, which has no keys,
with whatever user and password its configured address has.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from ..conftest import PORTRAIT
from ..raw import exchange
from ..running import Running
from .conftest import empty_gallery

KEY = "a-key-of-a-test-0123"
VARIANTS = PORTRAIT.with_name("astronaut_variants.jpg")
BOUNDARY = "--------------------------6aa9f986ece968fdecca4fac"
NAME, WRITTEN = "Jürgen M. & Söhne", "J%C3%BCrgen+M.+%26+S%C3%B6hne"
EMPTY = cv2.imencode(".jpg", np.full((300, 400, 3), 127, np.uint8))[1].tobytes()
PROXY = "Authorization: Basic cHJveHk6aXRzIG93bg=="
BASIC = "Authorization: Basic " + base64.b64encode(f"mobileface:{KEY}".encode()).decode()


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("double_take")
    (folder / "keys").write_text(KEY)
    with empty_gallery(folder, api_key_file=folder / "keys") as server:
        yield server


def ask(
    server: Running,
    line: str,
    *headers: str,
    image: tuple[str, bytes] | None = None,
    fields: dict[str, str] | None = None,
) -> tuple[int, dict[str, Any]]:
    """Sends one request as axios and form-data write it; gives the status and the JSON."""
    parts = []
    if image is not None:
        name, data = image
        disposition = f'Content-Disposition: form-data; name="{name}"; filename="front.jpg"'
        parts.append(f"{disposition}\r\nContent-Type: image/jpeg\r\n\r\n".encode() + data)
    for name, value in (fields or {}).items():
        parts.append(f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode())
    body = b"".join(f"--{BOUNDARY}\r\n".encode() + part + b"\r\n" for part in parts)
    lines = [f"{line} HTTP/1.1", "Accept: application/json, text/plain, */*"]
    if parts:
        body += f"--{BOUNDARY}--\r\n".encode()
        lines += [
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
            f"Content-Length: {len(body)}",
        ]
    lines += [
        *headers,
        "User-Agent: axios/1.21.1",
        "Accept-Encoding: gzip, compress, deflate, br",
        f"Host: 127.0.0.1:{server.port}",
        "Connection: close",
    ]
    answer = exchange(server.port, "\r\n".join([*lines, "", ""]).encode() + body)
    return answer.status, json.loads(answer.body)


def boxes(server: Running, picture: bytes) -> set[tuple[int, ...]]:
    """The faces that our own route finds, in whole pixels."""
    with server.client(headers={"x-api-key": KEY}) as client:
        faces = client.post("/api/v1/detect", files={"file": picture}).json()["faces"]
    return {tuple(round(value) for value in face["bbox"]) for face in faces}


def box_of(place: dict[str, Any]) -> tuple[int, ...]:
    return tuple(place[name] for name in ("x_min", "y_min", "x_max", "y_max"))


def test_compreface(keyed: Running, portrait: bytes) -> None:
    faces, key = "/api/v1/recognition/faces", f"x-api-key: {KEY}"
    search = "POST /api/v1/recognition/recognize?face_plugins=undefined&det_prob_threshold=0.6"
    _, nobody = ask(keyed, search, key, image=("file", portrait))
    assert [face["subjects"] for face in nobody["result"]] == [[]]
    status, added = ask(keyed, f"POST {faces}?subject={WRITTEN}", key, image=("file", portrait))
    assert (status, added["subject"]) == (201, NAME)
    variants = VARIANTS.read_bytes()
    found = ask(keyed, search, key, image=("file", variants))[1]["result"]
    assert {box_of(face["box"]) for face in found} == boxes(keyed, variants)
    likeness = [face["subjects"][0]["similarity"] for face in found]
    print(likeness)
    assert {face["subjects"][0]["subject"] for face in found} == {NAME}
    assert min(likeness) > 0.6  # double-take's least for a match
    status, none = ask(keyed, search, key, image=("file", EMPTY))
    assert (status, none["code"]) == (400, 28)
    status, refused = ask(keyed, search, "x-api-key: undefined", image=("file", portrait))
    assert (status, refused["code"]) == (401, 10)
    for count in (1, 0):
        removed = ask(keyed, f"DELETE {faces}?subject={WRITTEN}", key)
        assert removed == (200, {"deleted": count})


@pytest.mark.parametrize(
    ("headers", "fields"),
    [((), {"api_key": KEY}), ((BASIC,), {}), ((PROXY,), {"api_key": KEY})],
    ids=["DeepStack", "CodeProject.AI", "DeepStack behind a proxy with a password"],
)
def test_deepstack_and_codeproject_ai(
    keyed: Running, portrait: bytes, headers: tuple[str, ...], fields: dict[str, str]
) -> None:
    face, variants = "POST /v1/vision/face", VARIANTS.read_bytes()
    given = {"userid": NAME, **fields}
    _, added = ask(keyed, f"{face}/register", *headers, image=("image", portrait), fields=given)
    assert added["success"] is True, added
    _, found = ask(keyed, f"{face}/recognize", *headers, image=("image", variants), fields=fields)
    assert {box_of(place) for place in found["predictions"]} == boxes(keyed, variants)
    confidences = [place["confidence"] for place in found["predictions"]]
    print(confidences)
    assert {place["userid"] for place in found["predictions"]} == {NAME}
    assert min(confidences) >= 0.67  # DeepStack's own least, as none is sent
    _, none = ask(keyed, f"{face}/recognize", *headers, image=("image", EMPTY), fields=fields)
    assert (none["success"], none["predictions"]) == (True, [])
    assert ask(keyed, f"{face}/delete", *headers, fields=given)[1]["success"] is True
    _, gone = ask(keyed, f"{face}/recognize", *headers, image=("image", portrait), fields=fields)
    assert [place["userid"] for place in gone["predictions"]] == ["unknown"]
    status, without = ask(keyed, f"{face}/recognize", image=("image", portrait))
    assert (status, without["success"]) == (401, False)


def test_what_is_said_of_refused_photos(keyed: Running, portrait: bytes) -> None:
    """double-take shows these sentences; they suggest nothing that its user cannot do."""
    photo = cv2.imdecode(np.frombuffer(portrait, np.uint8), cv2.IMREAD_COLOR)
    assert photo is not None
    blurred = cv2.imencode(".jpg", cv2.GaussianBlur(photo, (0, 0), 5))[1].tobytes()
    faces, key = "POST /api/v1/recognition/faces?subject=Ann", f"x-api-key: {KEY}"
    register, fields = "POST /v1/vision/face/register", {"userid": "Ann", "api_key": KEY}
    for image, code, fault, advice in (
        (
            blurred,
            21,
            r"the face is blurred: sharpness \d+, at least 10 is needed",
            "a better image",
        ),
        (
            VARIANTS.read_bytes(),
            31,
            r"6 faces found \((\d+, ){5}… pixels wide\)",
            "an image with exactly one face",
        ),
        (EMPTY, 28, None, ""),
    ):
        status, refused = ask(keyed, faces, key, image=("file", image))
        print(refused)
        assert (status, refused["code"]) == (400, code)
        if fault is None:
            assert refused["message"] == "No face is found in the given image"
            continue
        sentence = rf"front\.jpg: {fault}; use {advice}"
        assert re.fullmatch(sentence, refused["message"])
        status, refused = ask(keyed, register, image=("image", image), fields=fields)
        assert status == 400
        assert re.fullmatch(sentence, refused["error"])
