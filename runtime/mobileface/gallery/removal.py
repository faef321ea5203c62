"""Removal of faces: from the gallery's tables and from every file derived from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import InputError
from .database import Database
from .entries import Removal
from .erasing import derived_files, erase
from .matrix_file import stored_rows
from .rows import FaceRows
from .stamp import new_uid
from .usearch_engine import is_intact_index

__all__ = ["remove_faces"]


def remove_faces(
    database: Database, rows: FaceRows, person: int, name: str, faces: Sequence[int] | None
) -> Removal:
    """Removes a person, or some faces; call it in a transaction, which an error must roll back.

    The derived files are erased first, so no crash leaves the data there without the person. What
    another process derives until the transaction ends belongs to an older epoch, which that process
    notices itself (`FaceMatrix.confirm`).

    Args:
        database: The gallery's database.
        rows: Reads its rows.
        person: ID of the person.
        name: Name of the person, for error messages.
        faces: IDs of the faces; None removes the person and all faces.

    Raises:
        InputError: If the person has no such face.
        OutputError: If a derived file cannot be erased.
    """
    # Not by the index, which may be damaged: no face may stay.
    query = "SELECT id, person, embedding, checksum FROM face NOT INDEXED WHERE person = ?"
    known = {row[0]: row for row in database.rows(query, (person,))}
    chosen = list(known) if faces is None else list(dict.fromkeys(faces))
    for number in chosen:
        if number not in known:
            raise InputError(f"'{name}' has no face {number}", where=str(database.path))
    _erase_derived(database, rows, [known[number] for number in chosen])
    for number in chosen:
        database.run("DELETE FROM crop WHERE face = ?", (number,))
        database.run("DELETE FROM face WHERE id = ?", (number,))
    if faces is None:
        database.run("DELETE FROM person WHERE id = ?", (person,))
    sql = "UPDATE state SET epoch = ?, faces = faces - ?"
    database.run(sql, (new_uid(), len(chosen)))
    return Removal(len(chosen), False)


def _erase_derived(database: Database, rows: FaceRows, chosen: list[tuple[Any, ...]]) -> None:
    """Overwrites and deletes derived files.

    They hold the embeddings as they were before a row was damaged, so those of the matrix file are
    looked for as well. A file that is damaged itself is overwritten as a whole, and so is an index
    if it may hold embeddings that are known no more.
    """
    files = derived_files(database.path)
    if not files or not chosen:
        return
    numbers = [row[0] for row in chosen]
    stored = {path: stored_rows(path, numbers) for path in files}
    patterns = {row[2] for row in chosen if isinstance(row[2], bytes)}
    known = {row[0] for row in rows.sound(chosen)[0]}
    for found in stored.values():
        patterns.update((found or {}).values())
        known.update(found or ())
    searched = sorted(patterns | set(map(rows.halved, patterns)))
    for path in files:
        intact = stored[path] is not None or (known.issuperset(numbers) and is_intact_index(path))
        erase(path, searched if intact else None)
