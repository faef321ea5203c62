"""What a gallery's file holds, in numbers, and whether SQLite finds it intact."""

from __future__ import annotations

from typing import Any

from ..errors import GalleryError
from ..host.files import reason
from .database import Database
from .erasing import derived_files
from .merging import merged_people
from .rows import REPAIR

__all__ = ["check_file", "count_all", "require_readable"]


def count_all(database: Database) -> dict[str, Any]:
    """Numbers of people, faces, crops and bytes, as JSON types; see `Gallery.stats`."""
    with database.read():
        people, faces, crops = (
            int(database.value(f"SELECT count(*) FROM {table}"))
            for table in ("person", "face", "crop")
        )
        query = "SELECT max(n) FROM (SELECT count(*) AS n FROM face GROUP BY person)"
        most = database.value(query) or 0
    derived = derived_files(database.path)
    return {
        "people": people,
        "faces": faces,
        "most_faces": int(most),
        "crops": crops,
        "bytes": database.path.stat().st_size,
        "derived_bytes": sum(path.stat().st_size for path in derived if path.exists()),
        "encrypted": database.encrypted,
    }


def require_readable(database: Database) -> None:
    """Checks, in a moment, that the file is still there and can be read.

    Raises:
        GalleryError: If it cannot.
    """
    try:
        with database.path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        text = f"cannot be read ({reason(error)})"
        raise GalleryError(text, where=str(database.path)) from error
    if empty or database.value("SELECT count(*) FROM state") != 1:
        raise GalleryError("corrupt: it is empty", where=str(database.path))


def check_file(database: Database) -> None:
    """Checks the file, its references, mergers and the number of its faces; see `Gallery.check`.

    Raises:
        GalleryError: If something is corrupt; the error says what.
    """
    where = str(database.path)
    found = str(database.value("PRAGMA integrity_check"))
    if found != "ok":
        raise GalleryError(f"corrupt: {found}", where=where, hint="restore it from a backup")
    orphan = database.row("PRAGMA foreign_key_check")
    if orphan is not None:
        text = f"corrupt: a row of table '{orphan[0]}' refers to a missing row"
        raise GalleryError(text, where=where)
    count = int(database.value("SELECT count(*) FROM face NOT INDEXED"))
    stored = int(database.value("SELECT faces FROM state"))
    if count != stored:
        text = f"corrupt: it has {count} faces, and {stored} were enrolled"
        raise GalleryError(text, where=where, hint=REPAIR)
    merged_people(database)
