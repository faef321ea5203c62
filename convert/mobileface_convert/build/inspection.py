"""Describes a checkpoint, a parameter file, an ONNX or a TensorFlow Lite model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mobileface.errors import ConversionError, SourceFormatError

from ..frontends.mxnet_params import load_params
from .description import format_description
from .inspected_mxnet import describe_mxnet
from .inspected_onnx import describe_onnx
from .inspected_tflite import describe_tflite

__all__ = ["describe", "format_description"]

_MOST_PIXELS = 16384
_KINDS = (
    (b"TFL3", 4, ".tflite", "a TensorFlow Lite file"),
    (b"PK\3\4", 0, "", "a ZIP archive, as PyTorch and Keras write them"),
    (b"\x89HDF\r\n", 0, "", "an HDF5 file, as Keras writes them"),
    (b"\x80\2", 0, "", "a Python pickle, as PyTorch wrote them"),
)
"""First bytes, where they stand, the suffix that belongs to them, and what the file is."""


def describe(paths: Sequence[Path], size: tuple[int, int] | None = None) -> dict[str, Any]:
    """Describes a symbol, a symbol with its parameters, a parameter file or a model of one file.

    Args:
        paths: The files.
        size: Height and width of images, for networks that leave them open.

    Returns:
        The JSON object that docs/convert.md describes.

    Raises:
        ConversionError: If the files are not one of these, or cannot be read; or a size is given
            that the network does not leave open.
    """
    if size is not None and not all(1 <= side <= _MOST_PIXELS for side in size):
        raise ConversionError(f"--size {size[0]} {size[1]} must be 1 to {_MOST_PIXELS} pixels")
    symbols = [path for path in paths if path.suffix.lower() == ".json"]
    arrays = [path for path in paths if path.suffix.lower() in (".params", ".nd")]
    if len(symbols) == 1 and len(paths) == 1 + len(arrays) <= 2:
        return describe_mxnet(symbols[0], arrays[0] if arrays else None, size).as_json()
    if len(paths) == 1:
        (path,) = paths
        _check_kind(path)
        if arrays and size is None:
            return _describe_arrays(path)
        if path.suffix.lower() == ".onnx":
            return describe_onnx(path, size).as_json()
        if path.suffix.lower() == ".tflite":
            return describe_tflite(path, size).as_json()
        if arrays:
            raise ConversionError(
                "--size is for networks, and this file has only arrays",
                where=str(path),
                hint="pass its -symbol.json as well",
            )
    raise ConversionError(
        "cannot be inspected" + (" together" if len(paths) > 1 else ""),
        where=", ".join(map(str, paths)),
        hint="pass a -symbol.json (and its .params), a .params or .nd file, or an .onnx or "
        ".tflite file",
    )


def _check_kind(path: Path) -> None:
    """Says of a file that begins like another type what it is.

    Raises:
        SourceFormatError: If it does.
    """
    try:
        with path.open("rb") as stream:
            first = stream.read(8)
    except (OSError, ValueError):  # the reader of the file says it
        return
    for start, offset, suffix, what in _KINDS:
        if first[offset:].startswith(start) and path.suffix.lower() != suffix:
            raise SourceFormatError(
                f"it is {what}" + (f" and must be named {suffix}" if suffix else ""),
                where=str(path),
                hint="" if suffix else "export the network as ONNX",
            )


def _describe_arrays(path: Path) -> dict[str, Any]:
    arrays, weights = load_params(path), Counter[str]()
    for array in arrays.values():
        weights[str(array.dtype)] += array.nbytes
    return {
        "format": "mxnet",
        "arrays": [
            {"name": name, "dtype": str(array.dtype), "shape": list(array.shape)}
            for name, array in arrays.items()
        ],
        "weight_bytes": weights.total(),
        "weight_dtypes": dict(weights),
    }
