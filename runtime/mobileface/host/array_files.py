"""Reads ``.npz`` and ``.npy`` files of NumPy that anybody may have written.

Nothing is unpickled, and whatever is wrong with a file is one error: NumPy, zipfile and the
decompressors have a dozen types of their own.
"""

from __future__ import annotations

import stat
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .files import reason

__all__ = ["load_array", "load_arrays"]

Loaded = npt.NDArray[Any]

_T = TypeVar("_T")

_ALWAYS, _GROWTH = 1 << 28, 20
"""Bytes that an archive may always unpack to, and how many times its own size beyond that:
embeddings hardly shrink, names of files do."""


def load_arrays(path: Path, what: str) -> dict[str, Loaded]:
    """Reads all arrays of an ``.npz`` file.

    Args:
        path: The file.
        what: What it should be, for error messages: "an embeddings file".

    Returns:
        The arrays by name.

    Raises:
        InputError: If the file cannot be read or unpacked, holds objects, or would unpack to far
            more than its own size.
    """
    return _guarded(lambda: _unpack(path), path, what)


def load_array(path: Path, what: str) -> Loaded:
    """Maps the array of an ``.npy`` file into memory, read-only.

    Raises:
        InputError: If it is none, or holds objects.
    """

    def read() -> Loaded:
        _check_regular(path)
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(found, np.ndarray):
            raise ValueError("an archive, not one array")
        return found

    return _guarded(read, path, what)


def _guarded(read: Callable[[], _T], path: Path, what: str) -> _T:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy's, about headers that are not as it writes them
            return read()
    except Exception as error:  # zlib, lzma, zipfile, tokenize, NumPy, memory
        text = " ".join(reason(error).split()) or type(error).__name__
        raise InputError(f"not {what} ({text[:200]})", where=str(path)) from error


def _unpack(path: Path) -> dict[str, Loaded]:
    _check_regular(path)
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        if stream.read(4) != b"PK\x03\x04":
            raise ValueError("not a zip archive")
        with zipfile.ZipFile(stream) as archive:
            total = sum(member.file_size for member in archive.infolist())
        if total > max(_ALWAYS, _GROWTH * size):
            raise ValueError(f"{size:,} bytes would unpack to {total:,}")
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as data:
            found = {name: data[name] for name in data.files}
    for name, array in found.items():
        if not isinstance(array, np.ndarray):  # NumPy gives what is no array as bytes
            raise ValueError(f"{name!r} is not an array")
    return found


def _check_regular(path: Path) -> None:
    """Pipes and devices may be endless, and archives are read from their end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("a folder, pipe or device")
