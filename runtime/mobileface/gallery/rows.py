"""Conversion between faces and their rows in the gallery file."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import GalleryError
from ..types import FloatArray
from .database import Database
from .entries import FaceRecord, NewFace
from .stamp import Stamp, new_uid, now, read_json

__all__ = ["FaceRows"]

_FIELDS = (
    "uid",
    "source",
    "source_sha256",
    "bbox",
    "det_score",
    "kps",
    "quality",
    "created",
)
_JSON = frozenset({"bbox", "kps", "quality"})


class FaceRows:
    """Reads and writes the faces of one gallery; the caller manages transactions.

    Args:
        database: The gallery's database.
        stamp: The gallery's model stamp.
    """

    def __init__(self, database: Database, stamp: Stamp) -> None:
        self._database, self._stamp = database, stamp
        self._dtype = np.dtype(stamp.storage).newbyteorder("<")

    def of_person(self, person: int) -> Iterator[FaceRecord]:
        """The faces of one person, in the order of enrolment."""
        query = (
            f"SELECT face.id, embedding, {', '.join(f'face.{field}' for field in _FIELDS)}, "
            "crop.jpeg, crop.bbox, crop.kps FROM face LEFT JOIN crop ON crop.face = face.id "
            "WHERE person = ? ORDER BY face.id"
        )
        for row in self._database.rows(query, (person,), at_once=64):
            yield self._record(row)

    def insert(self, person: int, face: NewFace, vector: FloatArray) -> int | None:
        """Adds a face; returns its ID, or None if its uid is already enrolled."""
        values: dict[str, Any] = {field: getattr(face, field) for field in _FIELDS}
        values["uid"] = face.uid or new_uid()
        values["created"] = face.created or now()
        known = self._database.value("SELECT id FROM face WHERE uid = ?", (values["uid"],))
        if known is not None:
            return None
        row = [_column(field, values[field]) for field in _FIELDS]
        sql = (
            f"INSERT INTO face (person, embedding, {', '.join(_FIELDS)}) "
            f"VALUES (?, ?, {', '.join('?' * len(_FIELDS))})"
        )
        number = self._database.insert(sql, (person, self.blob(vector), *row))
        if face.crop is not None and self._stamp.keeps_crops:
            box, points = _json(face.crop_bbox), _json(face.crop_kps)
            sql = "INSERT INTO crop (face, jpeg, bbox, kps) VALUES (?, ?, ?, ?)"
            self._database.run(sql, (number, face.crop, box, points))
        return number

    def vector(self, blob: bytes, where: str) -> FloatArray:
        """Decodes an embedding, float32 (D,), from the bytes of its column.

        Raises:
            GalleryError: If the embedding has the wrong length or is not finite.
        """
        if not isinstance(blob, bytes) or len(blob) != self._stamp.size * self._dtype.itemsize:
            raise GalleryError("corrupt: an embedding has the wrong length", where=where)
        vector = np.frombuffer(blob, self._dtype).astype(np.float32)
        if not np.isfinite(vector).all():
            raise GalleryError("corrupt: an embedding is not finite", where=where)
        return vector

    def blob(self, vector: FloatArray) -> bytes:
        """Encodes an embedding as the bytes of its column."""
        return vector.astype(self._dtype).tobytes()

    def _record(self, row: tuple[Any, ...]) -> FaceRecord:
        number, blob, *fields, jpeg, crop_bbox, crop_kps = row
        where = f"{self._database.path}, face {number}"
        values: Mapping[str, Any] = {
            field: read_json(value, where) if field in _JSON else value
            for field, value in zip(_FIELDS, fields, strict=True)
        }
        face = NewFace(
            embedding=self.vector(blob, where),
            crop=jpeg,
            crop_bbox=read_json(crop_bbox, where),
            crop_kps=read_json(crop_kps, where),
            **values,
        )
        return FaceRecord(number, face)


def _column(field: str, value: Any) -> Any:
    """The value of a column; bytes of a file name that are not UTF-8 become escapes."""
    if field in _JSON:
        return _json(value)
    if isinstance(value, str):
        with contextlib.suppress(UnicodeEncodeError):  # not from a file name
            return os.fsencode(value).decode("utf-8", "backslashreplace")
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, allow_nan=False)
