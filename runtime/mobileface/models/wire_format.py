"""Reads the wire format of protocol buffers, because the runtime does not depend on ``onnx``.

https://protobuf.dev/programming-guides/encoding. Standard library only.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

__all__ = ["message_fields"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def message_fields(data: mmap.mmap, place: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field of a message that has a length; others are skipped.

    Args:
        data: The file.
        place: Where the message begins.
        end: Where it ends.

    Raises:
        ValueError: If it is not a protocol buffer.
        IndexError: If it is cut off.
    """
    while place < end:
        key, place = _varint(data, place)
        kind = key & 7
        if kind == _BYTES:
            size, place = _varint(data, place)
            if place + size > end:
                raise ValueError("a field ends after its message")
            yield key >> 3, place, place + size
            place += size
        elif kind == _VARINT:
            _, place = _varint(data, place)
        elif kind in (_FIXED64, _FIXED32):
            place += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError("not a protocol buffer")


def _varint(data: mmap.mmap, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("not a protocol buffer")
