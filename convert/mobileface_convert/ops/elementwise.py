"""Unary functions: activations, rounding, powers, trigonometry and casts."""

from __future__ import annotations

import math
from collections.abc import Callable

import onnx_ir as ir

from .registry import OpContext, operator

__all__: list[str] = []

_SAME_IN_ONNX = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softsign": "Softsign",
    "erf": "Erf",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "reciprocal": "Reciprocal",
    "abs": "Abs",
    "negative": "Neg",
    "sign": "Sign",
    "floor": "Floor",
    "ceil": "Ceil",
    "sin": "Sin",
    "cos": "Cos",
    "tan": "Tan",
    "arcsin": "Asin",
    "arccos": "Acos",
    "arctan": "Atan",
    "sinh": "Sinh",
    "cosh": "Cosh",
    "arcsinh": "Asinh",
    "arccosh": "Acosh",
    "arctanh": "Atanh",
}


@operator(*_SAME_IN_ONNX)
def one_node(context: OpContext) -> ir.Value:
    """The equivalent ONNX operator, such as ``Relu``, ``Exp``, ``Floor`` or ``Asinh``."""
    return context.op(_SAME_IN_ONNX[context.node.op], context.data)


def _square(context: OpContext, x: ir.Value) -> ir.Value:
    return context.op("Mul", x, x)


def _rsqrt(context: OpContext, x: ir.Value) -> ir.Value:
    return context.op("Reciprocal", context.op("Sqrt", x))


def _cbrt(context: OpContext, x: ir.Value) -> ir.Value:
    root = context.op("Pow", context.op("Abs", x), context.scalar(1 / 3))
    return context.op("Mul", context.op("Sign", x), root)


def _rcbrt(context: OpContext, x: ir.Value) -> ir.Value:
    return context.op("Reciprocal", _cbrt(context, x))


def _log2(context: OpContext, x: ir.Value) -> ir.Value:
    return context.op("Mul", context.op("Log", x), context.scalar(1 / math.log(2)))


def _log10(context: OpContext, x: ir.Value) -> ir.Value:
    return context.op("Mul", context.op("Log", x), context.scalar(1 / math.log(10)))


def _degrees(context: OpContext, x: ir.Value) -> ir.Value:
    return context.op("Mul", x, context.scalar(180 / math.pi))


def _radians(context: OpContext, x: ir.Value) -> ir.Value:
    return context.op("Mul", x, context.scalar(math.pi / 180))


def _truncate(context: OpContext, x: ir.Value) -> ir.Value:
    return context.op("Mul", context.op("Sign", x), context.op("Floor", context.op("Abs", x)))


def _round(context: OpContext, x: ir.Value) -> ir.Value:
    """Rounds halves away from zero; computes x - floor(x), which is exact, unlike x + 0.5."""
    magnitude = context.op("Abs", x)
    floor = context.op("Floor", magnitude)
    half = context.op("GreaterOrEqual", context.op("Sub", magnitude, floor), context.scalar(0.5))
    up = context.op("Cast", half, to=ir.DataType.FLOAT)
    return context.op("Mul", context.op("Sign", x), context.op("Add", floor, up))


def _rint(context: OpContext, x: ir.Value) -> ir.Value:
    """Rounds to the nearest integer, halves down."""
    floor, ceil = context.op("Floor", x), context.op("Ceil", x)
    near = context.op("LessOrEqual", context.op("Sub", x, floor), context.op("Sub", ceil, x))
    return context.op("Where", near, floor, ceil)


def _logical_not(context: OpContext, x: ir.Value) -> ir.Value:
    zero = context.op("Equal", x, context.scalar(0))
    return context.op("Cast", zero, to=ir.DataType.FLOAT)


_COMPOSED: dict[str, Callable[[OpContext, ir.Value], ir.Value]] = {
    "square": _square,
    "rsqrt": _rsqrt,
    "cbrt": _cbrt,
    "rcbrt": _rcbrt,
    "log2": _log2,
    "log10": _log10,
    "degrees": _degrees,
    "radians": _radians,
    "trunc": _truncate,
    "fix": _truncate,
    "round": _round,
    "rint": _rint,
    "logical_not": _logical_not,
}


@operator(*_COMPOSED)
def some_nodes(context: OpContext) -> ir.Value:
    """Several nodes: ONNX has no such operator, or rounds halves to even where MXNet does not."""
    return _COMPOSED[context.node.op](context, context.data)


_ACTIVATIONS = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softrelu": "Softplus",
    "softsign": "Softsign",
}


@operator("Activation", attributes=("act_type",))
def activation(context: OpContext) -> ir.Value:
    """``Relu``, ``Sigmoid``, ``Tanh``, ``Softplus`` (softrelu) or ``Softsign``."""
    kind = context.attrs.choice("act_type", "", tuple(_ACTIVATIONS))
    return context.op(_ACTIVATIONS[kind], context.data)


@operator("hard_sigmoid", attributes=("alpha", "beta"))
def hard_sigmoid(context: OpContext) -> ir.Value:
    """``HardSigmoid``."""
    alpha, beta = context.attrs.number("alpha", 0.2), context.attrs.number("beta", 0.5)
    return context.op("HardSigmoid", context.data, alpha=alpha, beta=beta)


@operator("Cast", "amp_cast", attributes=("dtype",), restrictions="to float32 only")
def cast(context: OpContext) -> ir.Value:
    """``Cast`` to float32; no node if the value is already float32."""
    context.attrs.choice("dtype", "", ("float32",))
    if context.data.dtype == ir.DataType.FLOAT:
        return context.data
    return context.op("Cast", context.data, to=ir.DataType.FLOAT)
