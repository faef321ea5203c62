"""Reader of MobileFace's pose model: a pickle of 3×11 numbers, read without trusting it.

A pickle is a program. This one may use only the instructions that build lists of floats; anything
else (classes, calls, persistent ids, strings) is refused before a single one runs.
"""

from __future__ import annotations

import math

from mobileface.errors import SourceFormatError
from mobileface_convert.frontends.pickles import read_pickle

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
    hint = "a pose model holds lists of floats; this file may be hostile"
    value = read_pickle(data, where, _ALLOWED, SourceFormatError, hint=hint)
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
