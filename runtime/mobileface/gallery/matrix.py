"""All embeddings of a gallery as one matrix: a memory-mapped file plus the faces added since.

The file ``GALLERY-matrix`` is derived from the gallery and can be deleted at any time::

    4096 bytes        JSON: format, epoch, last (ID of the last face), uid of that face, rows,
                      size, storage; padded with spaces
    rows × size       embeddings, float32 or float16, little endian, in the order of the faces
    rows × 8 bytes    IDs of the faces, ascending
    rows × 8 bytes    ID of the person of each face

The file is valid if its epoch equals that of the gallery, which changes whenever a face is removed
or re-embedded, and if the gallery has a face with this ID and uid: then faces have only been added
since. Those are read from the gallery and kept in memory until a new file is worthwhile.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import mmap
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import GalleryError, OutputError
from ..host.files import replacing
from .database import Database
from .erasing import erase
from .schema import check_model
from .stamp import Stamp

__all__ = ["FaceMatrix", "Part"]

_FORMAT = 1
_HEADER = 4096
_MIN_ROWS = 2000
"""Galleries with fewer faces are read from the database, without a file."""

_MIN_NEW, _NEW_RATIO = 4096, 8
"""A new file is written once at least ``_MIN_NEW`` faces and 1 face in ``_NEW_RATIO`` are new."""

_BATCH = 4096
_MAX_PARTS = 8

Part = tuple[npt.NDArray[Any], npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Embeddings (N, D) as stored, IDs of the faces (N,), IDs of their persons (N,)."""


class FaceMatrix:
    """The embeddings of a gallery, as of the last `refresh`.

    Args:
        database: The gallery's database.
        stamp: The gallery's model stamp.

    Attributes:
        size: Number of elements of an embedding.
        gallery: Unique ID of the gallery.
        path: The matrix file.
        private: True if the gallery is encrypted; its embeddings must not be stored elsewhere.
        most_faces: Largest number of faces of one person.
        epoch: The gallery's epoch at the last `refresh`.
        last: ID of the last face.
    """

    def __init__(self, database: Database, stamp: Stamp) -> None:
        self._database = database
        self.size, self.gallery = stamp.size, stamp.gallery
        self.private = database.encrypted
        self._model = stamp.model
        self.dtype = np.dtype(stamp.storage).newbyteorder("<")
        self.path = database.path.with_name(f"{database.path.name}-matrix")
        self.epoch, self.last, self.most_faces = "", 0, 0
        self._base: Part = self._empty()
        self._tail: list[Part] = []
        self._written = False

    @property
    def rows(self) -> int:
        """Number of embeddings."""
        return sum(len(part[1]) for part in self.parts())

    def parts(self) -> list[Part]:
        """All embeddings: the mapped ones, and those added since."""
        return [part for part in (self._base, *self._tail) if len(part[1])]

    @property
    def base(self) -> Part:
        """The embeddings that are in the file."""
        return self._base

    def refresh(self) -> None:
        """Reads changes of the gallery. Call it in a transaction, whose state it then reflects.

        Raises:
            GalleryError: If an embedding in the gallery is corrupt, or if the gallery has been
                migrated to another model.
        """
        check_model(self._database, self._model)
        epoch = str(self._database.value("SELECT epoch FROM state"))
        last = int(self._database.value("SELECT max(id) FROM face") or 0)
        if epoch != self.epoch:
            self.epoch, self._tail = epoch, []
            self._base = self._mapped(last) or self._empty()
            self.last = int(self._base[1][-1]) if len(self._base[1]) else 0
        elif last == self.last:
            return
        known = len(self._base[1])
        new = self._count_new() + sum(len(part[1]) for part in self._tail)
        if new >= (_MIN_NEW if known else _MIN_ROWS) and new * _NEW_RATIO >= known:
            self._rebuild(last)
        else:
            self._read_new()
        self.last = last
        self.most_faces = _most_frequent([part[2] for part in self.parts()])

    def confirm(self) -> None:
        """Erases the file if faces were removed from the gallery while it was being written."""
        written, self._written = self._written, False
        if not written or self._database.value("SELECT epoch FROM state") == self.epoch:
            return
        left = [number for (number,) in self._database.rows("SELECT id FROM face")]
        removed = np.flatnonzero(~np.isin(self._base[1], left))
        erase(self.path, [self._base[0][row].tobytes() for row in removed])

    @property
    def base_key(self) -> str:
        """A key for the content of `base`: equal keys mean equal content."""
        last = int(self._base[1][-1]) if len(self._base[1]) else 0
        return f"{self.epoch}-{last}-{self.uid(last)}"

    def uid(self, face: int) -> str:
        """The unique ID of a face; call it in the transaction of `refresh`."""
        return str(self._database.value("SELECT uid FROM face WHERE id = ?", (face,)) or "")

    def find(self, faces: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Any]:
        """Finds the rows of faces, given by their IDs, (N,); faces without a row are skipped.

        Returns:
            Row indices (M,), counted over all parts, and which faces have a row, bool (N,).
        """
        numbers = np.concatenate([part[1] for part in self.parts()] or [np.empty(0, np.int64)])
        places = np.searchsorted(numbers, faces)
        found = places < len(numbers)
        found[found] = numbers[places[found]] == faces[found]
        return places[found], found

    def take(self, places: npt.NDArray[np.int64]) -> Part:
        """Embeddings, faces and persons of the given rows, counted over all parts."""
        vectors = np.empty((len(places), self.size), self.dtype)
        faces, persons = np.empty(len(places), np.int64), np.empty(len(places), np.int64)
        start = 0
        for part in self.parts():
            inside = (places >= start) & (places < start + len(part[1]))
            here = places[inside] - start
            vectors[inside], faces[inside], persons[inside] = (array[here] for array in part)
            start += len(part[1])
        return vectors, faces, persons

    def _empty(self) -> Part:
        no_ids = np.empty(0, np.int64)
        return np.empty((0, self.size), self.dtype), no_ids, no_ids

    def _count_new(self) -> int:
        query = "SELECT count(*) FROM face WHERE id > ?"
        return int(self._database.value(query, (self.last,)))

    def _read_new(self) -> None:
        """Reads the faces added since; joins small parts, which are slow to search."""
        self._tail += self._blocks(self.last)
        if len(self._tail) > _MAX_PARTS:
            self._tail = [_joined(self._tail)]

    def _blocks(self, after: int) -> Iterator[Part]:
        """The faces whose IDs are greater than ``after``, in batches."""
        query = "SELECT id, person, embedding FROM face WHERE id > ? ORDER BY id"
        block: list[tuple[int, int, bytes]] = []
        for row in self._database.rows(query, (after,), at_once=_BATCH):
            block.append(row)
            if len(block) == _BATCH:
                yield self._part(block)
                block = []
        if block:
            yield self._part(block)

    def _part(self, block: list[tuple[int, int, bytes]]) -> Part:
        faces, persons, blobs = zip(*block, strict=True)
        length = self.size * self.dtype.itemsize
        for face, blob in zip(faces, blobs, strict=True):
            if not isinstance(blob, bytes) or len(blob) != length:
                raise GalleryError(
                    f"corrupt: the embedding of face {face} does not have {length} bytes",
                    where=str(self._database.path),
                    hint="restore it from a backup",
                )
        vectors = np.frombuffer(b"".join(blobs), self.dtype).reshape(-1, self.size)
        return vectors, np.array(faces, np.int64), np.array(persons, np.int64)

    def _rebuild(self, last: int) -> None:
        """Writes all embeddings to the file and maps it, or keeps them in memory if it cannot."""
        if not self.private:  # embeddings of an encrypted gallery are never stored unencrypted
            with contextlib.suppress(OutputError):  # the disk is full or read-only
                self._write(last)
        mapped = self._mapped(last) if self._written else None
        self._base = mapped or self._in_memory()
        self._tail = []

    def _write(self, last: int) -> None:
        """Writes the file block by block: it may be larger than memory."""
        header: dict[str, Any] = {"format": _FORMAT, "epoch": self.epoch, "last": last}
        header["uid"] = self.uid(last)
        columns: tuple[list[Any], list[Any]] = ([], [])
        with replacing(self.path, private=True) as temporary, temporary.open("wb") as stream:
            stream.write(bytes(_HEADER))
            for vectors, faces, persons in itertools.chain(self.parts(), self._blocks(self.last)):
                for start in range(0, len(vectors), _BATCH):
                    stream.write(np.ascontiguousarray(vectors[start : start + _BATCH]).data)
                columns[0].append(np.asarray(faces, "<i8"))
                columns[1].append(np.asarray(persons, "<i8"))
            for column in columns:
                for numbers in column:
                    stream.write(numbers.data)
            header |= {"rows": sum(map(len, columns[0])), "size": self.size}
            header["storage"] = self.dtype.name
            stream.seek(0)
            stream.write(json.dumps(header).encode().ljust(_HEADER))
        self._written = True

    def _in_memory(self) -> Part:
        """Copies all embeddings into one array."""
        rows = self.rows + self._count_new()
        vectors = np.empty((rows, self.size), self.dtype)
        numbers = np.empty((2, rows), np.int64)
        start = 0
        for part in itertools.chain(self.parts(), self._blocks(self.last)):
            end = start + len(part[1])
            vectors[start:end], numbers[0, start:end], numbers[1, start:end] = part
            start = end
        return vectors, numbers[0], numbers[1]

    def _mapped(self, last: int) -> Part | None:
        """Maps the file; None if it does not match the state that the caller sees."""
        try:
            with self.path.open("rb") as stream:
                header = json.loads(stream.read(_HEADER))
                size = os.fstat(stream.fileno()).st_size
                rows, newest = int(header["rows"]), int(header["last"])
                bytes_a_row = self.size * self.dtype.itemsize + 16
                if (
                    header["format"] != _FORMAT
                    or header["size"] != self.size
                    or header["storage"] != self.dtype.name
                    or rows < 1
                    or size != _HEADER + rows * bytes_a_row
                ):
                    return None
                if header["epoch"] != self.epoch:
                    with contextlib.suppress(OSError):  # older than a removal
                        self.path.unlink()
                    return None
                if newest > last or self.uid(newest) != header["uid"]:
                    return None
                mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
                content = np.frombuffer(mapped, np.uint8, offset=_HEADER)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        split = rows * self.size * self.dtype.itemsize
        vectors = content[:split].view(self.dtype).reshape(rows, self.size)
        numbers = content[split:].view("<i8").astype(np.int64).reshape(2, rows)
        return vectors, numbers[0], numbers[1]


def _joined(parts: list[Part]) -> Part:
    vectors, faces, persons = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return vectors, faces, persons


def _most_frequent(persons: list[npt.NDArray[np.int64]]) -> int:
    """How often the most frequent ID occurs."""
    if not persons:
        return 0
    numbers = np.concatenate(persons)
    if numbers.min() >= 0 and numbers.max() < 4 * len(numbers) + _BATCH:
        return int(np.bincount(numbers).max())  # much faster, for dense IDs
    return int(np.unique(numbers, return_counts=True)[1].max())
