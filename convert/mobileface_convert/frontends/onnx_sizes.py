"""Makes fixed sizes of an ONNX model dynamic, so that it accepts inputs of any size.

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

__all__ = ["free_sizes", "set_sizes"]


def free_sizes(
    model: onnx.ModelProto, name: str, axes: Mapping[int, str], *, where: str = ""
) -> onnx.ModelProto:
    """Makes fixed sizes of an input dynamic.

    The obstacle is ``Reshape`` nodes with stored sizes. Those that only keep or join axes are
    changed to take their sizes from their input. Finally, all nodes must pass shape inference, once
    with the dynamic sizes and once with twice the fixed sizes.

    Args:
        model: The model, as returned by `parse_onnx`; it is not changed.
        name: Name of the input.
        axes: Name of the dynamic size by axis; axes with the same name have the same size.
        where: Name of the file in error messages.

    Returns:
        A copy of the model with dynamic sizes.

    Raises:
        GraphError: If the input or an axis does not exist, or a node depends on a fixed size; the
            message names it.
    """
    stated = value_shapes(inferred(model, where))
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    set_sizes(freed, name, axes, where)
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
    """Sets the inferred shapes of the outputs, and drops unused arrays."""
    found = {value.name: value for value in inferred(model, where).graph.output}
    for output in model.graph.output:
        output.CopyFrom(found[output.name])
        for dim in output.type.tensor_type.shape.dim:
            if dim.dim_param.startswith("unk__"):  # a name created by shape inference
                dim.Clear()
    used = {name for node in model.graph.node for name in node.input}
    used.update(output.name for output in model.graph.output)
    for tensor in [item for item in model.graph.initializer if item.name not in used]:
        model.graph.initializer.remove(tensor)


def set_sizes(model: onnx.ModelProto, name: str, axes: Mapping[int, str | int], where: str) -> None:
    """Sets sizes of an input in place; a text is the name of a dynamic size.

    Raises:
        GraphError: If the input or an axis does not exist.
    """
    inputs = {value.name: value for value in model.graph.input}
    if name not in inputs:
        raise GraphError(f"no input '{name}'", where=where, hint=f"available: {', '.join(inputs)}")
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
    """Makes a Reshape with stored sizes take them from its input.

    Raises:
        GraphError: If the Reshape does more than keep and join axes.
    """
    values = {tensor.name for tensor in graph.initializer}
    values.update(n.output[0] for n in graph.node if n.op_type == "Constant")
    if node.input[1] not in values:  # computed from the sizes, hence already dynamic
        return
    before, after = stated.get(node.input[0], ()), stated.get(node.output[0], ())
    zero = any(item.name == "allowzero" and item.i for item in node.attribute)
    sizes = None
    if not zero and None not in (*before, *after) and len(before) == len(free):
        sizes = _joined(before, after, free)  # type: ignore[arg-type]
    if sizes is None:
        raise GraphError(
            f"the stored sizes {list(before)} to {list(after)} do more than join axes",
            where=node_place(node, where),
            hint="keep the fixed sizes of this input",
        )
    name = f"{node.output[0]}_sizes"
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(sizes, np.int64), name))
    node.input[1] = name


def _joined(before: Sequence[int], after: Sequence[int], free: Shape) -> list[int] | None:
    """Sizes for a Reshape that only keeps or joins axes, for any input size; None if it does more.

    Axes of both shapes are grouped, from the first, so that the products of each group agree. A
    group with a dynamic axis must have a single axis, or a single size above 1, in the result.
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
    """Checks that shape inference succeeds with twice the fixed sizes."""
    shape = value_shapes(model)[name]
    doubled = onnx.ModelProto()
    doubled.CopyFrom(freed)
    sizes = {symbol: 2 * (shape[axis] or 32) for axis, symbol in axes.items()}
    set_sizes(doubled, name, {axis: sizes[symbol] for axis, symbol in axes.items()}, where)
    inferred(doubled, where)
