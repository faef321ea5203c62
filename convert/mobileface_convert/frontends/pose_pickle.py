"""Safe reader of MobileFace's pose model, a pickle of 3×11 numbers.

A pickle is a program. Only the instructions that build lists of floats are allowed; anything else
(classes, calls, persistent ids, strings) is rejected before any instruction runs.
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
        data: Content of the file.
        where: Name of the file in error messages.

    Returns:
        Three rows of eleven numbers, for pitch, roll and yaw: ten coefficients of the landmark
        coordinates and one constant.

    Raises:
        SourceFormatError: If the file is not a pickle of three lists of eleven finite floats.
    """
    if len(data) > _LARGEST_FILE:
        raise SourceFormatError(f"{len(data)} bytes are too many for 33 numbers", where=where)
    hint = "a pose model only contains lists of floats; this file may be malicious"
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
