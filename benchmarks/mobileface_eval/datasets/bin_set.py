"""Reader of verification sets in one file: lfw.bin, agedb_30.bin, cfp_fp.bin and their like.

Such a file is a pickle of a pair: 2·P encoded pictures, two for each of P pairs, and P flags that
say whether a pair shows one person. They have been written by Python 2 and 3 with protocols 0 to 5,
the pictures as bytes or as numpy arrays of bytes, the flags as a list of bools or of numpy scalars
or as an array. Nothing else is read: no name in the file is looked up, and no code of it runs.
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
"""Of numpy's scalars and arrays: truth values, bytes and whole numbers."""

_LARGEST_FILE = 1 << 32


def read_bin(path: Path) -> tuple[list[bytes], npt.NDArray[np.bool_]]:
    """Reads a verification set.

    Args:
        path: The file.

    Returns:
        2·P encoded pictures (JPEG or PNG, not decoded), and bool (P,): one person or two.

    Raises:
        InputError: It cannot be read, is no such set, or a pickle that wants to do more than hold
            one.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= _LARGEST_FILE else b""
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({reason(error)})", where=str(path)) from error
    if size > _LARGEST_FILE:
        raise InputError(f"{size} bytes are too many", where=str(path))
    hint = "a verification set holds pictures and flags; this file may be hostile"
    names = _names(len(data))
    value = read_pickle(
        data, str(path), frozenset(_INSTRUCTIONS.split()), InputError, names=names, hint=hint
    )
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise InputError("not a pair of pictures and flags", where=str(path))
    pictures, flags = _pictures(value[0], str(path)), _flags(value[1], str(path))
    if len(pictures) != 2 * len(flags) or not flags:
        raise InputError(f"{len(pictures)} pictures for {len(flags)} pairs", where=str(path))
    return pictures, np.array(flags, np.bool_)


def _pictures(value: Any, where: str) -> list[bytes]:
    if not isinstance(value, list | tuple):
        raise InputError("its pictures are no list", where=where)
    found = []
    for number, item in enumerate(value):
        content = item.value if isinstance(item, _Array) else item
        if isinstance(content, np.ndarray) and content.dtype == np.uint8:
            content = content.tobytes()
        if not isinstance(content, bytes | bytearray) or not content:
            raise InputError(f"picture {number} is no encoded picture", where=where)
        found.append(bytes(content))
    return found


def _flags(value: Any, where: str) -> list[bool]:
    listed = value.value if isinstance(value, _Array) else value
    if not isinstance(listed, list | tuple | np.ndarray) or np.ndim(listed) != 1:
        raise InputError("its flags are no list", where=where)
    found = []
    for number, item in enumerate(listed):
        whole = isinstance(item, bool | int | np.bool_ | np.integer)
        if not whole or int(item) not in (0, 1):
            raise InputError(f"flag {number} is neither true nor false", where=where)
        found.append(bool(item))
    return found


class _Type:
    """Stands for numpy.dtype: one of a few plain types."""

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
            raise InputError("a type without a byte order")
        if text == ">":
            self.dtype = self.dtype.newbyteorder(">")


class _Array:
    """Stands for a numpy array: a one-dimensional one of plain numbers."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: npt.NDArray[Any] | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise InputError("a numpy array without a content")
        self.value = _from_buffer(state[4], state[2], state[1])


def _from_buffer(content: object, kind: object, shape: object, *_: object) -> npt.NDArray[Any]:
    """The array that bytes hold; a view, which costs no memory."""
    if not isinstance(kind, _Type) or not isinstance(content, bytes | bytearray):
        raise InputError("a numpy array of something else than numbers")
    array = np.frombuffer(content, kind.dtype)
    if shape != (len(array),):
        raise InputError(f"{len(array)} numbers do not fill the shape {str(shape)[:40]}")
    return array


def _scalar(kind: object, content: object) -> Any:
    """The one number that bytes hold."""
    return _from_buffer(content, kind, (1,))[0]


def _names(size: int) -> dict[tuple[str, str], Callable[..., Any]]:
    """What may be named in a file of so many bytes, and what is called in its place."""
    written = 0

    def encode(text: object, encoding: object) -> bytes:
        """Bytes as Python 3 writes them for Python 2; no more than the file can hold."""
        nonlocal written
        if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
            raise InputError("bytes in another encoding than latin1")
        written += len(text)
        if written > size:
            raise InputError("the same bytes again and again")
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
