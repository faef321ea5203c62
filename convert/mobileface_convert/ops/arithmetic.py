"""Element by element: scalars, sums of tensors, activations, limits, normalisation by length."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from mobileface.errors import GraphError, UnsupportedOperatorError

from .registry import OpContext, operator

__all__: list[str] = []

_SCALAR_OPERATORS = {
    "_plus_scalar": ("Add", False),
    "_minus_scalar": ("Sub", False),
    "_rminus_scalar": ("Sub", True),
    "_mul_scalar": ("Mul", False),
    "_div_scalar": ("Div", False),
    "_rdiv_scalar": ("Div", True),
    "_maximum_scalar": ("Max", False),
    "_minimum_scalar": ("Min", False),
    "_power_scalar": ("Pow", False),
}
_ELEMENTWISE_OPERATORS = {
    "elemwise_add": "Add",
    "elemwise_sub": "Sub",
    "elemwise_mul": "Mul",
    "elemwise_div": "Div",
}


@operator(*_SCALAR_OPERATORS, attributes=("scalar",), ignored=("is_int",))
def with_scalar(context: OpContext) -> ir.Value:
    """``Add``, ``Sub``, ``Mul``, ``Div``, ``Max``, ``Min`` or ``Pow`` with a float32 constant."""
    op_type, scalar_first = _SCALAR_OPERATORS[context.node.op]
    pair = [context.data, context.scalar(context.attrs.number("scalar"))]
    return context.op(op_type, *(reversed(pair) if scalar_first else pair))


@operator(*_ELEMENTWISE_OPERATORS)
def elementwise(context: OpContext) -> ir.Value:
    """``Add``, ``Sub``, ``Mul`` or ``Div`` of two tensors of one shape."""
    _require_one_shape(context)
    return context.op(_ELEMENTWISE_OPERATORS[context.node.op], *context.inputs)


@operator("add_n", ignored=("num_args",))
def add_n(context: OpContext) -> ir.Value:
    """``Sum`` of any number of tensors of one shape."""
    _require_one_shape(context)
    return context.op("Sum", *context.inputs)


def _require_one_shape(context: OpContext) -> None:
    """MXNet's element-wise operators do not broadcast, ONNX's do.

    Raises:
        GraphError: Two inputs have shapes that are known to differ.
    """
    first, *others = context.inputs or (None,)
    for other in others:
        if first is None or first.shape is None or other.shape is None:
            continue
        pairs = zip(first.shape, other.shape, strict=False)
        differ = any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)
        if differ or len(first.shape) != len(other.shape):
            raise GraphError(f"inputs of shape {first.shape} and {other.shape} differ")


@operator("clip", attributes=("a_min", "a_max"))
def clip(context: OpContext) -> ir.Value:
    """``Clip``."""
    low, high = context.attrs.number("a_min"), context.attrs.number("a_max")
    return context.op("Clip", context.data, context.scalar(low), context.scalar(high))


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


@operator("_copy", "BlockGrad")
def same(context: OpContext) -> ir.Value:
    """Nothing: the value itself."""
    return context.data


@operator("Dropout", attributes=("mode",), ignored=("p", "axes", "cudnn_off"))
def dropout(context: OpContext) -> ir.Value:
    """Nothing at inference; mode='always' is refused."""
    context.attrs.choice("mode", "training", ("training",))
    return context.data


@operator("Flatten")
def flatten(context: OpContext) -> ir.Value:
    """``Flatten`` to two axes; nothing if there are two already."""
    return context.data if context.rank(context.data) == 2 else context.op("Flatten", context.data)


@operator("L2Normalization", attributes=("eps", "mode"))
def l2_normalization(context: OpContext) -> ir.Value:
    """``RMSNormalization`` from opset 23, else five nodes; mode instance over two axes.

    x / sqrt(sum(x²) + eps) over n elements is the root-mean-square normalisation with scale
    1/sqrt(n) and epsilon eps/n: both are x / sqrt(n · (mean(x²) + eps/n)).
    """
    context.attrs.choice("mode", "instance", ("instance",))
    eps = context.attrs.number("eps", 1e-10)
    if context.rank(context.data) != 2:
        raise UnsupportedOperatorError("L2Normalization of more than two axes has no conversion")
    width = context.channels(context.data)
    if context.builder.opset >= 23 and width is not None:
        scale = np.full(width, 1 / np.sqrt(width), np.float32)
        scale_value = context.constant(scale, np.float32, "scale")
        return context.op(
            "RMSNormalization", context.data, scale_value, axis=-1, epsilon=eps / width
        )
    squares = context.op("Mul", context.data, context.data)
    axes = context.constant([1], np.int64, "axes")
    total = context.op("ReduceSum", squares, axes, keepdims=1)
    length = context.op("Sqrt", context.op("Add", total, context.scalar(eps)))
    return context.op("Div", context.data, length)
