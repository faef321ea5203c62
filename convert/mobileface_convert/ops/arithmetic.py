"""Element-wise arithmetic, clipping, and operators that are the identity at inference."""

from __future__ import annotations

import onnx_ir as ir

from mobileface.errors import GraphError

from .binary import FUNCTIONS, combine
from .registry import OpContext, operator

__all__: list[str] = []

_WITH_SCALAR = {
    f"_{name}_scalar": (name, False) for name in FUNCTIONS if name not in ("add", "sub")
}
_WITH_SCALAR |= {
    "_plus_scalar": ("add", False),
    "_minus_scalar": ("sub", False),
    "_rminus_scalar": ("sub", True),
    "_rdiv_scalar": ("div", True),
    "_rmod_scalar": ("mod", True),
    "_rpower_scalar": ("power", True),
}
_ARITHMETIC = ("add", "sub", "mul", "div")
_OF_ONE_SHAPE = {f"elemwise_{name}": name for name in _ARITHMETIC}
_OF_ONE_SHAPE |= {f"_{name}": name for name in FUNCTIONS if name not in _ARITHMETIC}


@operator(*_WITH_SCALAR, attributes=("scalar",), ignored=("is_int",))
def with_scalar(context: OpContext) -> ir.Value:
    """The equivalent ONNX operator with a constant, such as ``Add`` or ``Greater``."""
    function, scalar_first = _WITH_SCALAR[context.node.op]
    left, right = context.data, context.scalar(context.attrs.number("scalar"))
    if scalar_first:
        left, right = right, left
    return combine(context, function, left, right)


@operator(*_OF_ONE_SHAPE, restrictions="two tensors of the same shape")
def elementwise(context: OpContext) -> ir.Value:
    """The equivalent ONNX operator, such as ``Add``, ``Max`` or ``Equal``."""
    _require_same_shape(context)
    return combine(context, _OF_ONE_SHAPE[context.node.op], context.input(0), context.input(1))


@operator("add_n", ignored=("num_args",), restrictions="tensors of the same shape")
def add_n(context: OpContext) -> ir.Value:
    """``Sum`` of any number of tensors."""
    _require_same_shape(context)
    return context.op("Sum", *context.inputs)


def _require_same_shape(context: OpContext) -> None:
    """Checks that all inputs have the same shape.

    MXNet's element-wise operators do not broadcast, ONNX's do.

    Raises:
        GraphError: If two inputs have shapes that are known to differ.
    """
    first, *others = context.inputs or (None,)
    for other in others:
        if first is None or first.shape is None or other.shape is None:
            continue
        pairs = zip(first.shape, other.shape, strict=False)
        differ = any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)
        if differ or len(first.shape) != len(other.shape):
            raise GraphError(f"input shapes {first.shape} and {other.shape} differ")


@operator("clip", attributes=("a_min", "a_max"))
def clip(context: OpContext) -> ir.Value:
    """``Clip``."""
    low, high = context.attrs.number("a_min"), context.attrs.number("a_max")
    if not low <= high:  # ONNX gives a_max everywhere, MXNet does not
        raise GraphError(f"a_min={low:g} is not at most a_max={high:g}")
    return context.op("Clip", context.data, context.scalar(low), context.scalar(high))


@operator("_copy", "BlockGrad")
def same(context: OpContext) -> ir.Value:
    """No node: the value is returned unchanged."""
    return context.data


@operator(
    "Dropout",
    attributes=("mode",),
    ignored=("p", "axes", "cudnn_off"),
    restrictions="mode training",
)
def dropout(context: OpContext) -> ir.Value:
    """No node: dropout does nothing at inference."""
    context.attrs.choice("mode", "training", ("training",))
    return context.data


@operator("Flatten")
def flatten(context: OpContext) -> ir.Value:
    """``Flatten`` to two axes; no node if the data already has two axes."""
    return context.data if context.rank(context.data) == 2 else context.op("Flatten", context.data)
