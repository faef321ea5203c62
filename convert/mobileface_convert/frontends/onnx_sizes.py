"""Frees sizes that an ONNX model states: a network exported for one size runs on any.

::

    before   input (1, 3, 640, 640) ─ … ─ (1, 80, 80, 4) ─ Reshape [1, 6400, 4]
    after    input (N, 3, H, W)     ─ … ─ (N, h, w, 4)   ─ Reshape [0, -1, 4]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from mobileface.errors import GraphError

from .onnx_file import Shape, inferred, node_place, value_shapes

__all__ = ["free_sizes"]


def free_sizes(
    model: onnx.ModelProto, name: str, axes: Mapping[int, str], *, where: str = ""
) -> onnx.ModelProto:
    """Makes stated sizes of an input any size.

    ``Reshape`` nodes with stored sizes are what stands in the way: those that only join axes (or
    leave them) take their sizes from what they get. All nodes then pass shape inference, once with
    the names and once with twice the stated sizes.

    Args:
        model: What `parse_onnx` gives; it stays as it is.
        name: The input.
        axes: Of each axis to free its name; a name that stands twice is one size.
        where: The file, for errors.

    Raises:
        GraphError: No such input or axis, or a node holds on to a size; names it.
    """
    stated = value_shapes(inferred(model, where))
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    _set_sizes(freed, name, axes, where)
    for output in freed.graph.output:
        output.type.tensor_type.ClearField("shape")
    done: set[str] = set()
    while True:
        shapes = value_shapes(inferred(freed, where))
        found = [
            node
            for node in freed.graph.node
            if node.op_type == "Reshape"
            and node.output[0] not in done
            and None in shapes.get(node.input[0], ())
        ]
        if not found:
            break
        for node in found:
            done.add(node.output[0])
            _free_reshape(freed.graph, node, shapes[node.input[0]], stated, where)
    _check_doubled(model, freed, name, axes, where)
    _state_outputs(freed, where)
    return freed


def _state_outputs(model: onnx.ModelProto, where: str) -> None:
    """States the outputs' shapes as they follow, and drops arrays that no node reads any more."""
    found = {value.name: value for value in inferred(model, where).graph.output}
    for output in model.graph.output:
        output.CopyFrom(found[output.name])
        for dim in output.type.tensor_type.shape.dim:
            if dim.dim_param.startswith("unk__"):  # a name that inference made up
                dim.Clear()
    used = {name for node in model.graph.node for name in node.input}
    used.update(output.name for output in model.graph.output)
    for tensor in [item for item in model.graph.initializer if item.name not in used]:
        model.graph.initializer.remove(tensor)


def _set_sizes(
    model: onnx.ModelProto, name: str, axes: Mapping[int, str | int], where: str
) -> None:
    """Sets sizes of an input: a text is any size of that name."""
    inputs = {value.name: value for value in model.graph.input}
    if name not in inputs:
        raise GraphError(f"no input '{name}'", where=where, hint=f"there are: {', '.join(inputs)}")
    dims = inputs[name].type.tensor_type.shape.dim
    for axis, size in axes.items():
        if not 0 <= axis < len(dims):
            raise GraphError(f"input '{name}' has no axis {axis}", where=where)
        dims[axis].Clear()
        if isinstance(size, str):
            dims[axis].dim_param = size
        else:
            dims[axis].dim_value = size


def _free_reshape(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    free: Shape,
    stated: Mapping[str, Shape],
    where: str,
) -> None:
    """Lets a Reshape with stored sizes take them from what it gets."""
    values = {tensor.name for tensor in graph.initializer}
    values.update(n.output[0] for n in graph.node if n.op_type == "Constant")
    if node.input[1] not in values:  # computed: it follows the sizes by itself
        return
    before, after = stated.get(node.input[0], ()), stated.get(node.output[0], ())
    zero = any(item.name == "allowzero" and item.i for item in node.attribute)
    sizes = None
    if not zero and None not in (*before, *after) and len(before) == len(free):
        sizes = _joined(before, after, free)  # type: ignore[arg-type]
    if sizes is None:
        raise GraphError(
            f"sizes {list(before)} to {list(after)} are stored and more than joined axes",
            where=node_place(node, where),
            hint="keep this input's sizes as they are",
        )
    name = f"{node.output[0]}_sizes"
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(sizes, np.int64), name))
    node.input[1] = name


def _joined(before: Sequence[int], after: Sequence[int], free: Shape) -> list[int] | None:
    """The sizes of a Reshape that joins axes of any size; None if it does more.

    Axes are taken from both ends of the two shapes until their products agree; a group that holds
    an axis of any size may have one size above 1 behind it.
    """
    if 0 in (*before, *after):
        return None
    sizes: list[int] = []
    start = end = 0
    while start < len(before) or end < len(after):
        first, begin = start, end
        start, end = start + (start < len(before)), end + (end < len(after))
        while (have := math.prod(before[first:start])) != (want := math.prod(after[begin:end])):
            if have < want and start < len(before):
                start += 1
            elif have > want and end < len(after):
                end += 1
            else:
                return None
        if None not in free[first:start]:
            sizes += after[begin:end]
        elif end - begin == 1:
            sizes.append(0 if start - first == 1 and first == begin else -1)
        elif sum(size > 1 for size in after[begin:end]) == 1:
            sizes += [size if size == 1 else -1 for size in after[begin:end]]
        else:
            return None
    return sizes if sizes.count(-1) <= 1 else None


def _check_doubled(
    model: onnx.ModelProto,
    freed: onnx.ModelProto,
    name: str,
    axes: Mapping[int, str],
    where: str,
) -> None:
    """With twice the stated sizes every node still fits its neighbours."""
    shape = value_shapes(model)[name]
    doubled = onnx.ModelProto()
    doubled.CopyFrom(freed)
    sizes = {symbol: 2 * (shape[axis] or 32) for axis, symbol in axes.items()}
    _set_sizes(doubled, name, {axis: sizes[symbol] for axis, symbol in axes.items()}, where)
    inferred(doubled, where)
