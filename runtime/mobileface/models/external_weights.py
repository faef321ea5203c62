"""Finds tensors of an ONNX file whose values are in another file, which no hash covers.

Field numbers are those of ``onnx.proto``. Standard library only.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from .wire_format import message_fields

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
        return any(number == _EXTERNAL_DATA for number, _, _ in message_fields(data, start, end))
    inner = _INNER[kind]
    return any(
        _any_external(data, first, last, inner[number], depth + 1)
        for number, first, last in message_fields(data, start, end)
        if number in inner
    )
