"""Fold a multiplication or division by constants into the layer after it, or before it.

::

    before   x ─ · s ─ Convolution(W, b), any padding ─ y
    after    x ─ Convolution(W·s, b) ─ y                       s scales the input channels

    before   x ─ Convolution(W, b) ─ · s ─ y
    after    x ─ Convolution(s·W, s·b) ─ y                     s scales the filters

s is one number, or one a channel. A border of zeros stays zero when it is scaled, so padding does
not matter; a sum would not do. The same holds for FullyConnected and, with one number, for
Deconvolution. Folding is computed in float64 and rounded once.
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

__all__ = ["fold_scale"]

_BY_NUMBER = frozenset({"_mul_scalar", "_div_scalar"})
_BY_ARRAY = frozenset({"broadcast_mul", "broadcast_div"})


def fold_scale(graph: Graph) -> PassResult:
    """Folds every scaling that folds exactly and says why it left the others."""
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
    """Folds the first scaling that can be."""
    for node in graph.operators:
        scale = _scale(graph, node)
        target = None if scale is None else _target(graph, node)
        if scale is not None and isinstance(target, Node):
            folded = _fold(graph, node, target, scale)
            return folded, f"{node.name} into {target.name}"
    return None


def _fold(graph: Graph, scaling: Node, target: Node, scale: Doubles) -> Graph:
    """The graph without a scaling, whose layer holds it instead."""
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
    """What a node multiplies by: one number or one a channel; None if it does something else."""
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
    """True for one number, and for a size on axis 1 alone."""
    return len(shape) > 1 and all(size == 1 for axis, size in enumerate(shape) if axis != 1)


def _target(graph: Graph, node: Node) -> Node | str:
    """The layer that a scaling folds into, else the reason why it stays."""
    scale = _scale(graph, node)
    assert scale is not None
    if node.inputs[0].node.is_variable and graph.weight(node.inputs[0]) is not None:
        return "it scales a stored array"
    after = graph.only_consumer(node)
    if after is not None and _takes(graph, after, node, scale):
        return after
    before = node.inputs[0].node
    if before.op not in LAYERS:
        return f"it stands between '{before.name}' and no single layer with weights"
    if graph.only_consumer(before) is not node:
        return f"'{before.name}' is also used elsewhere"
    if before.op == "FullyConnected" and not flattens(before):
        return f"'{before.name}' does not flatten, its outputs are not channels"
    outputs = len(layer_of(graph, before).bias)
    if len(scale) not in (1, outputs):
        return f"it makes {len(scale)} channels of the {outputs} of '{before.name}'"
    return before


def _takes(graph: Graph, layer: Node, scaling: Node, scale: Doubles) -> bool:
    """True if a layer reads a scaling as its data and nowhere else, channel by channel."""
    if layer.op not in LAYERS or layer.inputs[0].node is not scaling:
        return False
    if len(scale) == 1:
        return True
    if layer.op == "Deconvolution" or (layer.op == "FullyConnected" and not flattens(layer)):
        return False
    groups = Attributes(layer.attrs, layer.where).integer("num_group", 1)
    inputs = layer_of(graph, layer).weight.shape[1] * groups
    return inputs % len(scale) == 0 and (layer.op != "Convolution" or inputs == len(scale))
