"""Pinned files, folders of them, and which place is opened."""

from __future__ import annotations

import hashlib
import io
import re
import sys
from pathlib import Path

import pytest

from mobileface.errors import SourceError, SourceIntegrityError
from mobileface_convert.sources import files as source
from mobileface_convert.sources.files import DirectorySource, SourceFile, open_source

PATH = "MobileFace_Pose/model one.bin"
CONTENT = bytes(range(251)) * 1200  # 301200 bytes: several blocks, and no block like another
SHA1 = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT, usedforsecurity=False).hexdigest()
FILE = SourceFile(PATH, SHA1, len(CONTENT))
REPOSITORY = "https://github.com/owner/some.repo"
COMMIT = "128cea33b928dc9bb6d1963202b57a97f5661ccf"
RAW = f"download from https://raw.githubusercontent.com/owner/some.repo/{COMMIT}/"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MOBILEFACE_SOURCE", "MOBILEFACE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)


def store(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_git_blob_sha1_is_what_git_says(tmp_path: Path) -> None:
    store(tmp_path / "hello", b"hello world\n")  # git hash-object: the names below
    assert source.git_blob_sha1(tmp_path / "hello") == "3b18e512dba79e4c8300dd08aeb37f8e728b8dad"
    assert source.git_blob_sha1(io.BytesIO()) == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    stream = io.BytesIO(CONTENT)
    stream.seek(7)
    assert source.git_blob_sha1(stream) == SHA1


@pytest.mark.parametrize(
    "path", ["", ".", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/", "a\\b", "C:x", "a\0"]
)
def test_path_that_is_not_plain_is_refused(path: str) -> None:
    with pytest.raises(SourceError, match="not a plain path"):
        SourceFile(path, SHA1)


@pytest.mark.parametrize(("sha1", "size"), [(SHA1[:-1], 1), (SHA1.upper(), 1), (SHA1, -1)])
def test_malformed_pin_is_refused(sha1: str, size: int) -> None:
    with pytest.raises(SourceError, match="is not a"):
        SourceFile("a", sha1, size)


def test_folder_gives_the_verified_file(tmp_path: Path) -> None:
    store(tmp_path / PATH, CONTENT)
    assert DirectorySource(tmp_path).fetch(FILE) == tmp_path / PATH
    assert DirectorySource(tmp_path).describe() == f"folder {tmp_path}"


def test_folder_with_another_file_is_refused_unless_told_not_to_look(tmp_path: Path) -> None:
    store(tmp_path / PATH, b"changed")
    with pytest.raises(SourceIntegrityError) as caught:
        DirectorySource(tmp_path).fetch(FILE)
    for part_of_message in (SHA1, source.git_blob_sha1(tmp_path / PATH), "7 bytes", "301200 bytes"):
        assert part_of_message in str(caught.value)
    unverified = DirectorySource(tmp_path, verify=False)
    assert unverified.fetch(FILE).read_bytes() == b"changed"
    assert "not verified" in unverified.describe()


def test_absent_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=re.escape(PATH)) as caught:
        DirectorySource(tmp_path).fetch(FILE)
    assert caught.value.where == str(tmp_path)
    assert caught.value.hint
    with pytest.raises(SourceError, match="no such folder"):
        DirectorySource(tmp_path / "absent")


def test_link_out_of_the_folder_is_refused_and_one_inside_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside.bin"
    outside.write_bytes(CONTENT)
    (root / PATH).parent.mkdir(parents=True)
    (root / PATH).symlink_to(outside)
    with pytest.raises(SourceError, match="leads out"):
        DirectorySource(root, verify=False).fetch(FILE)
    (root / PATH).unlink()
    store(root / "inside.bin", CONTENT)
    (root / PATH).symlink_to(root / "inside.bin")
    assert DirectorySource(root).fetch(FILE).read_bytes() == CONTENT
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(SourceError):
        DirectorySource(root).fetch(SourceFile("loop", SHA1))


@pytest.mark.parametrize("repository", [REPOSITORY, f"{REPOSITORY}.git", f"{REPOSITORY}/"])
def test_default_is_the_pinned_commit(repository: str) -> None:
    assert open_source(repository=repository, commit=COMMIT).describe() == RAW


def test_location_goes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILEFACE_SOURCE", str(tmp_path))
    by_environment = open_source(repository=REPOSITORY, commit=COMMIT)
    assert by_environment.describe() == f"folder {tmp_path}"
    address = "http://localhost:1/raw"
    by_location = open_source(address, repository=REPOSITORY, commit=COMMIT)
    assert by_location.describe() == f"download from {address}/"
    (tmp_path / "inner").mkdir()
    by_path = open_source(tmp_path / "inner", repository=REPOSITORY, commit=COMMIT)
    assert by_path.describe() == f"folder {tmp_path / 'inner'}"
    monkeypatch.setenv("MOBILEFACE_SOURCE", "")
    assert open_source(repository=REPOSITORY, commit=COMMIT).describe() == RAW


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/",
        "ftp://localhost/",
        "http://",
        "http://user:secret@localhost/",
        "http://localhost/?a=b",
        "http://localhost:port/",
        "http://[::1/",
    ],
)
def test_address_that_cannot_be_used_is_refused(address: str) -> None:
    with pytest.raises(SourceError, match="not a plain http or https address"):
        open_source(address, repository=REPOSITORY, commit=COMMIT)


@pytest.mark.parametrize(
    ("repository", "commit"),
    [(REPOSITORY, "master"), ("https://example.org/owner/repo", COMMIT)],
)
def test_upstream_that_is_not_pinned_is_refused(repository: str, commit: str) -> None:
    with pytest.raises(SourceError):
        open_source(repository=repository, commit=commit)


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "home/.cache/mobileface"),
        ("linux", {"XDG_CACHE_HOME": "{root}/xdg"}, "xdg/mobileface"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "home/.cache/mobileface"),
        ("darwin", {}, "home/Library/Caches/mobileface"),
        ("win32", {}, "home/AppData/Local/mobileface"),
        ("win32", {"LOCALAPPDATA": "{root}/local"}, "local/mobileface"),
        ("linux", {"MOBILEFACE_CACHE": "{root}/mine"}, "mine"),
    ],
)
def test_default_cache_dir(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    variables: dict[str, str],
    expected: str,
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(root=tmp_path))
    monkeypatch.setattr(sys, "platform", platform)
    found = source.default_cache_dir()
    monkeypatch.undo()
    assert found == tmp_path / expected
