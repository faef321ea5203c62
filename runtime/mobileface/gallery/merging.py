"""Two people of a gallery who are one: their faces become those of one person."""

from __future__ import annotations

from ..errors import GalleryError, InputError
from .checksums import checksum
from .database import Database
from .entries import MergedPerson, Merger
from .removal import remove_faces
from .rows import FaceRows
from .stamp import new_uid

__all__ = ["merge_people", "merged_people"]

_CROPS = (
    "UPDATE crop SET checksum = mobileface_checksum(face, ?, jpeg, bbox, kps) "
    "WHERE checksum = mobileface_checksum(face, ?, jpeg, bbox, kps) "
    "AND face IN (SELECT id FROM face NOT INDEXED WHERE person = ?)"
)
_SUMS = (
    "UPDATE face NOT INDEXED SET checksum = mobileface_checksum(id, ?, embedding) "
    "WHERE person = ? AND checksum = mobileface_checksum(id, person, embedding)"
)
_TWICE = (
    "SELECT id FROM face NOT INDEXED WHERE person = ? AND source_sha256 IN "
    "(SELECT source_sha256 FROM face NOT INDEXED WHERE person = ?)"
)


def merge_people(
    database: Database, rows: FaceRows, person: tuple[int, str], into: tuple[int, str]
) -> Merger:
    """Moves all faces of a person to another one; call it in a transaction.

    Faces of files that are enrolled for the other person as well are removed, as enrolment would
    skip them. The first person is removed. A row that was damaged before stays so: only checksums
    that were right are computed anew. Files derived from the gallery belong to an older epoch then.

    Args:
        database: The gallery's database.
        rows: Reads its rows.
        person: ID and name of the person whose faces are moved.
        into: ID and name of the person who gets them.

    Raises:
        InputError: If both are the same person.
        OutputError: If a derived file with a removed face cannot be erased.
    """
    number, name = person
    target = into[0]
    if number == target:
        raise InputError(f"'{name}' cannot be merged into itself", where=str(database.path))
    twice = [face for (face,) in database.rows(_TWICE, (number, target))]
    remove_faces(database, rows, number, name, twice)
    database.run(_CROPS, (target, number, number))
    database.run(_SUMS, (target, number))
    moved = database.run(
        "UPDATE face NOT INDEXED SET person = ? WHERE person = ?", (target, number)
    )
    _note(database, number, target)
    database.run("DELETE FROM person WHERE id = ?", (number,))
    database.run("UPDATE state SET epoch = ?", (new_uid(),))
    return Merger(moved, len(twice), False)


def merged_people(database: Database) -> dict[int, MergedPerson]:
    """People who were merged into others, by their IDs.

    Raises:
        GalleryError: If a row is damaged.
    """
    found = {}
    for *row, stored in database.rows("SELECT person, into_person, created, checksum FROM merged"):
        if stored != checksum(*row):
            text = f"corrupt: the checksum of merged person {row[0]} is wrong"
            raise GalleryError(text, where=str(database.path), hint="restore it from a backup")
        found[row[0]] = MergedPerson(*row)
    return found


def _note(database: Database, number: int, target: int) -> None:
    """Notes where a person's faces are now, and those of who was merged into that person before."""
    created = database.value("SELECT created FROM person WHERE id = ?", (number,))
    moved = [one for one in merged_people(database).values() if one.into == number]
    for earlier, since in ((number, created), *((one.person_id, one.created) for one in moved)):
        row = (earlier, target, since)
        sql = (
            "INSERT OR REPLACE INTO merged (person, into_person, created, checksum) "
            "VALUES (?, ?, ?, ?)"
        )
        database.run(sql, (*row, checksum(*row)))
