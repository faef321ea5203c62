"""Operators that move elements: reshape, concatenate, pad, depth to space.

A reshape to or from four axes must keep the order of elements of (N, height, width, channels)::

    (N, H, W, C) → (N, H · W, C)    Transpose to (N, H, W, C), Reshape: once for each head
    (N, H, W, C) → (N, H · W · C)   put off: a FULLY_CONNECTED permutes its weights instead
    H · W = 1 or C = 1              Reshape only, the order is the same
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from mobileface.errors import GraphError

from .tflite_registry import Activation, Converted, OpContext, channels_first, operator

__all__: list[str] = []  # imported to register


@operator("RESHAPE", restrictions="the new shape is that of the file; the batch stays first")
def reshape(context: OpContext) -> Converted:
    """`Reshape`; `Transpose` where images become other shapes and the order of elements matters."""
    given = context.data()
    old, new = given.shape, context.output.shape
    if math.prod(old) != math.prod(new) or not _stated(context):
        raise GraphError(f"{list(old)} cannot become {list(new)}", where=context.where)
    if old == new:
        return given
    if context.batch is not None and (not new or old[0] != new[0]):
        raise GraphError(f"{list(old)} to {list(new)} mixes the batch", where=context.where)
    same_before, same_after = _same_order(old), _same_order(new)
    if not same_before and len(new) == 2 and old[0] == new[0]:
        return Activation(given.value, new, image=given)
    value = given.value
    if not same_before:
        value = context.op("Transpose", value, perm=(0, 2, 3, 1))
    if same_after:
        return context.reshaped(value, channels_first(new))
    return context.op("Transpose", context.reshaped(value, new), perm=(0, 3, 1, 2))


@operator("CONCATENATION", restrictions="along any axis but the batch")
def concatenation(context: OpContext) -> ir.Value:
    """`Concat`."""
    rank = len(context.output.shape)
    given = [context.data(n, rank=rank).value for n in range(len(context.operator.inputs))]
    axis = context.option("axis")
    if context.option("activation"):
        raise context.refuse("an activation is not supported")
    if not -rank <= axis < rank or not given:
        raise GraphError(f"axis {axis} of {rank} axes", where=context.where)
    axis %= rank
    if axis == 0 and context.batch is not None:
        raise GraphError("joins along the batch", where=context.where)
    moved = (0, 2, 3, 1)[axis] if rank == 4 else axis
    return context.op("Concat", *given, axis=moved)


@operator("PAD", restrictions="the widths are stored; not the batch")
def pad(context: OpContext) -> ir.Value:
    """`Pad` with zeros."""
    given, widths = context.data(), context.integers(1)
    if widths.shape != (len(given.shape), 2) or (widths < 0).any() or widths[0].any():
        raise GraphError(
            f"widths {widths.tolist()} for {list(given.shape)}, the batch stays",
            where=context.where,
        )
    if len(given.shape) == 4:
        widths = widths[[0, 3, 1, 2]]
    pads = context.builder.constant(widths.T.reshape(-1), np.int64, name="pads")
    return context.op("Pad", given.value, pads)


@operator("DEPTH_TO_SPACE")
def depth_to_space(context: OpContext) -> ir.Value:
    """`DepthToSpace`, mode `DCR`."""
    given, size = context.data(0, rank=4), context.option("block_size")
    if size < 1 or given.shape[3] % (size * size):
        raise GraphError(f"blocks of {size} for {list(given.shape)}", where=context.where)
    return context.op("DepthToSpace", given.value, blocksize=size, mode="DCR")


def _same_order(shape: tuple[int, ...]) -> bool:
    """Whether the elements of a value lie here as they are published."""
    return len(shape) != 4 or shape[3] == 1 or shape[1] * shape[2] == 1


def _stated(context: OpContext) -> bool:
    """Whether the shape that is stored or an option is that of the result; −1 is any size."""
    stated = list(context.option("new_shape", ()))
    if context.present(1):
        stated = context.integers(1).reshape(-1).tolist()
    new = context.output.shape
    return not stated or (
        len(stated) == len(new)
        and all(ours in (-1, theirs) for ours, theirs in zip(stated, new, strict=True))
    )
