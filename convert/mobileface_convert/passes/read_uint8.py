"""Make the network read uint8 images in their memory layout, (N, H, W, C).

::

    before   data, float32 (N, C, H, W) ─ y
    after    data, uint8 (N, H, W, C) ─ Transpose ─ Cast ─ − mean ─ / std ─ y

The mean and standard deviation are those that callers of the network applied before; a mean of
zero and a deviation of one add no node. A network that wants (N, H, W, C) itself gets no Transpose.
`fold_scale` folds the division into the next layer. The mean is subtracted before any layer pads
its input with zeros, so the result is exact at the borders.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from mobileface.errors import GraphError

from ..graph.report import Report
from .onnx_graph import Network

__all__ = ["read_uint8"]


def read_uint8(
    network: Network,
    *,
    name: str,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    planes: bool = True,
) -> Report:
    """Converts an input of the network to uint8 (N, H, W, C).

    Args:
        network: The network.
        name: Name of the input, which is float32 with four axes in the given network.
        mean: Mean that is subtracted, one value per channel or one for all.
        std: Standard deviation that the difference is divided by, as for ``mean``.
        planes: Whether the network wants (N, C, H, W); else (N, H, W, C).

    Raises:
        GraphError: If the network has no such input.
    """
    found = [value for value in network.graph.inputs if value.name == name]
    if not found:
        names = ", ".join(str(value.name) for value in network.graph.inputs)
        raise GraphError(f"no input '{name}'", where=network.where, hint=f"available: {names}")
    old, position = found[0], list(network.graph.inputs).index(found[0])
    if old.shape is None or len(old.shape) != 4:
        raise GraphError(f"input '{name}' is not an image of four axes", where=network.where)
    batch, *sizes = old.shape
    layout = [batch, *sizes[1:], sizes[0]] if planes else [batch, *sizes]
    fed = ir.val(name, ir.DataType.UINT8, ir.Shape(layout))
    nodes = []
    if planes:
        nodes.append(network.node("Transpose", [fed], f"{name}_planes", perm=(0, 3, 1, 2)))
    last = nodes[-1].outputs[0] if nodes else fed
    last.shape, last.dtype = old.shape, ir.DataType.UINT8
    nodes.append(network.node("Cast", [last], f"{name}_float", like=old, to=int(ir.DataType.FLOAT)))
    shape = (1, -1, 1, 1) if planes else (1, 1, 1, -1)
    for kind, values, neutral in (("Sub", mean, 0), ("Div", std, 1)):
        if any(value != neutral for value in values):
            numbers = np.unique(values) if len(set(values)) == 1 else np.asarray(values)
            array = numbers.astype(np.float32).reshape(shape if len(numbers) > 1 else ())
            constant = network.constant(array, f"{name}_{kind.lower()}")
            inputs = [nodes[-1].outputs[0], constant]
            nodes.append(network.node(kind, inputs, f"{name}_{kind.lower()}", like=old))
    ir.convenience.replace_all_uses_with(old, nodes[-1].outputs[0])
    network.graph.inputs[position] = fed
    network.graph.insert_before(network.nodes[0], nodes)
    return Report((f"{name}: uint8 (N, H, W, C)",))
