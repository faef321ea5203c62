"""The matrix file: all embeddings of a gallery, to be mapped into memory.

The file ``GALLERY-matrix`` is derived from the gallery and can be deleted at any time::

    4096 bytes        JSON: format, gallery (its ID), epoch, last (ID of the last face), mark of
                      that face, rows, size, storage, damaged (IDs of faces that were left out),
                      hash; padded with spaces
    rows × size       embeddings, float32 or float16, little endian, in the order of the faces
    rows × 8 bytes    IDs of the faces, ascending
    rows × 8 bytes    ID of the person of each face

``hash`` is a BLAKE2b over the other fields and the sums of all pages. A page is 4096 bytes of the
three parts, the last one padded with zeros; its sum is that of its 512 integers, little endian,
modulo 2⁶⁴. A file with a wrong hash is not used.

Sums are as fast as memory, two to four times as fast as CRC-32. They are sound against the
damage that is to be found: one flipped bit changes a sum by 2ᵏ, which is never 0, and so does any
damage within one integer. A page that is lost, or written in the place of another, has another sum,
and the hash knows their order. Of two random flips in one page, 1 pair in 128 cancels: they meet in
the same bit of two integers, one up and one down.
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

import numpy as np
import numpy.typing as npt

from ..errors import OutputError
from ..host.files import replacing
from ..host.threads import default_threads

__all__ = [
    "MatrixHeader",
    "Part",
    "map_matrix",
    "page_sums",
    "read_header",
    "stored_rows",
    "write_matrix",
]

_FORMAT = 3
_HEADER = _PAGE = 4096
_BLOCK = 1 << 22
"""Bytes that a thread sums at a time."""

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

    def sealed(self, sums: bytes) -> dict[str, Any]:
        """The fields in JSON types, with the hash over them and the sums of the pages."""
        fields: dict[str, Any] = {"format": _FORMAT, **asdict(self), "damaged": [*self.damaged]}
        text = json.dumps(fields, sort_keys=True).encode() + sums
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
            if os.fstat(stream.fileno()).st_size != _HEADER + header.body:
                return None
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError, RecursionError):
        return None
    content = np.frombuffer(mapped, np.uint8, offset=_HEADER, count=header.body)
    blocks = (content[start : start + _BLOCK] for start in range(0, header.body, _BLOCK))
    with ThreadPoolExecutor(default_threads()) as pool:
        if found != header.sealed(b"".join(pool.map(page_sums, blocks))):
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
        stream.seek(0)
        stream.write(json.dumps(made.sealed(summed.sums())).encode().ljust(_HEADER))


def page_sums(content: npt.NDArray[np.uint8]) -> bytes:
    """The sums of the pages of bytes, (N,), as 8 bytes each; the last page is padded."""
    whole = len(content) - len(content) % _PAGE
    pages = content[:whole].view("<u8").reshape(-1, _PAGE // 8)
    found: bytes = np.add.reduce(pages, axis=1, dtype="<u8").tobytes()
    if whole == len(content):
        return found
    return found + page_sums(np.pad(content[whole:], (0, whole + _PAGE - len(content))))


class _Summed:
    """Writes to a file and sums its pages.

    Args:
        stream: The file.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._found: list[bytes] = []
        self._rest = b""

    def write(self, data: memoryview) -> None:
        """Writes all bytes."""
        self._stream.write(data)
        known = self._rest + data
        whole = len(known) - len(known) % _PAGE
        self._found.append(page_sums(np.frombuffer(known, np.uint8, whole)))
        self._rest = known[whole:]

    def sums(self) -> bytes:
        """The sums of all pages."""
        return b"".join([*self._found, page_sums(np.frombuffer(self._rest, np.uint8))])


def stored_rows(path: Path, faces: Sequence[int]) -> dict[int, bytes] | None:
    """The bytes of the embeddings of some faces, by ID; None if it is not an intact matrix file."""
    header = read_header(path)
    part = None if header is None else map_matrix(path, header)
    if part is None:
        return None
    vectors, numbers, _ = part
    places = np.flatnonzero(np.isin(numbers, list(faces)))
    return {int(numbers[place]): vectors[place].tobytes() for place in places}
