"""All embeddings of a gallery as one matrix: a memory-mapped file plus the faces added since.

The file (`matrix_file`) is valid if its ID and epoch equal those of the gallery, and if the gallery
has a face with its last ID and mark. The epoch changes whenever a face is removed, re-embedded or
given to another person, and the mark is random for each enrolment: then faces have only been added
since, also if the file was made beside another copy of the gallery. Those are read from the gallery
and kept in memory until a new file is worthwhile.

Damaged faces are left out, named in one warning, and counted.
"""

from __future__ import annotations

import contextlib
import itertools
import operator
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import GalleryError, OutputError
from .database import Database
from .erasing import erase
from .matrix_file import MatrixHeader, Part, map_matrix, read_header, write_matrix
from .rows import REPAIR, FaceRows, face_named
from .schema import check_model
from .stamp import Stamp

__all__ = ["FaceMatrix", "Part"]

_MIN_ROWS = 2000
"""Galleries with fewer faces are read from the database, without a file."""

_MIN_NEW, _NEW_RATIO = 4096, 8
"""A new file is written once at least ``_MIN_NEW`` faces and 1 face in ``_NEW_RATIO`` are new."""

_BATCH = 4096
_MAX_PARTS = 8
_MAX_NAMED = 5
"""Damaged faces that a warning names."""


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
        damaged: What is wrong with faces that were left out, by ID.
    """

    def __init__(self, database: Database, stamp: Stamp) -> None:
        self._database = database
        self.size, self.gallery = stamp.size, stamp.gallery
        self.private = database.encrypted
        self._model, self._reader = stamp.model, FaceRows(database, stamp)
        self.dtype = np.dtype(stamp.storage).newbyteorder("<")
        self.path = database.path.with_name(f"{database.path.name}-matrix")
        self.epoch, self.last, self.most_faces = "", 0, 0
        self._base: Part = self._empty()
        self._tail: list[Part] = []
        self._written = False
        self.damaged: dict[Any, str] = {}
        self._warned: set[Any] = set()

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

        Warns once about faces that are damaged.

        Raises:
            GalleryError: If faces are missing or in the wrong order, or if the gallery has been
                migrated to another model.
        """
        check_model(self._database, self._model)
        try:
            if self._read():
                self.most_faces = _most_frequent([part[2] for part in self.parts()])
        except BaseException:
            self.epoch = ""  # what was read is incomplete
            raise
        self._warn()

    def _read(self) -> bool:
        """Reads changes of the gallery; False if there are none."""
        epoch, count = self._database.row("SELECT epoch, faces FROM state") or ("", 0)
        last = int(self._database.value("SELECT max(id) FROM face") or 0)
        if epoch != self.epoch:
            self.epoch, self._tail, self.damaged = epoch, [], {}
            self._base = self._mapped(last) or self._empty()
            self.last = int(self._base[1][-1]) if len(self._base[1]) else 0
        elif last == self.last:
            return False
        known = len(self._base[1])
        new = self._count_new() + sum(len(part[1]) for part in self._tail)
        if new >= (_MIN_NEW if known else _MIN_ROWS) and new * _NEW_RATIO >= known:
            self._rebuild(last)
        else:
            self._read_new()
        self._check(count)
        self.last = last
        return True

    def _check(self, count: int) -> None:
        """Checks that no face is missing, twice there or in the wrong place."""
        numbers = np.concatenate([part[1] for part in self.parts()] or [np.empty(0, np.int64)])
        if len(numbers) + len(self.damaged) != count or (np.diff(numbers) <= 0).any():
            raise GalleryError(
                f"corrupt: {len(numbers) + len(self.damaged)} faces can be read, and {count} were "
                "enrolled",
                where=str(self._database.path),
                hint=REPAIR,
            )

    def _warn(self) -> None:
        """Names the damaged faces, those that were not named before."""
        new = [number for number in self.damaged if number not in self._warned]
        if not new:
            return
        self._warned.update(new)
        named = [
            f"{face_named(self._database, number)} ({self.damaged[number]})"
            for number in new[:_MAX_NAMED]
        ]
        more = f" and {len(new) - _MAX_NAMED} more" if len(new) > _MAX_NAMED else ""
        what = "1 damaged face is" if len(new) == 1 else f"{len(new)} damaged faces are"
        warnings.warn(
            f"{self._database.path}: {what} left out: {', '.join(named)}{more}; {REPAIR}",
            stacklevel=2,
        )

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
        return f"{self.epoch}-{last}-{self.mark(last)}"

    def mark(self, face: int) -> str:
        """The mark of a face's enrolment; call it in the transaction of `refresh`."""
        return str(self._database.value("SELECT mark FROM face WHERE id = ?", (face,)) or "")

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
        """The faces whose IDs are greater than ``after``, in batches, without damaged ones."""
        query = "SELECT id, person, embedding, checksum FROM face WHERE id > ? ORDER BY id"
        rows = self._database.rows(query, (after,), at_once=_BATCH)
        while block := list(itertools.islice(rows, _BATCH)):
            numbers = [after, *(row[0] for row in block)]
            if any(map(operator.ge, numbers, numbers[1:])):  # whose, nobody can say
                raise GalleryError(
                    f"corrupt: the ID of a face from {numbers[0]} to {numbers[-1]} is damaged",
                    where=str(self._database.path),
                    hint="restore it from a backup",
                )
            after = numbers[-1]
            kept, vectors, damaged = self._reader.sound(block)
            self.damaged |= damaged
            if kept:
                faces = np.array([row[0] for row in kept], np.int64)
                persons = np.array([row[1] for row in kept], np.int64)
                yield vectors, faces, persons

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

        def header(rows: int) -> MatrixHeader:
            return self._header(last, rows, tuple(self.damaged))

        write_matrix(self.path, itertools.chain(self.parts(), self._blocks(self.last)), header)
        self._written = True

    def _header(self, last: int, rows: int, damaged: tuple[int, ...]) -> MatrixHeader:
        """The header of a file of this state."""
        mark, storage = self.mark(last), self.dtype.name
        return MatrixHeader(self.gallery, self.epoch, last, mark, rows, self.size, storage, damaged)

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
        return vectors[:start], numbers[0, :start], numbers[1, :start]

    def _mapped(self, last: int) -> Part | None:
        """Maps the file; None if it does not match the state that the caller sees."""
        found = None if self.private else read_header(self.path)
        if found is None or found.gallery != self.gallery:
            return None
        if found.epoch != self.epoch:
            with contextlib.suppress(OSError):  # older than a removal
                self.path.unlink()
            return None
        if found.last > last or found != self._header(found.last, found.rows, found.damaged):
            return None
        part = map_matrix(self.path, found)
        if part is not None:
            reasons = self.damaged
            self.damaged = {n: reasons.get(n, "as found before") for n in found.damaged}
        return part


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
