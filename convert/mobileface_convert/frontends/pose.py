"""Reader of MobileFace's pose model: a pickle of 3×11 numbers, read without trusting it.

A pickle is a program. This one may use only the instructions that build lists of floats; anything
else (classes, calls, persistent ids, strings) is refused before a single one runs.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools

from mobileface.errors import SourceFormatError

__all__ = ["read_pose_coefficients"]

_ROWS, _COLUMNS = 3, 11
_LARGEST_FILE = 1 << 16
_ALLOWED = frozenset(
    {
        "PROTO",
        "FRAME",
        "MARK",
        "EMPTY_LIST",
        "LIST",
        "APPEND",
        "APPENDS",
        "BINFLOAT",
        "FLOAT",
        "BINPUT",
        "LONG_BINPUT",
        "PUT",
        "MEMOIZE",
        "STOP",
    }
)
_NUMBERED = frozenset({"BINPUT", "LONG_BINPUT", "PUT"})

Rows = tuple[tuple[float, ...], ...]


def read_pose_coefficients(data: bytes, where: str = "pose model") -> Rows:
    """Reads the coefficients of a pose model.

    Args:
        data: The file's bytes.
        where: What error messages call the file.

    Returns:
        Three rows of eleven numbers: pitch, roll, yaw; ten for the points, one constant.

    Raises:
        SourceFormatError: Not a pickle of a list of lists of floats, or of another shape.
    """
    if len(data) > _LARGEST_FILE:
        raise SourceFormatError(f"{len(data)} bytes are too many for 33 numbers", where=where)
    _check_instructions(data, where)
    try:
        value = _Unpickler(io.BytesIO(data)).load()
    except Exception as error:  # damage can surface as almost any exception
        raise SourceFormatError(f"a damaged pickle ({error})", where=where) from error
    if not isinstance(value, list) or len(value) != _ROWS:
        raise SourceFormatError(f"not a list of {_ROWS} rows", where=where)
    for number, row in enumerate(value):
        if (
            not isinstance(row, list)
            or len(row) != _COLUMNS
            or not all(isinstance(item, float) and math.isfinite(item) for item in row)
        ):
            raise SourceFormatError(
                f"not a list of {_COLUMNS} finite numbers", where=f"{where}, row {number}"
            )
    return tuple(tuple(row) for row in value)


class _Unpickler(pickle.Unpickler):
    """Resolves no names at all: the second lock, should the first ever have a gap."""

    def find_class(self, module: str, name: str) -> object:
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")

    def persistent_load(self, _: object) -> object:
        raise pickle.UnpicklingError("persistent ids are not allowed")


def _check_instructions(data: bytes, where: str) -> None:
    """Every instruction is an allowed one, and ends where the file ends."""
    end = 0
    try:
        for opcode, argument, position in pickletools.genops(data):
            if opcode.name not in _ALLOWED:
                raise SourceFormatError(
                    f"the pickle instruction {opcode.name} is not allowed",
                    where=f"{where}, byte {position}",
                    hint="a pose model holds lists of floats; this file may be hostile",
                )
            # A huge memo number would make the unpickler allocate as much.
            if opcode.name in _NUMBERED and not 0 <= int(argument or 0) < len(data):
                raise SourceFormatError(
                    f"memo number {str(argument)[:20]}", where=f"{where}, byte {position}"
                )
            end = (position or 0) + 1
    except SourceFormatError:
        raise
    except Exception as error:  # pickletools raises ValueError and others on damage
        raise SourceFormatError(f"not a pickle ({error})", where=where) from error
    if end != len(data):
        raise SourceFormatError(f"{len(data) - end} bytes after the end", where=where)
