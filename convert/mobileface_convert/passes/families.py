"""Groups of values that share their channels.

The output channels of a depthwise convolution, an activation or a sum correspond to its input
channels: values that are tied in this way form a `Family`. A layer that reads all channels for each
output (a convolution without groups, a fully connected layer) ends one family and starts another::

    Conv ─ PRelu ─┬─ depthwise ─ PRelu ─ + ─ Conv ─ …
                  └──────────────────────┘
    └────────────── a family ────────────┘   └ the next
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from .layer_weights import (
    channel_values,
    data_of,
    is_dense,
    is_depthwise,
    layer_of,
    skip_flatten,
)
from .onnx_graph import Network, sizes_of

__all__ = ["POINTWISE", "Family", "families", "is_pointwise", "tied_inputs"]

POINTWISE = frozenset(
    {
        "Abs",
        "Cast",
        "Ceil",
        "Clip",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LeakyRelu",
        "Log",
        "Mish",
        "Neg",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Sigmoid",
        "Sign",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Tanh",
        "ThresholdedRelu",
    }
)
"""Operators that apply the same function to every value of their first input."""

_POOLS = frozenset({"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"})
_ARITHMETIC = frozenset({"Add", "Div", "Max", "Min", "Mul", "Sub"})


@dataclass
class Family:
    """Values whose channels are tied to each other.

    Attributes:
        channels: Number of channels; 0 if unknown.
        members: These values, in graph order.
        readers: Layers that read all channels for each output, and the member that each reads.
        pinned: Why the number of channels cannot change; empty if it can.
    """

    channels: int = 0
    members: list[ir.Value] = field(default_factory=list)
    readers: list[tuple[ir.Node, ir.Value]] = field(default_factory=list)
    pinned: str = ""


def families(network: Network) -> list[Family]:
    """The families of a network whose number of channels is known, in graph order."""
    homes: dict[ir.Value, Family] = {}
    for value in network.graph.inputs:
        homes[value] = Family(members=[value], pinned=f"it comes from the input '{value.name}'")
    for node in network.nodes:
        for value in node.outputs:
            _settle(network, value, homes)
    for node in network.nodes:
        for position, read in enumerate(node.inputs):
            if read is not None and read in homes:
                _note_reader(network, node, position, homes)
    for value in network.graph.outputs:
        _pin(homes, skip_flatten(network, value), "it is an output of the network")
    found = {id(home): home for home in homes.values()}
    return [home for home in found.values() if home.channels]


def is_pointwise(network: Network, node: ir.Node) -> bool:
    """Whether a node applies the same function to every value of one computed input."""
    if node.op_type in POINTWISE:
        return all(network.stored(value) is not None for value in node.inputs[1:] if value)
    found = data_of(network, node) if node.op_type in _ARITHMETIC else None
    return found is not None and len(found[1]) == 1


def tied_inputs(network: Network, node: ir.Node) -> list[ir.Value]:
    """The inputs of a node whose channels, on axis 1, correspond to those of its first output."""
    first = node.inputs[0] if node.inputs else None
    rank = len(sizes_of(first) or ())
    if first is None or node.domain or rank < 2:
        return []
    if node.op_type in _ARITHMETIC:
        found = data_of(network, node)
        return [found[0]] if found is not None else _summands(network, node)
    if node.op_type in _POOLS:
        return [] if any(value.uses() for value in node.outputs[1:]) else [first]
    if node.op_type == "PRelu":
        slopes = network.stored(node.inputs[1])
        plain = slopes is not None and channel_values(slopes, rank) is not None
        return [first] if plain else []
    if node.op_type == "BatchNormalization":
        stored = all(network.stored(value) is not None for value in node.inputs[1:])
        return [first] if stored else []
    if is_pointwise(network, node) or is_depthwise(network, node):
        return [first] if layer_of(network, node) or node.op_type != "Conv" else []
    return []


def _summands(network: Network, node: ir.Node) -> list[ir.Value]:
    """Two computed values of the same channels, which an operator joins one by one."""
    values = [value for value in node.inputs if value is not None]
    shapes = [sizes_of(value) for value in values]
    if len(values) != 2 or any(network.stored(value) is not None for value in values):
        return []
    if None in shapes or len({len(shape or ()) for shape in shapes}) != 1:
        return []
    channels = {(shape or ())[1] for shape in shapes}
    return values if len(channels) == 1 and None not in channels else []


def _settle(network: Network, value: ir.Value, homes: dict[ir.Value, Family]) -> None:
    """Adds a value to the family of the values that it is tied to, or to a new one."""
    node = value.producer()
    assert node is not None
    tied = [homes[other] for other in tied_inputs(network, node) if other in homes]
    tied = tied if value is node.outputs[0] else []
    home = tied[0] if tied else Family()
    for other in tied[1:]:
        if other is not home:
            _join(home, other, homes)
    home.members.append(value)
    homes[value] = home
    if is_dense(network, node) or is_depthwise(network, node):
        layer = layer_of(network, node)
        size = 0 if layer is None else len(layer.bias)
        if home.channels not in (0, size):
            _pin(homes, value, f"'{node.name}' has {size} output channels, not {home.channels}")
        home.channels = home.channels or size
    elif not tied:
        _pin(homes, value, f"it comes from '{node.name}' ({node.op_type})")


def _join(home: Family, other: Family, homes: dict[ir.Value, Family]) -> None:
    """Merges two families that an operator ties."""
    if other.channels and home.channels not in (0, other.channels):
        home.pinned = home.pinned or f"{home.channels} and {other.channels} channels are joined"
    home.channels = home.channels or other.channels
    home.members += other.members
    home.pinned = home.pinned or other.pinned
    homes.update(dict.fromkeys(other.members, home))


def _note_reader(
    network: Network, node: ir.Node, position: int, homes: Mapping[ir.Value, Family]
) -> None:
    """Records a node that reads a value without being tied to it."""
    read = node.inputs[position]
    assert read is not None
    if any(read is value for value in tied_inputs(network, node)):
        return
    if position == 0 and skip_flatten(network, node.outputs[0]) is not node.outputs[0]:
        return  # it only lays the channels out in rows: what reads the rows is the reader
    member = skip_flatten(network, read)
    home = homes[member]
    if position or not is_dense(network, node):
        _pin(homes, member, f"'{node.name}' ({node.op_type}) reads it")
        return
    home.readers.append((node, member))
    layer = layer_of(network, node)
    if home.channels and layer is not None and layer.weight.shape[1] % home.channels:
        inputs = layer.weight.shape[1]
        _pin(homes, member, f"'{node.name}' reads {inputs} inputs of {home.channels} channels")


def _pin(homes: Mapping[ir.Value, Family], value: ir.Value, reason: str) -> None:
    """Fixes the number of channels of a family; the first reason is kept."""
    homes[value].pinned = homes[value].pinned or reason
