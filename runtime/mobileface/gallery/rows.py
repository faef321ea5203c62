"""Conversion between faces and their rows in the gallery file."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import GalleryError
from ..types import FloatArray
from .checksums import checksum, face_checksums, unit_rows
from .database import Database
from .entries import FaceRecord, NewFace
from .stamp import Stamp, new_uid, now, read_json

__all__ = ["REPAIR", "FaceRows", "face_named"]

REPAIR = "restore a backup, or run 'mobileface gallery stats --repair'"
"""What to do about damaged faces."""

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

_WHOLE = (
    "SELECT face.id, person, embedding, face.checksum, "
    f"{', '.join(f'face.{field}' for field in _FIELDS)}, "
    "crop.jpeg, crop.bbox, crop.kps, crop.checksum "
    "FROM face LEFT JOIN crop ON crop.face = face.id"
)
"""A face with its crop, as `FaceRows._record` reads it."""


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
        query = f"{_WHOLE} WHERE person = ? ORDER BY face.id"
        for row in self._database.rows(query, (person,), at_once=64):
            yield self._record(row)

    def find(self, person: int, number: int) -> FaceRecord | None:
        """One face of a person; None if the person has no such face."""
        row = self._database.row(f"{_WHOLE} WHERE face.id = ? AND person = ?", (number, person))
        return None if row is None else self._record(row)

    def insert(self, person: int, face: NewFace, vector: FloatArray) -> int | None:
        """Adds a face; returns its ID, or None if its uid is already enrolled."""
        values: dict[str, Any] = {field: getattr(face, field) for field in _FIELDS}
        values["uid"] = face.uid or new_uid()
        values["created"] = face.created or now()
        known = self._database.value("SELECT id FROM face WHERE uid = ?", (values["uid"],))
        if known is not None:
            return None
        row = [_column(field, values[field]) for field in _FIELDS]
        blob = self.blob(vector)
        sql = (
            f"INSERT INTO face (person, embedding, mark, {', '.join(_FIELDS)}) "
            f"VALUES (?, ?, ?, {', '.join('?' * len(_FIELDS))})"
        )
        number = self._database.insert(sql, (person, blob, new_uid(), *row))
        sql = "UPDATE face SET checksum = ? WHERE id = ?"
        self._database.run(sql, (checksum(number, person, blob), number))
        if face.crop is not None and self._stamp.keeps_crops:
            crop = (face.crop, _json(face.crop_bbox), _json(face.crop_kps))
            sql = "INSERT INTO crop (face, jpeg, bbox, kps, checksum) VALUES (?, ?, ?, ?, ?)"
            self._database.run(sql, (number, *crop, checksum(number, person, *crop)))
        return number

    def sound(
        self, rows: list[tuple[Any, ...]]
    ) -> tuple[list[tuple[Any, ...]], npt.NDArray[Any], dict[Any, str]]:
        """Separates faces whose embedding is as it was stored from damaged ones.

        Args:
            rows: Rows that begin with id, person, embedding and checksum.

        Returns:
            The sound rows, their embeddings, (N, D) as stored, and by ID what is wrong with others.
        """
        length = self._stamp.size * self._dtype.itemsize
        damaged: dict[Any, str] = {}
        sums = face_checksums(rows)
        intact = sums == [row[3] for row in rows] and {len(row[2]) for row in rows} <= {length}
        kept = rows if intact else []
        for row, found in () if intact else zip(rows, sums, strict=True):
            if found is not None and found == row[3] and len(row[2]) == length:
                kept.append(row)
            elif not isinstance(row[2], bytes) or len(row[2]) != length:
                damaged[row[0]] = f"its embedding does not have {length} bytes"
            else:
                damaged[row[0]] = "its checksum is wrong"
        content = b"".join([row[2] for row in kept])
        vectors = np.frombuffer(content, self._dtype).reshape(-1, self._stamp.size)
        unit = unit_rows(vectors)
        if not unit.all():  # stored by an older version, or by another program
            for place in np.flatnonzero(~unit):
                damaged[kept[place][0]] = "its embedding is not finite or not L2-normalized"
            kept = [row for row, good in zip(kept, unit, strict=True) if good]
            vectors = vectors[unit]
        return kept, vectors, damaged

    def vector(self, row: tuple[Any, ...], where: str) -> FloatArray:
        """An embedding, float32 (D,), from a row that begins with id, person, embedding, checksum.

        Raises:
            GalleryError: If the row is damaged.
        """
        _, vectors, damaged = self.sound([row])
        for reason in damaged.values():
            raise GalleryError(f"damaged: {reason}", where=where, hint=REPAIR)
        return np.asarray(vectors[0], np.float32)

    def halved(self, blob: bytes) -> bytes:
        """The bytes of an embedding as float16, in which indexes store it; b"" without any."""
        if len(blob) % self._dtype.itemsize:
            return b""
        with np.errstate(all="ignore"):
            return np.frombuffer(blob, self._dtype).astype("<f2").tobytes()

    def blob(self, vector: FloatArray) -> bytes:
        """Encodes an embedding as the bytes of its column."""
        return vector.astype(self._dtype).tobytes()

    def _record(self, row: tuple[Any, ...]) -> FaceRecord:
        number, person, _, _, *fields, jpeg, crop_bbox, crop_kps, crop_checksum = row
        where = f"{self._database.path}, face {number}"
        vector = self.vector(row, where)
        if jpeg is not None and crop_checksum != checksum(
            number, person, jpeg, crop_bbox, crop_kps
        ):
            raise GalleryError("damaged: the checksum of its crop is wrong", where=where)
        values: Mapping[str, Any] = {
            field: read_json(value, where) if field in _JSON else value
            for field, value in zip(_FIELDS, fields, strict=True)
        }
        face = NewFace(
            embedding=vector,
            crop=jpeg,
            crop_bbox=read_json(crop_bbox, where),
            crop_kps=read_json(crop_kps, where),
            **values,
        )
        return FaceRecord(number, face)


def face_named(database: Database, number: int) -> str:
    """A face as messages call it, with the person's name."""
    query = "SELECT name FROM person WHERE id = (SELECT person FROM face WHERE id = ?)"
    name = database.value(query, (number,))
    return f"face {number}" + ("" if name is None else f" of '{name}'")


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
