"""Reader of TensorFlow Lite files: bytes → checked records.

The package ``tflite`` gives access to the fields of the file's tables. It does not verify files, so
everything that a field says is checked here before it is used: numbers of tables and tensors, the
bytes of an array against its shape, the order of operators. What is stored stays a view of the file
until an operator needs it; only ``data`` of all tensors together is bounded by the file's size.
"""

from __future__ import annotations

import importlib
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mobileface.errors import (
    ConversionError,
    SourceFormatError,
    UnsupportedOperatorError,
)

from ..limited_content import limited_content
from .tflite_options import OPTIONS
from .tflite_records import Shape, TfliteNetwork, TfliteOperator, TfliteTensor
from .tflite_storage import DTYPES, quantization, sparsity, vector

__all__ = [
    "MAX_BYTES",
    "TfliteNetwork",
    "TfliteOperator",
    "TfliteTensor",
    "check_float_ends",
    "parse_tflite",
    "read_tflite",
]

MAX_BYTES = 512 << 20
"""Maximum size of a file in bytes."""

_MAX_TENSORS = 10_000
_MAX_OPERATORS = 10_000
_MAX_CODES = 1_000
_MAX_ENDS = 64
_MAX_READS = 256
_MAX_RANK = 6
_MAX_ELEMENTS = 1 << 28
_MAX_SHARING = 4
"""Arrays may share stored bytes, but together be no larger than so many times the file."""
_MAX_FACTS = 32
"""The same for scales and sparse indices, which are read into longer numbers."""
_MAX_TEXT = 4096
_MAX_CUSTOM = 1 << 16

_CUSTOM = 32
_PLACEHOLDER = 127
_CONTROL = ("IF", "WHILE", "CALL", "CALL_ONCE")
_READING = (struct.error, ValueError, TypeError, IndexError, OverflowError, AttributeError)
"""What the package raises where a field points to nowhere."""


def read_tflite(path: Path, *, any_ends: bool = False) -> TfliteNetwork:
    """Reads a file; see `parse_tflite`.

    Raises:
        SourceError: The file cannot be read.
        SourceFormatError: It is too large, or no TensorFlow Lite file.
        UnsupportedOperatorError: It is no plain graph of tensors.
    """
    return parse_tflite(limited_content(path, MAX_BYTES), where=str(path), any_ends=any_ends)


def parse_tflite(content: bytes, *, where: str, any_ends: bool = False) -> TfliteNetwork:
    """Reads and checks the content of a file.

    Operators without a conversion are read like others; `build_tflite` refuses them.

    Args:
        content: The bytes of the file.
        where: Name of the file in error messages.
        any_ends: Also read networks whose inputs or outputs are not float32, which `build_tflite`
            refuses.

    Raises:
        ConversionError: The package ``tflite`` is not installed.
        SourceFormatError: The content is no TensorFlow Lite file, or contradicts itself.
        UnsupportedOperatorError: Several graphs, control flow, dynamic shapes, or types of elements
            that are not supported.
    """
    if len(content) < 8 or content[4:8] != b"TFL3":
        raise SourceFormatError("not a TensorFlow Lite file (version 3)", where=where)
    try:
        model_class = importlib.import_module("tflite.Model").Model
    except ImportError as error:
        raise ConversionError(
            "the package tflite is needed to read it",
            where=where,
            hint="pip install 'mobileface[convert]'",
        ) from error
    try:
        return _Reader(model_class.GetRootAs(content, 0), len(content), where).read(any_ends)
    except ConversionError:
        raise
    except _READING as error:
        text = " ".join(str(error).split())[:200]
        raise SourceFormatError(f"damaged ({text or type(error).__name__})", where=where) from error


class _Reader:
    """Reads one file, of whose fields nothing is trusted."""

    def __init__(self, model: Any, size: int, where: str) -> None:
        self._model = model
        self._size = size
        self._where = where
        self._stored = self._facts = 0

    def read(self, any_ends: bool) -> TfliteNetwork:
        """The records."""
        if self._model.Version() != 3:
            raise SourceFormatError(
                f"version {self._model.Version()} of the format, expected 3", where=self._where
            )
        graphs = self._model.SubgraphsLength()
        if graphs != 1:
            raise UnsupportedOperatorError(
                f"{graphs} graphs in the file: exactly one is supported", where=self._where
            )
        graph = self._model.Subgraphs(0)
        self._check_count("tensors", graph.TensorsLength(), _MAX_TENSORS)
        tensors = tuple(
            self._tensor(graph.Tensors(number), number) for number in range(graph.TensorsLength())
        )
        network = TfliteNetwork(
            origin=self._where,
            size=self._size,
            tensors=tensors,
            operators=tuple(self._operators(graph, len(tensors))),
            inputs=self._numbers(graph, "Inputs", len(tensors), _MAX_ENDS),
            outputs=self._numbers(graph, "Outputs", len(tensors), _MAX_ENDS),
        )
        _check_order(network)
        _check_ends(network)
        if not any_ends:
            check_float_ends(network)
        return network

    def _check_count(self, what: str, count: int, most: int) -> None:
        if not 0 < count <= most:
            raise SourceFormatError(f"{count} {what}, expected 1 to {most}", where=self._where)

    def _text(self, raw: bytes | None) -> str:
        if raw and len(raw) > _MAX_TEXT:
            raise SourceFormatError(f"a name of {len(raw)} bytes", where=self._where)
        try:
            return (raw or b"").decode("utf-8")
        except UnicodeDecodeError as error:
            raise SourceFormatError("a name is not text", where=self._where) from error

    def _tensor(self, tensor: Any, number: int) -> TfliteTensor:
        place = f"{self._where}, tensor {number}"
        name = self._text(tensor.Name())
        shape = tuple(vector(tensor, "Shape", _MAX_RANK).tolist())
        known = tuple(vector(tensor, "ShapeSignature", _MAX_RANK).tolist()) or shape
        # A batch of any size is no trouble: it is free in the ONNX model anyway.
        if min(known[1:], default=1) < 1 or min(shape, default=1) < 1:
            raise UnsupportedOperatorError(
                f"the shape {list(known)} is dynamic: all sizes but the batch must be known",
                where=place,
            )
        if math.prod(shape) > _MAX_ELEMENTS:
            raise SourceFormatError(f"the shape {list(shape)} is too large", where=place)
        if tensor.IsVariable():
            raise UnsupportedOperatorError("state between calls is not supported", where=place)
        dtype = DTYPES.get(tensor.Type())
        if dtype is None:
            raise UnsupportedOperatorError(
                f"element type {tensor.Type()} is not supported",
                where=place,
                hint=f"supported: {', '.join(DTYPES.values())}",
            )
        levels = tensor.Sparsity()
        found = TfliteTensor(
            name=name,
            shape=shape,
            dtype=dtype,
            data=self._data(tensor, shape, dtype, levels is not None, place),
            quantization=quantization(tensor.Quantization(), shape, place),
            sparsity=None if levels is None else sparsity(levels, shape, place),
            batch_open=known[:1] == (-1,),
        )
        self._facts += found.fact_bytes
        if self._facts > _MAX_FACTS * self._size:
            raise SourceFormatError("its scales are larger than the file", where=self._where)
        return found

    def _data(self, tensor: Any, shape: Shape, dtype: str, sparse: bool, place: str) -> Any:
        """The stored values, a view of the file; None if there are none."""
        number = tensor.Buffer()
        if not 0 <= number < self._model.BuffersLength():
            raise SourceFormatError(f"there is no buffer {number}", where=place)
        buffer = self._model.Buffers(number)
        if buffer.Offset() > 1:
            raise UnsupportedOperatorError(
                "arrays outside the tables are not supported", where=place
            )
        raw = vector(buffer, "Data")
        if not raw.size:
            return None
        self._stored += raw.nbytes
        if self._stored > _MAX_SHARING * self._size:
            raise SourceFormatError("its arrays are larger than the file", where=self._where)
        kind = np.dtype(dtype).newbyteorder("<")
        expected = math.prod(shape) * kind.itemsize
        if raw.nbytes % kind.itemsize or (raw.nbytes != expected and not sparse):
            raise SourceFormatError(f"{raw.nbytes} bytes for {list(shape)} {dtype}", where=place)
        values = raw.view(kind)
        if kind.kind == "f" and not np.isfinite(values).all():
            raise SourceFormatError("not all of its values are finite", where=place)
        return values if sparse else values.reshape(shape)

    def _codes(self) -> list[tuple[str, bool]]:
        """Names of the operators that the file uses, and whether each is a custom one."""
        count = self._model.OperatorCodesLength()
        self._check_count("kinds of operators", count, _MAX_CODES)
        table = vars(importlib.import_module("tflite.BuiltinOperator").BuiltinOperator)
        names = {number: name for name, number in table.items() if isinstance(number, int)}
        found = []
        for position in range(count):
            code = self._model.OperatorCodes(position)
            old = code.DeprecatedBuiltinCode()
            number = max(old, code.BuiltinCode()) if old <= _PLACEHOLDER else code.BuiltinCode()
            if number == _CUSTOM:
                found.append((self._text(code.CustomCode()) or "without a name", True))
            else:
                found.append((names.get(number, f"operator code {number}"), False))
        return found

    def _operators(self, graph: Any, tensors: int) -> Iterator[TfliteOperator]:
        codes = self._codes()
        self._check_count("operators", graph.OperatorsLength(), _MAX_OPERATORS)
        for index in range(graph.OperatorsLength()):
            operator = graph.Operators(index)
            if not 0 <= operator.OpcodeIndex() < len(codes):
                raise SourceFormatError(
                    f"operator {index} is of no kind that the file lists", where=self._where
                )
            kind, custom = codes[operator.OpcodeIndex()]
            if kind in _CONTROL:
                raise UnsupportedOperatorError(
                    "control flow is not supported",
                    where=f"{self._where}, operator {index} ({kind})",
                )
            yield TfliteOperator(
                kind=kind,
                index=index,
                inputs=self._numbers(operator, "Inputs", tensors, _MAX_READS, lowest=-1),
                outputs=self._numbers(operator, "Outputs", tensors, _MAX_READS),
                options={} if custom else self._options(operator, kind, index),
                custom=vector(operator, "CustomOptions", _MAX_CUSTOM).tobytes() if custom else None,
            )

    def _options(self, operator: Any, kind: str, index: int) -> dict[str, Any]:
        """The options of an operator; the schema's defaults where it has no table."""
        table = OPTIONS.get(kind)
        if table is None:
            return {}
        place = f"{self._where}, operator {index} ({kind})"
        types = importlib.import_module("tflite.BuiltinOptions").BuiltinOptions
        found, number = operator.BuiltinOptions(), operator.BuiltinOptionsType()
        if found is None or number != getattr(types, table.name):
            if table.required or number != 0:
                raise SourceFormatError(f"its options are no {table.name}", where=place)
            return {}
        fields = getattr(importlib.import_module(f"tflite.{table.name}"), table.name)()
        fields.Init(found.Bytes, found.Pos)
        return {
            name: tuple(vector(fields, accessor, _MAX_RANK).tolist())
            if name == "new_shape"
            else getattr(fields, accessor)()
            for name, accessor in table.fields.items()
        }

    def _numbers(self, table: Any, name: str, count: int, most: int, *, lowest: int = 0) -> Shape:
        """A list of numbers of tensors."""
        numbers = tuple(vector(table, name, most).tolist())
        if any(not lowest <= number < count for number in numbers):
            raise SourceFormatError(
                f"{name.lower()} {list(numbers)} of {count} tensors", where=self._where
            )
        return numbers


def _check_order(network: TfliteNetwork) -> None:
    """Checks that each tensor is stored, fed, or written once before it is read.

    Raises:
        SourceFormatError: One is not.
    """
    ready = {n for n, tensor in enumerate(network.tensors) if tensor.data is not None}
    ready.update(network.inputs)
    for operator in network.operators:
        place = network.place(operator)
        for number in operator.inputs:
            if number >= 0 and number not in ready:
                raise SourceFormatError(
                    f"tensor {number} is read before it is written", where=place
                )
        for number in operator.outputs:
            if number in ready:
                raise SourceFormatError(f"tensor {number} is written twice", where=place)
            ready.add(number)
    for number in network.outputs:
        if number not in ready:
            raise SourceFormatError(f"nothing writes output {number}", where=network.origin)


def _check_ends(network: TfliteNetwork) -> None:
    """Checks inputs and outputs.

    Raises:
        SourceFormatError: There are none, or their names are empty or not unique.
    """
    ends = [*network.inputs, *network.outputs]
    names = [network.tensors[number].name for number in ends]
    if not network.inputs or not network.outputs or len(set(names)) != len(names) or "" in names:
        raise SourceFormatError(
            "inputs and outputs must have names of their own", where=network.origin
        )
    for number in ends:
        tensor = network.tensors[number]
        if tensor.data is not None:
            raise SourceFormatError(f"'{tensor.name}' is stored", where=network.origin)


def check_float_ends(network: TfliteNetwork) -> None:
    """Checks that all inputs and outputs are float32.

    Raises:
        UnsupportedOperatorError: One is not.
    """
    for number in (*network.inputs, *network.outputs):
        tensor = network.tensors[number]
        if tensor.dtype != "float32":
            raise UnsupportedOperatorError(
                f"'{tensor.name}' is {tensor.dtype}: only networks that read and write float32 "
                "are supported; their weights may be float16 or int8",
                where=network.origin,
            )
