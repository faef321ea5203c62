"""A gallery that is open while its process forks: nothing is lost, and nothing is shared."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from mobileface.errors import InputError
from mobileface.gallery import Gallery
from tests.runtime.gallery.gallery_helpers import made

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")

COMMON = """
import os, sys
import numpy as np
from mobileface.errors import GalleryError
from mobileface.gallery import Gallery, NewFace

def vector(number):
    row = np.random.RandomState(number).standard_normal(64).astype(np.float32)
    return row / np.linalg.norm(row)

def add(gallery, numbers):
    for number in numbers:
        gallery.add(f"person {number}", [NewFace(vector(number))])
        (found,) = gallery.search(vector(number)[None])
        assert found.best.name == f"person {number}", found

def wait():
    codes = [os.waitstatus_to_exitcode(status) for status in waited()]
    assert set(codes) == {0}, codes

def waited():
    while True:
        try:
            yield os.wait()[1]
        except ChildProcessError:
            return
"""

WORKERS = """
with Gallery.open(sys.argv[1], timeout=60) as gallery:
    add(gallery, range(3))
    for worker in range(1, 4):
        if not os.fork():
            add(gallery, range(100 * worker, 100 * worker + 10))
            sys.exit(0)
        add(gallery, range(3 + worker, 4 + worker))
    wait()
    add(gallery, [50])
    print(len(gallery))
"""

IN_USE = """
gallery = Gallery.open(sys.argv[1])
add(gallery, range(2))
with gallery.database.write():
    add(gallery, [2])
    if not os.fork():
        for call in (lambda: len(gallery), lambda: Gallery.open(sys.argv[1])):
            try:
                call()
            except GalleryError as error:
                print(error, flush=True)
        os._exit(0)
    wait()
    add(gallery, [3])
rows = gallery.database.rows("SELECT name FROM person", at_once=1)
next(rows)
if not os.fork():
    try:
        len(gallery)
    except GalleryError as error:
        print(error, flush=True)
    sys.exit(0)
wait()
print(1 + len(list(rows)))
gallery.close()
"""


def run(program: str, path: Path) -> list[str]:
    command = [sys.executable, "-W", "ignore", "-c", COMMON + program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def check(path: Path, people: int) -> None:
    with Gallery.open(path) as gallery:
        assert gallery.database.value("PRAGMA integrity_check") == "ok"
        assert len(gallery) == people
    assert [file.name for file in path.parent.iterdir() if file.name != path.name] == []


def test_children_and_parent_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "people.gallery"
    made(path).close()
    for turn in range(3):
        path.unlink()
        made(path).close()
        assert run(WORKERS, path) == ["37"], turn
        check(path, 37)


def test_in_use_at_the_fork_it_stays_with_the_parent(tmp_path: Path) -> None:
    path = tmp_path / "people.gallery"
    made(path).close()
    *refused, count = run(IN_USE, path)
    print("\n".join(refused))
    assert count == "4"
    assert len(refused) == 3
    assert all("in use when this process was forked" in line for line in refused)
    check(path, 4)


def test_an_open_gallery_is_not_pickled(tmp_path: Path) -> None:
    path = tmp_path / "people.gallery"
    with made(path) as gallery, pytest.raises(InputError, match="cannot be pickled") as caught:
        pickle.dumps(gallery)
    assert "Gallery.open" in caught.value.hint
