"""How TensorFlow Lite stores arrays: types of elements, quantisation, sparsity."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mobileface.errors import SourceFormatError, UnsupportedOperatorError

from .tflite_records import (
    DimensionMetadata,
    Quantization,
    Shape,
    Sparsity,
    TfliteTensor,
)

__all__ = ["DTYPES", "densified", "dequantized", "quantization", "sparsity", "vector"]

DTYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    9: "int8",
}
"""Types of elements by their number in the schema."""

_QUANTIZED = ("int8", "uint8")
_DENSE, _COMPRESSED = 0, 1

_INDEX_TABLES = {1: "Int32Vector", 2: "Uint16Vector", 3: "Uint8Vector"}
"""Tables of the schema's union SparseIndexVector."""


def vector(table: Any, name: str, most: int | None = None) -> npt.NDArray[Any]:
    """A list of numbers of a table, a view of the file; empty if the table has none.

    Raises:
        ValueError: It has more numbers than ``most``, or lies outside the file.
    """
    count = getattr(table, f"{name}Length")()
    if not count:
        return np.zeros(0, np.uint8)
    if most is not None and count > most:
        raise ValueError(f"{count} numbers in {name}, at most {most}")
    found: npt.NDArray[Any] = getattr(table, f"{name}AsNumpy")()
    return found


def quantization(table: Any, shape: Shape, where: str) -> Quantization | None:
    """The quantisation of a tensor; None if it has none.

    Raises:
        SourceFormatError: It does not fit the tensor.
        UnsupportedOperatorError: It is not an affine one.
    """
    if table is None or not table.ScaleLength():
        return None
    if table.DetailsType():
        raise UnsupportedOperatorError("only affine quantisation is supported", where=where)
    scales, axis = vector(table, "Scale").astype(np.float32), table.QuantizedDimension()
    zeros = vector(table, "ZeroPoint").astype(np.int64)
    if not zeros.size:
        zeros = np.zeros(len(scales), np.int64)
    fits = len(scales) == 1 or (0 <= axis < len(shape) and len(scales) == shape[axis])
    if not fits or len(zeros) != len(scales):
        raise SourceFormatError(
            f"{len(scales)} scales and {len(zeros)} zero points for axis {axis} of {list(shape)}",
            where=where,
        )
    if not (np.isfinite(scales) & (scales > 0)).all():
        raise SourceFormatError("a scale is not a number above zero", where=where)
    return Quantization(scales, zeros, axis if len(scales) > 1 else 0)


def dequantized(tensor: TfliteTensor, where: str) -> npt.NDArray[np.float32]:
    """The real values of a stored tensor, float32, in its shape.

    Raises:
        UnsupportedOperatorError: The stored type means no real values.
    """
    assert tensor.data is not None
    data = tensor.data if tensor.sparsity is None else densified(tensor, where)
    if tensor.dtype in ("float32", "float16"):
        return data.astype(np.float32)
    found = tensor.quantization
    if tensor.dtype not in _QUANTIZED or found is None:
        raise UnsupportedOperatorError(
            f"weights of type {tensor.dtype} are not supported",
            where=where,
            hint="supported: float32, float16, and int8 and uint8 with scales",
        )
    along = [1] * len(tensor.shape)
    if len(found.scales) > 1:
        along[found.axis] = -1
    scales, zeros = found.scales.reshape(along), found.zeros.reshape(along)
    return ((data.astype(np.int64) - zeros) * scales.astype(np.float64)).astype(np.float32)


def sparsity(table: Any, shape: Shape, where: str) -> Sparsity:
    """How a sparse tensor is stored.

    Raises:
        SourceFormatError: It does not fit the tensor.
    """
    rank = len(shape)
    order = tuple(vector(table, "TraversalOrder", 2 * rank).tolist())
    blocks = tuple(vector(table, "BlockMap", rank).tolist())
    count = rank + len(blocks)
    if (
        sorted(order) != list(range(count))
        or table.DimMetadataLength() != count
        or any(not 0 <= axis < rank for axis in blocks)
        or len(set(blocks)) != len(blocks)
        or max(order[:rank], default=0) >= rank
    ):
        raise SourceFormatError("the order of its sparse levels is not valid", where=where)
    levels = tuple(_level(table.DimMetadata(number), where) for number in range(count))
    return Sparsity(order, blocks, levels)


def _level(table: Any, where: str) -> DimensionMetadata:
    if table.Format() == _DENSE:
        if table.DenseSize() < 1:
            raise SourceFormatError("a sparse level has no size", where=where)
        return DimensionMetadata(table.DenseSize())
    if table.Format() != _COMPRESSED:
        raise SourceFormatError(f"sparse format {table.Format()} is not known", where=where)
    segments = _indices(table.ArraySegments(), table.ArraySegmentsType(), where)
    indices = _indices(table.ArrayIndices(), table.ArrayIndicesType(), where)
    rising = len(segments) > 1 and segments[0] == 0 and (np.diff(segments) >= 0).all()
    if not rising or segments[-1] != len(indices) or (indices < 0).any():
        raise SourceFormatError("the rows of a sparse level are not valid", where=where)
    return DimensionMetadata(0, segments, indices)


def _indices(found: Any, kind: int, where: str) -> npt.NDArray[np.int64]:
    name = _INDEX_TABLES.get(kind)
    if found is None or name is None:
        raise SourceFormatError("a sparse level has no indices", where=where)
    table = getattr(importlib.import_module(f"tflite.{name}"), name)()
    table.Init(found.Bytes, found.Pos)
    return vector(table, "Values").astype(np.int64)


def densified(tensor: TfliteTensor, where: str) -> npt.NDArray[Any]:
    """A sparse array with its zeros, in its shape.

    The levels form a tree whose leaves are the stored values in order: a dense level has all
    indices below each branch, a compressed one those that it lists.

    Raises:
        SourceFormatError: Levels, values and shape contradict each other.
    """
    found, data, shape = tensor.sparsity, tensor.data, tensor.shape
    assert found is not None
    assert data is not None
    most = math.prod(shape)
    sizes = _block_sizes(found, shape, where)
    branches = np.zeros(1, np.int64)
    # Coordinates of each branch so far, one row for each axis of the array.
    places = np.zeros((len(shape), 1), np.int64)
    for axis, level in zip(found.order, found.levels, strict=True):
        target = axis if axis < len(shape) else found.blocks[axis - len(shape)]
        limit = shape[target] // sizes[target] if axis < len(shape) else sizes[target]
        if level.segments is None or level.indices is None:
            count = np.full(len(branches), level.size, np.int64)
            if level.size != limit:
                raise SourceFormatError("a sparse level has another size", where=where)
        else:
            if len(level.segments) != len(branches) + 1:
                raise SourceFormatError("a sparse level has other rows", where=where)
            count = np.diff(level.segments)
        total = int(count.sum())
        if total > most:
            raise SourceFormatError("a sparse level has too many entries", where=where)
        if level.indices is None:
            steps = np.tile(np.arange(level.size, dtype=np.int64), len(branches))
        else:
            steps = level.indices
        if (steps >= limit).any():
            raise SourceFormatError("a sparse index is out of range", where=where)
        places = np.repeat(places, count, axis=1)
        places[target] += steps * (sizes[target] if axis < len(shape) else 1)
        branches = np.arange(total, dtype=np.int64)
    if len(branches) != data.size:
        raise SourceFormatError(f"{data.size} values for {len(branches)} places", where=where)
    dense = np.zeros(shape, data.dtype.newbyteorder("="))
    dense[tuple(places)] = data
    return dense


def _block_sizes(found: Sparsity, shape: Shape, where: str) -> list[int]:
    """Size of a block along each axis; 1 where there are none."""
    sizes = [1] * len(shape)
    for axis, level in zip(found.order, found.levels, strict=True):
        if axis < len(shape):
            continue
        target = found.blocks[axis - len(shape)]
        if level.segments is not None or shape[target] % level.size:
            raise SourceFormatError("the blocks of a sparse array do not fit it", where=where)
        sizes[target] = level.size
    return sizes
