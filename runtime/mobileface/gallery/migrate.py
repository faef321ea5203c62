"""Migrates a gallery to another model: re-embeds every face from its stored crop.

New embeddings are stored next to the old ones in batches, so an interrupted migration resumes where
it stopped. Until all faces are re-embedded the gallery belongs to the old model; then it switches
to the new one in one transaction.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..analyzer import FaceAnalyzer
from ..errors import InputError, ModelNotFoundError
from ..matching.calibration import Calibration
from ..tasks.align import allows_crop
from ..tasks.embedding import Embedder
from ..types import Face, FloatArray
from .checksums import checksum, unit_rows
from .database import Database
from .enclosing import decode, landmarks_of
from .entries import check_embedding
from .erasing import derived_files, erase
from .exact import best_rows
from .gallery import Gallery
from .schema import seal_stamp
from .stamp import COLUMNS, Stamp, fingerprint, new_uid, read_json

__all__ = ["CROP_COLUMNS", "MigrationReport", "Reembedder", "migrate"]

CROP_COLUMNS = "crop.jpeg, crop.bbox, crop.kps, crop.checksum"
"""What `Reembedder.embed` needs of a crop."""


_SWITCH = """UPDATE face SET (embedding, checksum) = (
    SELECT migrated.embedding, mobileface_checksum(face.id, face.person, migrated.embedding)
    FROM migrated WHERE migrated.face = face.id)"""

_BATCH = 32
_MAX_COMPARED = 2000

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """The result of a migration.

    Attributes:
        before: The old model.
        after: The new model.
        faces: Number of re-embedded faces.
        resumed: How many of them an earlier, interrupted run had already re-embedded.
        dropped: Number of faces that could not be re-embedded and were removed.
        compared: Number of faces whose nearest other face was compared before and after.
        changed: How many of those are now nearest to another person.
    """

    before: str
    after: str
    faces: int
    resumed: int
    dropped: int
    compared: int
    changed: int


def migrate(
    gallery: Gallery,
    analyzer: FaceAnalyzer | Embedder,
    *,
    calibration: Calibration | None = None,
    drop_failed: bool = False,
    step: Callable[[int, int], None] | None = None,
) -> MigrationReport:
    """Re-embeds all faces of a gallery with another model.

    Args:
        gallery: The gallery; afterwards it belongs to the new model, and other processes must open
            it again.
        analyzer: Provides the landmark model and the new model; for galleries of aligned crops the
            new model alone is sufficient.
        calibration: Calibration of the new model.
        drop_failed: Remove faces that cannot be re-embedded; otherwise such faces raise an error
            and the gallery does not change.
        step: Progress callback, called with the faces done and the total number of faces.

    Raises:
        InputError: If the gallery already belongs to this model, or if faces have no crop or cannot
            be embedded by the new model; the error gives their number.
        GalleryError: If another process does not finish writing within the timeout, or if a crop
            is corrupt.
        ModelNotFoundError: If the analyzer has no embedder.
    """
    embedder = analyzer.embedder if isinstance(analyzer, FaceAnalyzer) else analyzer
    if embedder is None:
        raise ModelNotFoundError("a migration needs an identification model")
    old, database = gallery.stamp, gallery.database
    target = dataclasses.replace(
        Stamp.of(
            embedder, storage=old.storage, keeps_crops=old.keeps_crops, calibration=calibration
        ),
        gallery=old.gallery,
        created=old.created,
        software=old.software,
    )
    if fingerprint(old.model) == fingerprint(target.model):
        raise InputError(f"the gallery already belongs to {old.model}", where=str(gallery.path))
    resumed = _begin(database, target)
    work = Reembedder(gallery, target, analyzer, embedder)
    work.embed_all(step)
    with database.write():
        work.embed_all(step)  # faces that other processes have added meanwhile
        dropped = work.settle_failed(drop_failed)
        compared, changed = _nearest_changed(gallery, target)
        faces = int(database.value("SELECT count(*) FROM migrated"))
        database.run(_SWITCH)
        columns = ", ".join(f"{column} = ?" for column in COLUMNS)
        database.run(f"UPDATE stamp SET {columns}", target.to_row())
        seal_stamp(database)
        database.run("DELETE FROM migrated")
        database.run("DELETE FROM migration")
        database.run("UPDATE state SET epoch = ?", (new_uid(),))
    gallery.reload()
    _erase_old(gallery, dropped)
    return MigrationReport(old.model, target.model, faces, resumed, dropped, compared, changed)


def _erase_old(gallery: Gallery, dropped: int) -> None:
    """Erases what was derived from the old embeddings, of which the dropped faces' must go."""
    gallery.database.empty_log()
    for path in derived_files(gallery.path):
        erase(path, None if dropped else [])


def _begin(database: Database, target: Stamp) -> int:
    """Records the target model; returns the number of faces that an earlier run re-embedded."""
    with database.write():
        text = database.value("SELECT stamp FROM migration")
        if text is not None:
            before = str(read_json(text, str(database.path)).get("model"))
            if fingerprint(before) == fingerprint(target.model):
                damaged = "checksum IS NOT mobileface_checksum(face, embedding)"
                database.run(f"DELETE FROM migrated WHERE {damaged}")
                return int(database.value("SELECT count(*) FROM migrated"))
            database.run("DELETE FROM migrated")  # of an abandoned migration to a third model
            database.run("DELETE FROM migration")
        mark = json.dumps({"model": target.model, "size": target.size})
        database.run("INSERT INTO migration VALUES (1, ?, ?)", (mark, target.created))
    return 0


class Reembedder:
    """Re-embeds the faces of one gallery from their crops.

    Args:
        gallery: The gallery.
        target: The stamp of the model to embed with.
        analyzer: Provides landmarks and the model, or only the model for aligned crops.
        embedder: The model.

    Attributes:
        failed: Why a face could not be embedded, by ID.
    """

    def __init__(
        self, gallery: Gallery, target: Stamp, analyzer: FaceAnalyzer | Embedder, embedder: Embedder
    ) -> None:
        self._gallery, self._target = gallery, target
        self._database = gallery.database
        self._analyzer = analyzer if isinstance(analyzer, FaceAnalyzer) else None
        self._embedder = embedder
        self.failed: dict[int, str] = {}

    def embed_all(self, step: Callable[[int, int], None] | None) -> None:
        """Embeds the remaining faces; each batch is stored on disk before the next begins."""
        total = int(self._database.value("SELECT count(*) FROM face"))
        after = 0
        while batch := self._missing(after):
            after = batch[-1][0]
            rows = [(number, self.embed(number, *rest)) for number, *rest in batch]
            with self._database.write():
                for number, vector in rows:
                    # The face may have been removed meanwhile.
                    exists = self._database.value("SELECT 1 FROM face WHERE id = ?", (number,))
                    if vector is not None and exists:
                        blob = self._gallery.rows.blob(vector)
                        sql = "INSERT OR REPLACE INTO migrated VALUES (?, ?, ?)"
                        self._database.run(sql, (number, blob, checksum(number, blob)))
            if step is not None:
                done = int(self._database.value("SELECT count(*) FROM migrated"))
                step(done, total)

    def _missing(self, after: int) -> list[Any]:
        query = (
            f"SELECT face.id, person, {CROP_COLUMNS} FROM face "
            "LEFT JOIN crop ON crop.face = face.id LEFT JOIN migrated ON migrated.face = face.id "
            "WHERE migrated.face IS NULL AND face.id > ? ORDER BY face.id LIMIT ?"
        )
        return list(self._database.rows(query, (after, _BATCH)))

    def embed(
        self,
        number: int,
        person: int,
        jpeg: bytes | None,
        bbox: str | None,
        kps: str | None,
        stored: int | None,
    ) -> FloatArray | None:
        """A face's new embedding; None if it fails, with the reason in `failed`."""
        where = f"{self._gallery.path}, face {number}"
        if jpeg is None:
            self.failed[number] = "no crop is stored"
            return None
        if stored != checksum(number, person, jpeg, bbox, kps):
            self.failed[number] = "its crop is damaged"
            return None
        image = decode(jpeg, where)
        box = read_json(bbox, where)
        if box is None:  # an aligned crop, the old model's input
            if self._gallery.stamp.crop != self._embedder.crop:
                self.failed[number] = (
                    f"enrolled as a crop of '{self._gallery.stamp.crop}', "
                    f"but the new model needs '{self._embedder.crop}'"
                )
                return None
            vector: FloatArray | None = self._embedder.embed(image)[0]
        elif self._analyzer is None:
            raise InputError("faces of photos need landmarks", hint="pass a FaceAnalyzer")
        else:
            marks = landmarks_of(read_json(kps, where))
            if marks is not None and not allows_crop(marks.names, self._embedder.crop):
                marks = None
            face = Face(bbox=np.array(box, np.float32), det_score=1.0, landmarks=marks)
            vector = self._analyzer.describe(image, [face], ("embedding",))[0].embedding
        if vector is None or not vector.any():
            self.failed[number] = "the new model's crop cannot be taken from it"
            return None
        return check_embedding(vector, self._target.size, where)

    def settle_failed(self, drop: bool) -> int:
        """Removes faces that could not be embedded, or raises an error; returns their number."""
        if not self.failed:
            return 0
        if not drop:
            number, reason = next(iter(self.failed.items()))
            raise InputError(
                f"{len(self.failed)} faces cannot be re-embedded, the first is face {number}: "
                f"{reason}",
                where=str(self._gallery.path),
                hint="enrol these people again, or drop the faces",
            )
        for number in self.failed:
            self._database.run("DELETE FROM face WHERE id = ?", (number,))
        self._database.run("UPDATE state SET faces = faces - ?", (len(self.failed),))
        self._database.run(
            "DELETE FROM person WHERE NOT EXISTS (SELECT 1 FROM face WHERE person = person.id)"
        )
        return len(self.failed)


def _nearest_changed(gallery: Gallery, target: Stamp) -> tuple[int, int]:
    """The number of compared faces, and how many of them are now nearest to another person."""
    database = gallery.database
    numbers = [number for (number,) in database.rows("SELECT face FROM migrated ORDER BY face")]
    if len(numbers) < 2:
        return 0, 0
    count = min(len(numbers), _MAX_COMPARED)
    some = np.unique(np.linspace(0, len(numbers) - 1, count).astype(np.int64))
    before = _nearest(_vectors(database, "face.embedding", gallery.stamp), some)
    after = _nearest(_vectors(database, "migrated.embedding", target), some)
    return len(some), int((before != after).sum())


def _vectors(database: Database, column: str, stamp: Stamp) -> tuple[FloatArray, Rows]:
    """All embeddings in one column, in the order of the faces, and the person of each face."""
    query = f"SELECT {column}, person FROM face JOIN migrated ON face = face.id ORDER BY face.id"
    dtype = np.dtype(stamp.storage).newbyteorder("<")

    def rows() -> Iterator[tuple[Any, int]]:
        for blob, person in database.rows(query):
            sound = isinstance(blob, bytes) and len(blob) == stamp.size * dtype.itemsize
            vector = np.frombuffer(blob, dtype) if sound else np.zeros(stamp.size, dtype)
            # A damaged embedding, which the migration replaces, is nearest to nobody.
            yield (vector if unit_rows(vector[None])[0] else np.zeros_like(vector)), person

    vectors, persons = zip(*rows(), strict=True)
    return np.stack(vectors), np.array(persons, np.int64)


def _nearest(faces: tuple[FloatArray, Rows], some: Rows) -> Rows:
    """For each of some faces, the person of the most similar other face."""
    vectors, persons = faces
    found = best_rows([vectors], np.asarray(vectors[some], np.float32), 2)
    return np.array(
        [
            persons[next(row for row in rows if row != own)]
            for own, (rows, _) in zip(some, found, strict=True)
        ]
    )
