"""Make the network read uint8 images in their memory layout, (N, H, W, C).

::

    before   data, float32 (N, C, H, W) ─ y
    after    data, uint8 (N, H, W, C) ─ Cast ─ transpose ─ − mean ─ · 1/std ─ y

The mean and standard deviation are those that callers of the network applied before; a mean of zero
and a deviation of one add no node. `fold_scale` folds the division into the next layer. The mean is
subtracted before any layer pads its input with zeros, so the result is exact at the borders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mobileface.errors import GraphError

from ..graph.source_graph import Array, Edge, Graph, Node, rebuild, variable
from .base import PassResult

__all__ = ["read_uint8"]


def read_uint8(
    graph: Graph, *, name: str, mean: Sequence[float] = (0.0,), std: Sequence[float] = (1.0,)
) -> PassResult:
    """Converts an input of the network to uint8 (N, H, W, C).

    Args:
        graph: The network.
        name: Name of the input, which is float32 (N, C, H, W) in the given network.
        mean: Mean that is subtracted, one value per channel or one for all.
        std: Standard deviation that the difference is divided by, as for ``mean``.

    Raises:
        GraphError: If the network has no input with this name.
    """
    found = [node for node in graph.inputs if node.name == name]
    if not found:
        names = ", ".join(node.name for node in graph.inputs)
        raise GraphError(f"no input '{name}'", where=graph.origin, hint=f"available: {names}")
    params = dict(graph.params)
    pixels = _node("Cast", f"{name}_float", Edge(found[0]), dtype="float32")
    planes = _node("transpose", f"{name}_planes", Edge(pixels), axes="(0, 3, 1, 2)")
    if any(mean):
        planes = _shifted(planes, f"{name}_centred", mean, params)
    if any(value != 1 for value in std):
        planes = _scaled(planes, f"{name}_scaled", std, params)

    def rewrite(node: Node, inputs: tuple[Edge, ...]) -> Edge | Node:
        if all(edge.node is not found[0] for edge in inputs):
            return node
        edges = tuple(Edge(planes) if edge.node is found[0] else edge for edge in inputs)
        return replace(node, inputs=edges)

    rewritten = rebuild(graph, rewrite, params=params)
    return PassResult(rewritten, (f"{name}: uint8 (N, H, W, C)",))


def _shifted(source: Node, name: str, mean: Sequence[float], params: dict[str, Array]) -> Node:
    """Subtraction of the mean: one number, or one per channel."""
    if len(set(mean)) == 1:
        return _node("_minus_scalar", name, Edge(source), scalar=repr(float(mean[0])))
    return _by_channel("broadcast_sub", name, source, np.asarray(mean), params)


def _scaled(source: Node, name: str, std: Sequence[float], params: dict[str, Array]) -> Node:
    """Division by the standard deviation: one number, or one per channel."""
    if len(set(std)) == 1:
        return _node("_div_scalar", name, Edge(source), scalar=repr(float(std[0])))
    return _by_channel("broadcast_div", name, source, np.asarray(std), params)


def _by_channel(op: str, name: str, source: Node, values: Array, params: dict[str, Array]) -> Node:
    """A broadcasting operator with one stored value per channel."""
    params[f"{name}_values"] = values.astype(np.float32).reshape(1, -1, 1, 1)
    return Node(op, name, {}, (Edge(source), variable(f"{name}_values")))


def _node(op: str, name: str, source: Edge, **attrs: str) -> Node:
    return Node(op, name, attrs, (source,))
