"""Fold a multiplication or division by constants into the layer after it, or before it.

::

    before   x ─ · s ─ Convolution(W, b), any padding ─ y
    after    x ─ Convolution(W·s, b) ─ y                       s scales the input channels

    before   x ─ Convolution(W, b) ─ · s ─ y
    after    x ─ Convolution(s·W, s·b) ─ y                     s scales the filters

s is one number, or one per channel. Zero padding stays zero when it is scaled, so padding does not
matter, unlike for a sum. The same holds for FullyConnected and, with one number, for Deconvolution.
Folding is computed in float64 and rounded once.
"""

from __future__ import annotations

import numpy as np

from ..graph.attributes import Attributes
from ..graph.source_graph import Edge, Graph, Node, rebuild
from .base import PassResult, Refusal
from .weighted_layers import (
    LAYERS,
    Doubles,
    along_outputs,
    flattens,
    layer_of,
    output_axis,
    per_input,
    store_layer,
    tidy,
)

__all__ = ["merge_scale"]

_BY_NUMBER = frozenset({"_mul_scalar", "_div_scalar"})
_BY_ARRAY = frozenset({"broadcast_mul", "broadcast_div"})


def merge_scale(graph: Graph) -> PassResult:
    """Folds every scaling that can be folded exactly, and reports why others are unchanged."""
    changed: list[str] = []
    while (step := _fold_one(graph)) is not None:
        graph, line = step
        changed.append(line)
    refused = [
        Refusal(node.name, reason)
        for node in graph.operators
        if _scale(graph, node) is not None and isinstance(reason := _target(graph, node), str)
    ]
    return PassResult(graph, tuple(changed), tuple(refused))


def _fold_one(graph: Graph) -> tuple[Graph, str] | None:
    """Folds the first scaling that can be folded."""
    for node in graph.operators:
        scale = _scale(graph, node)
        target = None if scale is None else _target(graph, node)
        if scale is not None and isinstance(target, Node):
            folded = _fold(graph, node, target, scale)
            return folded, f"{node.name} into {target.name}"
    return None


def _fold(graph: Graph, scaling: Node, target: Node, scale: Doubles) -> Graph:
    """The graph with a scaling folded into its target layer."""
    before = target is scaling.inputs[0].node
    params = dict(graph.params)

    def rewrite(node: Node, inputs: tuple[Edge, ...]) -> Edge | Node:
        if node is scaling:
            return inputs[0]
        if node is not target:
            return node
        layer = layer_of(graph, node)
        if before:
            each = np.broadcast_to(scale, layer.bias.shape)
            weight = layer.weight * along_outputs(each, layer.weight, output_axis(node))
            return store_layer(graph, params, node, inputs, weight, each * layer.bias)
        scales = scale if len(scale) == 1 else per_input(node, layer.weight, scale)
        return store_layer(graph, params, node, inputs, layer.weight * scales, layer.bias)

    return tidy(rebuild(graph, rewrite, params=params))


def _scale(graph: Graph, node: Node) -> Doubles | None:
    """The factors of a scaling, one number or one per channel; None for other nodes."""
    if node.op in _BY_NUMBER:
        values = np.array([Attributes(node.attrs, node.where).number("scalar")])
    elif node.op in _BY_ARRAY:
        stored = graph.weight(node.inputs[1]) if len(node.inputs) == 2 else None
        if stored is None or not _is_per_channel(stored.shape):
            return None
        values = stored.astype(np.float64).ravel()
    else:
        return None
    with np.errstate(divide="ignore"):
        factors: Doubles = 1 / values if "div" in node.op else values
    return factors if np.isfinite(factors).all() else None


def _is_per_channel(shape: tuple[int, ...]) -> bool:
    """True for a single value, or if only axis 1 has more than one element."""
    return len(shape) > 1 and all(size == 1 for axis, size in enumerate(shape) if axis != 1)


def _target(graph: Graph, node: Node) -> Node | str:
    """The layer that a scaling folds into, or the reason why it is not folded."""
    scale = _scale(graph, node)
    assert scale is not None
    if node.inputs[0].node.is_variable and graph.weight(node.inputs[0]) is not None:
        return "it scales a stored array"
    after = graph.only_consumer(node)
    if after is not None and _absorbs(graph, after, node, scale):
        return after
    before = node.inputs[0].node
    if before.op not in LAYERS:
        return f"neither '{before.name}' nor a single reader is a weight layer"
    if graph.only_consumer(before) is not node:
        return f"'{before.name}' is also used elsewhere"
    if before.op == "FullyConnected" and not flattens(before):
        return f"'{before.name}' does not flatten, its outputs are not channels"
    outputs = len(layer_of(graph, before).bias)
    if len(scale) not in (1, outputs):
        return f"it scales {len(scale)} channels, but '{before.name}' has {outputs}"
    return before


def _absorbs(graph: Graph, layer: Node, scaling: Node, scale: Doubles) -> bool:
    """True if a scaling of a layer's data can be folded into the layer's weights."""
    if layer.op not in LAYERS or layer.inputs[0].node is not scaling:
        return False
    if len(scale) == 1:
        return True
    if layer.op == "Deconvolution" or (layer.op == "FullyConnected" and not flattens(layer)):
        return False
    groups = Attributes(layer.attrs, layer.where).integer("num_group", 1)
    inputs = layer_of(graph, layer).weight.shape[1] * groups
    return inputs % len(scale) == 0 and (layer.op != "Convolution" or inputs == len(scale))
