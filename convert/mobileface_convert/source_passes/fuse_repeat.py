"""Fuse the repetition of a feature map's columns and rows into nearest-neighbour upsampling.

::

    before   x ─ repeat(n, axis −1) ─ repeat(n, axis −2) ─ y       the axes in either order
    after    x ─ UpSampling(scale n, nearest) ─ y

Inference engines have fast implementations of upsampling, also in their own memory layouts.
"""

from __future__ import annotations

from dataclasses import replace

from ..graph.attributes import Attributes
from ..graph.source_graph import Edge, Graph, Node, rebuild
from .base import PassResult, Refusal

__all__ = ["fuse_repeat"]

_RANK = 4
_SAME_RANK = frozenset(
    {"Activation", "BatchNorm", "LeakyReLU", "clip", "elemwise_add", "relu", "sigmoid", "tanh"}
)
"""Operators whose result has as many axes as their first input."""

_OF_MAPS = frozenset({"Convolution", "Deconvolution", "Pooling"})
"""Operators whose kernel determines the number of axes of their result."""


def fuse_repeat(graph: Graph) -> PassResult:
    """Fuses pairs of ``repeat`` over rows and columns of a feature map into ``UpSampling``."""
    changed: list[str] = []
    refused: list[Refusal] = []

    def rewrite(node: Node, inputs: tuple[Edge, ...]) -> Edge | Node:
        if node.op != "repeat" or inputs[0].node.op != "repeat":
            return node
        first = node.inputs[0].node
        if (reason := _why_not(graph, first, node)) is not None:
            refused.append(Refusal(node.name, reason))
            return node
        changed.append(f"{first.name} + {node.name}")
        scale = Attributes(node.attrs, node.where).integer("repeats")
        attrs = {"scale": str(scale), "sample_type": "nearest", "num_args": "1"}
        return replace(node, op="UpSampling", attrs=attrs, inputs=inputs[0].node.inputs)

    rewritten = rebuild(graph, rewrite)
    return PassResult(rewritten if changed else graph, tuple(changed), tuple(refused))


def _why_not(graph: Graph, first: Node, second: Node) -> str | None:
    """None if two consecutive repeats are an upsampling, otherwise the reason."""
    if graph.only_consumer(first) is not second:
        return f"'{first.name}' is also used elsewhere"
    pair = [Attributes(node.attrs, node.where) for node in (first, second)]
    if len({attrs.integer("repeats") for attrs in pair}) > 1:
        return "rows and columns are repeated differently"
    if not _is_map(first.inputs[0].node):
        return "its input is not known to be a feature map"
    axes = {attrs.integer("axis") % _RANK for attrs in pair if "axis" in attrs}
    return None if axes == {_RANK - 2, _RANK - 1} else "its axes are not rows and columns"


def _is_map(node: Node) -> bool:
    """True if the output of a node is known to be (N, C, H, W)."""
    while node.op in _SAME_RANK:
        node = node.inputs[0].node
    kernel = Attributes(node.attrs, node.where).integers("kernel", ())
    return node.op in _OF_MAPS and len(kernel) == _RANK - 2
