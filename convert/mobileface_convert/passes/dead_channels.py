"""Drop dead channels: channels that are constant or unused.

Training drives whole kernels to zero. The output channel of such a kernel is the same for every
image and at every pixel: its bias, after the activations that follow::

    before   Convolution(W, b) ─ depthwise(k) ─ prelu ─ … ─ Convolution(V, c)
    after    the same without the channels whose k is zero, c + Σ V·constant

Where channels are stored in blocks, channels are only dropped as far as full blocks remain
(``multiple``): a layer without full blocks is not computed in the blocked layout, which costs
several times as much as the dropped channels save.

A channel is dropped if it is dead in all values it is tied to (see `channels`): at the end of a
residual block it must be constant in both summands. A convolution with padding only absorbs a
constant of zero, because its padding is zero as well. A kernel counts as zero if all its weights
are at most 1e-12 times the layer's largest weight.
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
    by_channel,
    families,
    is_dense,
    is_depthwise,
    is_padded,
    resize,
    skip_flatten,
)
from .weighted_layers import Doubles, layer_of

__all__ = ["dead_channels"]

Mask = npt.NDArray[np.bool_]

_NEGLIGIBLE = 1e-12
"""Weights up to this fraction of the largest count as zero; float32 resolves 6e-8 of a sum."""


def dead_channels(graph: Graph, *, multiple: int = 1, worth: float = 0.0) -> PassResult:
    """Drops every dead channel that can be dropped, and reports why constant channels remain.

    Args:
        graph: The network.
        multiple: The number of remaining channels is a multiple of this.
        worth: Minimum fraction of the network's channels to drop; below it nothing changes.
    """
    original, changed = graph, list[str]()
    while (
        step := _drop(graph, multiple)
    ) is not None:  # a layer with fewer outputs may no longer use all its inputs
        graph, lines = step
        changed += lines
    before, after = (sum(f.channels for f in families(g)) for g in (original, graph))
    if changed and before - after < worth * before:
        reason = f"{before - after} of {before} channels are dead, too few to give up full blocks"
        return PassResult(original, (), (Refusal(changed[0].split(":")[0], reason),))
    constants = _constants(graph)
    refused = [
        Refusal(family.members[0].name, reason)
        for family in families(graph)
        if (reason := _why_left(family, constants, multiple))
    ]
    return PassResult(graph, tuple(changed), tuple(refused))


def _drop(graph: Graph, multiple: int) -> tuple[Graph, list[str]] | None:
    """The network without its dead channels; None if it has no dead channels."""
    constants = _constants(graph)
    choices: list[tuple[Family, Numbers]] = []
    lines = []
    for family in families(graph):
        if family.pinned:
            continue
        dead = _dead(graph, family, constants)
        live = max(int((~dead).sum()), 1)  # a layer needs at least one channel
        stay = min(-(-live // multiple) * multiple, len(dead))
        if stay < len(dead):
            dead[np.flatnonzero(dead)[: stay - int((~dead).sum())]] = False
            choices.append((family, np.flatnonzero(~dead)))
            lines.append(f"{family.members[0].name}: {dead.sum()} of {len(dead)} channels")
    if not choices:
        return None
    return resize(graph, choices, _absorbed(graph, choices, constants)), lines


def _dead(graph: Graph, family: Family, constants: Mapping[Node, Doubles]) -> Mask:
    """For each channel of a family: True if no layer that reads it needs it."""
    dead = np.ones(family.channels, bool)
    for reader, member in family.readers:
        unused = _negligible(by_channel(layer_of(graph, reader).weight, family.channels))
        values = constants[member]
        absorbed = values == 0 if is_padded(reader) else ~np.isnan(values)
        dead &= absorbed | unused.all(axis=0)
    return dead


def _absorbed(
    graph: Graph, choices: Sequence[tuple[Family, Numbers]], constants: Mapping[Node, Doubles]
) -> dict[Node, Doubles]:
    """The constant contribution of the dropped channels to each layer that reads them."""
    added: dict[Node, Doubles] = {}
    for family, kept in choices:
        for reader, member in family.readers:
            values = np.nan_to_num(constants[member])  # nan: not constant, hence unused
            values[kept] = 0
            weight = by_channel(layer_of(graph, reader).weight, family.channels)
            added[reader] = weight.sum(axis=2) @ values
    return added


def _why_left(family: Family, constants: Mapping[Node, Doubles], multiple: int) -> str:
    """Why channels that are constant somewhere in a family remain; empty if there are none."""
    known = {node: ~np.isnan(constants[node]) for node in family.members}
    count = int(np.logical_or.reduce(list(known.values())).sum())
    if not count:
        return ""
    if family.pinned:
        return f"{count} constant channels: {family.pinned}"
    for reader, member in family.readers:
        if is_padded(reader) and (known[member] & (constants[member] != 0)).any():
            return f"'{reader.name}' pads with zeros, so a nonzero constant cannot be folded"
    if np.logical_and.reduce(list(known.values())).any():
        if multiple > 1:
            return f"full blocks of {multiple} must remain"
        return "a layer needs at least one channel"
    return f"{count} channels are constant in some of the values that are added or read, not in all"


def _constants(graph: Graph) -> dict[Node, Doubles]:
    """The constant of each channel, nan if it is not constant, for values of known channels."""
    found: dict[Node, Doubles] = {}
    for family in families(graph):
        for node in family.members:
            found[node] = np.full(family.channels, np.nan)
    for node in [node for node in graph.operators if node in found]:
        read = [found.get(skip_flatten(edge.node)) for edge in node.inputs]
        if is_dense(graph, node) or is_depthwise(graph, node):
            found[node] = _through_layer(graph, node, read[0])
        elif all(values is not None for values in read[: _values_read(graph, node)]):
            result = _through(graph, node, [values for values in read if values is not None])
            found[node] = found[node] if result is None else result
    return found


def _values_read(graph: Graph, node: Node) -> int:
    """Number of a node's inputs that are not stored arrays."""
    return sum(graph.weight(edge) is None for edge in node.inputs)


def _through_layer(graph: Graph, node: Node, read: Doubles | None) -> Doubles:
    """The constant output channels of a layer, given those of its input."""
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
    parts = np.where(ignored, 0.0, weight.sum(axis=2) * values)  # nan: depends on the data
    return np.asarray(layer.bias + parts.sum(axis=1))


def _negligible(weight: Doubles) -> Mask:
    """True for the kernels of a weight (outputs, channels, rest) that count as zero."""
    sizes = np.abs(weight)
    return np.asarray(sizes.max(axis=2) <= _NEGLIGIBLE * sizes.max(initial=0.0))


def _through(graph: Graph, node: Node, read: Sequence[Doubles]) -> Doubles | None:
    """The constant output channels of an operator, given those of its inputs; None if unknown."""
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
    """The constant output channels of a leaky or parametric ReLU; None for other kinds."""
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
"""The functions of operators with a scalar, applied to constants."""
