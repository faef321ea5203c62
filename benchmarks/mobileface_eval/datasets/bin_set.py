"""Reader of single-file verification sets: lfw.bin, agedb_30.bin, cfp_fp.bin and others.

Such a file is a pickle of two items: 2·P encoded images, two for each of P pairs, and P flags that
tell whether a pair shows the same person. Such files are written by Python 2 and 3 with protocols 0
to 5, the images as bytes or as numpy arrays of bytes, the flags as a list of bools or of numpy
scalars or as an array. Nothing else is accepted: no name in the file is looked up, and no code of
the file runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobileface.errors import InputError
from mobileface.host.files import reason
from mobileface_convert.frontends.pickles import read_pickle

__all__ = ["read_bin"]

_INSTRUCTIONS = """
    PROTO FRAME MARK STOP POP POP_MARK
    EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    NONE NEWTRUE NEWFALSE INT LONG BININT BININT1 BININT2 LONG1
    STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8
    PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET
    GLOBAL STACK_GLOBAL REDUCE BUILD
"""
_KINDS = frozenset({"b1", "u1", "i1", "i2", "i4", "i8"})
"""Allowed numpy dtypes: booleans, bytes and integers."""

_LARGEST_FILE = 1 << 32


def read_bin(path: Path) -> tuple[list[bytes], npt.NDArray[np.bool_]]:
    """Reads a verification set.

    Args:
        path: The file.

    Returns:
        2·P encoded images (JPEG or PNG, not decoded), and bool (P,): whether a pair shows the same
        person.

    Raises:
        InputError: If the file cannot be read, is not such a set, or is a pickle with instructions
            or names that a set does not need.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= _LARGEST_FILE else b""
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({reason(error)})", where=str(path)) from error
    if size > _LARGEST_FILE:
        raise InputError(
            f"{size} bytes are more than the limit of {_LARGEST_FILE}", where=str(path)
        )
    hint = "a verification set contains only images and flags; this file may be malicious"
    names = _names(len(data))
    value = read_pickle(
        data, str(path), frozenset(_INSTRUCTIONS.split()), InputError, names=names, hint=hint
    )
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise InputError("not a tuple of images and flags", where=str(path))
    images, flags = _images(value[0], str(path)), _flags(value[1], str(path))
    if len(images) != 2 * len(flags) or not flags:
        raise InputError(f"{len(images)} images for {len(flags)} pairs", where=str(path))
    return images, np.array(flags, np.bool_)


def _images(value: Any, where: str) -> list[bytes]:
    if not isinstance(value, list | tuple):
        raise InputError("the images are not a list", where=where)
    found = []
    for number, item in enumerate(value):
        content = item.value if isinstance(item, _Array) else item
        if isinstance(content, np.ndarray) and content.dtype == np.uint8:
            content = content.tobytes()
        if not isinstance(content, bytes | bytearray) or not content:
            raise InputError(f"image {number} is not an encoded image", where=where)
        found.append(bytes(content))
    return found


def _flags(value: Any, where: str) -> list[bool]:
    listed = value.value if isinstance(value, _Array) else value
    if not isinstance(listed, list | tuple | np.ndarray) or np.ndim(listed) != 1:
        raise InputError("the flags are not a list", where=where)
    found = []
    for number, item in enumerate(listed):
        whole = isinstance(item, bool | int | np.bool_ | np.integer)
        if not whole or int(item) not in (0, 1):
            raise InputError(f"flag {number} is neither true nor false", where=where)
        found.append(bool(item))
    return found


class _Type:
    """Replaces numpy.dtype; only a few plain types are allowed."""

    __slots__ = ("dtype",)

    def __init__(self, code: object) -> None:
        name = code.decode("ascii") if isinstance(code, bytes) else code
        if name not in _KINDS:
            raise InputError(f"the type {str(name)[:20]!r} is not allowed")
        self.dtype = np.dtype(str(name))

    def __setstate__(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        text = order.decode("ascii") if isinstance(order, bytes) else order
        if text not in ("<", ">", "|", "="):
            raise InputError("a numpy dtype has no byte order")
        if text == ">":
            self.dtype = self.dtype.newbyteorder(">")


class _Array:
    """Replaces numpy.ndarray; only one-dimensional arrays of plain numbers are allowed."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: npt.NDArray[Any] | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise InputError("a numpy array has no content")
        self.value = _from_buffer(state[4], state[2], state[1])


def _from_buffer(content: object, kind: object, shape: object, *_: object) -> npt.NDArray[Any]:
    """The array that is stored as bytes; a view, which takes no memory."""
    if not isinstance(kind, _Type) or not isinstance(content, bytes | bytearray):
        raise InputError("a numpy array does not contain plain numbers")
    array = np.frombuffer(content, kind.dtype)
    if shape != (len(array),):
        raise InputError(f"{len(array)} numbers do not fill the shape {str(shape)[:40]}")
    return array


def _scalar(kind: object, content: object) -> Any:
    """The scalar that is stored as bytes."""
    return _from_buffer(content, kind, (1,))[0]


def _names(size: int) -> dict[tuple[str, str], Callable[..., Any]]:
    """Replacements for the names that a file of ``size`` bytes may contain."""
    written = 0

    def encode(text: object, encoding: object) -> bytes:
        """Decodes bytes that Python 3 wrote for Python 2; no more in total than the file's size."""
        nonlocal written
        if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
            raise InputError("bytes are not encoded as latin1")
        written += len(text)
        if written > size:
            raise InputError("the file repeats the same bytes to use more memory than its size")
        return text.encode("latin1")

    found: dict[tuple[str, str], Callable[..., Any]] = {
        ("_codecs", "encode"): encode,
        ("numpy", "dtype"): lambda code, *_: _Type(code),
        ("numpy", "ndarray"): lambda *_: None,
    }
    for core in ("numpy.core", "numpy._core"):
        found[f"{core}.multiarray", "scalar"] = _scalar
        found[f"{core}.multiarray", "_reconstruct"] = lambda *_: _Array()
        found[f"{core}.numeric", "_frombuffer"] = _from_buffer
    return found
