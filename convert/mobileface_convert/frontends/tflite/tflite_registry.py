"""Registry of conversions: one function per TensorFlow Lite operator, looked up by name.

Layout. TensorFlow Lite keeps images as (N, height, width, channels). Here every value of four axes
is (N, channels, height, width) from the input to the output, and every other value has the order of
axes that is published; `Activation.shape` is always the published shape. Weights are transposed
while they are read, so an operator adds no transpose, except where four axes become others and the
order of elements matters (`layout_operators`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from mobileface.errors import GraphError, SourceFormatError, UnsupportedOperatorError

from ...graph.onnx_builder import GraphBuilder
from .tflite_records import Shape, TfliteNetwork, TfliteOperator, TfliteTensor
from .tflite_storage import dequantized

__all__ = [
    "Activation",
    "Constants",
    "Conversion",
    "OpContext",
    "TfliteConversion",
    "channels_first",
    "operator",
    "registered",
]

FloatArray = npt.NDArray[np.float32]

_TO_CHANNELS_FIRST = (0, 3, 1, 2)
_TO_CHANNELS_LAST = (0, 2, 3, 1)


@dataclass(frozen=True)
class Activation:
    """A value that is computed.

    Attributes:
        value: The ONNX value: (N, channels, height, width) for four axes, else the published order.
        shape: The published shape, images as (N, height, width, channels).
        image: The value of four axes from which this one, of two axes, was made by a reshape that
            is not done yet: a fully connected layer permutes its weights instead.
    """

    value: ir.Value
    shape: Shape
    image: Activation | None = None


@dataclass
class Constants:
    """Stored arrays as real values, with a bound on how many numbers they become together.

    Attributes:
        network: The network that stores them.
        made: Arrays that operators made from stored ones, by the number of their tensor.
        left: Numbers that may still be made.
    """

    network: TfliteNetwork
    made: dict[int, FloatArray] = field(default_factory=dict)
    left: int = 0

    def __post_init__(self) -> None:
        self.left = 16 * self.network.size + (1 << 20)

    def has(self, number: int) -> bool:
        """Whether a tensor is stored, or made from stored ones."""
        return number in self.made or self.network.tensors[number].data is not None

    def real(self, number: int, where: str) -> FloatArray:
        """A tensor's real values, float32, in its shape.

        Raises:
            SourceFormatError: All arrays together are much larger than the file.
        """
        tensor = self.network.tensors[number]
        self.left -= math.prod(tensor.shape)
        if self.left < 0:
            raise SourceFormatError("its arrays are much larger than the file", where=where)
        found = self.made.get(number)
        return dequantized(tensor, where) if found is None else found


@dataclass(frozen=True)
class OpContext:
    """The operator to convert and its surroundings, as passed to a conversion function.

    Attributes:
        builder: Builder of the ONNX graph.
        network: The network that is converted.
        operator: The operator to convert.
        values: What was computed so far, by the number of the tensor.
        constants: The stored arrays.
        batch: The first axis of every value: "N", or None if it stays as published.
    """

    builder: GraphBuilder
    network: TfliteNetwork
    operator: TfliteOperator
    values: dict[int, Activation]
    constants: Constants
    batch: str | None

    @property
    def where(self) -> str:
        """Where the operator is, for messages."""
        return self.network.place(self.operator)

    @property
    def output(self) -> TfliteTensor:
        """The tensor that the operator writes."""
        return self.network.tensors[self.operator.outputs[0]]

    def option(self, name: str, default: Any = 0) -> Any:
        """An option, or the schema's default if the file has no table of options."""
        return self.operator.options.get(name, default)

    def present(self, position: int) -> bool:
        """Whether the operator has this input."""
        return position < len(self.operator.inputs) and self.operator.inputs[position] >= 0

    def stored(self, position: int) -> bool:
        """Whether an input is stored in the file."""
        return self.constants.has(self._number(position))

    def tensor(self, position: int) -> TfliteTensor:
        """The tensor of an input."""
        return self.network.tensors[self._number(position)]

    def data(self, position: int = 0, rank: int | None = None) -> Activation:
        """An input that is computed.

        Args:
            position: Number of the input.
            rank: How many axes it must have.

        Raises:
            UnsupportedOperatorError: It is stored, or not float32.
            GraphError: It has another number of axes.
        """
        found = self.values.get(self._number(position))
        if found is None:
            raise UnsupportedOperatorError(f"input {position} must be computed", where=self.where)
        if rank is not None and len(found.shape) != rank:
            raise GraphError(
                f"input {position} has the shape {list(found.shape)}, expected {rank} axes",
                where=self.where,
            )
        return self.done(found)

    def done(self, given: Activation) -> Activation:
        """The value, its reshape done if it was put off."""
        if given.image is None:
            return given
        moved = self.op("Transpose", given.image.value, perm=_TO_CHANNELS_LAST)
        return Activation(self.reshaped(moved, given.shape), given.shape)

    def waiting(self, position: int) -> Activation | None:
        """The image that an input is a reshape of that is not done yet; None if it is none."""
        found = self.values.get(self._number(position))
        return None if found is None else found.image

    def array(self, position: int, rank: int | None = None) -> FloatArray:
        """An input that is stored, as real values, float32.

        Raises:
            UnsupportedOperatorError: It is computed.
            GraphError: It has another number of axes.
        """
        number = self._number(position)
        if not self.constants.has(number):
            raise UnsupportedOperatorError(f"input {position} must be stored", where=self.where)
        found = self.constants.real(number, self.where)
        if rank is not None and found.ndim != rank:
            raise GraphError(
                f"input {position} has the shape {list(found.shape)}, expected {rank} axes",
                where=self.where,
            )
        return found

    def integers(self, position: int) -> npt.NDArray[np.int64]:
        """An input that is stored and holds integers: sizes, axes, pads.

        Raises:
            UnsupportedOperatorError: It is computed, or of another type.
        """
        tensor = self.tensor(position)
        if tensor.data is None or tensor.dtype not in ("int32", "int64") or tensor.sparsity:
            raise UnsupportedOperatorError(
                f"input {position} must be stored integers", where=self.where
            )
        return tensor.data.astype(np.int64)

    def op(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """Adds an ONNX node with one output, named after the operator and its number."""
        name = f"{self.operator.kind}_{self.operator.index}"
        return self.builder.op(op_type, *inputs, name=name, **attributes)

    def constant(self, value: npt.ArrayLike, role: str) -> ir.Value:
        """A constant float32 array."""
        name = f"{self.operator.kind}_{self.operator.index}_{role}"
        return self.builder.constant(value, np.float32, name=name)

    def reshaped(self, value: ir.Value, shape: Sequence[int]) -> ir.Value:
        """A value in another shape, of which the first axis stays the batch if that is free."""
        sizes = list(shape) if self.batch is None else [0, *shape[1:]]
        return self.op("Reshape", value, self.builder.constant(sizes, np.int64, name="shape"))

    def refuse(self, what: str) -> UnsupportedOperatorError:
        """The error for a case that has no conversion."""
        return UnsupportedOperatorError(what, where=self.where)

    def _number(self, position: int) -> int:
        if not self.present(position):
            raise GraphError(f"input {position} is missing", where=self.where)
        return self.operator.inputs[position]


Converted = ir.Value | Activation | FloatArray
Conversion = Callable[[OpContext], Converted]


@dataclass(frozen=True)
class TfliteConversion:
    """A registered conversion.

    Attributes:
        name: The operator's name in the schema, or a custom operator's own.
        convert: The conversion: a value (four axes as N, C, H, W), an activation, or, for operators
            on stored arrays, an array. The first line of its docstring is its row in OPERATORS.md.
        custom: Whether it is a custom operator.
        restrictions: The supported cases, in a few words; empty if there are no restrictions.
    """

    name: str
    convert: Conversion
    custom: bool = False
    restrictions: str = ""


_CONVERSIONS: dict[str, TfliteConversion] = {}


def operator(
    name: str, *, custom: bool = False, restrictions: str = ""
) -> Callable[[Conversion], Conversion]:
    """Registers a conversion; see `TfliteConversion`.

    Raises:
        ValueError: The name is already registered.
    """

    def register(convert: Conversion) -> Conversion:
        if name in _CONVERSIONS:
            raise ValueError(f"operator '{name}' is registered twice")
        _CONVERSIONS[name] = TfliteConversion(name, convert, custom, restrictions)
        return convert

    return register


def registered() -> dict[str, TfliteConversion]:
    """All conversions by operator name, sorted."""
    return dict(sorted(_CONVERSIONS.items()))


def channels_first(shape: Sequence[int]) -> Shape:
    """A published shape in the order that it has here."""
    if len(shape) != 4:
        return tuple(shape)
    return tuple(shape[axis] for axis in _TO_CHANNELS_FIRST)
