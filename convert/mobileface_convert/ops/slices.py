"""Slicing, splitting, joining and indexing of tensors."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from mobileface.errors import GraphError, UnsupportedOperatorError

from .registry import Converted, OpContext, operator

__all__: list[str] = []

_END = np.iinfo(np.int64).max
_BEFORE = np.iinfo(np.int64).min + 1
"""Indices outside any axis: `_END` after its last element, `_BEFORE` before its first."""


@operator("slice", attributes=("begin", "end", "step"))
def slice_all(context: OpContext) -> ir.Value:
    """``Slice`` along the first axes; None is the end of the axis in the direction of the step."""
    begin, end, step = (context.attrs.optional_integers(n) for n in ("begin", "end", "step"))
    count = len(begin)
    step = step or (1,) * count
    if not len(end) == len(step) == count or not 0 < count <= context.rank(context.data):
        raise GraphError(
            f"begin={begin}, end={end} and step={step} do not fit data of shape"
            f" {context.data.shape}"
        )
    steps = [1 if size is None else size for size in step]
    if 0 in steps:
        raise GraphError(f"step={step} must not contain 0")
    pairs = zip(begin, steps, strict=True)
    starts = [(0 if s > 0 else _END) if b is None else b for b, s in pairs]
    ends = [
        (_END if s > 0 else _BEFORE) if e is None else e for e, s in zip(end, steps, strict=True)
    ]
    return _slice(context, context.data, starts, ends, list(range(count)), steps)


@operator("slice_axis", attributes=("axis", "begin", "end"))
def slice_axis(context: OpContext) -> ir.Value:
    """``Slice`` along one axis."""
    axis = context.axis("axis", None, context.rank(context.data))
    end = context.attrs.integer("end", _END)
    return _slice(context, context.data, [context.attrs.integer("begin")], [end], [axis], [1])


@operator("slice_like", attributes=("axes",))
def slice_like(context: OpContext) -> ir.Value:
    """``Slice`` to the ``Shape`` of the second input."""
    data, like = context.data, context.input(1)
    rank = context.rank(data)
    axes = context.axes("axes", rank) or tuple(range(rank))
    if context.rank(like) <= max(axes):
        raise GraphError(f"axes {axes} are out of range for data of shape {like.shape}")
    for axis in axes:
        have, want = (None if v.shape is None else v.shape[axis] for v in (data, like))
        if isinstance(have, int) and isinstance(want, int) and have < want:
            raise GraphError(f"axis {axis} of shape {data.shape} cannot be sliced to {want}")
    shape = like.shape or ()
    known = [size for axis in axes if shape and isinstance(size := shape[axis], int)]
    if len(known) == len(axes):
        ends = context.integers(*known)
    else:
        sizes = [context.size_of(like, axis) for axis in axes]
        ends = sizes[0] if len(sizes) == 1 else context.op("Concat", *sizes, axis=0)
    starts = context.integers(*(0 for _ in axes))
    return context.op("Slice", data, starts, ends, context.integers(*axes))


@operator("reverse", attributes=("axis",))
def reverse(context: OpContext) -> ir.Value:
    """``Slice`` with step -1."""
    axes = context.axes("axis", context.rank(context.data))
    if not axes:
        raise GraphError("attribute 'axis' is missing")
    count = len(axes)
    return _slice(
        context, context.data, [_END] * count, [_BEFORE] * count, list(axes), [-1] * count
    )


@operator("SliceChannel", attributes=("num_outputs", "axis", "squeeze_axis"))
def slice_channel(context: OpContext) -> Converted:
    """``Split`` into equal parts."""
    count = context.attrs.integer("num_outputs")
    axis = context.axis("axis", 1, context.rank(context.data))
    size = None if context.data.shape is None else context.data.shape[axis]
    squeezed = context.attrs.boolean("squeeze_axis", False)
    if count < 1 or (isinstance(size, int) and (size % count or (squeezed and size != count))):
        raise GraphError(f"cannot split axis {axis} of shape {context.data.shape} in {count} parts")
    parts = _split(context, axis, count, size)
    if not squeezed:
        return parts
    return [context.op("Squeeze", part, context.integers(axis)) for part in parts]


def _split(
    context: OpContext, axis: int, count: int, size: int | ir.SymbolicDim | None
) -> list[ir.Value]:
    """Splits the data along an axis of the given size into ``count`` equal parts."""
    if count == 1:
        return [context.data]
    if isinstance(size, int):
        sizes = context.integers(*(size // count for _ in range(count)))
        return list(context.ops("Split", context.data, sizes, outputs=count, axis=axis))
    each = context.op("Div", context.size_of(context.data, axis), context.integers(count))
    sizes = context.op("Tile", each, context.integers(count))
    return list(context.ops("Split", context.data, sizes, outputs=count, axis=axis))


@operator("Concat", attributes=("dim",), ignored=("num_args",))
def concat(context: OpContext) -> ir.Value:
    """``Concat``."""
    axis = context.axis("dim", 1, context.rank(context.data))
    inputs = context.inputs
    for other in inputs[1:]:
        pairs = zip(inputs[0].shape or (), other.shape or (), strict=False)
        for number, (a, b) in enumerate(pairs):
            if number != axis and isinstance(a, int) and isinstance(b, int) and a != b:
                raise GraphError(
                    f"input shapes {inputs[0].shape} and {other.shape} differ outside axis {axis}"
                )
    return inputs[0] if len(inputs) == 1 else context.op("Concat", *inputs, axis=axis)


@operator("stack", attributes=("axis",), ignored=("num_args",))
def stack(context: OpContext) -> ir.Value:
    """``Concat`` after ``Unsqueeze``."""
    axis = context.axis("axis", 0, context.rank(context.data) + 1)
    rows = [context.op("Unsqueeze", value, context.integers(axis)) for value in context.inputs]
    return context.op("Concat", *rows, axis=axis)


@operator("take", attributes=("axis", "mode"), restrictions="mode clip or wrap")
def take(context: OpContext) -> ir.Value:
    """``Gather`` at integer indices, clipped to the axis or wrapped around it."""
    data = context.data
    axis = context.axis("axis", 0, context.rank(data))
    mode = context.attrs.choice("mode", "clip", ("clip", "wrap"))
    indices = context.op("Cast", context.input(1), to=ir.DataType.INT64)
    size = context.op("Squeeze", context.size_of(data, axis), context.integers(0))
    zero, one = (context.constant(n, np.int64, "number") for n in (0, 1))
    if mode == "wrap":
        return context.op("Gather", data, context.op("Mod", indices, size), axis=axis)
    last = context.op("Sub", size, one)
    clipped = context.op("Min", context.op("Max", indices, zero), last)
    return context.op("Gather", data, clipped, axis=axis)


@operator("Embedding", attributes=("input_dim", "output_dim", "dtype"), ignored=("sparse_grad",))
def embedding(context: OpContext) -> ir.Value:
    """``Gather`` of rows of the weight, with indices clipped to its rows."""
    context.attrs.choice("dtype", "float32", ("float32",))
    rows, width = context.attrs.integer("input_dim"), context.attrs.integer("output_dim")
    weight = context.constant(context.weight(1, "weight", (rows, width)), np.float32, "weight")
    low, high = context.scalar(0), context.scalar(rows - 1)
    indices = context.op("Cast", context.op("Clip", context.data, low, high), to=ir.DataType.INT64)
    return context.op("Gather", weight, indices, axis=0)


@operator("where", restrictions="condition with one axis, or as many as the data")
def where(context: OpContext) -> ir.Value:
    """``Where``; a condition with one axis selects rows."""
    condition = context.op("Cast", context.data, to=ir.DataType.BOOL)
    rank, data_rank = context.rank(context.data), context.rank(context.input(1))
    if rank != data_rank:
        if rank != 1:
            raise UnsupportedOperatorError(
                f"a condition of {rank} axes for data of {data_rank} axes is not supported"
            )
        condition = context.op("Unsqueeze", condition, context.integers(*range(1, data_rank)))
    return context.op("Where", condition, context.input(1), context.input(2))


def _slice(
    context: OpContext,
    data: ir.Value,
    starts: list[int],
    ends: list[int],
    axes: list[int],
    steps: list[int],
) -> ir.Value:
    """Adds a ``Slice``, without steps if all are 1."""
    vectors = [context.integers(*values) for values in (starts, ends, axes)]
    if any(step != 1 for step in steps):
        vectors.append(context.integers(*steps))
    return context.op("Slice", data, *vectors)
