"""Drop channels that carry nothing but a constant, or that nobody reads.

Training drives whole kernels to zero. Behind such a kernel a channel is the same for every picture
and at every pixel: its bias, sent through the activations that follow::

    before   Convolution(W, b) ─ depthwise(k) ─ prelu ─ … ─ Convolution(V, c)
    after    the same without the channels whose k is zero, c + Σ V·constant

Where channels are kept in blocks, only as many go as leave whole blocks (``multiple``): a layer of
other numbers would leave the blocked layout, at several times the cost of the channels.

A channel goes if this holds of everything it is tied to (see `channels`): at the end of a residual
block it must be constant in both summands. A convolution with a border takes a constant in only if
it is zero: the border is padded with zeros, where a constant would count. A kernel is zero if none
of its weights reaches 1e-12 of the layer's largest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ..graph.attributes import Attributes
from ..graph.source_graph import Graph, Node
from .base import PassResult, Refusal
from .channels import (
    Family,
    Numbers,
    behind_flatten,
    by_channel,
    families,
    is_dense,
    is_depthwise,
    is_padded,
    resize,
)
from .weighted_layers import Doubles, layer_of

__all__ = ["dead_channels"]

Mask = npt.NDArray[np.bool_]

_NEGLIGIBLE = 1e-12
"""Weights below this part of a layer's largest count as zero; float32 resolves 6e-8 of a sum."""


def dead_channels(graph: Graph, *, multiple: int = 1, worth: float = 0.0) -> PassResult:
    """Drops every dead channel that can go, and says why constant channels are left.

    Args:
        graph: The network.
        multiple: What the number of channels that stay is a multiple of.
        worth: The part of the network's channels that must be dead; below it nothing is done.
    """
    original, changed = graph, list[str]()
    while (
        step := _drop(graph, multiple)
    ) is not None:  # a layer that lost outputs may ignore inputs
        graph, lines = step
        changed += lines
    before, after = (sum(f.channels for f in families(g)) for g in (original, graph))
    if changed and before - after < worth * before:
        reason = (
            f"{before - after} of {before} channels are dead, too few to break whole blocks for"
        )
        return PassResult(original, (), (Refusal(changed[0].split(":")[0], reason),))
    constants = _constants(graph)
    refused = [
        Refusal(family.members[0].name, reason)
        for family in families(graph)
        if (reason := _why_left(family, constants, multiple))
    ]
    return PassResult(graph, tuple(changed), tuple(refused))


def _drop(graph: Graph, multiple: int) -> tuple[Graph, list[str]] | None:
    """The network without the channels that are dead now; None if there are none."""
    constants = _constants(graph)
    choices: list[tuple[Family, Numbers]] = []
    lines = []
    for family in families(graph):
        if family.pinned:
            continue
        dead = _dead(graph, family, constants)
        live = max(int((~dead).sum()), 1)  # a layer needs a channel
        stay = min(-(-live // multiple) * multiple, len(dead))
        if stay < len(dead):
            dead[np.flatnonzero(dead)[: stay - int((~dead).sum())]] = False
            choices.append((family, np.flatnonzero(~dead)))
            lines.append(f"{family.members[0].name}: {dead.sum()} of {len(dead)} channels")
    if not choices:
        return None
    return resize(graph, choices, _absorbed(graph, choices, constants)), lines


def _dead(graph: Graph, family: Family, constants: Mapping[Node, Doubles]) -> Mask:
    """For each channel of a family: whether every layer that reads it can do without."""
    dead = np.ones(family.channels, bool)
    for reader, member in family.readers:
        unread = _negligible(by_channel(layer_of(graph, reader).weight, family.channels))
        values = constants[member]
        known = values == 0 if is_padded(reader) else ~np.isnan(values)
        dead &= known | unread.all(axis=0)
    return dead


def _absorbed(
    graph: Graph, choices: Sequence[tuple[Family, Numbers]], constants: Mapping[Node, Doubles]
) -> dict[Node, Doubles]:
    """What each layer gets from the channels that it reads no longer."""
    added: dict[Node, Doubles] = {}
    for family, kept in choices:
        for reader, member in family.readers:
            values = np.nan_to_num(constants[member])  # unknown: it is not read
            values[kept] = 0
            weight = by_channel(layer_of(graph, reader).weight, family.channels)
            added[reader] = weight.sum(axis=2) @ values
    return added


def _why_left(family: Family, constants: Mapping[Node, Doubles], multiple: int) -> str:
    """Why channels that are constant somewhere in a family stay; empty if there are none."""
    known = {node: ~np.isnan(constants[node]) for node in family.members}
    count = int(np.logical_or.reduce(list(known.values())).sum())
    if not count:
        return ""
    if family.pinned:
        return f"{count} constant channels: {family.pinned}"
    for reader, member in family.readers:
        if is_padded(reader) and (known[member] & (constants[member] != 0)).any():
            return f"'{reader.name}' pads with zeros, among which a constant would count"
    if np.logical_and.reduce(list(known.values())).any():
        return f"whole blocks of {multiple} are left" if multiple > 1 else "a layer needs a channel"
    return f"{count} channels are constant in a part of what is added or read, not in all of it"


def _constants(graph: Graph) -> dict[Node, Doubles]:
    """For each value of known channels: the constant that a channel is, or nan."""
    found: dict[Node, Doubles] = {}
    for family in families(graph):
        for node in family.members:
            found[node] = np.full(family.channels, np.nan)
    for node in [node for node in graph.operators if node in found]:
        read = [found.get(behind_flatten(edge.node)) for edge in node.inputs]
        if is_dense(graph, node) or is_depthwise(graph, node):
            found[node] = _through_layer(graph, node, read[0])
        elif all(values is not None for values in read[: _values_read(graph, node)]):
            given = _through(graph, node, [values for values in read if values is not None])
            found[node] = found[node] if given is None else given
    return found


def _values_read(graph: Graph, node: Node) -> int:
    """How many of a node's inputs are no arrays."""
    return sum(graph.weight(edge) is None for edge in node.inputs)


def _through_layer(graph: Graph, node: Node, read: Doubles | None) -> Doubles:
    """The constants that a layer makes of those that it reads."""
    layer = layer_of(graph, node)
    if is_depthwise(graph, node):
        weight = layer.weight.reshape(len(layer.bias), 1, -1)
        values = np.full((len(layer.bias), 1), np.nan) if read is None else read[:, None]
    else:
        channels = layer.weight.shape[1] if read is None else len(read)
        weight = by_channel(layer.weight, channels)
        values = (np.full(channels, np.nan) if read is None else read)[None]
    if node.op == "Convolution" and is_padded(node):
        values = np.where(values == 0, values, np.nan)
    ignored = _negligible(weight)
    parts = np.where(ignored, 0.0, weight.sum(axis=2) * values)  # nan: something unknown counts
    return np.asarray(layer.bias + parts.sum(axis=1))


def _negligible(weight: Doubles) -> Mask:
    """Which parts of a layer's weight, (outputs, channels, rest), are as good as zero."""
    sizes = np.abs(weight)
    return np.asarray(sizes.max(axis=2) <= _NEGLIGIBLE * sizes.max(initial=0.0))


def _through(graph: Graph, node: Node, read: Sequence[Doubles]) -> Doubles | None:
    """The constants that an operator makes of those that it reads; None: it is not known."""
    attrs = Attributes(node.attrs, node.where)
    x = read[0]
    if node.op == "elemwise_add":
        return np.asarray(np.sum(read, axis=0))
    if node.op in _SCALARS:
        return np.asarray(_SCALARS[node.op](x, attrs.number("scalar")))
    if node.op == "clip":
        return np.asarray(np.clip(x, attrs.number("a_min"), attrs.number("a_max")))
    if node.op in ("relu", "Activation"):
        kind = attrs.text("act_type", "relu")
        return np.maximum(x, 0) if kind == "relu" else None
    if node.op == "LeakyReLU":
        return _through_leaky(graph, node, x)
    if node.op == "Pooling" and not is_padded(node):
        return x if attrs.text("pool_type", "max") in ("max", "avg") else None
    return None


def _through_leaky(graph: Graph, node: Node, x: Doubles) -> Doubles | None:
    """The constants behind a leaky or parametric rectifier."""
    attrs = Attributes(node.attrs, node.where)
    kind = attrs.text("act_type", "leaky")
    if kind == "leaky":
        return np.where(x < 0, attrs.number("slope", 0.25) * x, x)
    if kind == "prelu":
        slopes = graph.weight_of(node, 1, "gamma", (None,)).astype(np.float64)
        return np.where(x < 0, slopes * x, x)
    return None


_SCALARS: Mapping[str, Callable[[Doubles, float], Doubles]] = {
    "_div_scalar": lambda x, scalar: x / scalar,
    "_maximum_scalar": np.maximum,
    "_minimum_scalar": np.minimum,
    "_minus_scalar": lambda x, scalar: x - scalar,
    "_mul_scalar": lambda x, scalar: x * scalar,
    "_plus_scalar": lambda x, scalar: x + scalar,
}
"""What these operators do to a constant."""
