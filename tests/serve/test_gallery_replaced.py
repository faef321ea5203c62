"""The gallery's file is removed or replaced by others while the service runs."""

from __future__ import annotations

from pathlib import Path

import httpx

from mobileface.gallery import Gallery
from mobileface.gallery.backup import backup

from .running import serving


def enrol(client: httpx.Client, name: str, portrait: bytes) -> httpx.Response:
    return client.post(
        "/api/v1/people", data={"name": name}, files={"files": ("a.jpg", portrait, "image/jpeg")}
    )


def test_nobody_is_enrolled_in_a_file_that_is_gone(tmp_path: Path, portrait: bytes) -> None:
    """SQLite writes on to a removed file; whoever was answered 201 would be lost."""
    path, away = tmp_path / "people.gallery", tmp_path / "away"
    away.mkdir()
    with serving(gallery=path) as running, running.client() as client:
        assert enrol(client, "Ann", portrait).status_code == 201
        files = list(tmp_path.glob("people.gallery*"))
        for file in files:
            file.rename(away / file.name)
        assert client.get("/ready").status_code == 503
        answer = enrol(client, "Bob", portrait)
        assert answer.status_code == 503
        assert answer.json()["error"]["what"] == "was removed or replaced while it is in use"
        assert str(tmp_path) not in answer.text
        assert not path.exists()
        for file in files:
            (away / file.name).rename(file)
        assert enrol(client, "Bob", portrait).status_code == 201
    with Gallery.open(path) as gallery:
        assert {person.name: person.faces for person in gallery.people()} == {"Ann": 1, "Bob": 1}


def test_a_replaced_file_is_not_written(tmp_path: Path, portrait: bytes) -> None:
    """A backup that is put back while the service runs, with the old file's log beside it."""
    path, copy = tmp_path / "people.gallery", tmp_path / "backup"
    with serving(gallery=path) as running, running.client() as client:
        assert enrol(client, "Ann", portrait).status_code == 201
        with running.service.gallery() as gallery:
            backup(gallery, copy)
        assert enrol(client, "Bob", portrait).status_code == 201
        content = copy.read_bytes()
        copy.replace(path)
        assert enrol(client, "Cem", portrait).status_code == 503
        assert client.get("/api/v1/people").status_code == 503
        assert "removed or replaced" in client.get("/ready").json()["reasons"][0]
    assert path.read_bytes() == content
    for end in ("-wal", "-shm"):  # as docs/deploy.md says
        path.with_name(path.name + end).unlink(missing_ok=True)
    with serving(gallery=path) as running, running.client() as client:
        assert [p["name"] for p in client.get("/api/v1/people").json()["people"]] == ["Ann"]
        assert enrol(client, "Cem", portrait).status_code == 201
    with Gallery.open(path) as gallery:
        gallery.check()
