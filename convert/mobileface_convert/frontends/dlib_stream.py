"""Reader of the integer stream in dlib's model files.

Such a file is a sequence of integers. An integer is a control byte and 1 to 8 bytes of magnitude,
least significant byte first; the low four bits of the control byte are the number of bytes and its
highest bit is the sign. Other types are built from integers (dlib/serialize.h,
dlib/float_details.h, dlib/matrix.h):

- a float is two integers, mantissa m and exponent e, with value m * 2**e; the exponents 32000,
  32001 and 32002 mean +infinity, -infinity and nan;
- a matrix is -rows, -columns and its elements in row-major order (in an older form both sizes are
  positive);
- a ``std::vector`` is a count and its items; ``vector<float, 2>`` is x and y without a count.

The format is not self-describing: a reader must know the type of the model. `DlibStream` locates
all integers of the file at once and returns them in order.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from mobileface.errors import SourceFormatError

__all__ = ["DlibStream", "floats_from_pairs"]

Float = TypeVar("Float", np.float32, np.float64)

_SIZE_BITS = 0x0F
_UNUSED_BITS = 0x70
_SIGN_BIT = 0x80
_LARGEST_SIZE = 8
_LARGEST_STEP = 1 + _SIZE_BITS
_BZIP2_MAGIC = b"BZh"

_PLUS_INFINITY = 32000
_MINUS_INFINITY = 32001
_INT16 = np.iinfo(np.int16)

_CHUNK_BYTES = 1 << 17
"""Bytes tokenized together: enough to amortise numpy's call cost, few enough for the cache."""
_STRIDE_BITS = 6
"""Python walks a file in strides of 2**6 integers; numpy fills in the integers between."""


class DlibStream:
    """Sequential access to the integers of a dlib file.

    Every method that reads several integers first checks that the file contains them, so a corrupt
    count cannot cause a large allocation. Errors name the file, the byte and the index of the
    integer.

    Args:
        values: (T,) int64, the integers.
        starts: (T,) int64, the offset of each integer's control byte.
        size: Size of the file in bytes.
        where: Name of the file in error messages.
    """

    def __init__(
        self,
        values: npt.NDArray[np.int64],
        starts: npt.NDArray[np.int64],
        size: int,
        where: str,
    ) -> None:
        self.position = 0
        self._values = values
        self._starts = starts
        self._size = size
        self._where = where

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> DlibStream:
        """Splits a whole file into its integers.

        Args:
            data: Content of the file.
            where: Name of the file in error messages.

        Raises:
            SourceFormatError: If the file contains a control byte that dlib does not write or an
                integer of more than 64 bits, or ends inside an integer.
        """
        raw = np.frombuffer(data, np.uint8)
        starts = _token_starts(raw)
        # Create the stream early: its errors only need the offsets, not the values.
        stream = cls(np.empty(0, np.int64), starts, raw.size, where)
        control = raw[starts]
        sizes = control & _SIZE_BITS
        bad = ((control & _UNUSED_BITS) != 0) | (sizes == 0) | (sizes > _LARGEST_SIZE)
        if bad.any():
            first = int(np.argmax(bad))
            hint = "decompress it with bzip2 first" if data.startswith(_BZIP2_MAGIC) else ""
            what = f"0x{int(control[first]):02x} is not a control byte that dlib writes"
            raise stream.error(what, first, hint=hint)
        if starts.size and starts[-1] + 1 + int(sizes[-1]) > raw.size:
            there = raw.size - int(starts[-1]) - 1
            what = f"the file ends inside an integer, after {there} of {int(sizes[-1])} bytes"
            raise stream.error(what, starts.size - 1, hint="fetch the file again")
        magnitudes = _magnitudes(raw, starts, sizes)
        beyond = magnitudes > np.uint64(np.iinfo(np.int64).max)
        if beyond.any():
            raise stream.error("an integer of more than 64 bits", int(np.argmax(beyond)))
        values = magnitudes.view(np.int64)
        np.negative(values, out=values, where=(control & _SIGN_BIT) != 0)
        stream._values = values
        return stream

    @property
    def remaining(self) -> int:
        """Number of integers that have not been read yet."""
        return self._values.size - self.position

    def error(self, what: str, index: int | None = None, *, hint: str = "") -> SourceFormatError:
        """An error that names a position in the file, for the caller to raise.

        Args:
            what: What is wrong at this position.
            index: Index of the integer in the file; by default the next integer to read.
            hint: What to do about it.
        """
        index = self.position if index is None else index
        offset = int(self._starts[index]) if index < self._starts.size else self._size
        where = f"{self._where}, byte {offset} (integer {index})"
        return SourceFormatError(what, where=where, hint=hint)

    def peek(self, what: str, ahead: int = 0) -> int:
        """The integer at offset `ahead` from the next one, without reading it."""
        self._require(ahead + 1, what)
        return int(self._values[self.position + ahead])

    def integer(self, what: str) -> int:
        """The next integer."""
        value = self.peek(what)
        self.position += 1
        return value

    def integers(self, count: int, what: str) -> npt.NDArray[np.int64]:
        """The next integers, (count,) int64."""
        self._require(count, what)
        self.position += count
        return self._values[self.position - count : self.position]

    def count(self, what: str, *, item_tokens: int = 1) -> int:
        """Reads the number of items that follow.

        Args:
            what: Name of the items, in the plural.
            item_tokens: Minimum number of integers per item.

        Raises:
            SourceFormatError: If the count is negative, or the rest of the file is too short for
                this many items.
        """
        value = self.peek(f"the count of {what}")
        if value < 0 or value * item_tokens > self.remaining - 1:
            raise self.error(f"the rest of the file cannot hold {value} {what}")
        self.position += 1
        return value

    def float32s(self, count: int, what: str) -> npt.NDArray[np.float32]:
        """The next floats, (count,) float32, rounded as dlib does."""
        return floats_from_pairs(self.integers(2 * count, what).reshape(count, 2), np.float32)

    def float64s(self, count: int, what: str) -> npt.NDArray[np.float64]:
        """The next floats, (count,) float64."""
        return floats_from_pairs(self.integers(2 * count, what).reshape(count, 2), np.float64)

    def matrix(self, what: str, dtype: type[Float]) -> npt.NDArray[Float]:
        """The next matrix of floats, (rows, columns), with either form of header.

        Args:
            what: Name of the matrix in error messages.
            dtype: np.float32 or np.float64, the element type of the matrix in dlib.

        Raises:
            SourceFormatError: If the sizes are invalid, or the rest of the file is too short.
        """
        rows, columns = self.peek(what), self.peek(what, ahead=1)
        if min(rows, columns) < 0 < max(rows, columns):
            raise self.error(f"{what}: {rows} x {columns} is not the size of a matrix")
        rows, columns = abs(rows), abs(columns)
        if max(rows, columns, 2 * rows * columns) > self.remaining - 2:
            raise self.error(f"{what}: the rest of the file cannot hold {rows} x {columns} floats")
        self.position += 2
        pairs = self.integers(2 * rows * columns, what)
        return floats_from_pairs(pairs.reshape(rows, columns, 2), dtype)

    def end(self) -> None:
        """Checks that the file ends after the model.

        Raises:
            SourceFormatError: If more integers follow.
        """
        if self.remaining:
            raise self.error(f"the model ends here, but {self.remaining} more integers follow")

    def _require(self, count: int, what: str) -> None:
        """Raises an error unless ``count`` more integers can be read."""
        if not 0 <= count <= self.remaining:
            raise self.error(
                f"{what}: expected {count} integers, {self.remaining} are left",
                hint="the file is truncated, or a count in it is corrupt",
            )


def floats_from_pairs(pairs: npt.NDArray[np.int64], dtype: type[Float]) -> npt.NDArray[Float]:
    """Converts mantissas and exponents to floats: m * 2**e.

    The mantissa is rounded to the type before it is scaled, as dlib does. An exponent that dlib
    does not write becomes nan, so that a single check for finite values is sufficient.

    Args:
        pairs: (..., 2) int64, mantissa and exponent.
        dtype: np.float32 or np.float64.

    Returns:
        (...) floats of that type.
    """
    mantissas, exponents = pairs[..., 0], pairs[..., 1]
    ordinary = (exponents >= _INT16.min) & (exponents < _PLUS_INFINITY)
    with np.errstate(over="ignore", under="ignore"):
        values = np.ldexp(
            mantissas.astype(dtype), np.where(ordinary, exponents, 0).astype(np.int32)
        ).astype(dtype, copy=False)
    if not ordinary.all():
        special = np.where(exponents == _PLUS_INFINITY, np.inf, np.nan)
        special = np.where(exponents == _MINUS_INFINITY, -np.inf, special)
        values = np.where(ordinary, values, special.astype(dtype))
    return values


def _token_starts(raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Offsets of all control bytes, (T,) int64, provided that their byte counts are correct.

    The start of an integer is only known after the previous one has been read, which is slow in
    Python. Therefore numpy first computes, for every byte of a chunk, the offset that a walk from
    there reaches after 2, 4, … 64 integers. Python then walks in strides of 64 integers, and numpy
    fills in all strides at once.
    """
    found: list[npt.NDArray[np.int64]] = []
    entry = 0
    for base in range(0, raw.size, _CHUNK_BYTES):
        chunk = raw[base : base + _CHUNK_BYTES]
        # A walk stops where it leaves the chunk: offsets beyond its end point to themselves.
        following = np.arange(chunk.size + _LARGEST_STEP, dtype=np.int64)
        following[: chunk.size] += (chunk & _SIZE_BITS) + np.uint8(1)
        far = following
        for _ in range(_STRIDE_BITS):
            far = far[far]
        heads: list[int] = []
        while entry < chunk.size:
            heads.append(entry)
            entry = int(far[entry])
        entry -= chunk.size
        walks = np.empty((1 << _STRIDE_BITS, len(heads)), np.int64)
        walks[0] = heads
        for step in range(1, len(walks)):
            walks[step] = following[walks[step - 1]]
        offsets = walks.T.reshape(-1)
        found.append(offsets[offsets < chunk.size] + base)
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _magnitudes(
    raw: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], sizes: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint64]:
    """The 1 to 8 bytes after each control byte as (T,) uint64."""
    padded = np.zeros(raw.size + _LARGEST_SIZE + 1, np.uint8)
    padded[: raw.size] = raw
    # A view with one overlapping 8-byte word for every byte of the file.
    words: npt.NDArray[np.uint64] = np.ndarray(
        (raw.size + 1,), np.dtype("<u8"), buffer=padded.data, strides=(1,)
    )
    masks = np.array([(1 << 8 * size) - 1 for size in range(_LARGEST_SIZE + 1)], np.uint64)
    magnitudes: npt.NDArray[np.uint64] = words[starts + 1].astype(np.uint64, copy=False)
    magnitudes &= masks[sizes]
    return magnitudes
