"""Fold batch normalisation into the layer before it, or into the layers after it.

At inference BN(x) = s·x + t per channel, with s = gamma / sqrt(var + eps) and t = beta − s·mean.

::

    before   x ─ Convolution(W, b) ─ BatchNorm ─ y
    after    x ─ Convolution(s·W, s·b + t) ─ y                     s scales the filters

    before   x ─ BatchNorm ─ Convolution(W, b), pad 0 ─ y
    after    x ─ Convolution(W·s, b + Σ W·t) ─ y                   s scales the input channels

The same holds for FullyConnected (after a Flatten each channel covers a contiguous range of inputs)
and, for the first form, for Deconvolution. With padding the second form is exact only if t is zero,
because padding is added after the normalisation. Folding is computed in float64 and rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mobileface.errors import GraphError

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

__all__ = ["merge_batchnorm"]


@dataclass(frozen=True)
class _Affine:
    """A batch normalisation as y = scale·x + shift, with one value per channel."""

    scale: Doubles
    shift: Doubles


def merge_batchnorm(graph: Graph) -> PassResult:
    """Folds every BatchNorm that can be folded exactly, and reports why others are unchanged."""
    changed: list[str] = []
    while (step := _fold_backward(graph)) is not None or (step := _fold_forward(graph)) is not None:
        graph, lines = step
        changed += lines
    refused = tuple(
        Refusal(node.name, _reason(graph, node))
        for node in graph.operators
        if node.op == "BatchNorm"
    )
    return PassResult(graph, tuple(changed), refused)


def _fold_backward(graph: Graph) -> tuple[Graph, list[str]] | None:
    """Folds each BatchNorm that is the only reader of a weight layer into that layer."""
    plan = {
        node.inputs[0].node: node
        for node in graph.operators
        if node.op == "BatchNorm" and _why_not_backward(graph, node) is None
    }
    if not plan:
        return None
    params = dict(graph.params)
    norms = set(plan.values())

    def rewrite(node: Node, inputs: tuple[Edge, ...]) -> Edge | Node:
        if node in norms:
            return inputs[0]
        if node not in plan:
            return node
        layer = layer_of(graph, node)
        affine = _affine(graph, plan[node], len(layer.bias))
        weight = layer.weight * along_outputs(affine.scale, layer.weight, output_axis(node))
        return store_layer(
            graph, params, node, inputs, weight, affine.scale * layer.bias + affine.shift
        )

    folded = rebuild(graph, rewrite, params=params)
    return tidy(folded), [f"{norm.name} into {layer.name}" for layer, norm in plan.items()]


def _fold_forward(graph: Graph) -> tuple[Graph, list[str]] | None:
    """Folds each BatchNorm into the layers that read it, if all of them can absorb it."""
    plan: dict[Node, Node] = {}
    for node in graph.operators:
        if node.op == "BatchNorm" and _why_not_forward(graph, node) is None:
            plan.update(dict.fromkeys(_layers_after(graph, node), node))
    if not plan:
        return None
    params = dict(graph.params)
    norms = set(plan.values())

    def rewrite(node: Node, inputs: tuple[Edge, ...]) -> Edge | Node:
        if node in norms:
            return inputs[0]
        if node not in plan:
            return node
        layer, affine = layer_of(graph, node), _affine(graph, plan[node])
        scale, shift = (per_input(node, layer.weight, v) for v in (affine.scale, affine.shift))
        bias = layer.bias + (layer.weight * shift).sum(axis=tuple(range(1, layer.weight.ndim)))
        return store_layer(graph, params, node, inputs, layer.weight * scale, bias)

    folded = rebuild(graph, rewrite, params=params)
    return tidy(folded), [f"{norm.name} into {layer.name}" for layer, norm in plan.items()]


def _reason(graph: Graph, node: Node) -> str:
    """Why a BatchNorm is not folded: the reasons for the layers before and after it."""
    return f"{_why_not_backward(graph, node)}; {_why_not_forward(graph, node)}"


def _why_not_backward(graph: Graph, node: Node) -> str | None:
    """None if the BatchNorm folds into the layer before it, otherwise the reason."""
    if (unusual := _unusual(node)) is not None:
        return unusual
    before = node.inputs[0].node
    if before.is_variable:
        return "it reads the network's input"
    if before.op not in LAYERS:
        return f"it reads '{before.name}' ({before.op}), which has no weights to fold into"
    if before.op == "FullyConnected" and not flattens(before):
        return f"'{before.name}' does not flatten, its outputs are not channels"
    if graph.only_consumer(before) is not node:
        return f"'{before.name}' is also used elsewhere"
    return None


def _why_not_forward(graph: Graph, node: Node) -> str | None:
    """None if the BatchNorm folds into every layer after it, otherwise the reason."""
    if (unusual := _unusual(node)) is not None:
        return unusual
    if any(edge.node is node for edge in graph.outputs):
        return "it is an output"
    flatten = {user for user, _ in graph.consumers[node] if user.op == "Flatten"}
    if any(edge.node in flatten for edge in graph.outputs):
        return "it is an output after a Flatten"
    for user, position in _users(graph, node):
        if user.op not in ("Convolution", "FullyConnected") or position != 0:
            return f"'{user.name}' ({user.op}) reads it"
        if user.op == "FullyConnected" and not flattens(user):
            return f"'{user.name}' does not flatten"
        if _is_padded(user) and _affine(graph, node).shift.any():
            return f"'{user.name}' pads it with zeros, which the shift would change"
    return None


def _unusual(node: Node) -> str | None:
    """Why this form of BatchNorm cannot be folded; None if it can."""
    attrs = Attributes(node.attrs, node.where)
    if attrs.integer("axis", 1) != 1:
        return f"its axis is {attrs.integer('axis', 1)}"
    if attrs.boolean("output_mean_var", False):
        return "it has further outputs"
    return None


def _users(graph: Graph, node: Node) -> list[tuple[Node, int]]:
    """Readers of a node and their input positions, looking through Flatten."""
    found: list[tuple[Node, int]] = []
    for user, position in graph.consumers[node]:
        found += graph.consumers[user] if user.op == "Flatten" else [(user, position)]
    return found


def _layers_after(graph: Graph, node: Node) -> list[Node]:
    """The layers that read a node, looking through Flatten."""
    return [user for user, _ in _users(graph, node)]


def _is_padded(node: Node) -> bool:
    """True for a convolution with padding."""
    attrs = Attributes(node.attrs, node.where)
    return node.op == "Convolution" and any(attrs.integers("pad", (0,)))


def _affine(graph: Graph, node: Node, channels: int | None = None) -> _Affine:
    """Scale and shift of a BatchNorm with MXNet's defaults (eps 1e-3, fix_gamma).

    Raises:
        GraphError: If its arrays do not all have ``channels`` elements, or a variance is negative.
    """
    attrs = Attributes(node.attrs, node.where)
    channels = channels or len(graph.weight_of(node, 3, "moving_mean", (None,)))
    gamma, beta, mean, variance = (
        graph.weight_of(node, i + 1, role, (channels,)).astype(np.float64)
        for i, role in enumerate(("gamma", "beta", "moving_mean", "moving_var"))
    )
    if attrs.boolean("fix_gamma", True):
        gamma = np.ones_like(gamma)
    if (variance < 0).any():
        raise GraphError("a running variance is negative", where=node.where)
    scale = gamma / np.sqrt(variance + attrs.number("eps", 1e-3))
    return _Affine(scale, beta - scale * mean)
