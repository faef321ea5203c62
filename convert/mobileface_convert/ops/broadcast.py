"""Broadcasting, tiling, repeating, and constant tensors."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from mobileface.errors import GraphError, UnsupportedOperatorError

from .binary import FUNCTIONS, combine
from .registry import MOST_TIMES, OpContext, check_size, operator

__all__: list[str] = []

_BROADCAST = {f"broadcast_{name}": name for name in FUNCTIONS}


@operator(*_BROADCAST)
def broadcast(context: OpContext) -> ir.Value:
    """The equivalent ONNX operator, such as ``Add``, ``Max`` or ``Equal``."""
    left, right = context.data, context.input(1)
    if left.shape is not None and right.shape is not None:
        if len(left.shape) != len(right.shape):
            raise GraphError(f"input shapes {left.shape} and {right.shape} have different ranks")
        for a, b in zip(left.shape, right.shape, strict=True):
            if isinstance(a, int) and isinstance(b, int) and a != b and 1 not in (a, b):
                raise GraphError(f"input shapes {left.shape} and {right.shape} do not broadcast")
    return combine(context, _BROADCAST[context.node.op], left, right)


@operator("broadcast_to", attributes=("shape",))
def broadcast_to(context: OpContext) -> ir.Value:
    """``Expand``."""
    shape = context.attrs.integers("shape")
    if len(shape) != context.rank(context.data) or min(shape, default=0) < 0:
        raise GraphError(f"shape={shape} does not fit data of shape {context.data.shape}")
    return context.op("Expand", context.data, context.integers(*(size or 1 for size in shape)))


@operator("broadcast_like", restrictions="all axes of the shape")
def broadcast_like(context: OpContext) -> ir.Value:
    """``Expand`` to the ``Shape`` of the second input."""
    return context.op("Expand", context.data, context.op("Shape", context.input(1)))


@operator("broadcast_axis", attributes=("axis", "size"))
def broadcast_axis(context: OpContext) -> ir.Value:
    """``Expand``."""
    rank = context.rank(context.data)
    axes, sizes = context.attrs.integers("axis", ()), context.attrs.integers("size", ())
    if len(axes) != len(sizes) or any(not -rank <= axis < rank for axis in axes):
        raise GraphError(f"axis={axes} and size={sizes} do not fit data of {rank} axes")
    shape = [1] * rank
    for axis, size in zip(axes, sizes, strict=True):
        shape[axis] = size
    return context.op("Expand", context.data, context.integers(*shape))


@operator("tile", attributes=("reps",))
def tile(context: OpContext) -> ir.Value:
    """``Tile``, after an ``Unsqueeze`` if ``reps`` has more entries than the data has axes."""
    reps, data = context.attrs.integers("reps"), context.data
    rank = context.rank(data)
    if not reps or min(reps) < 1:
        raise GraphError(f"reps={reps} must hold numbers of at least 1")
    check_size(reps, MOST_TIMES)
    if len(reps) > rank:
        data = context.op("Unsqueeze", data, context.integers(*range(len(reps) - rank)))
    reps = (1,) * (rank - len(reps)) + reps
    if all(number == 1 for number in reps):
        return data
    return context.op("Tile", data, context.integers(*reps))


@operator("repeat", attributes=("repeats", "axis"))
def repeat(context: OpContext) -> ir.Value:
    """``Gather`` that repeats each index; without an axis the data is flattened first."""
    data, repeats = context.data, context.attrs.integer("repeats")
    if repeats < 1:
        raise GraphError(f"repeats must be at least 1, not {repeats}")
    if "axis" not in context.attrs:
        data = context.op("Reshape", data, context.integers(-1))
    axis = context.axis("axis", 0, context.rank(data))
    if repeats == 1:
        return data
    check_size((repeats,), MOST_TIMES)
    size = None if data.shape is None else data.shape[axis]
    if isinstance(size, int):
        check_size((size, repeats))
        indices = context.constant(np.repeat(np.arange(size), repeats), np.int64, "indices")
        return context.op("Gather", data, indices, axis=axis)
    count = context.op("Mul", context.size_of(data, axis), context.integers(repeats))
    zero, one, each = (context.constant(n, np.int64, "number") for n in (0, 1, repeats))
    steps = context.op("Range", zero, context.op("Squeeze", count, context.integers(0)), one)
    return context.op("Gather", data, context.op("Div", steps, each), axis=axis)


@operator("zeros_like", "ones_like")
def constant_like(context: OpContext) -> ir.Value:
    """``ConstantOfShape``."""
    value = np.full(1, float(context.node.op == "ones_like"), np.float32)
    return context.op("ConstantOfShape", context.op("Shape", context.data), value=ir.tensor(value))


@operator(
    "_zeros",
    "_ones",
    "_full",
    attributes=("shape", "dtype", "value"),
    ignored=("ctx",),
    restrictions="sizes of 1 or more; dtype float32",
)
def filled(context: OpContext) -> ir.Value:
    """A constant."""
    shape = context.attrs.integers("shape")
    context.attrs.choice("dtype", "float32", ("float32",))
    if min(shape, default=0) < 1:
        raise UnsupportedOperatorError(f"shape={shape} is not supported")
    value = {"_zeros": 0.0, "_ones": 1.0}.get(context.node.op)
    value = context.attrs.number("value") if value is None else value
    check_size(shape)
    return context.constant(np.full(shape, value), np.float32, "values")


@operator(
    "_arange",
    attributes=("start", "stop", "step", "repeat", "infer_range", "dtype"),
    ignored=("ctx",),
    restrictions="dtype float32; explicit end",
)
def arange(context: OpContext) -> ir.Value:
    """A constant."""
    attrs = context.attrs
    attrs.choice("dtype", "float32", ("float32",))
    start, step = attrs.number("start", 0), attrs.number("step", 1)
    stop = attrs.number("stop", math.inf)
    if math.isinf(stop):
        if attrs.boolean("infer_range", False):
            raise UnsupportedOperatorError("a range with an inferred end is not supported")
        start, stop = 0.0, start
    repeats = attrs.integer("repeat", 1)
    if step == 0 or repeats < 1 or (stop - start) / step <= 0:
        raise GraphError(f"the range from {start} to {stop} with step {step} is empty")
    count = math.ceil((stop - start) / step)
    check_size((count, repeats))
    values = np.float32(start) + np.arange(count, dtype=np.float32) * np.float32(step)
    return context.constant(np.repeat(values, repeats), np.float32, "values")
