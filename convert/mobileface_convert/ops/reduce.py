"""Reductions along axes (sum, mean, extremes, product, norm) and matrix products."""

from __future__ import annotations

import onnx_ir as ir

from mobileface.errors import GraphError, UnsupportedOperatorError

from .registry import OpContext, operator

__all__: list[str] = []

_REDUCTIONS = {
    "sum": "ReduceSum",
    "mean": "ReduceMean",
    "max": "ReduceMax",
    "min": "ReduceMin",
    "prod": "ReduceProd",
}
_AXES_AS_INPUT = 18
"""First opset in which all reductions take their axes as an input; ReduceSum does since 13."""


@operator(*_REDUCTIONS, attributes=("axis", "keepdims", "exclude"))
def reduction(context: OpContext) -> ir.Value:
    """``ReduceSum``, ``ReduceMean``, ``ReduceMax``, ``ReduceMin`` or ``ReduceProd``."""
    rank = context.rank(context.data)
    axes = context.axes("axis", rank)
    if context.attrs.boolean("exclude", False):
        axes = tuple(axis for axis in range(rank) if axis not in axes) if axes else ()
    return _reduce(context, _REDUCTIONS[context.node.op], axes or tuple(range(rank)))


@operator("norm", attributes=("ord", "axis", "keepdims", "out_dtype"))
def norm(context: OpContext) -> ir.Value:
    """``ReduceL2`` or ``ReduceL1``."""
    context.attrs.choice("out_dtype", "float32", ("float32",))
    order = context.attrs.choice("ord", "2", ("1", "2"))
    rank = context.rank(context.data)
    axes = context.axes("axis", rank) or tuple(range(rank))
    return _reduce(context, f"ReduceL{order}", axes)


@operator("argmax", "argmin", attributes=("axis", "keepdims"))
def arg_extreme(context: OpContext) -> ir.Value:
    """``ArgMax`` or ``ArgMin`` as float32; the first index if values are equal."""
    kind = "ArgMax" if context.node.op == "argmax" else "ArgMin"
    keep = context.attrs.boolean("keepdims", False)
    data, rank = context.data, context.rank(context.data)
    if "axis" not in context.attrs:
        flat = context.op("Reshape", data, context.integers(-1))
        index = context.op(kind, flat, axis=0, keepdims=1)
        if keep:
            index = context.op("Reshape", index, context.integers(*(1 for _ in range(rank))))
    else:
        axis = context.axis("axis", None, rank)
        index = context.op(kind, data, axis=axis, keepdims=int(keep or rank == 1))
    return context.op("Cast", index, to=ir.DataType.FLOAT)


@operator("argmax_channel")
def argmax_channel(context: OpContext) -> ir.Value:
    """``ArgMax`` along axis 1, as float32."""
    index = context.op("ArgMax", context.data, axis=1, keepdims=0)
    return context.op("Cast", index, to=ir.DataType.FLOAT)


@operator(
    "dot",
    attributes=("transpose_a", "transpose_b"),
    ignored=("forward_stype",),
    restrictions="two matrices",
)
def dot(context: OpContext) -> ir.Value:
    """``MatMul``, after ``Transpose`` for transpose_a and transpose_b."""
    ranks = [context.rank(value) for value in context.inputs]
    if ranks != [2, 2]:
        raise UnsupportedOperatorError(f"a product of tensors of {ranks} axes is not supported")
    return _product(context)


@operator("batch_dot", attributes=("transpose_a", "transpose_b"), ignored=("forward_stype",))
def batch_dot(context: OpContext) -> ir.Value:
    """Batched ``MatMul``, after ``Transpose`` for transpose_a and transpose_b."""
    ranks = [context.rank(value) for value in context.inputs]
    if len(set(ranks)) != 1 or ranks[0] < 3:
        raise GraphError(f"inputs must have the same number of axes, at least 3, not {ranks}")
    return _product(context)


def _product(context: OpContext) -> ir.Value:
    pair = []
    for value, name in zip(context.inputs, ("transpose_a", "transpose_b"), strict=True):
        rank = context.rank(value)
        swapped = [*range(rank - 2), rank - 1, rank - 2]
        transposed = context.attrs.boolean(name, False)
        pair.append(context.op("Transpose", value, perm=swapped) if transposed else value)
    return context.op("MatMul", *pair)


def _reduce(context: OpContext, kind: str, axes: tuple[int, ...]) -> ir.Value:
    """Adds a reduction; MXNet has no 0-D values, so a full reduction has shape (1,)."""
    rank = context.rank(context.data)
    keep = context.attrs.boolean("keepdims", False)
    full = not keep and len(axes) == rank
    keepdims = int(keep)
    if kind == "ReduceSum" or context.builder.opset >= _AXES_AS_INPUT:
        reduced = context.op(kind, context.data, context.integers(*axes), keepdims=keepdims)
    else:
        reduced = context.op(kind, context.data, axes=axes, keepdims=keepdims)
    return context.op("Reshape", reduced, context.integers(1)) if full else reduced
