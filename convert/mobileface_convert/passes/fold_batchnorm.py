"""Fold batch normalisation into the layer before it, or into the layers after it.

At inference BN(x) = s·x + t per channel, with s = gamma / sqrt(var + eps) and t = beta − s·mean.

::

    before   x ─ Convolution(W, b) ─ BatchNorm ─ y
    after    x ─ Convolution(s·W, s·b + t) ─ y                     s scales the filters

    before   x ─ BatchNorm ─ Convolution(W, b), pad 0 ─ y
    after    x ─ Convolution(W·s, b + Σ W·t) ─ y                   s scales the input channels

The same holds for FullyConnected (behind a Flatten each channel covers a run of inputs) and, for
the first form, Deconvolution. With padding the second form is exact only if t is zero: the border
is padded after the normalisation. Folding is computed in float64 and rounded once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mobileface.errors import GraphError

from ..attributes import Attributes
from ..graph import Array, Edge, Graph, Node, rebuild, variable
from .base import PassResult, Refusal

__all__ = ["fold_batchnorm"]

_LAYERS = frozenset({"Convolution", "Deconvolution", "FullyConnected"})

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Affine:
    """A batch normalisation as y = scale·x + shift, one value a channel."""

    scale: Doubles
    shift: Doubles


@dataclass(frozen=True)
class _Layer:
    """Weight and bias of a layer in float64."""

    weight: Doubles
    bias: Doubles


def fold_batchnorm(graph: Graph) -> PassResult:
    """Folds every BatchNorm that folds exactly and says why it left the others."""
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
    """Folds each BatchNorm whose only input is a layer that nobody else reads."""
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
        layer = _layer(graph, node)
        affine = _affine(graph, plan[node], len(layer.bias))
        weight = layer.weight * _along(affine.scale, layer.weight, _output_axis(node))
        return _store(graph, params, node, inputs, weight, affine.scale * layer.bias + affine.shift)

    folded = rebuild(graph, rewrite, params=params)
    return _tidy(folded), [f"{norm.name} into {layer.name}" for layer, norm in plan.items()]


def _fold_forward(graph: Graph) -> tuple[Graph, list[str]] | None:
    """Folds each BatchNorm all of whose readers can take it in."""
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
        layer, affine = _layer(graph, node), _affine(graph, plan[node])
        scale, shift = _per_input(node, layer.weight, affine)
        bias = layer.bias + (layer.weight * shift).sum(axis=tuple(range(1, layer.weight.ndim)))
        return _store(graph, params, node, inputs, layer.weight * scale, bias)

    folded = rebuild(graph, rewrite, params=params)
    return _tidy(folded), [f"{norm.name} into {layer.name}" for layer, norm in plan.items()]


def _reason(graph: Graph, node: Node) -> str:
    """Why a BatchNorm stays, from both sides."""
    return f"{_why_not_backward(graph, node)}; {_why_not_forward(graph, node)}"


def _why_not_backward(graph: Graph, node: Node) -> str | None:
    """None if the BatchNorm folds into the layer before it, else the reason."""
    if (unusual := _unusual(node)) is not None:
        return unusual
    before = node.inputs[0].node
    if before.is_variable:
        return "it reads the network's input"
    if before.op not in _LAYERS:
        return f"it reads '{before.name}' ({before.op}), which has no weights to fold into"
    if before.op == "FullyConnected" and not _flattens(before):
        return f"'{before.name}' does not flatten, its outputs are not channels"
    if graph.only_consumer(before) is not node:
        return f"'{before.name}' is also used elsewhere"
    return None


def _why_not_forward(graph: Graph, node: Node) -> str | None:
    """None if the BatchNorm folds into every layer after it, else the reason."""
    if (unusual := _unusual(node)) is not None:
        return unusual
    if any(edge.node is node for edge in graph.outputs):
        return "it is an output"
    flatten = {user for user, _ in graph.consumers[node] if user.op == "Flatten"}
    if any(edge.node in flatten for edge in graph.outputs):
        return "it is an output behind a Flatten"
    for user, position in _users(graph, node):
        if user.op not in ("Convolution", "FullyConnected") or position != 0:
            return f"'{user.name}' ({user.op}) reads it"
        if user.op == "FullyConnected" and not _flattens(user):
            return f"'{user.name}' does not flatten"
        if _is_padded(user) and _affine(graph, node).shift.any():
            return f"'{user.name}' pads it with zeros, which the shift would change"
    return None


def _unusual(node: Node) -> str | None:
    """A form of BatchNorm that is left alone."""
    attrs = Attributes(node.attrs, node.where)
    if attrs.integer("axis", 1) != 1:
        return f"its axis is {attrs.integer('axis', 1)}"
    if attrs.boolean("output_mean_var", False):
        return "it has further outputs"
    return None


def _users(graph: Graph, node: Node) -> list[tuple[Node, int]]:
    """Readers of a node, looking through Flatten."""
    found: list[tuple[Node, int]] = []
    for user, position in graph.consumers[node]:
        found += graph.consumers[user] if user.op == "Flatten" else [(user, position)]
    return found


def _layers_after(graph: Graph, node: Node) -> list[Node]:
    """The layers that read a node, looking through Flatten."""
    return [user for user, _ in _users(graph, node)]


def _flattens(node: Node) -> bool:
    """True if a FullyConnected layer sees one row of inputs a picture."""
    return Attributes(node.attrs, node.where).boolean("flatten", True)


def _is_padded(node: Node) -> bool:
    """True if a convolution adds a border of zeros."""
    attrs = Attributes(node.attrs, node.where)
    return node.op == "Convolution" and any(attrs.integers("pad", (0,)))


def _affine(graph: Graph, node: Node, channels: int | None = None) -> _Affine:
    """Scale and shift of a BatchNorm with MXNet's defaults (eps 1e-3, fix_gamma).

    Raises:
        GraphError: Its arrays differ in length, or from the number of channels given.
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
        raise GraphError("a moving variance is negative", where=node.where)
    scale = gamma / np.sqrt(variance + attrs.number("eps", 1e-3))
    return _Affine(scale, beta - scale * mean)


def _layer(graph: Graph, node: Node) -> _Layer:
    """Weight and bias of a layer; no bias is a bias of zero."""
    attrs = Attributes(node.attrs, node.where)
    shape: tuple[int | None, ...]
    if node.op == "FullyConnected":
        outputs, shape = attrs.integer("num_hidden"), (attrs.integer("num_hidden"), None)
    else:
        kernel, outputs = attrs.integers("kernel"), attrs.integer("num_filter")
        groups = attrs.integer("num_group", 1)
        by_output = (outputs, None, *kernel)
        shape = by_output if node.op == "Convolution" else (None, outputs // groups, *kernel)
    weight = graph.weight_of(node, 1, "weight", shape).astype(np.float64)
    if attrs.boolean("no_bias", node.op == "Deconvolution"):
        return _Layer(weight, np.zeros(outputs))
    return _Layer(weight, graph.weight_of(node, 2, "bias", (outputs,)).astype(np.float64))


def _output_axis(node: Node) -> int:
    """The axis of a layer's weight that runs over its outputs."""
    return 1 if node.op == "Deconvolution" else 0


def _along(values: Doubles, weight: Doubles, axis: int) -> Doubles:
    """One value an output, shaped to multiply the weight."""
    if axis == 0:
        return values.reshape(-1, *(1,) * (weight.ndim - 1))
    # A deconvolution's weight is (inputs, outputs a group, ...): inputs run group by group.
    per_group = weight.shape[1]
    groups = len(values) // per_group
    blocks = np.repeat(values.reshape(groups, per_group), weight.shape[0] // groups, axis=0)
    return blocks.reshape(*blocks.shape, *(1,) * (weight.ndim - 2))


def _per_input(node: Node, weight: Doubles, affine: _Affine) -> tuple[Doubles, Doubles]:
    """Scale and shift for each element of a layer's weight, by the input channel it reads."""
    channels = len(affine.scale)
    groups = Attributes(node.attrs, node.where).integer("num_group", 1)
    inputs = weight.shape[1] * groups
    if inputs % channels or (node.op == "Convolution" and inputs != channels):
        raise GraphError(f"{channels} normalised channels for {inputs} inputs", where=node.where)
    tail = (1,) * (weight.ndim - 2)

    def spread(values: Doubles) -> Doubles:
        runs = np.repeat(values, inputs // channels).reshape(groups, -1)
        blocks = np.repeat(runs, weight.shape[0] // groups, axis=0)
        return blocks.reshape(*blocks.shape, *tail)

    return spread(affine.scale), spread(affine.shift)


def _store(
    graph: Graph,
    params: dict[str, Array],
    node: Node,
    inputs: tuple[Edge, ...],
    weight: Doubles,
    bias: Doubles,
) -> Node:
    """The layer with new weights, in ``params`` under names that no other layer reads."""
    own = {edge.node for edge in node.inputs[1:] if len(graph.consumers[edge.node]) == 1}
    taken = {n.name for n in graph.nodes if n.is_variable and n not in own}
    # Arrays that this pass has stored for other layers already, and those that nothing reads yet.
    taken |= params.keys() - {node.name for node in own}
    old_names = [edge.node.name for edge in node.inputs[1:]]
    wanted = (*old_names, f"{node.name}_bias")[:2]
    names = []
    for name, values in zip(wanted, (weight, bias), strict=True):
        while name in taken:
            name += "_folded"
        taken.add(name)
        params[name] = values.astype(np.float32)
        names.append(name)
    attrs: Mapping[str, str] = {**node.attrs, "no_bias": "False"}
    edges = (inputs[0], *(variable(name) for name in names))
    return replace(node, attrs=attrs, inputs=edges)


def _tidy(graph: Graph) -> Graph:
    """Drops the arrays that nothing names any more."""
    weights = dict(graph.weights)
    return Graph(graph.outputs, weights, graph.auxiliary & set(weights), graph.origin)
