"""Reader and writer of MXNet's array files: ``.params`` and ``.nd``.

Layout, little endian::

    u64 0x112, u64 reserved, u64 n, n arrays, u64 m, m names (u64 length, bytes); m is n or 0

    array, by its first u32:
      0xF993FAC9 (V2)  i32 storage, [sparse: storage shape], shape, context, i32 type,
      0xF993FACA (V3)    [sparse, per auxiliary array: i32 type, shape], data, [auxiliary data]
      0xF993FAC8 (V1)  shape, context, i32 type, data
      anything else    the number of dimensions itself: u32 dims, context, i32 type, data

    shape: i32 number of dimensions, i64 each;  context: i32 device type, i32 device number

Every count and size is checked against the remaining bytes before memory is allocated.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobileface.errors import SourceError, SourceFormatError

from ..graph.source_graph import Array

__all__ = ["load_params", "read_params", "write_params"]

_FILE_MAGIC = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_DENSE, _ROW_SPARSE, _CSR = 0, 1, 2
_AUXILIARY_ARRAYS = {_DENSE: 0, _ROW_SPARSE: 1, _CSR: 2}
_BFLOAT16 = 12
_DTYPES: dict[int, np.dtype[np.generic]] = {
    flag: np.dtype(name)
    for flag, name in {
        0: "<f4",
        1: "<f8",
        2: "<f2",
        3: "|u1",
        4: "<i4",
        5: "|i1",
        6: "<i8",
        7: "|b1",
        8: "<i2",
        9: "<u2",
        10: "<u4",
        11: "<u8",
        _BFLOAT16: "<u2",
    }.items()
}
_FLAGS = {dtype: flag for flag, dtype in _DTYPES.items() if flag != _BFLOAT16}
_MAX_DIMENSIONS = 32
_MAX_SPARSE_BYTES = 1 << 28
"""Maximum size of a sparse array, which may be much larger than its file, once it is dense."""

Shape = tuple[int, ...]


def load_params(path: Path) -> dict[str, Array]:
    """Reads a ``.params`` or ``.nd`` file; see `read_params`.

    Raises:
        SourceError: If the file cannot be read.
        SourceFormatError: If the content is not an MXNet array file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot be read ({error.strerror})", where=str(path)) from error
    return read_params(data, where=str(path))


def read_params(data: bytes, where: str = "params") -> dict[str, Array]:
    """Reads the content of a ``.params`` or ``.nd`` file.

    Args:
        data: Content of the file. Bytes after the last name are ignored, as in MXNet.
        where: Name of the file in error messages.

    Returns:
        Arrays by name, in file order, with names as stored (``arg:fc_weight``); arrays of a file
        without names are named "0", "1", …. Sparse arrays are returned as dense arrays, bfloat16 as
        float32 (exact), all other types as stored. An empty placeholder (no dimensions, V2) has
        shape (0,).

    Raises:
        SourceFormatError: If the magic number is wrong, the file is truncated, or a count, size,
            type or index is invalid.
    """
    reader = _Reader(data, where)
    if reader.u64("magic number") != _FILE_MAGIC:
        raise SourceFormatError(
            "not an MXNet array file (wrong magic number)",
            where=where,
            hint="expected a .params or .nd file saved by MXNet",
        )
    reader.u64("reserved field")
    arrays = []
    for index in range(reader.count("array count", item_bytes=12)):
        reader.item = f"array {index}"
        arrays.append(_read_array(reader))
    reader.item = "names"
    name_count = reader.count("name count", item_bytes=8)
    if name_count not in (0, len(arrays)):
        raise reader.error(f"{name_count} names for {len(arrays)} arrays")
    names = [_read_name(reader) for _ in range(name_count)] or [str(i) for i in range(len(arrays))]
    found: dict[str, Array] = {}
    for name, array in zip(names, arrays, strict=True):
        if name in found:
            raise reader.error(f"the name '{name}' is not unique")
        found[name] = array
    return found


def write_params(arrays: Mapping[str, Array]) -> bytes:
    """The content of a ``.params`` file (V2, dense arrays, CPU) for MXNet 0.11 to 1.9.

    Args:
        arrays: Arrays by full name (``arg:fc_weight``, ``aux:bn_moving_mean`` or a Gluon name).
            MXNet's legacy mode has no zero-dimensional arrays, so a scalar gets shape (1,).

    Raises:
        SourceFormatError: If the format does not support the type of an array.
    """
    parts = [struct.pack("<QQQ", _FILE_MAGIC, 0, len(arrays))]
    for name, array in arrays.items():
        flag = _FLAGS.get(array.dtype.newbyteorder("<"))
        if flag is None:
            raise SourceFormatError(
                f"dtype {array.dtype} is not supported", where=f"array '{name}'"
            )
        shape = array.shape or (1,)
        parts.append(struct.pack(f"<Iii{len(shape)}q", _V2, _DENSE, len(shape), *shape))
        parts.append(struct.pack("<iii", 1, 0, flag))
        parts.append(np.ascontiguousarray(array, dtype=_DTYPES[flag]).tobytes())
    parts.append(struct.pack("<Q", len(arrays)))
    for name in arrays:
        encoded = name.encode()
        parts.append(struct.pack("<Q", len(encoded)) + encoded)
    return b"".join(parts)


@dataclass
class _Reader:
    """A cursor over the file that checks the remaining size before each read."""

    data: bytes
    where: str
    position: int = 0
    item: str = "header"

    def error(self, what: str) -> SourceFormatError:
        """An error that names the current array and byte."""
        return SourceFormatError(what, where=f"{self.where}, {self.item}, byte {self.position}")

    def take(self, size: int, what: str) -> bytes:
        """The next bytes."""
        left = len(self.data) - self.position
        if size > left:
            raise self.error(f"{what} needs {size} bytes, {left} are left (is the file truncated?)")
        start = self.position
        self.position += size
        return self.data[start : self.position]

    def i32(self, what: str) -> int:
        """A signed 32-bit number."""
        return int.from_bytes(self.take(4, what), "little", signed=True)

    def u32(self, what: str) -> int:
        """An unsigned 32-bit number."""
        return int.from_bytes(self.take(4, what), "little")

    def u64(self, what: str) -> int:
        """An unsigned 64-bit number."""
        return int.from_bytes(self.take(8, what), "little")

    def count(self, what: str, *, item_bytes: int) -> int:
        """A count of items of at least ``item_bytes`` each, checked against the remaining bytes."""
        value = self.u64(what)
        if value > (len(self.data) - self.position) // item_bytes:
            raise self.error(f"{what} {value} is too large for the size of the file")
        return value

    def shape(self, what: str) -> Shape | None:
        """A shape with 64-bit dimensions; None for an unknown shape (-1 dimensions)."""
        dimensions = self.i32(what)
        if dimensions == -1:
            return None
        return self.dims(dimensions, what, size=8)

    def dims(self, dimensions: int, what: str, *, size: int) -> Shape:
        """A shape with the given number of dimensions, of ``size`` bytes each."""
        if not 0 <= dimensions <= _MAX_DIMENSIONS:
            raise self.error(f"{what} with {dimensions} dimensions is not valid")
        raw = self.take(dimensions * size, what)
        shape = tuple(
            int.from_bytes(raw[i : i + size], "little", signed=size == 8)
            for i in range(0, len(raw), size)
        )
        if any(dim < 0 for dim in shape):
            raise self.error(f"{what} {shape} has a negative dimension")
        return shape

    def dtype(self, what: str) -> int:
        """A type flag, checked to be known."""
        flag = self.i32(what)
        if flag not in _DTYPES:
            raise self.error(f"unknown {what} {flag}")
        return flag

    def array(self, shape: Shape, flag: int, what: str) -> Array:
        """An array of the given shape and type, copied from the file."""
        dtype = _DTYPES[flag]
        raw = self.take(math.prod(shape) * dtype.itemsize, f"{what} of shape {shape}")
        try:
            array = np.frombuffer(raw, dtype).reshape(shape).copy()
        except ValueError as error:  # a size of 0 and another that numpy does not support
            raise self.error(f"{what} of shape {shape} is not supported by numpy") from error
        if flag == _BFLOAT16:  # the upper half of a float32
            return (array.astype(np.uint32) << 16).view(np.float32)
        return array


def _read_array(reader: _Reader) -> Array:
    """One array in any of the four layouts."""
    first = reader.u32("array header")
    if first in (_V2, _V3):
        return _read_tagged(reader, scalars=first == _V3)
    if first == _V1:
        shape = reader.shape("shape")
    else:
        shape = reader.dims(first, "shape (old layout)", size=4)
    if not shape:
        raise reader.error("the array has no shape")
    return _read_data(reader, shape)


def _read_tagged(reader: _Reader, *, scalars: bool) -> Array:
    """An array with a storage type: layout V2, or V3, where no dimensions mean a scalar."""
    storage = reader.i32("storage type")
    if storage not in _AUXILIARY_ARRAYS and storage != -1:
        raise reader.error(f"unknown storage type {storage}")
    sparse = _AUXILIARY_ARRAYS.get(storage, 0)
    storage_shape = reader.shape("storage shape") if sparse else ()
    shape = reader.shape("shape")
    if shape is None or (not shape and not scalars):
        return np.zeros((0,), np.float32)  # a placeholder that was never filled; it has no data
    if storage == -1:
        raise reader.error("the array has a shape but an undefined storage type")
    if not sparse:
        return _read_data(reader, shape)
    if storage_shape is None:
        raise reader.error("the sparse array has no storage shape")
    return _read_sparse(reader, storage, storage_shape, shape)


def _read_data(reader: _Reader, shape: Shape) -> Array:
    """Context, type and elements of a dense array."""
    reader.take(8, "context")
    flag = reader.dtype("type flag")
    return reader.array(shape, flag, "data")


def _read_sparse(reader: _Reader, storage: int, storage_shape: Shape, shape: Shape) -> Array:
    """A row_sparse or csr array, converted to a dense array."""
    reader.take(8, "context")
    flag = reader.dtype("type flag")
    headers = []
    for index in range(_AUXILIARY_ARRAYS[storage]):
        aux_flag = reader.dtype(f"type flag of auxiliary array {index}")
        aux_shape = reader.shape(f"shape of auxiliary array {index}")
        is_integer = aux_flag != _BFLOAT16 and _DTYPES[aux_flag].kind in "iu"
        if aux_shape is None or len(aux_shape) != 1 or not is_integer:
            raise reader.error(f"auxiliary array {index} is not a list of indices")
        headers.append((aux_shape, aux_flag))
    values = reader.array(storage_shape, flag, "data")
    indices = [
        reader.array(aux_shape, aux_flag, f"auxiliary array {index}").astype(np.int64)
        for index, (aux_shape, aux_flag) in enumerate(headers)
    ]
    if not shape or math.prod(shape) * values.itemsize > _MAX_SPARSE_BYTES:
        raise reader.error(f"a sparse array of shape {shape} is empty or too large")
    try:
        dense = np.zeros(shape, values.dtype)
    except (
        ValueError,
        MemoryError,
    ) as error:  # a size of 0 and another that numpy does not support
        raise reader.error(f"a sparse array of shape {shape} is not supported by numpy") from error
    if storage == _ROW_SPARSE:
        _fill_rows(reader, dense, values, indices[0])
    else:
        _fill_csr(reader, dense, values, indices[0], indices[1])
    return dense


def _fill_rows(reader: _Reader, dense: Array, values: Array, rows: npt.NDArray[np.int64]) -> None:
    """Writes the stored rows of a row_sparse array into the dense array."""
    if values.shape != (len(rows), *dense.shape[1:]):
        raise reader.error(f"{len(rows)} row indices do not fit stored rows {values.shape}")
    if len(rows) and not (rows.min() >= 0 and rows.max() < dense.shape[0]):
        raise reader.error(f"row indices must be from 0 to {dense.shape[0] - 1}")
    dense[rows] = values


def _fill_csr(
    reader: _Reader,
    dense: Array,
    values: Array,
    pointers: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
) -> None:
    """Writes the stored elements of a csr matrix into the dense array."""
    if dense.ndim != 2 or values.ndim != 1 or len(columns) != len(values):
        raise reader.error(f"csr data {values.shape} does not fit a matrix {dense.shape}")
    lengths = np.diff(pointers)
    if (
        len(pointers) != dense.shape[0] + 1
        or pointers[0] != 0
        or pointers[-1] != len(values)
        or pointers.max() > len(values)  # differences of larger pointers may wrap around
        or (lengths < 0).any()
    ):
        raise reader.error("csr row pointers must increase from 0 to the number of elements")
    if len(columns) and not (columns.min() >= 0 and columns.max() < dense.shape[1]):
        raise reader.error(f"column indices must be from 0 to {dense.shape[1] - 1}")
    dense[np.repeat(np.arange(dense.shape[0]), lengths), columns] = values


def _read_name(reader: _Reader) -> str:
    """A name, preceded by its length."""
    raw = reader.take(reader.u64("name length"), "name")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise reader.error("the name is not UTF-8") from error
