"""Changes to the axes of a tensor: transpose, swap, insert, remove, depth to space."""

from __future__ import annotations

import onnx_ir as ir

from mobileface.errors import GraphError

from .registry import OpContext, operator

__all__: list[str] = []


@operator("transpose", attributes=("axes",))
def transpose(context: OpContext) -> ir.Value:
    """``Transpose``; without axes the order of the axes is reversed."""
    rank = context.rank(context.data)
    axes = context.attrs.integers("axes", ()) or tuple(reversed(range(rank)))
    order = [axis % rank for axis in axes if -rank <= axis < rank]
    if sorted(order) != list(range(rank)) or len(axes) != rank:
        raise GraphError(f"axes={axes} is not a permutation for data of {rank} axes")
    return context.op("Transpose", context.data, perm=order)


@operator("SwapAxis", attributes=("dim1", "dim2"))
def swap_axes(context: OpContext) -> ir.Value:
    """``Transpose`` of two axes."""
    rank = context.rank(context.data)
    first, second = (context.axis(name, 0, rank) for name in ("dim1", "dim2"))
    order = list(range(rank))
    order[first], order[second] = second, first
    return context.op("Transpose", context.data, perm=order)


@operator("expand_dims", attributes=("axis",))
def expand_dims(context: OpContext) -> ir.Value:
    """``Unsqueeze``."""
    axis = context.axis("axis", None, context.rank(context.data) + 1)
    return context.op("Unsqueeze", context.data, context.integers(axis))


@operator("squeeze", attributes=("axis",), restrictions="sizes must be known if axis is absent")
def squeeze(context: OpContext) -> ir.Value:
    """``Squeeze``."""
    data, rank = context.data, context.rank(context.data)
    axes = context.axes("axis", rank)
    if "axis" not in context.attrs:
        sizes = list(data.shape or ())
        if not all(isinstance(size, int) for size in sizes):
            raise GraphError(
                f"shape {data.shape}: which axes have size 1 is unknown",
                hint="pass a fixed size for the network's input",
            )
        axes = tuple(axis for axis, size in enumerate(sizes) if size == 1)
    wrong = [
        a for a in axes if data.shape and isinstance(data.shape[a], int) and data.shape[a] != 1
    ]
    if wrong:
        raise GraphError(f"axis {wrong[0]} of shape {data.shape} is not of size 1")
    if len(axes) == rank:  # MXNet has no 0-D values
        axes = axes[1:]
    return context.op("Squeeze", data, context.integers(*axes)) if axes else data


@operator("depth_to_space", attributes=("block_size",))
def depth_to_space(context: OpContext) -> ir.Value:
    """``DepthToSpace`` in depth-column-row order (mode DCR)."""
    return _blocks(context, "DepthToSpace", mode="DCR")


@operator("space_to_depth", attributes=("block_size",))
def space_to_depth(context: OpContext) -> ir.Value:
    """``SpaceToDepth``."""
    return _blocks(context, "SpaceToDepth")


def _blocks(context: OpContext, kind: str, **attributes: object) -> ir.Value:
    """Adds a ``DepthToSpace`` or ``SpaceToDepth``."""
    size = context.attrs.integer("block_size")
    channels = context.channels(context.data)
    if context.rank(context.data) != 4 or size < 1:
        raise GraphError(f"block_size={size} does not fit data of shape {context.data.shape}")
    if kind == "DepthToSpace" and channels is not None and channels % size**2:
        raise GraphError(f"{channels} channels are not divisible by block_size={size} squared")
    return context.op(kind, context.data, blocksize=size, **attributes)
