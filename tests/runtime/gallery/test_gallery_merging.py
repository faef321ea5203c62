"""Two people become one: what SQLite and Python's zlib say of the rows afterwards."""

from __future__ import annotations

import json
import sqlite3
import struct
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from mobileface.commands.main import main
from mobileface.errors import GalleryError, InputError, OutputError
from mobileface.gallery import Gallery, NewFace, find_damaged
from tests.runtime.gallery.gallery_helpers import everything_in, made, names, vectors

CROP = b"\xff\xd8 the bytes of a crop"


def whole(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of people, faces, crops and mergers, as another program reads them."""
    connection = sqlite3.connect(path)
    read = ("person", "face", "crop", "merged")
    tables = {name: f"SELECT * FROM {name} ORDER BY 1" for name in read}
    found = {name: list(connection.execute(query)) for name, query in tables.items()}
    connection.close()
    return found


def two_people(path: Path) -> Gallery:
    """Ann with photos a and b, Anne with b and c."""
    given = vectors(4)
    gallery = made(path)
    for name, rows in (("Ann", (0, 1)), ("Anne", (2, 3))):
        faces = [
            NewFace(given[row], f"{'abbc'[row]}.jpg", "abbc"[row] * 64, crop=CROP + bytes([row]))
            for row in rows
        ]
        gallery.add(name, faces)
    return gallery


def test_faces_move_and_the_same_file_stays_once(path: Path) -> None:
    with two_people(path) as gallery:
        before = everything_in(path.parent)
        assert b"Ann" in before
        done = gallery.merge("Anne", "Ann")
        assert (done.moved, done.dropped, done.erased) == (1, 1, True)
        assert names(gallery) == ["Ann"]
        found = [record.face.source for record in gallery.faces("Ann")]
        assert found == ["a.jpg", "b.jpg", "c.jpg"]
        assert [record.face_id for record in gallery.faces("Ann")] == [1, 2, 4]
        best = gallery.search(vectors(4)[3])[0].best
        assert best is not None
        assert (best.name, best.face_id) == ("Ann", 4)
        gallery.check()
        assert find_damaged(gallery) == []
        after = everything_in(path.parent)
        assert vectors(4)[2].tobytes() in before
        assert vectors(4)[2].tobytes() not in after
        assert b"Anne" not in after


def test_checksums_are_those_of_the_definition(path: Path) -> None:
    """CRC-32 of IDs as 8 bytes, little endian, and of the content; by zlib."""
    with two_people(path) as gallery:
        gallery.merge("Anne", "Ann")
    rows = whole(path)
    assert len(rows["person"]) == 1
    assert len(rows["face"]) == len(rows["crop"]) == 3
    for face, crop in zip(rows["face"], rows["crop"], strict=True):
        head = struct.pack("<qq", face[0], 1)
        assert face[1] == 1
        assert face[11] == crc32(face[3], crc32(head))
        assert crop[4] == crc32(crop[1], crc32(head))
    ((number, into, created, stored),) = rows["merged"]
    assert (number, into) == (2, 1)
    assert stored == crc32(created.encode(), crc32(struct.pack("<qq", 2, 1)))


def test_whom_merged_people_belong_to(path: Path) -> None:
    """Through several mergers, until that person is erased; nothing of their names stays."""
    with made(path, vectors(5)) as gallery:
        created = {person.person_id: person.created for person in gallery.people()}
        for name, into in ((0, 1), (2, 3), (1, 3)):
            gallery.merge(f"person {name}", f"person {into}")
        found = gallery.merged_people()
        assert {number: one.into for number, one in found.items()} == {1: 4, 2: 4, 3: 4}
        assert all(one.created == created[number] for number, one in found.items())
        gallery.merge("person 3", "person 4")
        assert {one.into for one in gallery.merged_people().values()} == {5}
        assert everything_in(path.parent).count(b"person 3") == 0
        gallery.remove("person 4")
        assert gallery.merged_people() == {}


def test_a_damaged_merger_is_an_error(path: Path) -> None:
    with two_people(path) as gallery:
        gallery.merge("Anne", "Ann")
        gallery.database.run("UPDATE merged SET person = 3")
        for read in (gallery.merged_people, gallery.check):
            with pytest.raises(GalleryError, match=r"checksum of merged person 3 is wrong"):
                read()


def test_a_matrix_made_before_is_not_searched(path: Path) -> None:
    given = vectors(2100)
    with made(path, given) as gallery:
        assert gallery.search(given[:1])[0].matches[0].name == "person 0"
        assert path.with_name(f"{path.name}-matrix").exists()
        gallery.merge("person 7", "person 0")
        best = gallery.search(given[7])[0].best
        assert best is not None
        assert (best.name, best.face_id) == ("person 0", 8)
    with Gallery.open(path) as gallery:
        assert len(gallery) == 2099
        assert gallery.search(given[7])[0].matches[0].name == "person 0"


def test_damaged_rows_stay_damaged(path: Path) -> None:
    two_people(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE face SET embedding = zeroblob(length(embedding)) WHERE id = 4")
    connection.execute("UPDATE crop SET jpeg = CAST(jpeg || x'00' AS BLOB) WHERE face = 1")
    connection.commit()
    connection.close()
    with Gallery.open(path) as gallery:
        before = {face.face_id: face.reason for face in find_damaged(gallery)}
        assert set(before) == {1, 4}
        gallery.merge("Anne", "Ann")
        assert {face.face_id: face.reason for face in find_damaged(gallery)} == before
        gallery.check()


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("Ann", "Ann"), "cannot be merged into itself"),
        (("Ann", "Bob"), "no person named 'Bob'"),
        (("Bob", "Ann"), "no person named 'Bob'"),
    ],
)
def test_people_who_cannot_be_merged(pair: tuple[str, str], message: str, path: Path) -> None:
    two_people(path).close()
    before = whole(path)
    with Gallery.open(path) as gallery, pytest.raises(InputError, match=message):
        gallery.merge(*pair)
    assert whole(path) == before


def test_a_full_disk_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last statement fails, as on a full disk: everything before it is undone."""
    with two_people(path) as gallery:
        before = whole(path)
        real = gallery.database.run

        def run(sql: str, values: Any = ()) -> int:
            if sql.startswith("UPDATE state SET epoch = ?") and "faces" not in sql:
                raise OutputError("the disk is full; nothing was stored", where=str(path))
            return real(sql, values)

        monkeypatch.setattr(gallery.database, "run", run)
        with pytest.raises(OutputError, match="disk is full"):
            gallery.merge("Anne", "Ann")
    assert whole(path) == before


def test_the_command(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two_people(path).close()
    assert main(["gallery", "merge", "Anne", "Ann", "--gallery", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "name": "Ann",
        "moved": 1,
        "dropped": 1,
        "erased": True,
    }
    assert main(["gallery", "merge", "Anne", "Ann", "--gallery", str(path)]) == 2
    assert "no person named 'Anne'" in capsys.readouterr().err
