"""The tables of a gallery file, their schema versions, and checks of the file.

docs/gallery.md describes the tables for readers who access the file with other tools.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import GalleryError, OutputError
from .database import Database

__all__ = [
    "APPLICATION_ID",
    "VERSION",
    "check_model",
    "check_schema",
    "create_schema",
    "insert_stamp",
    "seal_stamp",
    "stamp_is_sealed",
]

APPLICATION_ID = 0x4D464731
"""SQLite's application_id of a gallery: "MFG1"."""

_FIRST = (
    """CREATE TABLE stamp (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        gallery TEXT NOT NULL,
        model TEXT NOT NULL,
        model_sha256 TEXT NOT NULL,
        size INTEGER NOT NULL CHECK (size > 0),
        crop TEXT NOT NULL,
        height INTEGER NOT NULL,
        width INTEGER NOT NULL,
        color TEXT NOT NULL,
        storage TEXT NOT NULL CHECK (storage IN ('float32', 'float16')),
        keeps_crops INTEGER NOT NULL,
        calibration TEXT,
        created TEXT NOT NULL,
        software TEXT NOT NULL)""",
    # The epoch changes whenever an existing face is removed, re-embedded or gets another person.
    "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), epoch TEXT NOT NULL)",
    """CREATE TABLE person (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        created TEXT NOT NULL)""",
    # AUTOINCREMENT: an ID is never reused, so higher IDs are newer.
    """CREATE TABLE face (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        person INTEGER NOT NULL REFERENCES person (id) ON DELETE CASCADE,
        uid TEXT NOT NULL UNIQUE,
        embedding BLOB NOT NULL,
        source TEXT,
        source_sha256 TEXT,
        bbox TEXT,
        det_score REAL,
        kps TEXT,
        quality TEXT,
        created TEXT NOT NULL)""",
    "CREATE INDEX face_person ON face (person)",
    """CREATE TABLE crop (
        face INTEGER PRIMARY KEY REFERENCES face (id) ON DELETE CASCADE,
        jpeg BLOB NOT NULL,
        bbox TEXT,
        kps TEXT)""",
    # The target model of a migration, and the embeddings so far.
    """CREATE TABLE migration (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        stamp TEXT NOT NULL,
        started TEXT NOT NULL)""",
    """CREATE TABLE migrated (
        face INTEGER PRIMARY KEY REFERENCES face (id) ON DELETE CASCADE,
        embedding BLOB NOT NULL)""",
)

_STAMP_CHECKSUM = (
    "mobileface_checksum(gallery, model, model_sha256, size, crop, height, width, color, storage, "
    "keeps_crops, calibration, created, software)"
)

_CROP_CHECKSUM = (
    "mobileface_checksum(face, (SELECT person FROM face WHERE id = crop.face), jpeg, bbox, kps)"
)

# Checksums of rows, see `checksums`; the number of faces, so that none is lost; and a random mark
# of each enrolment, which tells copies of a gallery apart that were written to separately.
_SECOND = (
    "ALTER TABLE stamp ADD COLUMN checksum INTEGER",
    "ALTER TABLE state ADD COLUMN faces INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE person ADD COLUMN checksum INTEGER",
    "ALTER TABLE face ADD COLUMN checksum INTEGER",
    "ALTER TABLE face ADD COLUMN mark TEXT",
    "ALTER TABLE crop ADD COLUMN checksum INTEGER",
    "ALTER TABLE migrated ADD COLUMN checksum INTEGER",
    f"UPDATE stamp SET checksum = {_STAMP_CHECKSUM}",
    "UPDATE state SET faces = (SELECT count(*) FROM face NOT INDEXED)",
    "UPDATE person SET checksum = mobileface_checksum(id, name)",
    "UPDATE face SET checksum = mobileface_checksum(id, person, embedding), "
    "mark = lower(hex(randomblob(8)))",
    f"UPDATE crop SET checksum = {_CROP_CHECKSUM}",
    "UPDATE migrated SET checksum = mobileface_checksum(face, embedding)",
)

# People who were merged into others: no names, and the row goes when the other person does.
_THIRD = (
    """CREATE TABLE merged (
        person INTEGER PRIMARY KEY,
        into_person INTEGER NOT NULL REFERENCES person (id) ON DELETE CASCADE,
        created TEXT NOT NULL,
        checksum INTEGER)""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _SECOND, _THIRD)
"""The statements that upgrade each schema version to the next; append new ones, never edit any."""

VERSION = len(MIGRATIONS)
"""Schema version (SQLite's user_version). Older files are upgraded, newer files are rejected."""

_TABLES = frozenset({"stamp", "state", "person", "face", "crop", "migration", "migrated", "merged"})


def create_schema(database: Database) -> None:
    """Creates the tables in an empty file; call it in a transaction."""
    database.run(f"PRAGMA application_id = {APPLICATION_ID}")
    _upgrade(database, 0)


def insert_stamp(
    database: Database, columns: Sequence[str], values: Sequence[Any], epoch: str
) -> None:
    """Stores the stamp and the state of a new gallery; call it in a transaction."""
    marks = ", ".join("?" * len(columns))
    database.run(f"INSERT INTO stamp (id, {', '.join(columns)}) VALUES (1, {marks})", values)
    seal_stamp(database)
    database.run("INSERT INTO state (id, epoch) VALUES (1, ?)", (epoch,))


def check_schema(database: Database) -> None:
    """Checks that a file is a gallery, and upgrades an older schema.

    Raises:
        GalleryError: If the file is not a gallery, is corrupt, or has a newer schema.
        OutputError: If the schema must be upgraded and the file cannot be written.
    """
    where = str(database.path)
    if database.value("PRAGMA application_id") != APPLICATION_ID:
        raise GalleryError(
            "an SQLite file, but not a mobileface gallery",
            where=where,
            hint="create one with 'mobileface gallery create'",
        )
    version = int(database.value("PRAGMA user_version"))
    newest = len(MIGRATIONS)
    if not 1 <= version <= newest:
        raise GalleryError(
            f"its schema version is {version}, this program supports 1 to {newest}",
            where=where,
            hint="upgrade mobileface",
        )
    if version < newest:
        try:
            with database.write():
                _upgrade(database, int(database.value("PRAGMA user_version")))
        except OutputError as error:
            raise OutputError(
                f"its schema version {version} must be upgraded to {newest} first ({error.what})",
                where=where,
                hint="open it once where it can be written, or a copy of it",
            ) from error
    kinds = dict(database.rows("SELECT name, type FROM sqlite_master"))
    missing = sorted(_TABLES - {name for name, kind in kinds.items() if kind == "table"})
    if missing:
        raise GalleryError(f"corrupt: table '{missing[0]}' is missing", where=where)
    if {"trigger", "view"} & set(kinds.values()):
        raise GalleryError(
            "contains triggers or views, which mobileface never creates", where=where
        )


def check_model(database: Database, model: str) -> None:
    """Checks that no other process has migrated the gallery since it was opened.

    Raises:
        GalleryError: If the embeddings now belong to another model; the error names both models.
    """
    found = database.value("SELECT model FROM stamp")
    if found != model:
        raise GalleryError(
            f"was opened with embeddings of {model} and now contains those of {found}",
            where=str(database.path),
            hint="open it again with the new model",
        )


def seal_stamp(database: Database) -> None:
    """Stores the checksum of the stamp; call it in the transaction that has changed the stamp."""
    database.run(f"UPDATE stamp SET checksum = {_STAMP_CHECKSUM}")


def stamp_is_sealed(database: Database) -> bool:
    """True if the stamp is as it was sealed."""
    return bool(database.value(f"SELECT checksum IS {_STAMP_CHECKSUM} FROM stamp"))


def _upgrade(database: Database, version: int) -> None:
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            database.run(statement)
    database.run(f"PRAGMA user_version = {len(MIGRATIONS)}")
