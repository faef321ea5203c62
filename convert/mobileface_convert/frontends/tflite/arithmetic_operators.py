"""Operators on each element, and softmax."""

from __future__ import annotations

import onnx_ir as ir

from mobileface.errors import GraphError

from .tflite_registry import FloatArray, OpContext, operator
from .tflite_windows import activated

__all__: list[str] = []  # imported to register


@operator("ADD")
def add(context: OpContext) -> ir.Value:
    """`Add`, and the activation."""
    return _both(context, "Add")


@operator("MUL")
def mul(context: OpContext) -> ir.Value:
    """`Mul`, and the activation."""
    return _both(context, "Mul")


@operator("RELU")
def relu(context: OpContext) -> ir.Value:
    """`Relu`."""
    return context.op("Relu", context.data().value)


@operator("RELU6")
def relu6(context: OpContext) -> ir.Value:
    """`Clip` from 0 to 6."""
    bounds = context.constant(0.0, "low"), context.constant(6.0, "high")
    return context.op("Clip", context.data().value, *bounds)


@operator("PRELU", restrictions="slopes are stored")
def prelu(context: OpContext) -> ir.Value:
    """`PRelu`."""
    given = context.data()
    slopes = _aligned(context, context.array(1), len(given.shape))
    return context.op("PRelu", given.value, context.constant(slopes[0], "slopes"))


@operator("HARD_SWISH")
def hard_swish(context: OpContext) -> ir.Value:
    """`HardSwish`."""
    return context.op("HardSwish", context.data().value)


@operator("LOGISTIC")
def logistic(context: OpContext) -> ir.Value:
    """`Sigmoid`."""
    return context.op("Sigmoid", context.data().value)


@operator("SOFTMAX")
def softmax(context: OpContext) -> ir.Value:
    """`Softmax` over the last axis, the channels of images; `Mul` before it if beta is not 1."""
    given, beta = context.data(), float(context.option("beta", 1.0))
    value = given.value
    if not 0 < beta < float("inf"):
        raise GraphError(f"beta {beta} is not above zero", where=context.where)
    if beta != 1.0:
        value = context.op("Mul", value, context.constant(beta, "beta"))
    return context.op("Softmax", value, axis=1 if len(given.shape) == 4 else len(given.shape) - 1)


def _both(context: OpContext, op_type: str) -> ir.Value:
    """An operator on two operands, of which one may be stored."""
    rank, values = len(context.output.shape), []
    if context.stored(0) and context.stored(1):
        raise context.refuse("two stored operands are not supported")
    for position in (0, 1):
        if context.stored(position):
            array = _aligned(context, context.array(position), rank)
            values.append(context.constant(array, "operand"))
            continue
        given = context.data(position)
        if len(given.shape) != rank:
            raise context.refuse(
                f"operands {list(given.shape)} and {list(context.output.shape)} "
                "of different numbers of axes are not supported"
            )
        values.append(given.value)
    return activated(context, context.op(op_type, *values))


def _aligned(context: OpContext, array: FloatArray, rank: int) -> FloatArray:
    """An array with as many axes as a value, in the order that they have here.

    Raises:
        GraphError: It has more axes, or a batch.
    """
    if array.ndim > rank or (array.ndim == rank > 0 and array.shape[0] != 1 and context.batch):
        raise GraphError(
            f"an array {list(array.shape)} for {rank} axes, the first of them the batch",
            where=context.where,
        )
    array = array.reshape((1,) * (rank - array.ndim) + array.shape)
    return array.transpose(0, 3, 1, 2) if rank == 4 else array
