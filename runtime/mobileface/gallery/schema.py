"""The tables of a gallery's file, their versions, and what a file must be to be one.

docs/gallery.md explains the tables to people who want to read the file by other means.
"""

from __future__ import annotations

from ..errors import GalleryError
from .database import Database

__all__ = ["APPLICATION_ID", "VERSION", "check_model", "check_schema", "create_schema"]

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
    # The epoch changes whenever a face that was there is removed or embedded anew.
    "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), epoch TEXT NOT NULL)",
    """CREATE TABLE person (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        created TEXT NOT NULL)""",
    # AUTOINCREMENT: a number is never given twice, so numbers tell what is new.
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
    # What a migration has embedded so far, and for which model.
    """CREATE TABLE migration (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        stamp TEXT NOT NULL,
        started TEXT NOT NULL)""",
    """CREATE TABLE migrated (
        face INTEGER PRIMARY KEY REFERENCES face (id) ON DELETE CASCADE,
        embedding BLOB NOT NULL)""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST,)
"""The statements that lead from each version of the schema to the next; append, never change."""

VERSION = len(MIGRATIONS)
"""Of the schema; SQLite's user_version. Newer files are refused, older ones brought up to it."""

_TABLES = frozenset({"stamp", "state", "person", "face", "crop", "migration", "migrated"})


def create_schema(database: Database) -> None:
    """Makes the tables in an empty file, inside a transaction of the caller."""
    database.run(f"PRAGMA application_id = {APPLICATION_ID}")
    _upgrade(database, 0)


def check_schema(database: Database) -> None:
    """Refuses a file that is no gallery; brings one of an older schema up to date.

    Raises:
        GalleryError: A foreign or damaged file, or a newer schema.
        OutputError: An older schema on a disk that cannot be written.
    """
    where = str(database.path)
    if database.value("PRAGMA application_id") != APPLICATION_ID:
        raise GalleryError(
            "an SQLite file, but no gallery of mobileface",
            where=where,
            hint="make one with 'mobileface gallery create'",
        )
    version = int(database.value("PRAGMA user_version"))
    newest = len(MIGRATIONS)
    if not 1 <= version <= newest:
        raise GalleryError(
            f"its schema is version {version}, this program knows 1 to {newest}",
            where=where,
            hint="upgrade mobileface",
        )
    if version < newest:
        with database.write():
            _upgrade(database, int(database.value("PRAGMA user_version")))
    kinds = dict(database.rows("SELECT name, type FROM sqlite_master"))
    missing = sorted(_TABLES - {name for name, kind in kinds.items() if kind == "table"})
    if missing:
        raise GalleryError(f"damaged: table '{missing[0]}' is missing", where=where)
    if {"trigger", "view"} & set(kinds.values()):
        raise GalleryError("has triggers or views, which mobileface never writes", where=where)


def check_model(database: Database, model: str) -> None:
    """Refuses to go on after another process migrated the gallery.

    Raises:
        GalleryError: Its embeddings are now another model's; names both.
    """
    found = database.value("SELECT model FROM stamp")
    if found != model:
        raise GalleryError(
            f"was opened with embeddings of {model} and now holds those of {found}",
            where=str(database.path),
            hint="open it again with that model",
        )


def _upgrade(database: Database, version: int) -> None:
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            database.run(statement)
    database.run(f"PRAGMA user_version = {len(MIGRATIONS)}")
