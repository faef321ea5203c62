"""All embeddings of a gallery as one matrix: a file beside it, mapped, and what came since.

The file ``GALLERY-matrix`` is made from the gallery and can be deleted at any time::

    4096 bytes        JSON: format, epoch, last (number of the last face), uid of that face, rows,
                      size, storage; filled up with blanks
    rows × size       embeddings, float32 or float16, little endian, in the order of the faces
    rows × 8 bytes    numbers of the faces, ascending
    rows × 8 bytes    number of the person of each

It holds if the gallery's epoch is the same, which changes whenever a face is removed or embedded
anew, and if the gallery has a face of that number and uid: then faces were only added since. These
are read from the gallery and kept in memory, until they are so many that a new file pays.
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
_FEWEST_ROWS = 2000
"""Smaller galleries are read from the database: they need no file."""

_FEWEST_NEW, _NEW_SHARE = 4096, 8
"""A new file pays when so many faces came since, and at least one in so many is new."""

_AT_ONCE = 4096
_MOST_PARTS = 8

Part = tuple[npt.NDArray[Any], npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Embeddings (N, D) as stored, numbers of the faces (N,), of their persons (N,)."""


class FaceMatrix:
    """The embeddings of a gallery, as of the last `refresh`.

    Args:
        database: The gallery's file.
        stamp: Its stamp.

    Attributes:
        size: Elements of an embedding.
        gallery: The gallery's number.
        path: The file.
        private: It is of an encrypted gallery and must not be stored elsewhere.
        most_faces: The most faces that one person has.
        epoch: The state that the rows up to `last` belong to.
        last: Number of the last face.
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
        """How many embeddings."""
        return sum(len(part[1]) for part in self.parts())

    def parts(self) -> list[Part]:
        """The embeddings: the mapped ones, and those that came since."""
        return [part for part in (self._base, *self._tail) if len(part[1])]

    @property
    def base(self) -> Part:
        """The embeddings that are in the file."""
        return self._base

    def refresh(self) -> None:
        """Takes in what changed; inside a transaction of the caller, whose state it then shows.

        Raises:
            GalleryError: An embedding in the gallery is damaged, or they are now another model's.
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
        if new >= (_FEWEST_NEW if known else _FEWEST_ROWS) and new * _NEW_SHARE >= known:
            self._settle(last)
        else:
            self._read_new()
        self.last = last
        self.most_faces = _most_frequent([part[2] for part in self.parts()])

    def confirm(self) -> None:
        """Takes a file back that was written while faces in it were removed."""
        written, self._written = self._written, False
        if not written or self._database.value("SELECT epoch FROM state") == self.epoch:
            return
        left = [number for (number,) in self._database.rows("SELECT id FROM face")]
        removed = np.flatnonzero(~np.isin(self._base[1], left))
        erase(self.path, [self._base[0][row].tobytes() for row in removed])

    @property
    def base_key(self) -> str:
        """A name for the content of `base`: equal names, equal content."""
        last = int(self._base[1][-1]) if len(self._base[1]) else 0
        return f"{self.epoch}-{last}-{self.uid(last)}"

    def uid(self, face: int) -> str:
        """A face's number in all copies of the gallery; inside the transaction of `refresh`."""
        return str(self._database.value("SELECT uid FROM face WHERE id = ?", (face,)) or "")

    def find(self, faces: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Any]:
        """Place of faces, given by number, in the matrix; those that are not in it are left out.

        Returns:
            Places (M,) counted over all parts, and which of the faces they are, bool (N,).
        """
        numbers = np.concatenate([part[1] for part in self.parts()] or [np.empty(0, np.int64)])
        places = np.searchsorted(numbers, faces)
        there = places < len(numbers)
        there[there] = numbers[places[there]] == faces[there]
        return places[there], there

    def take(self, places: npt.NDArray[np.int64]) -> Part:
        """Embeddings, faces and persons at places counted over all parts."""
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
        nobody = np.empty(0, np.int64)
        return np.empty((0, self.size), self.dtype), nobody, nobody

    def _count_new(self) -> int:
        query = "SELECT count(*) FROM face WHERE id > ?"
        return int(self._database.value(query, (self.last,)))

    def _read_new(self) -> None:
        """Reads the faces that came since; few large parts are searched faster than many."""
        self._tail += self._blocks(self.last)
        if len(self._tail) > _MOST_PARTS:
            self._tail = [_joined(self._tail)]

    def _blocks(self, after: int) -> Iterator[Part]:
        """Faces with higher numbers than one, some at a time."""
        query = "SELECT id, person, embedding FROM face WHERE id > ? ORDER BY id"
        block: list[tuple[int, int, bytes]] = []
        for row in self._database.rows(query, (after,), at_once=_AT_ONCE):
            block.append(row)
            if len(block) == _AT_ONCE:
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
                    f"damaged: the embedding of face {face} is not {length} bytes",
                    where=str(self._database.path),
                    hint="go back to a backup of it",
                )
        vectors = np.frombuffer(b"".join(blobs), self.dtype).reshape(-1, self.size)
        return vectors, np.array(faces, np.int64), np.array(persons, np.int64)

    def _settle(self, last: int) -> None:
        """Writes all embeddings into the file and maps it; keeps them if that cannot be."""
        if not self.private:  # what is encrypted there must not lie in the clear here
            with contextlib.suppress(OutputError):  # a full disk, or one that is read-only
                self._write(last)
        mapped = self._mapped(last) if self._written else None
        self._base = mapped or self._in_memory()
        self._tail = []

    def _write(self, last: int) -> None:
        """Writes the file, block by block: it may be larger than the memory."""
        header: dict[str, Any] = {"format": _FORMAT, "epoch": self.epoch, "last": last}
        header["uid"] = self.uid(last)
        columns: tuple[list[Any], list[Any]] = ([], [])
        with replacing(self.path, private=True) as temporary, temporary.open("wb") as stream:
            stream.write(bytes(_HEADER))
            for vectors, faces, persons in itertools.chain(self.parts(), self._blocks(self.last)):
                for start in range(0, len(vectors), _AT_ONCE):
                    stream.write(np.ascontiguousarray(vectors[start : start + _AT_ONCE]).data)
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
        """All embeddings, copied once."""
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
        """The file's content if it belongs to the state that the caller sees; else None."""
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
                    with contextlib.suppress(OSError):  # of a state before a removal
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
    """How often the most frequent number occurs."""
    if not persons:
        return 0
    numbers = np.concatenate(persons)
    if numbers.min() >= 0 and numbers.max() < 4 * len(numbers) + _AT_ONCE:
        return int(np.bincount(numbers).max())  # much faster, for numbers that lie close
    return int(np.unique(numbers, return_counts=True)[1].max())
