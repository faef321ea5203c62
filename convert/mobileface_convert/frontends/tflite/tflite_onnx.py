"""Builds the ONNX graph of a TensorFlow Lite network.

::

    TensorFlow Lite (N, H, W, C)                  ONNX (N, C, H, W)
    CONV_2D with an activation                    Conv, activation
    DEQUANTIZE, DENSIFY of weights                nothing: the weights are stored as real values
    RESHAPE (N, H, W, C) → (N, H · W, C)          Transpose, Reshape (the only transpose)

Inputs and outputs of four axes are (N, C, H, W) too, all others as published.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from mobileface.errors import GraphError, UnsupportedOperatorError

from ...graph.onnx_builder import DEFAULT_OPSET, GraphBuilder
from . import (  # noqa: F401 - they register their conversions
    arithmetic_operators,
    convolution_operators,
    layout_operators,
    pooling_operators,
    storage_operators,
)
from .tflite_file import check_float_ends
from .tflite_records import Shape, TfliteNetwork, TfliteOperator
from .tflite_registry import Activation, Constants, OpContext, channels_first, registered

__all__ = ["build_tflite", "free_batch", "unsupported_operators"]

_BATCH = "N"


def free_batch(network: TfliteNetwork) -> bool:
    """Whether the first axis of every computed value can be a batch: it is 1 in the file."""
    return all(network.tensors[number].shape[:1] == (1,) for number in network.computed)


def build_tflite(
    network: TfliteNetwork,
    *,
    name: str = "network",
    opset: int = DEFAULT_OPSET,
    outputs: Sequence[str] = (),
    batch: bool = True,
) -> ir.Model:
    """The ONNX model of a network.

    Args:
        network: The network.
        name: Name of the graph.
        opset: Version of the ONNX operator set.
        outputs: Names of the outputs to keep, in this order; all by default.
        batch: Make the batch dynamic ("N"); see `free_batch`. Otherwise it stays as published.

    Raises:
        GraphError: Shapes do not fit together, or an operator mixes the batch; names the operator.
        UnsupportedOperatorError: An operator or a case of it has no conversion; names it.
    """
    check_float_ends(network)
    _check_operators(network)
    if batch and not free_batch(network):
        raise GraphError("the batch is not the first axis of all values", where=network.origin)
    builder, first = GraphBuilder(name, opset), _BATCH if batch else None
    values: dict[int, Activation] = {}
    for number in network.inputs:
        tensor = network.tensors[number]
        sizes = _expected(tensor.shape, first)
        values[number] = Activation(builder.input(tensor.name, np.float32, sizes), tensor.shape)
    constants = Constants(network)
    for operator in network.operators:
        _convert(OpContext(builder, network, operator, values, constants, first))
    numbers = _chosen(network, outputs)
    return builder.build(
        {
            network.tensors[number].name: _final(
                OpContext(builder, network, network.operators[-1], values, constants, first), number
            )
            for number in numbers
        },
        shapes={
            network.tensors[number].name: _expected(network.tensors[number].shape, first)
            for number in numbers
        },
    )


def unsupported_operators(network: TfliteNetwork) -> dict[str, list[str]]:
    """Names of what the operators write that have no conversion, by operator."""
    found: dict[str, list[str]] = {}
    for operator in network.operators:
        if not _is_known(operator):
            names = [network.tensors[number].name for number in operator.outputs]
            found.setdefault(operator.kind, []).append(names[0] if names else "")
    return found


def _is_known(operator: TfliteOperator) -> bool:
    found = registered().get(operator.kind)
    return found is not None and found.custom == (operator.custom is not None)


def _check_operators(network: TfliteNetwork) -> None:
    """Checks that all operators have a conversion.

    Raises:
        UnsupportedOperatorError: One has none; names it.
    """
    known = registered()
    for operator in network.operators:
        if not _is_known(operator):
            what = "custom operator" if operator.custom is not None else "operator"
            raise UnsupportedOperatorError(
                f"{what} '{operator.kind}' is not supported",
                where=network.place(operator),
                hint=f"supported: {', '.join(known)}",
            )
        if len(operator.outputs) != 1:
            raise GraphError(
                f"{len(operator.outputs)} outputs, expected one", where=network.place(operator)
            )


def _convert(context: OpContext) -> None:
    """Adds one operator and checks the shape of its result against the file."""
    operator, where = context.operator, context.where
    number, shape = operator.outputs[0], context.output.shape
    try:
        made = registered()[operator.kind].convert(context)
    except (GraphError, UnsupportedOperatorError) as error:
        if error.where.startswith(where):
            raise
        place = f"{where}, {error.where}" if error.where else where
        raise type(error)(error.what, where=place, hint=error.hint) from error
    if isinstance(made, np.ndarray):
        if made.shape != shape:
            raise GraphError(f"gives {list(made.shape)}, the file says {list(shape)}", where=where)
        context.constants.made[number] = made
        return
    if context.output.dtype != "float32":
        raise UnsupportedOperatorError(
            f"writes {context.output.dtype}: only float32 is supported", where=where
        )
    if isinstance(made, ir.Value):
        made = Activation(made, shape)
    if made.image is None:
        _check_shape(made.value, _expected(shape, context.batch), where)
    context.values[number] = made


def _check_shape(value: ir.Value, expected: tuple[int | str, ...], where: str) -> None:
    """Checks what ONNX infers against what the file says, and states that.

    Raises:
        GraphError: They differ.
    """
    found = value.shape
    if found is not None:
        same = len(found) == len(expected) and all(
            ours == theirs if isinstance(ours, int) else isinstance(theirs, str) or position > 0
            for position, (ours, theirs) in enumerate(zip(found, expected, strict=False))
        )
        if not same:
            raise GraphError(f"gives {found}, the file says {list(expected)}", where=where)
    value.shape = ir.Shape(expected)


def _expected(shape: Shape, batch: str | None) -> tuple[int | str, ...]:
    """The shape of a value in the ONNX model."""
    sizes = channels_first(shape)
    return sizes if batch is None else (batch, *sizes[1:])


def _chosen(network: TfliteNetwork, names: Sequence[str]) -> list[int]:
    """The numbers of the outputs to keep.

    Raises:
        GraphError: The network has no output of a name, or a name is given twice.
    """
    known = {network.tensors[number].name: number for number in network.outputs}
    for name in names:
        if name not in known or list(names).count(name) > 1:
            raise GraphError(
                f"no output '{name}', or named twice",
                where=network.origin,
                hint=f"its outputs: {', '.join(known)}",
            )
    return [known[name] for name in names or known]


def _final(context: OpContext, number: int) -> ir.Value:
    """The value of an output."""
    found = context.values.get(number)
    if found is None:
        raise UnsupportedOperatorError(
            f"output {number} is a stored array", where=context.network.origin
        )
    return context.done(found).value
