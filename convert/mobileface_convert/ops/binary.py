"""Functions of two arguments, shared by tensor-tensor and tensor-scalar operators.

As in MXNet, comparisons return 1 or 0 as float32, and logical functions treat any non-zero number
as true.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from .registry import OpContext

__all__ = ["FUNCTIONS", "combine"]

_NODES = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "maximum": "Max",
    "minimum": "Min",
    "power": "Pow",
}
_COMPARISONS = {
    "equal": "Equal",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "lesser": "Less",
    "lesser_equal": "LessOrEqual",
}
_LOGIC = {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor"}


def combine(context: OpContext, function: str, left: ir.Value, right: ir.Value) -> ir.Value:
    """Adds the nodes of a function of two arguments; ONNX broadcasts them.

    Args:
        context: The operator that is being converted.
        function: One of `FUNCTIONS`.
        left: First argument of the function.
        right: Second argument of the function.
    """
    if function in _NODES:
        return context.op(_NODES[function], left, right)
    if function in _COMPARISONS:
        return _number(context, context.op(_COMPARISONS[function], left, right))
    if function in _LOGIC:
        pair = (_truth(context, value) for value in (left, right))
        return _number(context, context.op(_LOGIC[function], *pair))
    return _COMPOSED[function](context, left, right)


def _number(context: OpContext, truth: ir.Value) -> ir.Value:
    """Booleans as float32: 1 for true, 0 for false."""
    return context.op("Cast", truth, to=ir.DataType.FLOAT)


def _truth(context: OpContext, number: ir.Value) -> ir.Value:
    """Numbers as booleans: true unless 0."""
    return context.op("Cast", number, to=ir.DataType.BOOL)


def _not_equal(context: OpContext, left: ir.Value, right: ir.Value) -> ir.Value:
    return _number(context, context.op("Not", context.op("Equal", left, right)))


def _modulo(context: OpContext, left: ir.Value, right: ir.Value) -> ir.Value:
    """Remainder with the sign of the divisor; 0 if the divisor is 0."""
    zero = context.scalar(0)
    remainder = context.op("Mod", left, right, fmod=1)
    signs = context.op("Mul", context.op("Sign", remainder), context.op("Sign", right))
    opposite = context.op("Less", signs, zero)
    signed = context.op("Where", opposite, context.op("Add", remainder, right), remainder)
    return context.op("Where", context.op("Equal", right, zero), zero, signed)


def _hypotenuse(context: OpContext, left: ir.Value, right: ir.Value) -> ir.Value:
    squares = [context.op("Mul", value, value) for value in (left, right)]
    return context.op("Sqrt", context.op("Add", *squares))


_COMPOSED: dict[str, Callable[[OpContext, ir.Value, ir.Value], ir.Value]] = {
    "not_equal": _not_equal,
    "mod": _modulo,
    "hypot": _hypotenuse,
}

FUNCTIONS: tuple[str, ...] = (*_NODES, *_COMPARISONS, *_LOGIC, *_COMPOSED)
"""MXNet's names of the supported functions."""
