"""Pictures over HTTP give the documents of the commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mobileface.commands.main import main

from .conftest import PORTRAIT
from .running import Running


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main([*arguments, "--json"]) == 0
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return document


@pytest.mark.parametrize("name", ["analyze", "detect", "embed"])
def test_the_document_is_that_of_the_command(
    running: Running, portrait: bytes, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    with running.client() as client:
        answer = client.post(f"/api/v1/{name}", files={"file": (str(PORTRAIT), portrait)})
    assert answer.status_code == 200, answer.text
    text = json.dumps(command(capsys, name, str(PORTRAIT))).replace(str(PORTRAIT), PORTRAIT.name)
    assert answer.json() == json.loads(text)


def test_compare(running: Running, portrait: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    other = PORTRAIT.with_name("astronaut_variants.jpg")
    files = {"a": (PORTRAIT.name, portrait), "b": (other.name, other.read_bytes())}
    with running.client() as client:
        answer = client.post("/api/v1/compare", files=files).json()
    expected = command(capsys, "compare", str(PORTRAIT), str(other))
    assert json.loads(json.dumps(expected).replace(f"{PORTRAIT.parent}/", "")) == answer


def test_pose_comes_when_it_is_asked_for(running: Running, portrait: bytes) -> None:
    with running.client() as client:
        answer = client.post(
            "/api/v1/analyze?tasks=pose&tasks=attributes", files={"file": portrait}
        ).json()
    (face,) = answer["faces"]
    assert abs(face["pose"]["roll"]) < 10
    assert face["attributes"]["gender"] == "female"
    assert "embedding" not in face


@pytest.mark.parametrize(
    ("path", "files", "status", "what"),
    [
        ("analyze", {"file": ("a.jpg", b"no picture")}, 400, "not an image"),
        ("analyze", {"file": ("a.jpg", b"")}, 400, "is empty"),
        ("analyze", {"other": ("a.jpg", b"x")}, 422, "Field required"),
        ("analyze?tasks=hats", {"file": ("a.jpg", b"x")}, 400, "unknown task 'hats'"),
        ("compare", {"a": ("a.jpg", b"x")}, 422, "Field required"),
    ],
)
def test_bad_input_gets_one_error(
    running: Running, path: str, files: dict[str, tuple[str, bytes]], status: int, what: str
) -> None:
    with running.client() as client:
        answer = client.post(f"/api/v1/{path}", files=files)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert what in error["what"], error
    assert set(error) == {"code", "what", "where", "hint"}


def test_a_name_with_a_path_is_a_name(running: Running, tmp_path: Path) -> None:
    with running.client() as client:
        answer = client.post("/api/v1/analyze", files={"file": ("../../etc/passwd", b"x")})
    assert answer.json()["error"]["where"] == "passwd"
