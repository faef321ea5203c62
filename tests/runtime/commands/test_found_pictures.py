"""Patterns and folders as arguments: no pipe is waited for, no link is followed for ever."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import numpy as np
import pytest

from mobileface.commands.inputs import find_pictures
from mobileface.errors import InputError


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b1.jpg", "b2.png", "s/c.jpg", "s/t/d.jpg", "s/.e.jpg", ".h/f.jpg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    "pattern",
    [
        "*.jpg",
        "b?.*",
        "b[12].jpg",
        "**/*.jpg",
        "s/**/*.jpg",
        "s/*.jpg",
        "*/*.jpg",
        "s/**/d.jpg",
        "./s/*.jpg",
        "s/t/../*.jpg",
        "{}/*.jpg",
        "{}/**/*.jpg",
        ".h/*.jpg",
        "a**.jpg",
    ],
)
def test_patterns_without_links(pattern: str, tree: Path) -> None:
    """Python's glob is the oracle, where there are no links to folders."""
    given = pattern.format(tree)
    expected = {os.path.normpath(path) for path in glob.glob(given, recursive=True)}  # noqa: PTH207
    found = find_pictures([given])
    print(found)
    assert {os.path.normpath(path) for path in found} == expected
    assert len(found) == len(expected) > 0


def test_links_to_their_own_folder(tree: Path) -> None:
    """Two links make 2⁴⁰ paths."""
    for name in ("a", "b"):
        Path("s", name).symlink_to(".")
    expected = ["s/c.jpg", "s/t/d.jpg"]
    assert [str(path) for path in find_pictures(["s/**/*.jpg"])] == expected
    assert Path("s/c.jpg") in find_pictures(["s"])


def test_pipes_and_devices() -> None:
    os.mkfifo("pipe.jpg")
    os.mkfifo("s/pipe.jpg")
    Path("zero.jpg").symlink_to("/dev/zero")
    assert [str(path) for path in find_pictures(["*.jpg"])] == ["a.jpg", "b1.jpg"]
    found = [str(path) for path in find_pictures(["."])]
    assert not [name for name in found if "pipe" in name or "zero" in name]


@pytest.mark.parametrize("pattern", ["nothing*.jpg", "s/**/x[", "\0*", "[!]*", "x" * 5000 + "*"])
def test_patterns_of_nothing(pattern: str) -> None:
    with pytest.raises(InputError):
        find_pictures([pattern])


def test_random_trees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(20261126)
    monkeypatch.chdir(tmp_path)
    for number in range(40):
        parts = [f"d{n}" for n in random.integers(3, size=random.integers(4))]
        folder = Path("tree", *parts)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"p{number}.jpg").write_bytes(b"x")
    for pattern in ("tree/**/*.jpg", "tree/*/d1/*.jpg", "tree/**/d2/**/p*.jpg", "**/p1*.jpg"):
        expected = sorted(map(Path, set(glob.glob(pattern, recursive=True))))  # noqa: PTH207
        assert find_pictures([pattern]) == expected
