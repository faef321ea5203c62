"""Read shapes from the earliest value that has them, so that unneeded operators disappear.

::

    before   x ─ _mul_scalar(0) ─ slice_like(y, ·)
    after    x ─ slice_like(y, ·)

Gluon exports networks with such a product to stop the gradient.
"""

from __future__ import annotations

from dataclasses import replace

from ..graph.source_graph import Edge, Graph, Node, rebuild
from .base import PassResult

__all__ = ["read_shapes"]

_READERS = {
    "Crop": 1,
    "broadcast_like": 1,
    "ones_like": 0,
    "reshape_like": 1,
    "slice_like": 1,
    "zeros_like": 0,
}
"""Position of the input of which an operator only reads the shape."""

_SAME_SHAPE = frozenset(
    {
        "Activation",
        "BatchNorm",
        "BlockGrad",
        "Dropout",
        "LeakyReLU",
        "_copy",
        "_div_scalar",
        "_minus_scalar",
        "_mul_scalar",
        "_plus_scalar",
        "clip",
        "ones_like",
        "relu",
        "sigmoid",
        "tanh",
        "zeros_like",
    }
)
"""Operators whose result has the shape of their first input."""


def read_shapes(graph: Graph) -> PassResult:
    """Connects operators that only need a shape to the earliest value that has it."""
    changed: list[str] = []

    def rewrite(node: Node, inputs: tuple[Edge, ...]) -> Edge | Node:
        position = _READERS.get(node.op)
        if position is None or position >= len(inputs):
            return node
        edge = inputs[position]
        while edge.node.op in _SAME_SHAPE and edge.index == 0:
            edge = edge.node.inputs[0]
        if edge == inputs[position]:
            return node
        changed.append(f"{node.name} reads {edge.node.name}")
        return replace(node, inputs=(*inputs[:position], edge, *inputs[position + 1 :]))

    rewritten = rebuild(graph, rewrite)
    return PassResult(rewritten if changed else graph, tuple(changed))
