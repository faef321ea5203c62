"""Damaged rows: left out and named, never compared; repaired from crops; removed completely."""

from __future__ import annotations

import dataclasses
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileface.errors import GalleryError, OutputError
from mobileface.gallery import Gallery, NewFace, export_gallery, find_damaged, schema
from mobileface.gallery.stamp import COLUMNS
from tests.runtime.gallery.gallery_helpers import (
    SIZE,
    everything_in,
    fill,
    made,
    names,
    stamp,
    vectors,
)

Array = np.ndarray[Any, Any]


def with_bit(vector: Array, bit: int) -> Array:
    """One flipped bit of the first element; 30 is the highest of the exponent."""
    words = vector.view("<u4").copy()
    words[0] ^= np.uint32(1 << bit)
    return words.view("<f4")


DAMAGE: dict[str, Callable[[Array], Array]] = {
    "exponent": lambda vector: with_bit(vector, 30),
    "last bit": lambda vector: with_bit(vector, 0),
    "NaN": lambda vector: np.where(np.arange(SIZE) == 3, np.float32("nan"), vector),
    "infinity": lambda vector: np.where(np.arange(SIZE) == 3, np.float32("inf"), vector),
    "zero": np.zeros_like,
    "short": lambda vector: vector[:3],
    "nothing": lambda vector: vector[:0],
    "another face": lambda vector: vectors(1, SIZE, 99)[0],
}


def store(path: Path, face: int, vector: Array) -> None:
    """Overwrites an embedding as another program would."""
    with sqlite3.connect(path) as connection:
        values = (np.asarray(vector, "<f4").tobytes(), face)
        connection.execute("UPDATE face SET embedding = ? WHERE id = ?", values)
    connection.close()


@pytest.mark.parametrize("count", [50, 2100])
@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_embedding_is_left_out(case: str, count: int, path: Path) -> None:
    """Named once; the others are found as before, also by means, and from a new matrix file."""
    given = vectors(count)
    made(path, given).close()
    store(path, 7, DAMAGE[case](given[6]))
    probe = given[6] + 0.5 * given[20]
    products = (given / 1.0) @ (probe / np.linalg.norm(probe))
    products[6] = -2
    order = np.argsort(-products)[:5]
    for _ in range(2):
        with Gallery.open(path) as gallery:
            with pytest.warns(
                UserWarning, match=r"1 damaged face is left out: face 7 of 'person 6'"
            ):
                (found,) = gallery.search(probe)
            for templates in ("best", "mean"):
                (again,) = gallery.search(probe, templates=templates)  # type: ignore[arg-type]
                assert [m.name for m in again.matches] == [f"person {row}" for row in order]
            assert found.comparisons == count - 1
            error = max(
                abs(m.similarity - products[n]) for m, n in zip(found.matches, order, strict=True)
            )
            print(f"{case}: largest difference of similarities {error:.2g}")
            assert error < 1e-6
    assert path.with_name(f"{path.name}-matrix").exists() == (count > 2000)
    with Gallery.open(path) as gallery:
        (face,) = find_damaged(gallery)
        assert (face.face_id, face.named, face.repairable) == (7, "face 7 of 'person 6'", False)
        with pytest.raises(GalleryError, match="face 7: damaged"):
            export_gallery(gallery, path.with_name("all.json"))
        gallery.remove("person 6")
        gallery.search(probe)
        assert not find_damaged(gallery)
        gallery.check()


def test_many_damaged_faces_are_one_warning(path: Path) -> None:
    given = vectors(2300)
    made(path, given).close()
    for face in range(1, 201):
        store(path, face, given[0] * 2)
    with Gallery.open(path) as gallery:
        with pytest.warns(UserWarning, match="damaged") as caught:
            (found,) = gallery.search(given[1000])
        (message,) = [str(each.message) for each in caught]
        assert "200 damaged faces are left out" in message
        assert "and 195 more" in message
        assert found.comparisons == 2100
        assert found.matches[0].name == "person 1000"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE person SET name = 'x' WHERE id = 7", "row of person 7 is damaged"),
        ("DELETE FROM face WHERE id = 9", "49 faces can be read, and 50 were enrolled"),
        ("UPDATE stamp SET model = 'other@0123456789ab'", "checksum of its stamp"),
        ("UPDATE stamp SET size = 32", "checksum of its stamp"),
    ],
)
def test_other_rows_are_checked_too(statement: str, message: str, path: Path) -> None:
    given = vectors(50)
    made(path, given).close()
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(GalleryError, match=message), Gallery.open(path) as gallery:
        gallery.search(given[6])


def test_a_face_in_another_persons_name_is_left_out(path: Path) -> None:
    given = vectors(50)
    made(path, given).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE face SET person = 3 WHERE id = 7")
    connection.close()
    with Gallery.open(path) as gallery, pytest.warns(UserWarning, match="face 7"):
        best = gallery.search(given[6])[0].best
    assert best is not None
    assert best.similarity < 0.9


def old_gallery(path: Path, given: Array) -> None:
    """A file of schema version 1, as the first release wrote it."""
    path.parent.mkdir(exist_ok=True)
    with sqlite3.connect(path) as connection:
        for sql in schema.MIGRATIONS[0]:
            connection.execute(sql)
        marks = ", ".join("?" * len(COLUMNS))
        sql = f"INSERT INTO stamp (id, {', '.join(COLUMNS)}) VALUES (1, {marks})"
        connection.execute(sql, stamp().to_row())
        connection.execute("INSERT INTO state VALUES (1, 'e')")
        for number, vector in enumerate(given, 1):
            values: tuple[Any, ...] = (number, f"person {number - 1}", "2026")
            connection.execute("INSERT INTO person VALUES (?, ?, ?)", values)
            values = (number, number, f"uid{number}", vector.astype("<f4").tobytes(), "2026")
            sql = "INSERT INTO face (id, person, uid, embedding, created) VALUES (?, ?, ?, ?, ?)"
            connection.execute(sql, values)
            connection.execute("INSERT INTO crop VALUES (?, ?, null, null)", (number, b"jpeg"))
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
    connection.close()


def test_a_file_of_the_first_version_is_upgraded(path: Path) -> None:
    """Faces that were damaged before are found by their length; all others get checksums."""
    given = vectors(60)
    given[10] *= 1.5
    old_gallery(path, given)
    with Gallery.open(path) as gallery:
        assert gallery.database.value("PRAGMA user_version") == schema.VERSION == 3
        with pytest.warns(UserWarning, match="face 11 of 'person 10'.*not L2-normalized"):
            assert gallery.search(given[30])[0].matches[0].name == "person 30"
        assert [face.face_id for face in find_damaged(gallery)] == [11]
        gallery.check()
        gallery.add("Ann", [NewFace(vectors(1, SIZE, 5)[0], crop=b"x")])
        gallery.remove("person 10")
        gallery.rename("person 3", "Bea")
    store(path, 31, with_bit(given[30], 3))
    with Gallery.open(path) as gallery:
        assert [face.face_id for face in find_damaged(gallery)] == [31]
        marks = {mark for (mark,) in gallery.database.rows("SELECT mark FROM face")}
        assert len(marks) == 60


def test_an_old_file_that_cannot_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a read-only disk: one sentence says what to do, and the file stays as it is."""
    old_gallery(path, vectors(3))
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(
            "mobileface.gallery.database.Database._open_existing",
            lambda self: self._open("ro&immutable=1"),
        )
        with pytest.raises(OutputError, match=r"version 1 must be upgraded to 3 .*; open it once"):
            Gallery.open(path)
    assert path.read_bytes() == before
    Gallery.open(path).close()


def test_a_matrix_of_another_copys_history_is_not_used(path: Path) -> None:
    """Two copies grow apart, then both get a face with the same ID and uid."""
    given = vectors(2300)
    shared = dataclasses.replace(NewFace(given[2200]), uid="0123456789abcdef")
    with made(path, given[:2100]) as gallery:
        gallery.search(given[0])
    matrix = path.with_name(f"{path.name}-matrix")
    matrix.unlink()
    start = path.read_bytes()
    found = []
    for name, own in (("Ann", 2250), ("Bea", 2251)):
        path.write_bytes(start)  # the matrix of the first one stays
        with Gallery.open(path) as gallery:
            gallery.add(name, [NewFace(given[own])])
            gallery.add("Cid", [shared])
            best = gallery.search(given[2250])[0].best
            assert best is not None
            found.append((best.name, best.similarity > 0.999))
    print(found)
    assert found[0] == ("Ann", True)
    assert not found[1][1]


@pytest.mark.parametrize("matrix_too", [False, True])
def test_removal_of_a_damaged_face_is_complete(matrix_too: bool, path: Path) -> None:
    """The matrix still has the embedding as it was; it may be damaged itself."""
    given = vectors(2100)
    crop = np.random.default_rng(1).bytes(3000)
    matrix = path.with_name(f"{path.name}-matrix")
    with made(path, given) as gallery:
        gallery.add("Zoe Secret", [NewFace(given[5] * 0 + vectors(1, SIZE, 8)[0], crop=crop)])
        gallery.search(given[0])
    secret = vectors(1, SIZE, 8)[0]
    assert secret.tobytes() in matrix.read_bytes()
    damaged = with_bit(secret, 30)
    store(path, 2101, damaged)
    if matrix_too:
        content = matrix.read_bytes()
        matrix.write_bytes(content.replace(secret.tobytes(), with_bit(secret, 2).tobytes()))
    index = path.with_name(f"{path.name}-usearch-1-2-3")
    index.write_bytes(b"graph" + secret.astype("<f2").tobytes())
    with matrix.open("rb") as stream, index.open("rb") as other, Gallery.open(path) as gallery:
        removal = gallery.remove("Zoe Secret")
        assert (removal.faces, removal.erased) == (1, True)
        left = everything_in(path.parent) + stream.read() + other.read()
        assert not matrix.exists()
        for piece in (secret, damaged, with_bit(secret, 2)):
            assert piece.tobytes()[4:] not in left  # all but the element with the flipped bit
            with np.errstate(over="ignore"):  # the flipped bit makes one element 1e38
                half = piece.astype("<f2")
            assert half.tobytes()[2:] not in left
        assert b"Zoe Secret" not in left
        assert not any(crop[at : at + 32] in left for at in range(0, 2900, 32))
        assert gallery.search(given[5])[0].matches[0].name == "person 5"


def test_removal_fails_before_it_begins(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be erased: nobody is removed, and the error names the file."""
    with made(path, vectors(2100)) as gallery:
        gallery.search(vectors(1))
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", denied)
            with pytest.raises(OutputError, match="-matrix: contains data of faces and cannot be"):
                gallery.remove("person 5")
        assert "person 5" in names(gallery)
        gallery.check()
        assert gallery.remove("person 5").erased


def denied(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


@pytest.mark.slow
def test_nothing_of_removed_people_is_left_in_any_file(path: Path) -> None:
    """Beside a reader, with the log in use: sixty removals in random order, among additions."""
    random = np.random.default_rng(12)
    given = vectors(400, SIZE, 2)
    people = [f"secret {random.bytes(9).hex()}" for _ in given]
    crops = [random.bytes(int(random.integers(300, 9000))) for _ in given]
    with made(path) as gallery, Gallery.open(path) as reader:
        for name, vector, crop in zip(people, given, crops, strict=True):
            gallery.add(name, [NewFace(vector, f"{name}.jpg", crop=crop)])
        removed = list(random.choice(400, 60, replace=False))
        for turn, number in enumerate(removed):
            assert reader.search(given[number])[0].matches[0].name == people[number]
            if turn % 5 == 0:
                fill(gallery, vectors(3, SIZE, 1000 + turn))
            assert gallery.remove(people[number]).erased
        assert re.search(rb"secret [0-9a-f]{18}", everything_in(path.parent))  # of the others
        left = everything_in(path.parent)
        assert path.with_name(f"{path.name}-wal").exists()
        for number in removed:
            assert people[number].encode() not in left
            assert given[number].tobytes() not in left
            pieces = [crops[number][at : at + 40] for at in range(0, len(crops[number]) - 40, 40)]
            assert not [piece for piece in pieces if piece in left]
