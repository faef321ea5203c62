"""Fuse consecutive minimum and maximum with scalars into one clip.

::

    before   x ─ _maximum_scalar(a) ─ _minimum_scalar(b) ─ y
    after    x ─ clip(a, b) ─ y                                  min(max(x, a), b), a ≤ b
"""

from __future__ import annotations

from dataclasses import replace

from ..graph.attributes import Attributes
from ..graph.source_graph import Edge, Graph, Node, rebuild
from .base import PassResult, Refusal

__all__ = ["merge_clip"]

_LOWER, _UPPER = "_maximum_scalar", "_minimum_scalar"


def merge_clip(graph: Graph) -> PassResult:
    """Fuses maximum and minimum with a scalar, in either order, into ``clip``."""
    changed: list[str] = []
    refused: list[Refusal] = []

    def rewrite(node: Node, inputs: tuple[Edge, ...]) -> Edge | Node:
        inner = inputs[0].node if inputs else node
        if {node.op, inner.op} != {_LOWER, _UPPER}:
            return node
        original = node.inputs[0].node
        if graph.only_consumer(original) is not node:
            refused.append(Refusal(node.name, f"'{original.name}' is also used elsewhere"))
            return node
        limits = {n.op: Attributes(n.attrs, n.where).number("scalar") for n in (node, inner)}
        if limits[_LOWER] > limits[_UPPER]:
            refused.append(Refusal(node.name, "the lower limit is above the upper one"))
            return node
        changed.append(f"{inner.name} + {node.name}")
        attrs = {"a_min": repr(limits[_LOWER]), "a_max": repr(limits[_UPPER])}
        return replace(node, op="clip", attrs=attrs, inputs=inner.inputs)

    rewritten = rebuild(graph, rewrite)
    return PassResult(rewritten if changed else graph, tuple(changed), tuple(refused))
