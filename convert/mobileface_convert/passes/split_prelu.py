"""Split PReLU into sums and ReLUs, which ONNX Runtime fuses into its blocked convolutions.

With PReLU(x) = s·x + (1 − s)·max(x, 0), one slope s per channel, and σ = ±1 the sign of 1 − s::

    before   x ─ Convolution(W, b) ─ PReLU(s) ─ y
    after    x ─┬─ Convolution(σsW, σsb) ──────────────────────── + ─ σy
                └─ Convolution(|1 − s|W, |1 − s|b) ─ relu ────────┘

The sum is fused into the first convolution and the ReLU into the second. Channels with s > 1 have
the opposite sign; layers that read them fold the sign into their weights. The summands of a sum
must have the same signs: a summand that differs gets a depthwise convolution with one ±1 per
channel. The sum is fused into that convolution, so it costs no more than the sum did.

A layer with many inputs is not computed twice; y is computed from its output::

    after    x ─ Convolution(W, b) ─┬─ depthwise(σs) ────────────── + ─ σy
                                    └─ depthwise(|1 − s|) ─ relu ───┘

If the only reader of y is a 1×1 convolution V with no more outputs than W, both parts are folded
into it::

    before   x ─ Convolution(W, b) ─ PReLU(s) ─ Convolution(V, c), 1×1
    after    x ─┬─ Convolution(W, b) ─ relu ─ Convolution(V·(1 − s), c) ─ + ─
                └─ Convolution(V·sW, V·sb) ──────────────────────────────┘

The run time no longer depends on the data. The split only pays where channels are stored in blocks;
elsewhere a PReLU is one pass over the data and its replacement is three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..graph.attributes import Attributes
from ..graph.source_graph import Array, Edge, Graph, Node, rebuild, variable
from .base import PassResult, Refusal
from .channels import is_dense, is_padded, skip_flatten
from .weighted_layers import Doubles, Layer, layer_of, per_input, store_layer, tidy

__all__ = ["split_prelu"]

_TWICE = 32
"""A layer with up to this many multiplications per output is computed twice."""


@dataclass(frozen=True)
class _Split:
    """How a PReLU is split.

    Attributes:
        slopes: Slope of each channel.
        signs: Sign of each output channel, 1 or −1.
        way: "twice" computes the layer before the PReLU twice, "behind" uses the output of that
            layer, "into" folds the PReLU into the layer that reads it.
    """

    slopes: Doubles
    signs: Doubles
    way: str


def split_prelu(graph: Graph, *, multiple: int = 16) -> PassResult:
    """Splits every PReLU that can be split, and reports why others are unchanged.

    Args:
        graph: The network.
        multiple: Number of channels in a block; a PReLU without full blocks is left unchanged.
    """
    plan: dict[Node, _Split] = {}
    refused = []
    for node in graph.operators:
        if node.op == "LeakyReLU" and node.attrs.get("act_type") == "prelu":
            found = _plan(graph, node, multiple, plan)
            if isinstance(found, str):
                refused.append(Refusal(node.name, found))
            else:
                plan[node] = found
    if not plan:
        return PassResult(graph, (), tuple(refused))
    changed = tuple(f"{node.name} ({split.way})" for node, split in plan.items())
    return PassResult(_Splitter(graph, plan).run(), changed, tuple(refused))


def _plan(graph: Graph, node: Node, multiple: int, plan: Mapping[Node, _Split]) -> _Split | str:
    """How a PReLU is split, or the reason why it is not."""
    before = node.inputs[0].node
    slopes = graph.weight_of(node, 1, "gamma", (None,)).astype(np.float64)
    layer = layer_of(graph, before) if _is_convolution(graph, before) else None
    if layer is not None:
        slopes = np.broadcast_to(slopes, layer.bias.shape)
    elif before.op != "elemwise_add" or len(slopes) == 1:
        return f"it reads '{before.name}' ({before.op}), whose number of channels is unknown"
    if len(slopes) % multiple:
        return f"{len(slopes)} channels are not full blocks of {multiple}"
    single = layer is not None and graph.only_consumer(before) is node
    single = single and not _absorbs_prelu(before, plan)
    if single and layer is not None and _absorber(graph, node, layer) is not None:
        return _Split(slopes, np.ones_like(slopes), "into")
    signs = np.where(slopes > 1, -1.0, 1.0)
    if (signs < 0).any() and (reason := _why_positive(graph, node)):
        return f"a slope is above 1, and {reason}"
    if single and layer is not None and layer.weight[0].size <= _TWICE:
        return _Split(slopes, signs, "twice")
    return _Split(slopes, signs, "behind")


def _is_convolution(graph: Graph, node: Node) -> bool:
    """True for a 2-D convolution whose weights are stored."""
    weight = graph.weight(node.inputs[1]) if node.op == "Convolution" else None
    return weight is not None and weight.ndim == 4


def _absorbs_prelu(layer: Node, plan: Mapping[Node, _Split]) -> bool:
    """True if the PReLU that a layer reads is folded into it, so that it becomes a sum itself."""
    split = plan.get(layer.inputs[0].node)
    return split is not None and split.way == "into"


def _absorber(graph: Graph, node: Node, layer: Layer) -> Node | None:
    """The 1×1 convolution that a PReLU folds into, if that costs no more than a second layer."""
    reader = graph.only_consumer(node)
    if reader is None or not _is_convolution(graph, reader) or not is_dense(graph, reader):
        return None
    attrs = Attributes(reader.attrs, reader.where)
    plain = attrs.integers("kernel") == (1, 1) and attrs.integers("stride", (1, 1), length=2) == (
        1,
        1,
    )
    if not plain or is_padded(reader) or not is_dense(graph, node.inputs[0].node):
        return None
    cheap = attrs.integer("num_filter") <= len(layer.bias) and layer.weight[0].size <= _TWICE
    return reader if cheap else None


def _why_positive(graph: Graph, node: Node) -> str:
    """Why a node's output channels cannot be negated; empty if they can."""
    heads = [skip_flatten(edge.node) for edge in graph.outputs]
    if node in heads:
        return "it is an output of the network"
    for user, position in graph.consumers[node]:
        layers = graph.consumers[user] if user.op == "Flatten" else [(user, position)]
        absorbs = all(_absorbs_signs(graph, layer, index) for layer, index in layers)
        if user.op != "elemwise_add" and not absorbs:
            return f"'{user.name}' ({user.op}) reads it"
    return ""


def _absorbs_signs(graph: Graph, node: Node, position: int) -> bool:
    """True for a layer that reads a value as its data and can fold signs into its weights."""
    connected = node.op == "FullyConnected" and is_dense(graph, node)
    return position == 0 and (connected or _is_convolution(graph, node))


class _Splitter:
    """Builds the network with its PReLUs split.

    Args:
        graph: The network.
        plan: The PReLUs to split.
    """

    def __init__(self, graph: Graph, plan: Mapping[Node, _Split]) -> None:
        self._graph = graph
        self._plan = plan
        self._params: dict[str, Array] = dict(graph.params)
        self._signs: dict[Node, Doubles] = {}

    def run(self) -> Graph:
        """Returns the new network."""
        return tidy(rebuild(self._graph, self._rewrite, params=self._params))

    def _rewrite(self, node: Node, inputs: tuple[Edge, ...]) -> Edge | Node:
        if node in self._plan:
            split = self._plan[node]
            self._signs[node] = split.signs
            return self._split(node, inputs[0], split)
        if node.op == "elemwise_add":
            return self._add(node, inputs)
        if not node.inputs:
            return node
        before = skip_flatten(node.inputs[0].node)
        split_before = self._plan.get(before)
        if split_before is not None and split_before.way == "into" and node.op == "Convolution":
            return self._absorb_prelu(node, inputs[0], split_before.slopes)
        signs = self._signs.get(before)
        if signs is None or node.op == "Flatten" or (signs > 0).all():
            return node
        layer = layer_of(self._graph, node)
        weight = layer.weight * per_input(node, layer.weight, signs)
        return store_layer(self._graph, self._params, node, inputs, weight, layer.bias)

    def _split(self, node: Node, source: Edge, split: _Split) -> Edge | Node:
        """The nodes that replace a PReLU."""
        if split.way == "into":
            return Node("relu", node.name, {}, (source,), node.origin)
        linear, rectifying = split.signs * split.slopes, np.abs(1 - split.slopes)
        if split.way == "twice":
            like = source.node
            layer, source = self._stored(like), like.inputs[0]
        else:
            like, layer = (
                _pointwise(node, len(linear)),
                Layer(np.ones((len(linear), 1, 1, 1)), 0 * linear),
            )
        straight = self._scaled(like, f"{node.name}_linear", source, layer, linear)
        rectified = self._scaled(like, f"{node.name}_rectified", source, layer, rectifying)
        relu = Node("relu", f"{node.name}_relu", {}, (Edge(rectified),), node.origin)
        return Node("elemwise_add", node.name, {}, (Edge(straight), Edge(relu)), node.origin)

    def _absorb_prelu(self, node: Node, source: Edge, slopes: Doubles) -> Node:
        """The 1×1 convolution that reads a PReLU, as a sum of two convolutions."""
        first = source.node.inputs[0].node
        inner, outer = self._stored(first), layer_of(self._graph, node)
        mixing = outer.weight[:, :, 0, 0]
        weight = np.einsum("oc,cikl->oikl", mixing * slopes, inner.weight)
        bias = mixing @ (slopes * inner.bias)
        attrs = {**first.attrs, "num_filter": str(len(weight))}
        straight = self._layer(
            replace(first, attrs=attrs), f"{node.name}_linear", first.inputs[0], weight, bias
        )
        scaled = outer.weight * (1 - slopes).reshape(1, -1, 1, 1)
        rectified = self._layer(node, f"{node.name}_rectified", source, scaled, outer.bias)
        return Node("elemwise_add", node.name, {}, (Edge(straight), Edge(rectified)), node.origin)

    def _add(self, node: Node, inputs: tuple[Edge, ...]) -> Node:
        """A sum whose summands have the same signs."""
        signs = [self._signs.get(edge.node) for edge in node.inputs]
        known = [sign for sign in signs if sign is not None]
        if not known or all((sign > 0).all() for sign in known):
            return node
        plus = np.ones_like(known[0])
        each = [plus if sign is None else sign for sign in signs]
        target = each[0] if not _why_positive(self._graph, node) else plus
        self._signs[node] = target
        edges = [
            edge if (sign == target).all() else self._negated(node, index, edge, sign * target)
            for index, (edge, sign) in enumerate(zip(inputs, each, strict=True))
        ]
        return replace(node, inputs=tuple(edges))

    def _negated(self, node: Node, index: int, source: Edge, signs: Doubles) -> Edge:
        """A summand with some channels negated."""
        layer = Layer(np.ones((len(signs), 1, 1, 1)), np.zeros(len(signs)))
        like = _pointwise(node, len(signs))
        return Edge(self._scaled(like, f"{node.name}_turned{index}", source, layer, signs))

    def _stored(self, layer: Node) -> Layer:
        """Weight and bias of a layer of the new network."""
        arrays = [self._params[edge.node.name].astype(np.float64) for edge in layer.inputs[1:]]
        return Layer(arrays[0], arrays[1] if len(arrays) > 1 else np.zeros(len(arrays[0])))

    def _scaled(self, like: Node, name: str, source: Edge, layer: Layer, scale: Doubles) -> Node:
        """A convolution with its outputs scaled."""
        weight = layer.weight * scale.reshape(-1, 1, 1, 1)
        return self._layer(like, name, source, weight, layer.bias * scale)

    def _layer(self, like: Node, name: str, source: Edge, weight: Doubles, bias: Doubles) -> Node:
        """A new convolution with the geometry of ``like``."""
        edges = [source]
        for role, values in (("weight", weight), ("bias", bias)):
            if role == "weight" or bias.any():
                stored = f"{name}_{role}"
                while stored in self._params:
                    stored += "_split"
                self._params[stored] = values.astype(np.float32)
                edges.append(variable(stored))
        attrs = {**like.attrs, "no_bias": str(len(edges) == 2)}
        return Node("Convolution", name, attrs, tuple(edges), like.origin)


def _pointwise(node: Node, channels: int) -> Node:
    """A depthwise convolution with one weight per channel, without its weights."""
    attrs = {"kernel": "(1, 1)", "num_filter": str(channels), "num_group": str(channels)}
    return Node("Convolution", node.name, attrs, (), node.origin)
