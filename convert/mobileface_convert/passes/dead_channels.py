"""Drop dead channels: channels that are constant or unused.

Training drives whole kernels to zero. The output channel of such a kernel is the same for every
image and at every pixel: its bias, after the activations that follow::

    before   Conv(W, b) ─ depthwise(k) ─ PRelu ─ … ─ Conv(V, c)
    after    the same without the channels whose k is zero, c + Σ V·constant

Where channels are stored in blocks, channels are only dropped as far as full blocks remain
(``multiple``): a layer without full blocks is not computed in the blocked layout, which costs
several times as much as the dropped channels save.

A channel is dropped if it is dead in all values it is tied to (see `families`): at the end of a
residual block it must be constant in both summands. A convolution with padding only absorbs a
constant of zero, because its padding is zero as well. A kernel counts as zero if all its weights
are at most 1e-12 times the layer's largest weight.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from ..graph.report import Refusal, Report
from .constants import Mask, constant_channels, negligible
from .families import Family, families
from .layer_weights import Doubles, by_channel, is_padded, layer_of
from .onnx_graph import Network
from .resize import Numbers, resize

__all__ = ["dead_channels"]


def dead_channels(network: Network, *, multiple: int = 1, worth: float = 0.0) -> Report:
    """Drops every dead channel that can be dropped, and reports why constant channels remain.

    Args:
        network: The network.
        multiple: The number of remaining channels is a multiple of this.
        worth: Minimum fraction of the network's channels to drop; below it nothing changes.
    """
    before, changed = _count(network), list[str]()
    made = network.copy()
    while lines := _drop(made, multiple):  # with fewer outputs a layer may need fewer inputs
        changed += lines
    dropped = before - _count(made)
    if changed and dropped < worth * before:
        reason = f"{dropped} of {before} channels are dead, too few to give up full blocks"
        return Report((), (Refusal(changed[0].split(":")[0], reason),))
    if changed:
        network.adopt(made)
    constants = constant_channels(network)
    refused = [
        Refusal(str(family.members[0].name), reason)
        for family in families(network)
        if (reason := _why_left(family, constants, multiple))
    ]
    return Report(tuple(changed), tuple(refused))


def _count(network: Network) -> int:
    """The number of channels of all families."""
    return sum(family.channels for family in families(network))


def _drop(network: Network, multiple: int) -> list[str]:
    """Drops the channels that are dead now; returns a line for each family that changed."""
    constants, lines = constant_channels(network), []
    choices: list[tuple[Family, Numbers]] = []
    for family in families(network):
        if family.pinned:
            continue
        dead = _dead(network, family, constants)
        live = max(int((~dead).sum()), 1)  # a layer needs at least one channel
        stay = min(-(-live // multiple) * multiple, len(dead))
        if stay < len(dead):
            dead[np.flatnonzero(dead)[: stay - int((~dead).sum())]] = False
            choices.append((family, np.flatnonzero(~dead)))
            lines.append(f"{family.members[0].name}: {dead.sum()} of {len(dead)} channels")
    for family, kept in choices:
        resize(network, family, kept, _absorbed(network, family, kept, constants))
    return lines


def _dead(network: Network, family: Family, constants: Mapping[ir.Value, Doubles]) -> Mask:
    """For each channel of a family: True if no layer that reads it needs it."""
    dead = np.ones(family.channels, bool)
    for reader, member in family.readers:
        unused = negligible(_weight(network, reader, family.channels))
        values = constants[member]
        absorbed = values == 0 if is_padded(reader) else ~np.isnan(values)
        dead &= absorbed | unused.all(axis=0)
    return dead


def _absorbed(
    network: Network, family: Family, kept: Numbers, constants: Mapping[ir.Value, Doubles]
) -> dict[ir.Node, Doubles]:
    """The constant contribution of the dropped channels to each layer that reads them."""
    added: dict[ir.Node, Doubles] = {}
    for reader, member in family.readers:
        values = np.nan_to_num(constants[member])  # nan: not constant, hence unused
        values[kept] = 0
        added[reader] = _weight(network, reader, family.channels).sum(axis=2) @ values
    return added


def _weight(network: Network, reader: ir.Node, channels: int) -> Doubles:
    """The weight of a layer that reads a family, as (outputs, channels, weights of a channel)."""
    layer = layer_of(network, reader)
    assert layer is not None
    return by_channel(layer.weight, channels)


def _why_left(family: Family, constants: Mapping[ir.Value, Doubles], multiple: int) -> str:
    """Why channels that are constant somewhere in a family remain; empty if there are none."""
    known = {value: ~np.isnan(constants[value]) for value in family.members}
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
