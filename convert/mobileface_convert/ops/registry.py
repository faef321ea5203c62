"""Registry of conversions: one function per MXNet operator, looked up by name.

A conversion takes an `OpContext` and returns the ONNX value or values of the operator's outputs. It
declares the attributes that it reads and those that cannot change the result; any other attribute
on a node is an error, never silently ignored.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from mobileface.errors import GraphError, UnsupportedOperatorError

from ..graph.attributes import Attributes
from ..graph.onnx_builder import GraphBuilder
from ..graph.source_graph import Edge, Graph, Node

__all__ = [
    "MOST_TIMES",
    "UNFIT",
    "OpContext",
    "Operator",
    "check_size",
    "convert_node",
    "operator",
    "registered",
]

MOST_CONSTANT = 1 << 26
"""Numbers of an array that a conversion makes of attributes: 256 MB of float32."""

MOST_TIMES = 1 << 20
"""How many times an operator may repeat its data, whose size may not be known."""

_MOST_NUMBERS, _LONGEST = 1 << 30, 200
"""Numbers of a result for an image: 4 GB of float32."""

UNFIT = (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
"""What ONNX, protobuf and NumPy raise for attributes that are too large or do not fit."""

Converted = ir.Value | Sequence[ir.Value]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class OpContext:
    """The operator to convert and its surroundings, as passed to a conversion function.

    Attributes:
        builder: Builder of the ONNX graph.
        graph: The network that is being converted.
        node: The operator to convert.
        values: ONNX values of all edges computed so far and of all inputs.
        attrs: Attributes of the operator.
    """

    builder: GraphBuilder
    graph: Graph
    node: Node
    values: Mapping[Edge, ir.Value]
    attrs: Attributes

    @property
    def data(self) -> ir.Value:
        """The first input."""
        return self.input(0)

    @property
    def inputs(self) -> tuple[ir.Value, ...]:
        """All inputs, in MXNet's order; stored arrays become initializers."""
        return tuple(self.input(position) for position in range(len(self.node.inputs)))

    def input(self, position: int) -> ir.Value:
        """One input; a stored array becomes an initializer.

        Raises:
            GraphError: If the node has no such input, or reads an output that does not exist.
        """
        if position >= len(self.node.inputs):
            raise GraphError(f"input {position} is missing", where=self.node.where)
        edge = self.node.inputs[position]
        if edge in self.values:
            return self.values[edge]
        array = self.graph.weight(edge)
        if array is None:
            raise GraphError(
                f"output {edge.index} of '{edge.node.name}' does not exist", where=self.node.where
            )
        return self.builder.constant(array.astype(np.float32), name=edge.node.name)

    def op(self, op_type: str, *inputs: ir.Value | None, **attributes: object) -> ir.Value:
        """Adds an ONNX node with one output, named after the MXNet node."""
        return self.builder.op(op_type, *inputs, name=self.node.name, **attributes)  # type: ignore[arg-type]

    def ops(
        self, op_type: str, *inputs: ir.Value | None, outputs: int, **attributes: object
    ) -> Sequence[ir.Value]:
        """Adds an ONNX node with several outputs, named after the MXNet node."""
        return self.builder.op_multi(
            op_type,
            *inputs,
            outputs=outputs,
            name=self.node.name,
            **attributes,  # type: ignore[arg-type]
        )

    def integers(self, *values: int) -> ir.Value:
        """A constant int64 vector."""
        return self.builder.constant(values, np.int64, name="integers")

    def size_of(self, value: ir.Value, axis: int) -> ir.Value:
        """Size of an axis, int64 (1,): a constant if known, otherwise computed at run time."""
        size = None if value.shape is None else value.shape[axis]
        if isinstance(size, int):
            return self.integers(size)
        axis %= self.rank(value)
        return self.op("Shape", value, start=axis, end=axis + 1)

    def axis(self, name: str, default: int | None, rank: int) -> int:
        """The axis that an attribute selects, as a non-negative number.

        Raises:
            GraphError: If the axis is out of range.
        """
        axis = self.attrs.integer(name, default)
        if not -rank <= axis < rank:
            raise GraphError(f"{name}={axis} is out of range for {rank} axes")
        return axis % rank

    def axes(self, name: str, rank: int) -> tuple[int, ...]:
        """The axes that an attribute selects, non-negative and ascending; empty if it is absent.

        Raises:
            GraphError: If an axis is out of range or appears more than once.
        """
        given = self.attrs.integers(name, ())
        found = sorted({axis % rank for axis in given if -rank <= axis < rank})
        if len(found) != len(given):
            raise GraphError(f"{name}={given} is out of range or repeated for {rank} axes")
        return tuple(found)

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike, role: str) -> ir.Value:
        """An initializer named after the node and the role that the array has in it."""
        return self.builder.constant(value, dtype, name=f"{self.node.name}_{role}")

    def scalar(self, value: float) -> ir.Value:
        """A constant float32 scalar."""
        return self.builder.constant(np.float32(value), np.float32, name="scalar")

    def weight(self, position: int, role: str, shape: Sequence[int | None]) -> FloatArray:
        """The stored array of an input as float32; see `Graph.weight_of`."""
        return self.graph.weight_of(self.node, position, role, shape).astype(np.float32)

    def rank(self, value: ir.Value) -> int:
        """Number of dimensions of a value.

        Raises:
            GraphError: If it cannot be inferred from the graph.
        """
        if value.shape is None:
            raise GraphError(
                "the number of dimensions of its input is unknown",
                where=self.node.where,
                hint="pass the network's input shape",
            )
        return len(value.shape)

    def channels(self, value: ir.Value) -> int | None:
        """Size of axis 1; None if it is unknown or the value has no axis 1."""
        if value.shape is None or len(value.shape) < 2:
            return None
        size = value.shape[1]
        return size if isinstance(size, int) else None


Conversion = Callable[[OpContext], Converted]


@dataclass(frozen=True)
class Operator:
    """A registered conversion.

    Attributes:
        name: MXNet's operator name.
        convert: The conversion function. The first line of its docstring describes the ONNX nodes
            it adds and is printed in OPERATORS.md.
        attributes: Attributes that the conversion reads.
        ignored: Attributes that do not affect the result (memory, tuning, training).
        restrictions: The supported cases, in a few words; empty if there are no restrictions.
    """

    name: str
    convert: Conversion
    attributes: tuple[str, ...]
    ignored: tuple[str, ...]
    restrictions: str = ""


_OPERATORS: dict[str, Operator] = {}


def operator(
    *names: str,
    attributes: Sequence[str] = (),
    ignored: Sequence[str] = (),
    restrictions: str = "",
) -> Callable[[Conversion], Conversion]:
    """Registers a conversion under one or more operator names; see `Operator`.

    Raises:
        ValueError: If a name is already registered.
    """

    def register(convert: Conversion) -> Conversion:
        for name in names:
            if name in _OPERATORS:
                raise ValueError(f"operator '{name}' is registered twice")
            _OPERATORS[name] = Operator(
                name, convert, tuple(attributes), tuple(ignored), restrictions
            )
        return convert

    return register


def registered() -> dict[str, Operator]:
    """All conversions by operator name, sorted."""
    return dict(sorted(_OPERATORS.items()))


def convert_node(
    builder: GraphBuilder, graph: Graph, node: Node, values: Mapping[Edge, ir.Value]
) -> tuple[ir.Value, ...]:
    """Adds the ONNX nodes of one MXNet operator; returns the values of its outputs.

    Raises:
        UnsupportedOperatorError: If the operator, an attribute or an attribute value is not
            supported.
        GraphError: If its inputs or weights do not fit, an attribute is out of range, or a result
            would be too large; the message names the MXNet node.
    """
    found = _OPERATORS.get(node.op)
    if found is None:
        near = difflib.get_close_matches(node.op, _OPERATORS, n=3)
        raise UnsupportedOperatorError(
            f"operator '{node.op}' is not supported",
            where=node.where,
            hint=("did you mean: " + ", ".join(near) + "; " if near else "")
            + "supported: "
            + ", ".join(sorted(_OPERATORS)),
        )
    unknown = sorted(set(node.attrs) - set(found.attributes) - set(found.ignored))
    if unknown:
        raise UnsupportedOperatorError(
            f"attribute {', '.join(unknown)} is not supported",
            where=node.where,
            hint=f"supported: {', '.join(found.attributes) or 'none'}",
        )
    context = OpContext(builder, graph, node, values, Attributes(node.attrs, node.where))
    try:
        result = found.convert(context)
        values_out = (result,) if isinstance(result, ir.Value) else tuple(result)
        for value in values_out:
            check_size(value.shape or (), _MOST_NUMBERS)
    except (GraphError, UnsupportedOperatorError) as error:
        if error.where.startswith(node.where):
            raise
        place = f"{node.where}, {error.where}" if error.where else node.where
        raise type(error)(error.what, where=place, hint=error.hint) from error
    except UNFIT as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise GraphError(
            f"operator '{node.op}' cannot be converted with its attributes ({text[:_LONGEST]})",
            where=node.where,
        ) from error
    return values_out


def check_size(shape: Iterable[object], most: int = MOST_CONSTANT) -> None:
    """Checks that an array of a shape can be held; sizes that are not known count as 1.

    Args:
        shape: The sizes.
        most: Allowed product of the sizes.

    Raises:
        GraphError: If the product is larger.
    """
    count = math.prod(size for size in shape if isinstance(size, int))
    if count > most:
        raise GraphError(f"a result would have {count:,} numbers; {most:,} are allowed")
