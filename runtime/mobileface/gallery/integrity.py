"""Damaged faces of a gallery: finds them, and embeds them again from their stored crops."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..analyzer import FaceAnalyzer
from ..errors import GalleryError, ModelNotFoundError
from ..tasks.embedding import Embedder
from .checksums import checksum
from .gallery import Gallery
from .migrate import CROP_COLUMNS, Reembedder
from .rows import face_named
from .stamp import new_uid

__all__ = ["DamagedFace", "find_damaged", "repair", "require_intact"]

_BATCH = 256


@dataclass(frozen=True, slots=True)
class DamagedFace:
    """A face with a damaged row.

    Attributes:
        face_id: ID of the face.
        named: The face with the name of its person, if that can be read.
        reason: What is wrong.
        compared: True if its embedding is intact, so that searches still compare it.
        repairable: True if its crop is intact and the embedding is not.
    """

    face_id: int
    named: str
    reason: str
    compared: bool
    repairable: bool

    def __str__(self) -> str:
        todo = "can be embedded again" if self.repairable else "must be enrolled again"
        return f"{self.named}: {self.reason}; {todo}"


def find_damaged(gallery: Gallery) -> list[DamagedFace]:
    """Reads all faces and crops of a gallery; returns the damaged ones, by ID.

    Raises:
        GalleryError: If the file cannot be read.
    """
    with gallery.database.read():
        return list(_damaged(gallery))


def _damaged(gallery: Gallery) -> Iterator[DamagedFace]:
    query = (
        f"SELECT face.id, person, embedding, face.checksum, {CROP_COLUMNS} "
        "FROM face NOT INDEXED LEFT JOIN crop ON crop.face = face.id ORDER BY face.id"
    )
    rows = gallery.database.rows(query, at_once=_BATCH)
    while block := list(itertools.islice(rows, _BATCH)):
        _, _, wrong = gallery.rows.sound(block)
        for number, person, _, _, jpeg, bbox, kps, stored in block:
            try:
                whole = jpeg is not None and stored == checksum(number, person, jpeg, bbox, kps)
            except TypeError:  # a value of another type
                whole = False
            if number in wrong or not (whole or jpeg is None):
                yield DamagedFace(
                    number,
                    face_named(gallery.database, number),
                    wrong.get(number, "the checksum of its crop is wrong"),
                    number not in wrong,
                    number in wrong and whole,
                )


def repair(
    gallery: Gallery,
    analyzer: FaceAnalyzer | Embedder,
    *,
    step: Callable[[int, int], None] | None = None,
) -> tuple[list[DamagedFace], list[DamagedFace]]:
    """Embeds damaged faces again from their crops, and counts the faces again.

    Args:
        gallery: The gallery.
        analyzer: Provides the landmark model and the gallery's model; for galleries of aligned
            crops the model alone is sufficient.
        step: Progress callback, called with the faces done and their number.

    Returns:
        The repaired faces, and those that must be enrolled again.

    Raises:
        InputError: If the gallery belongs to another model, or if faces of photos need landmarks.
        ModelNotFoundError: If the analyzer has no embedder.
        GalleryError: If another process does not finish writing within the timeout.
    """
    embedder = analyzer.embedder if isinstance(analyzer, FaceAnalyzer) else analyzer
    if embedder is None:
        raise ModelNotFoundError("a repair needs an identification model")
    gallery.stamp.require(embedder.identity, str(gallery.path))
    database = gallery.database
    query = f"SELECT face.id, person, {CROP_COLUMNS} FROM face JOIN crop ON face = face.id "
    repaired: list[DamagedFace] = []
    lost: list[DamagedFace] = []
    with database.write():
        found = find_damaged(gallery)
        worker = Reembedder(gallery, gallery.stamp, analyzer, embedder)
        for place, face in enumerate(found):
            row: Any = database.row(f"{query} WHERE face.id = ?", (face.face_id,))
            vector = worker.embed(*row) if face.repairable else None
            (lost if vector is None else repaired).append(face)
            if vector is not None:
                blob = gallery.rows.blob(vector)
                sql = "UPDATE face SET embedding = ?, checksum = ? WHERE id = ?"
                database.run(sql, (blob, checksum(row[0], row[1], blob), face.face_id))
            if step is not None:
                step(place + 1, len(found))
        sql = "UPDATE state SET epoch = ?, faces = (SELECT count(*) FROM face NOT INDEXED)"
        database.run(sql, (new_uid(),))
    return repaired, lost


def require_intact(found: list[DamagedFace], where: str) -> None:
    """Checks that no face is damaged.

    Raises:
        GalleryError: If one is; the error says how many.
    """
    if found:
        count = sum(not face.compared for face in found)
        raise GalleryError(
            f"{len(found)} damaged face{'' if len(found) == 1 else 's'}, {count} of them left out "
            "of searches",
            where=where,
            hint="restore a backup, or embed them again with --repair and enrol the rest again",
        )
