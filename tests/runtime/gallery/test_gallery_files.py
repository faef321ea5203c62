"""Gallery files: corrupt files, schemas, full and read-only disks, backups and copies."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mobileface.errors import GalleryError, InputError, MobileFaceError, OutputError
from mobileface.gallery import Gallery, NewFace, backup, schema
from tests.runtime.gallery.gallery_helpers import (
    MODEL,
    fill,
    made,
    names,
    stamp,
    vectors,
)


def damaged(path: Path) -> None:
    """Garbage in the middle of the file."""
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:10_000])


def foreign(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE person (name)")
    connection.commit()
    connection.close()


def no_database(path: Path) -> None:
    path.write_bytes(b"no database at all" * 1000)


def changed(*statements: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        connection = sqlite3.connect(path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    return change


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (Path.unlink, "no such gallery"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "cannot be opened"),
    "empty": (lambda path: path.write_bytes(b""), "not a mobileface gallery"),
    "garbage": (damaged, "corrupt"),
    "truncated": (truncated, "corrupt"),
    "foreign": (foreign, "not a mobileface gallery"),
    "no database": (no_database, "not a gallery"),
    "newer schema": (changed("PRAGMA user_version = 99"), "schema version is 99"),
    "no stamp": (changed("DELETE FROM stamp"), "no stamp"),
    "nonsense in the stamp": (changed("UPDATE stamp SET size = 'x'"), "stamp"),
    "calibration": (changed("UPDATE stamp SET calibration = '{}'"), "calibration"),
    "no table": (changed("DROP TABLE crop"), "table 'crop' is missing"),
    "trigger": (
        changed("CREATE TRIGGER t AFTER INSERT ON face BEGIN DELETE FROM person; END"),
        "triggers",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_files_that_are_no_gallery(case: str, path: Path) -> None:
    damage, message = FILES[case]
    made(path, vectors(200)).close()
    damage(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(MobileFaceError, match=message) as caught:
        Gallery.open(path)
    assert isinstance(caught.value, GalleryError | InputError)
    assert str(path) in caught.value.where
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_an_older_schema_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(path, vectors(3)).close()
    newer = (*schema.MIGRATIONS, ("ALTER TABLE person ADD COLUMN note TEXT DEFAULT 'none'",))
    monkeypatch.setattr(schema, "MIGRATIONS", newer)
    with Gallery.open(path) as gallery:
        assert gallery.database.value("SELECT note FROM person") == "none"
        assert names(gallery) == ["person 0", "person 1", "person 2"]
    monkeypatch.undo()
    with pytest.raises(GalleryError, match="schema version is 4, this program supports 1 to 3"):
        Gallery.open(path)


def test_a_failing_upgrade_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(path, vectors(3)).close()
    newer = (*schema.MIGRATIONS, ("ALTER TABLE person ADD COLUMN note TEXT", "nonsense"))
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", newer)
        with pytest.raises(GalleryError):
            Gallery.open(path)
    with Gallery.open(path) as gallery:
        assert len(gallery) == 3


def test_an_existing_file_is_not_made_anew(path: Path) -> None:
    made(path, vectors(1)).close()
    with pytest.raises(InputError, match="already exists"):
        Gallery.create(path, stamp())
    (path.parent / "file").write_text("")
    with pytest.raises(OutputError):
        Gallery.create(path.parent / "file" / "x.gallery", stamp())


def test_a_full_disk(path: Path) -> None:
    """SQLite's own limit of pages gives the error of a full disk."""
    with made(path, vectors(50)) as gallery:
        pages = gallery.database.value("PRAGMA page_count")
        gallery.database.run(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(OutputError, match="disk is full"):
            gallery.add("Ann", [NewFace(vectors(1)[0], crop=bytes(100_000))])
        assert len(gallery) == 50
    with Gallery.open(path) as gallery:
        gallery.check()


def in_child(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


def test_files_that_may_not_grow(path: Path) -> None:
    """The system refuses to write more: nothing is lost, and the error says so."""
    made(path, vectors(50)).close()
    code = (
        "import resource, sys\n"
        "from mobileface.gallery import Gallery, NewFace\n"
        "import numpy as np\n"
        "gallery = Gallery.open(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))\n"
        "try: gallery.add('Ann', [NewFace(np.ones(64, np.float32), crop=bytes(200000))])\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    result = in_child(code, str(path))
    assert result.stdout.startswith("OutputError"), result
    assert "disk failed or is full" in result.stdout
    with Gallery.open(path) as gallery:
        gallery.check()
        assert len(gallery) == 50
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 60000


def test_a_read_only_disk() -> None:
    """It can be searched, not written; a process without rights, not root, tries it."""
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others
    path, probe = folder / "people.gallery", folder / "probe.npy"
    made(path, vectors(2500)).close()
    np.save(probe, vectors(2500)[77])
    path.chmod(0o444)
    probe.chmod(0o444)
    folder.chmod(0o555)
    code = (
        "import os, sys, tempfile\n"
        "from mobileface.gallery import Gallery, NewFace\n"
        "import numpy as np\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "gallery = Gallery.open(sys.argv[1])\n"
        "print(gallery.search(np.load(sys.argv[2]))[0].matches[0].name)\n"
        "for act in (lambda: gallery.add('Ann', [NewFace(np.ones(64, np.float32))]),\n"
        "            lambda: gallery.remove('person 1'),\n"
        "            lambda: gallery.rename('person 1', 'x')):\n"
        "    try: act()\n"
        "    except Exception as error: print(type(error).__name__, error)\n"
    )
    try:
        result = in_child(code, str(path), str(probe))
        assert {file.name for file in folder.iterdir()} == {path.name, probe.name}
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)
    lines = result.stdout.splitlines()
    assert lines[:1] == ["person 77"], result
    assert len(lines) == 4
    assert all(line.startswith("OutputError") and "read-only" in line for line in lines[1:])


def test_a_backup_is_one_state(path: Path) -> None:
    """Written to between two steps of the copy, the copy is as it was at the first."""
    copy = path.with_name("copy.gallery")
    with made(path) as gallery, Gallery.open(path) as writer:
        with gallery.database.write():
            for number, vector in enumerate(vectors(300)):
                gallery.add(f"person {number}", [NewFace(vector, crop=bytes(50_000))])
        steps = []

        def step(done: int, total: int) -> None:
            steps.append((done, total))
            writer.add(f"late {len(steps)}", [NewFace(vectors(1)[0])])

        backup(gallery, copy, step=step)
        assert len(steps) > 1
        assert len(gallery) == 300 + len(steps)
        with pytest.raises(InputError, match="own input"):
            backup(gallery, path)
    with Gallery.open(copy, model=MODEL) as gallery:
        assert sorted(names(gallery)) == sorted(f"person {number}" for number in range(300))
        gallery.check()
    assert {file.name for file in path.parent.iterdir()} == {path.name, copy.name}


def test_importing_the_package_needs_no_sqlite() -> None:
    code = "import sys, mobileface, mobileface.commands.main; print('sqlite3' in sys.modules)"
    assert in_child(code).stdout.strip() == "False"


def test_copies_go_their_own_ways(path: Path) -> None:
    """A file put back from a copy, with a matrix beside it that was made from the other history."""
    given = vectors(2300)
    with made(path, given[:2100]) as gallery:
        gallery.search(given[:1])
    shutil.copy(path, path.with_name("copy"))
    with Gallery.open(path) as gallery:
        fill(gallery, given[2100:2200])
        path.with_name(f"{path.name}-matrix").unlink()
        gallery._searcher.matrix.epoch = ""
        assert gallery.search(given[2150])[0].matches[0].name == "person 50"
    shutil.copy(path.with_name("copy"), path)
    with Gallery.open(path) as gallery:
        with gallery.database.write():
            for number in range(2200, 2300):
                gallery.add(f"late {number}", [NewFace(given[number])])
        for number in (2100, 2199, 2250):
            best = gallery.search(given[number])[0].best
            assert best is not None
            assert (best.similarity > 0.999) == (number >= 2200)
