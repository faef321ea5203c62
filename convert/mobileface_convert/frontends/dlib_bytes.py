"""Sequential reader of dlib's network files, which contain plain bytes between integers.

Integers and floats are encoded as described in `dlib_stream`. A network file also contains texts,
flags and tensors, whose bytes are not encoded as integers, so it can only be read from start to end
(dlib/serialize.h, dlib/dnn/tensor.h):

- a text is its length and its bytes;
- a flag is the character "1" or "0";
- a tensor is the version 2, four sizes and its elements: float32, least significant byte first.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mobileface.errors import SourceFormatError

from .dlib_stream import floats_from_pairs

__all__ = ["DlibBytes"]

_SIZE_BITS = 0x0F
_UNUSED_BITS = 0x70
_SIGN_BIT = 0x80
_LARGEST_SIZE = 8
_LONGEST_TEXT = 64
_TENSOR_VERSION = 2
_ALIAS_VERSION = 1


class DlibBytes:
    """Sequential access to the content of a file.

    Sizes in the file are not trusted: data of the announced size must fit into the rest of the
    file.

    Args:
        data: Content of the file.
        where: Name of the file in error messages.
    """

    def __init__(self, data: bytes, where: str) -> None:
        self.position = 0
        self._data = data
        self._where = where

    def error(self, what: str, *, at: int | None = None, hint: str = "") -> SourceFormatError:
        """An error that names a position in the file, for the caller to raise."""
        offset = self.position if at is None else at
        return SourceFormatError(what, where=f"{self._where}, byte {offset}", hint=hint)

    def integer(self, what: str) -> int:
        """The next integer.

        Raises:
            SourceFormatError: If the next bytes are not an integer.
        """
        start = self.position
        control = self._take(1, what)[0]
        size = control & _SIZE_BITS
        if control & _UNUSED_BITS or not 1 <= size <= _LARGEST_SIZE:
            raise self.error(f"{what}: 0x{control:02x} does not start an integer", at=start)
        magnitude = int.from_bytes(self._take(size, what), "little")
        return -magnitude if control & _SIGN_BIT else magnitude

    def size(self, what: str, *, least: int = 0, most: int) -> int:
        """The next integer, which must be between two bounds, inclusive.

        Raises:
            SourceFormatError: If the integer is out of bounds.
        """
        start = self.position
        value = self.integer(what)
        if not least <= value <= most:
            raise self.error(f"{what} must be from {least} to {most}, not {value}", at=start)
        return value

    def real(self, what: str) -> float:
        """The next floating-point number, which must be finite.

        Raises:
            SourceFormatError: If the number is not finite.
        """
        start = self.position
        limits = np.iinfo(np.int64)
        pair = [self.integer(what), self.integer(what)]
        if any(not limits.min <= part <= limits.max for part in pair):
            raise self.error(f"{what} has an integer of more than 64 bits", at=start)
        value = float(floats_from_pairs(np.array(pair, np.int64), np.float64))
        if not math.isfinite(value):
            raise self.error(f"{what} must be finite, not {value}", at=start)
        return value

    def text(self, what: str) -> str:
        """The next text, of printable ASCII characters.

        Raises:
            SourceFormatError: If the text is too long or has other characters.
        """
        start = self.position
        raw = self._take(self.size(f"length of {what}", most=_LONGEST_TEXT), what)
        if not all(32 <= byte < 127 for byte in raw):
            raise self.error(f"{what} {raw!r} is not printable ASCII", at=start)
        return raw.decode("ascii")

    def flag(self, what: str) -> bool:
        """The next flag.

        Raises:
            SourceFormatError: If the next byte is not a flag.
        """
        byte = self._take(1, what)
        if byte not in (b"0", b"1"):
            raise self.error(f"{what}: {byte!r} is neither 0 nor 1", at=self.position - 1)
        return byte == b"1"

    def tensor(self, what: str) -> npt.NDArray[np.float32]:
        """The next tensor, float32 with four axes and finite elements.

        Raises:
            SourceFormatError: If the tensor is corrupt or has elements that are not finite.
        """
        start = self.position
        self.size(f"version of {what}", least=_TENSOR_VERSION, most=_TENSOR_VERSION)
        shape = self._shape(what)
        elements = math.prod(shape)
        if 4 * elements > len(self._data) - self.position:
            raise self.error(f"{what}: the rest of the file cannot hold {shape} floats", at=start)
        raw = self._take(4 * elements, what)
        values = np.frombuffer(raw, "<f4").astype(np.float32).reshape(shape)
        if not np.isfinite(values).all():
            raise self.error(f"{what} has elements that are not finite", at=start)
        return values

    def alias(self, what: str) -> tuple[int, ...]:
        """The four sizes of the next alias, a view of a part of a tensor.

        Raises:
            SourceFormatError: If the alias is corrupt.
        """
        self.size(f"version of {what}", least=_ALIAS_VERSION, most=_ALIAS_VERSION)
        return self._shape(what)

    def end(self) -> None:
        """Checks that the file ends after the network.

        Raises:
            SourceFormatError: If more bytes follow.
        """
        left = len(self._data) - self.position
        if left:
            raise self.error(f"the network ends here, but {left} bytes follow")

    def _shape(self, what: str) -> tuple[int, ...]:
        """The next four sizes."""
        return tuple(self.size(f"a size of {what}", most=len(self._data)) for _ in range(4))

    def _take(self, count: int, what: str) -> bytes:
        """The next ``count`` bytes."""
        left = len(self._data) - self.position
        if count > left:
            raise self.error(
                f"{what}: expected {count} bytes, {left} are left",
                hint="the file is truncated, or a size in it is corrupt",
            )
        taken = self._data[self.position : self.position + count]
        self.position += count
        return taken
