"""Files beside a gallery's path: what another gallery left there is never adopted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mobileface.errors import InputError
from mobileface.gallery import Gallery, backup
from tests.runtime.gallery.gallery_helpers import SIZE, fill, made, names, stamp, vectors

KILLED = """
import os, signal, sys
import numpy as np
from mobileface.gallery import Gallery, NewFace
gallery = Gallery.open(sys.argv[1])
for number in range(5):
    gallery.add(f"old {number}", [NewFace(np.eye(64, dtype=np.float32)[number])])
os.kill(os.getpid(), signal.SIGKILL)
"""

BESIDE = r"people\.gallery-wal and people\.gallery-shm beside it"

CREATES = """
import sys
from mobileface.errors import InputError
from mobileface.gallery import Gallery
from tests.runtime.gallery.gallery_helpers import stamp
sys.stdin.readline()
try:
    Gallery.create(sys.argv[1], stamp()).close()
    print("created")
except InputError as error:
    print(error.what)
"""


def killed_writer(path: Path) -> None:
    """Leaves a write-ahead log with five people beside a gallery."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_a_log_beside_a_new_gallery_is_refused(suffix: str, path: Path) -> None:
    path.parent.mkdir()
    log = path.with_name(f"{path.name}{suffix}")
    log.write_bytes(b"of an older gallery")
    with pytest.raises(InputError, match=f": {log.name} beside it: .*remove the log"):
        Gallery.create(path, stamp())
    assert [file.name for file in path.parent.iterdir()] == [log.name]
    log.unlink()
    Gallery.create(path, stamp()).close()


def test_the_log_of_a_killed_process_is_not_read_into_a_new_gallery(path: Path) -> None:
    """Nor into a backup, also where the old gallery is still there."""
    made(path).close()
    killed_writer(path)
    with made(path.with_name("other.gallery"), vectors(2)) as other:
        before = path.read_bytes()
        with pytest.raises(InputError, match=BESIDE):
            backup(other, path)
        assert path.read_bytes() == before
        path.unlink()
        with pytest.raises(InputError, match=BESIDE):
            Gallery.create(path, stamp())
        with pytest.raises(InputError, match=BESIDE):
            backup(other, path)
        link = path.with_name("link.gallery")
        link.symlink_to(path)
        with pytest.raises(InputError, match=BESIDE):
            backup(other, link)
        for suffix in ("-wal", "-shm"):
            path.with_name(f"{path.name}{suffix}").unlink()
        backup(other, path)
    with Gallery.open(path) as gallery:
        assert names(gallery) == ["person 0", "person 1"]


def test_what_is_derived_from_an_older_gallery_is_removed(path: Path) -> None:
    """A matrix and an index of the same ID and size: nobody of them is found."""
    given = vectors(2100)
    with made(path, given) as gallery:
        gallery.search(given[0])
        path.with_name(f"{path.name}-usearch-0-1-2").write_bytes(given[1].tobytes())
        copy = path.with_name("copy.gallery")
        backup(gallery, copy)
    left = sorted(file.name for file in path.parent.iterdir() if file != copy)
    assert len(left) == 3
    path.unlink()
    Gallery.create(path, stamp()).close()
    assert sorted(file.name for file in path.parent.iterdir()) == [copy.name, path.name]
    with Gallery.open(path) as gallery:
        fill(gallery, vectors(2100, seed=1))
        best = gallery.search(given[7])[0].best
        assert best is not None
        assert best.similarity < 0.9
    with Gallery.open(copy) as gallery:
        backup(gallery, path)
    assert sorted(file.name for file in path.parent.iterdir()) == [copy.name, path.name]


@pytest.mark.slow
def test_of_two_that_create_a_gallery_one_is_told_that_it_exists(path: Path) -> None:
    for turn in range(3):
        place = path.with_name(f"{turn}.gallery")
        command = [sys.executable, "-c", CREATES, str(place)]
        processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        answers = sorted(process.communicate()[0].strip() for process in processes)
        assert answers == ["already exists", "created"]
        with Gallery.open(place) as gallery:
            gallery.check()


def test_a_gallery_that_appears_while_one_is_created_stays(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst moment: after the check, before the new file has its name; links or no links."""
    for links in (True, False):
        place = path.with_name(f"{links}.gallery")
        with monkeypatch.context() as patch:
            patch.setattr("mobileface.gallery.gallery.require_absent", lambda _: None)
            if not links:
                patch.setattr(Path, "hardlink_to", no_links)
            Gallery.create(place, stamp(created="first")).close()
            with pytest.raises(InputError, match="already exists"):
                Gallery.create(place, stamp(created="second"))
        with Gallery.open(place) as gallery:
            assert gallery.stamp.created == "first"
    assert len(list(path.parent.iterdir())) == 2


def no_links(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


def test_only_the_owner_can_read_the_files(path: Path) -> None:
    """With the widest umask: gallery, log, matrix and backup."""
    mask = os.umask(0)
    try:
        given = vectors(2100, SIZE)
        with made(path, given) as gallery:
            gallery.search(given[0])
            gallery.rename("person 1", "Ann")
            backup(gallery, path.with_name("copy.gallery"))
            modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(mask)
    print(modes)
    assert len(modes) == 5  # with the log and its index
    assert set(modes.values()) == {0o600}
