"""Galleries: what is stored is there, what is removed is gone, and what cannot be is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileface.errors import GalleryError, InputError, MobileFaceError, OutputError
from mobileface.gallery import Gallery, NewFace, backup, schema
from mobileface.host.files import replacing
from tests.runtime.gallery.gallery_helpers import (
    MODEL,
    SIZE,
    everything_in,
    fill,
    made,
    stamp,
    vectors,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "people.gallery"


def names(gallery: Gallery) -> list[str]:
    return [person.name for person in gallery.people()]


def test_what_is_stored_is_there(path: Path) -> None:
    """Every field comes back, from another connection."""
    face = NewFace(
        vectors(1)[0],
        "photos/ann.jpg",
        "ab" * 32,
        (1.5, 2.0, 30.25, 40.0),
        1.25,
        {"left_eye": (10.0, 11.5), "right_eye": (20.0, 12.0)},
        {"sharpness": 120.5},
        b"\xff\xd8 not looked at",
        (5.0, 5.0, 20.0, 20.0),
        {"left_eye": (7.0, 8.0)},
        "0011223344556677",
        "2026-01-01T00:00:00+00:00",
    )
    with made(path) as gallery:
        assert gallery.add("Ann", [face]) == [1]
    with Gallery.open(path, model=MODEL) as gallery:
        (record,) = gallery.faces("Ann")
        for field in dataclasses.fields(NewFace):
            found, expected = getattr(record.face, field.name), getattr(face, field.name)
            if field.name == "embedding":
                assert np.abs(found - expected).max() <= 1e-7
                continue
            if field.name.endswith(("kps", "bbox")):
                found = json.loads(json.dumps(found))
                expected = json.loads(json.dumps(expected))
            assert found == expected, field.name
        assert gallery.stamp == stamp()
        gallery.check()
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # the log is written back
    assert path.stat().st_mode & 0o077 == 0


def test_float16_takes_half_the_space_and_rounds(path: Path) -> None:
    given = vectors(500, 256)
    sizes = {}
    for storage in ("float32", "float16"):
        file = path.with_name(storage)
        with made(file, given, storage=storage) as gallery:
            (record,) = gallery.faces("person 7")
        error = np.abs(record.face.embedding - given[7]).max()
        print(f"{storage}: largest difference {error:.2g}")
        assert error <= (2e-8 if storage == "float32" else 2**-11 * np.abs(given[7]).max())
        sizes[storage] = file.stat().st_size
    print(sizes)
    assert sizes["float16"] < 0.75 * sizes["float32"]


def test_faces_of_a_person_gather(path: Path) -> None:
    given = vectors(6)
    with made(path) as gallery:
        fill(gallery, given, people=2)
        assert [(p.name, p.faces) for p in gallery.people()] == [("person 0", 3), ("person 1", 3)]
        gallery.rename("person 0", "Zoë")
        assert [r.face_id for r in gallery.faces("Zoe\u0308")] == [1, 3, 5]  # one name, two forms
        assert gallery.remove("Zoë", faces=[3]).faces == 1
        assert [r.face_id for r in gallery.faces("Zoë")] == [1, 5]
        assert gallery.remove("Zoë").faces == 2
        assert names(gallery) == ["person 1"]
        gallery.add("Zoë", [NewFace(given[0])])
        assert [r.face_id for r in gallery.faces("Zoë")] == [7]  # numbers are never given twice


def test_another_model_is_refused_by_both_names(path: Path) -> None:
    made(path).close()
    with pytest.raises(InputError, match=f"{MODEL}.*other@ffffffffffff") as caught:
        Gallery.open(path, model="other@ffffffffffff")
    assert "gallery migrate" in caught.value.hint
    # A variant of the same model has the same fingerprint and another name.
    Gallery.open(path, model="invented_int8@0123456789ab").close()


SQL = "Robert'); DROP TABLE person; --"

NAMES: dict[str, tuple[object, str]] = {
    "empty": ("  ", "empty"),
    "10 kB": ("x" * 10_000, "10000 bytes"),
    "path": ("../../etc/passwd", "is a path"),
    "Windows path": ("a\\b", "is a path"),
    "parent": ("..", "is a path"),
    "line break": ("a\nb", "unprintable characters"),
    "zero byte": ("a\0b", "unprintable characters"),
    "half a character": ("a\ud800", "not valid Unicode"),
    "number": (7, "text, not int"),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_that_cannot_be(case: str, path: Path) -> None:
    name, message = NAMES[case]
    with made(path, vectors(2)) as gallery:
        for act in (
            lambda: gallery.add(name, [NewFace(vectors(1)[0])]),  # type: ignore[arg-type]
            lambda: gallery.rename("person 0", name),  # type: ignore[arg-type]
        ):
            with pytest.raises(InputError, match=message) as caught:
                act()
            assert len(str(caught.value)) < 200
        assert names(gallery) == ["person 0", "person 1"]


def test_sql_in_a_name_is_a_name(path: Path) -> None:
    with made(path, vectors(3)) as gallery:
        gallery.add(SQL, [NewFace(vectors(4)[3])])
        assert gallery.search(vectors(4)[3])[0].matches[0].name == SQL
        gallery.rename(SQL, SQL + "%_\"'")
        assert gallery.remove(SQL + "%_\"'").faces == 1
        assert names(gallery) == ["person 0", "person 1", "person 2"]
        gallery.check()


def test_duplicate_and_unknown_names(path: Path) -> None:
    with made(path, vectors(2)) as gallery:
        with pytest.raises(InputError, match="'person 1' is already enrolled"):
            gallery.rename("person 0", "person 1")
        for act in (
            lambda: gallery.rename("nobody", "x"),
            lambda: gallery.remove("nobody"),
            lambda: list(gallery.faces("nobody")),
        ):
            with pytest.raises(InputError, match="no person named 'nobody'"):
                act()
        with pytest.raises(InputError, match="has no face 2"):
            gallery.remove("person 0", faces=[1, 2])
        assert len(list(gallery.faces("person 0"))) == 1


EMBEDDINGS: dict[str, tuple[Any, str]] = {
    "not a number": (np.full(SIZE, np.nan, np.float32), "not finite"),
    "infinite": (np.full(SIZE, np.inf, np.float32), "not finite"),
    "zero": (np.zeros(SIZE, np.float32), "zero"),
    "too long": (np.ones(SIZE + 1, np.float32), r"shape \(64,\), not \(65,\)"),
    "too short": (np.ones(2, np.float32), "must have shape"),
    "matrix": (np.ones((2, SIZE), np.float32), "must have shape"),
    "text": (["a"] * SIZE, "not an array of numbers"),
}


@pytest.mark.parametrize("case", EMBEDDINGS)
def test_embeddings_that_cannot_be(case: str, path: Path) -> None:
    """One bad face keeps all of its person's faces out."""
    vector, message = EMBEDDINGS[case]
    with made(path, vectors(2)) as gallery:
        with pytest.raises(InputError, match=message):
            gallery.add("Ann", [NewFace(vectors(1)[0]), NewFace(vector)])
        assert names(gallery) == ["person 0", "person 1"]
        if case not in ("matrix", "text"):
            with pytest.raises(InputError, match=message):
                gallery.search(vector)


def test_embeddings_are_scaled_to_unit_length(path: Path) -> None:
    with made(path) as gallery:
        gallery.add("Ann", [NewFace(70 * vectors(1)[0])])  # as long as V2 gives them
        assert abs(gallery.search(3 * vectors(1))[0].matches[0].similarity - 1) < 1e-6


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


def test_damage_that_opening_does_not_see(path: Path) -> None:
    """A wrong embedding is found by a search, and by a check."""
    made(path, vectors(200)).close()
    changed("UPDATE face SET embedding = x'00' WHERE id = 7")(path)
    with Gallery.open(path) as gallery:
        with pytest.raises(GalleryError, match="embedding of face 7"):
            gallery.search(vectors(1))
        with pytest.raises(GalleryError, match="face 7"):
            gallery.check()


def test_an_older_schema_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(path, vectors(3)).close()
    newer = (*schema.MIGRATIONS, ("ALTER TABLE person ADD COLUMN note TEXT DEFAULT 'none'",))
    monkeypatch.setattr(schema, "MIGRATIONS", newer)
    with Gallery.open(path) as gallery:
        assert gallery.database.value("SELECT note FROM person") == "none"
        assert names(gallery) == ["person 0", "person 1", "person 2"]
    monkeypatch.undo()
    with pytest.raises(GalleryError, match="schema version is 2, this program supports 1 to 1"):
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


def test_removed_is_erased(path: Path) -> None:
    """Of names, embeddings, crops and file names nothing is left in any file of the gallery."""
    random = np.random.RandomState(3)
    given = vectors(3000)
    secret = [random.bytes(12).hex() for _ in range(3000)]
    crops = [random.bytes(random.randint(500, 9000)) for _ in range(3000)]
    with made(path) as gallery:
        with gallery.database.write():
            for name, vector, crop in zip(secret, given, crops, strict=True):
                gallery.add(name, [NewFace(vector, f"{name}.jpg", crop=crop)])
        assert gallery.search(given[5])[0].matches[0].name == secret[5]
        assert path.with_name(f"{path.name}-matrix").is_file()
        chosen = random.choice(3000, 20, replace=False)
        before = everything_in(path.parent)
        needles = [secret[number].encode() for number in chosen]
        for number in chosen:
            needles += [face.face.embedding.tobytes() for face in gallery.faces(secret[number])]
        assert all(needle in before for needle in needles)
        pieces = [crops[number][at : at + 40] for number in chosen for at in (0, 100, 300)]
        needles += [piece for piece in pieces if piece in before]  # others lie in two pages
        assert len(needles) > 40 + 50
        with Gallery.open(path) as reader:
            reader.search(given[5])  # maps the matrix
            for number in chosen:
                assert gallery.remove(secret[number]).erased
            after = everything_in(path.parent)
            assert not [needle for needle in needles if needle in after]
            assert reader.search(given[chosen[0]])[0].matches[0].name != secret[chosen[0]]
        old = next(number for number in range(3000) if number not in chosen)
        gallery.rename(secret[old], "somebody")
        gallery.check()


@pytest.mark.parametrize("name", ["people.gallery", "people", "a.[b].gallery"])
def test_unfinished_files_are_erased_too(name: str, tmp_path: Path) -> None:
    """What a killed process left of a matrix or index; another gallery's files stay."""
    given = vectors(3)
    with made(tmp_path / name, given) as gallery:
        for suffix in ("-matrix", "-usearch-0-1-2"):
            with replacing(tmp_path / f"{name}{suffix}") as temporary:
                pass
            (tmp_path / f"{name}{suffix}").rename(temporary)  # as if nobody had come to rename it
            temporary.write_bytes(given[1].tobytes())
        other = tmp_path / f"other{name}-matrix"
        other.write_bytes(b"another gallery's")
        (tmp_path / "link").symlink_to(tmp_path / name)
        with Gallery.open(tmp_path / "link") as linked:
            linked.remove("person 1")
        assert other.exists()
        assert not list(tmp_path.glob(".*"))
        assert given[1].tobytes() not in everything_in(tmp_path)
        assert names(gallery) == ["person 0", "person 2"]


def test_a_reader_of_an_older_state_delays_erasing_and_is_told_of(path: Path) -> None:
    with made(path, vectors(5)) as gallery, Gallery.open(path) as reader:
        gallery.database.run("PRAGMA busy_timeout = 50")
        with reader.database.read():
            assert len(reader) == 5
            assert not gallery.remove("person 1").erased
            assert len(reader) == 5
        assert gallery.remove("person 2").erased


def test_a_second_writer_waits_and_then_says_so(path: Path) -> None:
    with made(path, vectors(2)) as gallery, Gallery.open(path, timeout=0.05) as other:
        with gallery.database.write():
            gallery.add("Ann", [NewFace(vectors(3)[2])])
            with pytest.raises(GalleryError, match="another process is writing"):
                other.add("Bob", [NewFace(vectors(4)[3])])
            assert names(other) == ["person 0", "person 1"]  # readers do not wait
        other.add("Bob", [NewFace(vectors(4)[3])])
        assert names(gallery) == ["Ann", "Bob", "person 0", "person 1"]


def test_an_interrupted_transaction_leaves_nothing(path: Path) -> None:
    with made(path, vectors(2)) as gallery:

        def interrupted() -> None:
            with gallery.database.write():
                gallery.add("Ann", [NewFace(vectors(3)[2])])
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert names(gallery) == ["person 0", "person 1"]


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
        with pytest.raises(InputError, match="own backup"):
            backup(gallery, path)
    with Gallery.open(copy, model=MODEL) as gallery:
        assert sorted(names(gallery)) == sorted(f"person {number}" for number in range(300))
        gallery.check()
    assert {file.name for file in path.parent.iterdir()} == {path.name, copy.name}


def test_a_migrated_gallery_is_not_read_on_with_the_old_model(path: Path) -> None:
    with made(path, vectors(5)) as gallery, Gallery.open(path) as other:
        gallery.search(vectors(1))
        other.database.run("UPDATE stamp SET model = 'other@ffffffffffff'")
        for act in (
            lambda: gallery.search(vectors(1)),
            lambda: gallery.add("Ann", [NewFace(vectors(1)[0])]),
        ):
            with pytest.raises(GalleryError, match=f"{MODEL} and now contains those of other@"):
                act()


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
