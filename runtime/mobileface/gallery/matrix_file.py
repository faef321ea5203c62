"""The matrix file: all embeddings of a gallery, to be mapped into memory.

The file ``GALLERY-matrix`` is derived from the gallery and can be deleted at any time::

    4096 bytes        JSON: format, gallery (its ID), epoch, last (ID of the last face), mark of
                      that face, rows, size, storage, damaged (IDs of faces that were left out),
                      hash; padded with spaces
    rows × size       embeddings, float32 or float16, little endian, in the order of the faces
    rows × 8 bytes    IDs of the faces, ascending
    rows × 8 bytes    ID of the person of each face
    blocks × 4 bytes  CRC-32 of each block of 4 MiB of the three parts above

``hash`` is a BLAKE2b over the other fields and the CRCs. A file with a wrong hash is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

import numpy as np
import numpy.typing as npt

from ..errors import OutputError
from ..host.files import replacing
from ..host.threads import default_threads

__all__ = ["MatrixHeader", "Part", "map_matrix", "read_header", "stored_rows", "write_matrix"]

_FORMAT = 2
_HEADER = 4096
_BLOCK = 1 << 22
_AT_ONCE = 4096
_MAX_DAMAGED = 100
"""Faces left out that the header has room for."""

Part = tuple[npt.NDArray[Any], npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Embeddings (N, D) as stored, IDs of the faces (N,), IDs of their persons (N,)."""


@dataclass(frozen=True, slots=True)
class MatrixHeader:
    """What a matrix file says of itself.

    Attributes:
        gallery: ID of the gallery.
        epoch: The gallery's epoch.
        last: ID of the last face.
        mark: Mark of the last face.
        rows: Number of embeddings N.
        size: Number of elements D of each.
        storage: Their data type.
        damaged: IDs of faces that were left out.
    """

    gallery: str
    epoch: str
    last: int
    mark: str
    rows: int
    size: int
    storage: str
    damaged: tuple[int, ...]

    @property
    def body(self) -> int:
        """Bytes of embeddings and IDs."""
        return self.rows * (self.size * np.dtype(self.storage).itemsize + 16)

    def sealed(self, sums: Sequence[int]) -> dict[str, Any]:
        """The fields in JSON types, with the hash over them and the CRCs."""
        fields: dict[str, Any] = {"format": _FORMAT, **asdict(self), "damaged": [*self.damaged]}
        text = json.dumps(fields, sort_keys=True).encode() + np.array(sums, "<u4").tobytes()
        return {**fields, "hash": hashlib.blake2b(text, digest_size=16).hexdigest()}


def read_header(path: Path) -> MatrixHeader | None:
    """Reads a file's header without checking the hash; None if it is not a matrix file."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        with path.open("rb") as stream:
            found = json.loads(stream.read(_HEADER))
        found["damaged"] = tuple(found["damaged"])
        header = MatrixHeader(**{name: found[name] for name in MatrixHeader.__slots__})
        whole = (header.last, header.rows, header.size, *header.damaged)
        if found["format"] == _FORMAT and {int} == set(map(type, whole)) and header.rows > 0:
            return header if header.storage in ("float32", "float16") else None
    return None


def map_matrix(path: Path, header: MatrixHeader) -> Part | None:
    """Maps a file into memory; None if it is damaged or does not have this header."""
    try:
        with path.open("rb") as stream:
            found = json.loads(stream.read(_HEADER))
            size = os.fstat(stream.fileno()).st_size
            end = _HEADER + header.body
            if size != end + 4 * -(-header.body // _BLOCK):
                return None
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError, RecursionError):
        return None
    sums = np.frombuffer(mapped, "<u4", offset=end)
    if found != header.sealed(sums.tolist()):
        return None
    content = np.frombuffer(mapped, np.uint8, offset=_HEADER, count=header.body)
    view = memoryview(mapped)[_HEADER:end]
    starts = range(0, header.body, _BLOCK)
    with ThreadPoolExecutor(default_threads()) as pool:
        seen = pool.map(lambda start: crc32(view[start : start + _BLOCK]), starts)
        if not np.array_equal(np.fromiter(seen, np.uint32), sums):
            return None
    split = header.rows * header.size * np.dtype(header.storage).itemsize
    dtype = np.dtype(header.storage).newbyteorder("<")
    vectors = content[:split].view(dtype).reshape(header.rows, header.size)
    numbers = content[split:].view("<i8").astype(np.int64).reshape(2, header.rows)
    return vectors, numbers[0], numbers[1]


def write_matrix(path: Path, parts: Iterable[Part], header: Callable[[int], MatrixHeader]) -> None:
    """Writes a file block by block: it may be larger than memory.

    Args:
        path: The file.
        parts: The embeddings.
        header: Gives the header after the last part, from the number of rows.

    Raises:
        OutputError: If it cannot be written, or if the header has no room for the damaged faces.
    """
    columns: tuple[list[Any], list[Any]] = ([], [])
    with replacing(path, private=True) as temporary, temporary.open("wb") as stream:
        stream.write(bytes(_HEADER))
        summed = _Summed(stream)
        for vectors, faces, persons in parts:
            for start in range(0, len(vectors), _AT_ONCE):
                block = np.ascontiguousarray(vectors[start : start + _AT_ONCE])
                summed.write(block.reshape(-1).view(np.uint8).data)
            columns[0].append(np.asarray(faces, "<i8"))
            columns[1].append(np.asarray(persons, "<i8"))
        for column in columns:
            for numbers in column:
                summed.write(numbers.view(np.uint8).data)
        made = header(sum(map(len, columns[0])))
        if not made.rows or len(made.damaged) > _MAX_DAMAGED:
            raise OutputError("too many faces are damaged", where=str(path))
        stream.write(np.array(summed.sums, "<u4").data)
        stream.seek(0)
        stream.write(json.dumps(made.sealed(summed.sums)).encode().ljust(_HEADER))


class _Summed:
    """Writes to a file and keeps the CRC-32 of each block.

    Args:
        stream: The file.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._left = 0
        self.sums: list[int] = []

    def write(self, data: memoryview) -> None:
        """Writes all bytes."""
        self._stream.write(data)
        while data:
            if not self._left:
                self._left = _BLOCK
                self.sums.append(0)
            some = data[: self._left]
            self.sums[-1] = crc32(some, self.sums[-1])
            self._left -= len(some)
            data = data[len(some) :]


def stored_rows(path: Path, faces: Sequence[int]) -> dict[int, bytes] | None:
    """The bytes of the embeddings of some faces, by ID; None if it is not an intact matrix file."""
    header = read_header(path)
    part = None if header is None else map_matrix(path, header)
    if part is None:
        return None
    vectors, numbers, _ = part
    places = np.flatnonzero(np.isin(numbers, list(faces)))
    return {int(numbers[place]): vectors[place].tobytes() for place in places}
