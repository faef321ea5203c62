"""Groups of values that share their channels, and networks with a changed number of channels.

The output channels of a depthwise convolution, an activation or a sum correspond to its input
channels: values that are tied in this way form a `Family`. A layer that reads all channels for each
output (a convolution without groups, a fully connected layer) ends one family and starts another::

    conv ─ prelu ─┬─ depthwise ─ prelu ─ + ─ conv ─ …
                  └──────────────────────┘
    └────────────── a family ────────────┘   └ the next
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from mobileface.errors import GraphError

from ..graph.attributes import Attributes
from ..graph.source_graph import Array, Edge, Graph, Node, rebuild
from .weighted_layers import Doubles, Layer, flattens, layer_of, store_arrays, store_layer, tidy

__all__ = [
    "POINTWISE",
    "Family",
    "Numbers",
    "by_channel",
    "families",
    "is_dense",
    "is_depthwise",
    "is_padded",
    "resize",
    "skip_flatten",
]

Numbers = npt.NDArray[np.intp]

POINTWISE = frozenset(
    {
        "Activation",
        "_div_scalar",
        "_maximum_scalar",
        "_minimum_scalar",
        "_minus_scalar",
        "_mul_scalar",
        "_plus_scalar",
        "clip",
        "relu",
        "sigmoid",
        "tanh",
    }
)
"""Operators that apply the same function to every value."""

_UNARY = POINTWISE | {"BatchNorm", "LeakyReLU", "Pooling"}
"""Operators that process each channel of their input separately."""

_BY_CHANNEL = {"BatchNorm": (1, 2, 3, 4), "LeakyReLU": (1,)}
"""Positions of an operator's inputs that are arrays with one value per channel."""

_VARIANCE = 4
"""Position of a batch normalisation's variance, which must not be zero."""

_SUMS = frozenset({"elemwise_add"})
"""Operators that add values of the same channels."""


@dataclass
class Family:
    """Values whose channels are tied to each other.

    Attributes:
        channels: Number of channels; 0 if unknown.
        members: The nodes that output these values, in graph order.
        readers: Layers that read all channels for each output, and the member that each reads.
        pinned: Why the number of channels cannot change; empty if it can.
    """

    channels: int = 0
    members: list[Node] = field(default_factory=list)
    readers: list[tuple[Node, Node]] = field(default_factory=list)
    pinned: str = ""


def families(graph: Graph) -> list[Family]:
    """The families of a network whose number of channels is known, in graph order."""
    homes: dict[Node, Family] = {}
    values = [node for node in graph.nodes if not _is_weight(graph, node)]
    for node in values:
        homes[node] = _home(graph, node, homes)
    for node in values:
        for position, edge in enumerate(node.inputs):
            if node.op != "Flatten" and edge.node in homes:
                _note_reader(graph, node, position, homes)
    for edge in graph.outputs:
        _pin(homes[skip_flatten(edge.node)], "it is an output of the network")
    return [home for home in {id(home): home for home in homes.values()}.values() if home.channels]


def is_depthwise(graph: Graph, node: Node) -> bool:
    """True for a convolution whose output channels each read a single input channel."""
    weight = _weight(graph, node)
    if weight is None or node.op != "Convolution":
        return False
    groups = Attributes(node.attrs, node.where).integer("num_group", 1)
    return groups > 1 and weight.shape[:2] == (groups, 1)


def is_dense(graph: Graph, node: Node) -> bool:
    """True for a layer whose every output reads all channels of its input."""
    if _weight(graph, node) is None:
        return False
    if node.op == "FullyConnected":
        return flattens(node)
    groups = Attributes(node.attrs, node.where).integer("num_group", 1)
    return node.op == "Convolution" and groups == 1


def is_padded(node: Node) -> bool:
    """True if an operator pads its input."""
    return any(Attributes(node.attrs, node.where).integers("pad", (0,)))


def skip_flatten(node: Node) -> Node:
    """The node itself, or the node that a Flatten reads."""
    while node.op == "Flatten":
        node = node.inputs[0].node
    return node


def by_channel(weight: Doubles, channels: int) -> Doubles:
    """A dense layer's weight as (outputs, channels, weights per channel).

    In a fully connected layer each channel covers a contiguous range of inputs.
    """
    return weight.reshape(len(weight), channels, -1)


def resize(
    graph: Graph,
    choices: Sequence[tuple[Family, Numbers]],
    absorbed: Mapping[Node, Doubles] | None = None,
) -> Graph:
    """Selects, drops or adds channels.

    Args:
        graph: The network.
        choices: Families that change, each with the old indices of its new channels; −1 is a new,
            unused channel of zeros.
        absorbed: Terms that are added to the biases of layers that read these families.
    """
    params = dict(graph.params)
    added = absorbed or {}
    chosen = {node: choice for choice in choices for node in choice[0].members}

    def rewrite(node: Node, inputs: tuple[Edge, ...]) -> Edge | Node:
        given = chosen.get(node)
        read = chosen.get(skip_flatten(node.inputs[0].node)) if node.inputs else None
        if is_dense(graph, node) or is_depthwise(graph, node):
            if given is None and read is None:
                return node
            layer = layer_of(graph, node)
            layer = Layer(layer.weight, layer.bias + added.get(node, 0.0))
            weight, bias, attrs = _resized(graph, node, layer, given, read)
            changed = replace(node, attrs=attrs)
            return store_layer(graph, params, changed, inputs, weight, bias)
        arrays = {}
        for position in _BY_CHANNEL.get(node.op, ()):
            array = graph.weight(node.inputs[position]) if position < len(inputs) else None
            if given is not None and array is not None and len(array) > 1:
                rest = 1.0 if position == _VARIANCE else 0.0
                arrays[position] = _take(array.astype(np.float64), given[1], 0, rest)
        return store_arrays(graph, params, node, inputs, arrays) if arrays else node

    return tidy(rebuild(graph, rewrite, params=params))


def _resized(
    graph: Graph,
    node: Node,
    layer: Layer,
    given: tuple[Family, Numbers] | None,
    read: tuple[Family, Numbers] | None,
) -> tuple[Doubles, Doubles, dict[str, str]]:
    """Weight, bias and attributes of a layer whose output or input channels change."""
    weight, bias, attrs = layer.weight, layer.bias, dict(node.attrs)
    if given is not None:
        weight, bias = _take(weight, given[1], 0), _take(bias, given[1], 0)
        attrs["num_hidden" if node.op == "FullyConnected" else "num_filter"] = str(len(given[1]))
    if is_depthwise(graph, node):
        attrs["num_group"] = attrs["num_filter"]
    elif read is not None:
        runs = weight.reshape(len(weight), read[0].channels, -1, *weight.shape[2:])
        kept = _take(runs, read[1], 1)
        weight = kept.reshape(len(weight), -1, *weight.shape[2:])
    return weight, bias, attrs


def _take(values: Doubles, numbers: Numbers, axis: int, rest: float = 0.0) -> Doubles:
    """Selected elements along an axis; ``rest`` where the index is −1."""
    taken = np.take(values, numbers, axis=axis)
    np.moveaxis(taken, axis, 0)[numbers < 0] = rest
    return taken


def _home(graph: Graph, node: Node, homes: dict[Node, Family]) -> Family:
    """The family of a node: the family of the values that it is tied to, or a new one."""
    tied = [homes[other] for other in _tied(graph, node) if other in homes]
    home = tied[0] if tied else Family()
    for other in tied[1:]:
        if other is not home:
            _join(home, other, homes)
    home.members.append(node)
    if is_dense(graph, node) or is_depthwise(graph, node):
        attrs = Attributes(node.attrs, node.where)
        size = attrs.integer("num_hidden" if node.op == "FullyConnected" else "num_filter")
        weight = _weight(graph, node)
        if size < 1 or (weight is not None and len(weight) != size):
            shape = "" if weight is None else f" with a weight of shape {weight.shape}"
            raise GraphError(f"cannot have {size} output channels{shape}", where=node.where)
        if home.channels not in (0, size):
            _pin(home, f"'{node.name}' has {size} output channels, not {home.channels}")
        home.channels = home.channels or size
    elif not tied:
        what = "the network's input" if node.is_variable else f"'{node.name}' ({node.op})"
        _pin(home, f"it comes from {what}")
    return home


def _tied(graph: Graph, node: Node) -> list[Node]:
    """The inputs of a node whose channels correspond to its output channels."""
    if node.op in _SUMS:
        edges = node.inputs
    elif node.op in _UNARY or is_depthwise(graph, node):
        edges = node.inputs[:1]
    else:
        return []
    axis = Attributes(node.attrs, node.where).integer("axis", 1) if node.op == "BatchNorm" else 1
    plain = axis == 1 and all(
        edge.index == 0 and edge.node.op != "Flatten" and graph.weight(edge) is None
        for edge in edges
    )
    return [edge.node for edge in edges] if plain else []


def _join(home: Family, other: Family, homes: dict[Node, Family]) -> None:
    """Merges two families that a sum ties."""
    if other.channels and home.channels not in (0, other.channels):
        _pin(home, f"{home.channels} and {other.channels} channels are added")
    home.channels = home.channels or other.channels
    home.members += other.members
    _pin(home, other.pinned)
    homes.update(dict.fromkeys(other.members, home))


def _note_reader(graph: Graph, node: Node, position: int, homes: Mapping[Node, Family]) -> None:
    """Records a node that reads a value without being tied to it."""
    edge = node.inputs[position]
    member = skip_flatten(edge.node)
    home = homes[member]
    if edge.node in _tied(graph, node):
        return
    if position or edge.index or not is_dense(graph, node):
        _pin(home, f"'{node.name}' ({node.op}) reads it")
        return
    home.readers.append((node, member))
    weight = _weight(graph, node)
    if home.channels and weight is not None and weight.shape[1] % home.channels:
        _pin(home, f"'{node.name}' reads {weight.shape[1]} inputs of {home.channels} channels")


def _pin(home: Family, reason: str) -> None:
    """Fixes the number of channels of a family; the first reason is kept."""
    home.pinned = home.pinned or reason


def _weight(graph: Graph, node: Node) -> Array | None:
    """The stored weight of a convolution or fully connected layer."""
    if node.op not in ("Convolution", "FullyConnected") or len(node.inputs) < 2:
        return None
    return graph.weight(node.inputs[1])


def _is_weight(graph: Graph, node: Node) -> bool:
    return node.is_variable and node.name in graph.params
