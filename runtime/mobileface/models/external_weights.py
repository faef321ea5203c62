"""Finds tensors of an ONNX file whose values are in another file, which no hash covers.

The wire format of protocol buffers is read directly, because the runtime does not depend on
``onnx``; field numbers are those of ``onnx.proto``. Standard library only.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

__all__ = ["has_external_weights"]

_LOCATION = b"location"
"""Key with the name of the other file; without it, a file has no such tensors."""

_INNER: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "node": {5: "attribute"},
    "function": {7: "node", 11: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse",
        23: "sparse",
    },
}
_EXTERNAL_DATA = 13
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEEPEST = 64


def has_external_weights(path: Path) -> bool:
    """True if a tensor of an ONNX file says that its values are in another file.

    What is no ONNX file has none; opening it is an error of its own.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open("rb") as stream:
        try:
            content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file
            return False
        with content:
            if content.find(_LOCATION) < 0:
                return False
            try:
                return _any_external(content, 0, len(content), "model", 0)
            except (IndexError, ValueError):
                return False


def _any_external(data: mmap.mmap, start: int, end: int, kind: str, depth: int) -> bool:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    if kind == "tensor":
        return any(number == _EXTERNAL_DATA for number, _, _ in _fields(data, start, end))
    inner = _INNER[kind]
    return any(
        _any_external(data, first, last, inner[number], depth + 1)
        for number, first, last in _fields(data, start, end)
        if number in inner
    )


def _fields(data: mmap.mmap, place: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field of a message that has a length."""
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
