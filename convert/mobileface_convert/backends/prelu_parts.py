"""Writes PRelu as convolutions and Relu, which ONNX Runtime computes in its blocked layout.

With PReLU(x) = s·x + (1 − s)·max(x, 0), one slope s per channel, and σ = ±1 the sign of 1 − s::

    before   x ─ PRelu(s) ─ y
    after    x ─┬─ depthwise(s) ─────────────────── + ─ y
                └─ depthwise(|1 − s|) ─ Relu ─ (σ) ─┘

The convolutions are 1×1. σ is another one, left out where no slope is above 1. ONNX Runtime fuses
the Relu and the sum into them, and the channels stay in blocks from one layer to the next, while
its PRelu is not vectorised and needs them in rows: landmark_mesh takes a third of the time on
x86-64. `passes.split_prelu` does this for MXNet's graphs and folds the parts into their layers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..graph.onnx_builder import free_name

__all__ = ["split_prelus"]

FloatArray = npt.NDArray[np.float32]


def split_prelus(model: ir.Model) -> int:
    """Changes each PRelu of an image (N, C, H, W) with one stored slope per channel.

    Args:
        model: Is changed.

    Returns:
        How many were changed.
    """
    graph, count = model.graph, 0
    names = {str(value.name) for node in graph for value in node.outputs} | set(graph.initializers)
    for node in list(graph):
        slopes = _slopes(node)
        if slopes is None:
            continue
        _replace(graph, node, slopes, names)
        count += 1
    for name in [n for n, value in graph.initializers.items() if not value.uses()]:
        del graph.initializers[name]
    return count


def _slopes(node: ir.Node) -> FloatArray | None:
    """The slope of each channel, float32 (C,); None for another node or another form."""
    if node.op_type != "PRelu":
        return None
    given, slopes = node.inputs
    if given is None or slopes is None or slopes.const_value is None or given.shape is None:
        return None
    array = np.asarray(slopes.const_value.numpy(), np.float32)
    channels = given.shape[1] if len(given.shape) == 4 else None
    return array.reshape(-1) if array.shape[-3:] == (channels, 1, 1) == array.shape else None


def _replace(graph: ir.Graph, node: ir.Node, slopes: FloatArray, names: set[str]) -> None:
    """Puts the parts in the place of a PRelu."""
    x, y, base = node.inputs[0], node.outputs[0], str(node.name)

    def unique(end: str) -> str:
        found = free_name(f"{base}_{end}", names)
        names.add(found)
        return found

    def add(end: str, kind: str, inputs: list[ir.Value | None], **options: object) -> ir.Node:
        name = unique(end)
        made = ir.node(kind, inputs, attributes=dict(options) or None, name=name)
        made.outputs[0].name = name
        made.outputs[0].type, made.outputs[0].shape = y.type, y.shape
        return made

    def scaled(end: str, value: ir.Value | None, factors: FloatArray) -> ir.Node:
        name = unique(f"{end}_factors")
        tensor = ir.tensor(factors.reshape(-1, 1, 1, 1).astype(np.float32), name=name)
        stored = ir.val(name, const_value=tensor)
        graph.register_initializer(stored)
        return add(end, "Conv", [value, stored], group=len(factors), kernel_shape=(1, 1))

    linear = scaled("linear", x, slopes)
    rest = scaled("rest", x, np.abs(1 - slopes))
    bent = add("bent", "Relu", [rest.outputs[0]])
    nodes = [linear, rest, bent]
    if (slopes > 1).any():
        nodes.append(scaled("signed", bent.outputs[0], np.where(slopes > 1, -1, 1)))
    nodes.append(add("sum", "Add", [linear.outputs[0], nodes[-1].outputs[0]]))
    graph.insert_before(node, nodes)
    ir.convenience.replace_all_uses_with(y, nodes[-1].outputs[0])
    graph.remove(node, safe=True)
