"""Split PReLU into sums and ReLUs, which ONNX Runtime fuses into its blocked convolutions.

With PReLU(x) = s·x + (1 − s)·max(x, 0), one slope s per channel, and σ = ±1 the sign of 1 − s::

    before   x ─ Conv(W, b) ─ PRelu(s) ─ y
    after    x ─┬─ Conv(σsW, σsb) ──────────────────────── Add ─ σy
                └─ Conv(|1 − s|W, |1 − s|b) ─ Relu ────────┘

The sum is fused into the first convolution and the Relu into the second. Channels with s > 1 have
the opposite sign; layers that read them fold the sign into their weights. The summands of a sum
must have the same signs: a summand that differs gets a depthwise convolution with one ±1 per
channel. The sum is fused into that convolution, so it costs no more than the sum did.

A layer with many inputs is not computed twice; y is computed from its output::

    after    x ─ Conv(W, b) ─┬─ depthwise(σs) ────────────── Add ─ σy
                             └─ depthwise(|1 − s|) ─ Relu ───┘

If the only reader of y is a 1×1 convolution V with no more outputs than W, both parts are folded
into it::

    before   x ─ Conv(W, b) ─ PRelu(s) ─ Conv(V, c), 1×1
    after    x ─┬─ Conv(W, b) ─ Relu ─ Conv(V·(1 − s), c) ─ Add ─
                └─ Conv(V·sW, V·sb) ─────────────────────────┘

The run time no longer depends on the data. The split only pays where channels are stored in blocks;
elsewhere a PRelu is one pass over the data and its replacement is three.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..graph.report import Refusal, Report
from .layer_weights import (
    Doubles,
    Layer,
    channel_values,
    is_dense,
    is_padded,
    layer_of,
    pair,
    per_input,
    skip_flatten,
    store_layer,
)
from .onnx_graph import Network, sizes_of

__all__ = ["split_prelu"]

_TWICE = 32
"""A layer with up to this many multiplications per output is computed twice."""


@dataclass(frozen=True)
class _Split:
    """How a PRelu is split.

    Attributes:
        slopes: Slope of each channel.
        signs: Sign of each output channel, 1 or −1.
        way: "twice" computes the layer before the PRelu twice, "behind" uses the output of that
            layer, "into" folds the PRelu into the layer that reads it.
    """

    slopes: Doubles
    signs: Doubles
    way: str


def split_prelu(network: Network, *, multiple: int = 16) -> Report:
    """Splits every PRelu that can be split, and reports why others are unchanged.

    Args:
        network: The network.
        multiple: Number of channels in a block; a PRelu without full blocks is left unchanged.
    """
    plan: dict[ir.Node, _Split] = {}
    refused = []
    for node in network.nodes:
        if node.op_type == "PRelu":
            found = _plan(network, node, multiple, plan)
            if isinstance(found, str):
                refused.append(Refusal(str(node.name), found))
            else:
                plan[node] = found
    changed = tuple(f"{node.name} ({split.way})" for node, split in plan.items())
    if plan:
        _Splitter(network, plan).run()
    return Report(changed, tuple(refused))


def _plan(
    network: Network, node: ir.Node, multiple: int, plan: dict[ir.Node, _Split]
) -> _Split | str:
    """How a PRelu is split, or the reason why it is not."""
    value, array = node.inputs[0], network.stored(node.inputs[1])
    sizes = sizes_of(value)
    slopes = None if array is None or sizes is None else channel_values(array, len(sizes))
    if value is None or sizes is None or slopes is None:
        return "its slopes are not one stored number for each channel"
    if len(sizes) != 4:
        return f"it reads {len(sizes)} axes, not an image of channels"
    channels = sizes[1]
    if channels is None:
        return f"it reads '{value.name}', whose number of channels is unknown"
    if channels % multiple:
        return f"{channels} channels are not full blocks of {multiple}"
    slopes = np.broadcast_to(slopes, (channels,)).astype(np.float64)
    before = value.producer()
    layer = _convolution(network, before)
    single = network.only_reader(value) is node and layer is not None
    single = single and before is not None and not _absorbs_prelu(before, plan)
    if single and layer is not None and _absorber(network, node, layer) is not None:
        return _Split(slopes, np.ones_like(slopes), "into")
    signs = np.where(slopes > 1, -1.0, 1.0)
    if (signs < 0).any() and (reason := _why_positive(network, node.outputs[0])):
        return f"a slope is above 1, and {reason}"
    if single and layer is not None and layer.weight[0].size <= _TWICE:
        return _Split(slopes, signs, "twice")
    return _Split(slopes, signs, "behind")


def _convolution(network: Network, node: ir.Node | None) -> Layer | None:
    """The weights of a convolution of images; None for other nodes."""
    layer = None if node is None or node.op_type != "Conv" else layer_of(network, node)
    return layer if layer is not None and layer.weight.ndim == 4 else None


def _absorbs_prelu(layer: ir.Node, plan: dict[ir.Node, _Split]) -> bool:
    """Whether the PRelu that a layer reads is folded into it, so that it becomes a sum itself."""
    value = layer.inputs[0]
    before = None if value is None else value.producer()
    return before in plan and plan[before].way == "into"


def _absorber(network: Network, node: ir.Node, layer: Layer) -> ir.Node | None:
    """The 1×1 convolution that a PRelu folds into, if that costs no more than a second layer."""
    reader = network.only_reader(node.outputs[0])
    outer = _convolution(network, reader)
    value = node.inputs[0]
    before = None if value is None else value.producer()
    if reader is None or outer is None or before is None or not is_dense(network, reader):
        return None
    plain = outer.weight.shape[2:] == (1, 1) and pair(reader, "strides", 1) == (1, 1)
    if not plain or is_padded(reader) or not is_dense(network, before):
        return None
    cheap = len(outer.bias) <= len(layer.bias) and layer.weight[0].size <= _TWICE
    return reader if cheap and reader.inputs[0] is node.outputs[0] else None


def _why_positive(network: Network, value: ir.Value, *, in_rows: bool = False) -> str:
    """Why a value's channels cannot be negated, or those laid out in rows; empty if they can."""
    if value.is_graph_output():
        return "it is an output of the network"
    for use in value.uses():
        made = use.node.outputs[0]
        if use.idx == 0 and skip_flatten(network, made) is not made:
            if reason := _why_positive(network, made, in_rows=True):
                return reason
        elif _absorbs_signs(network, use.node, use.idx):
            continue
        elif in_rows or not _is_sum(network, use.node):
            return f"'{use.node.name}' ({use.node.op_type}) reads it"
    return ""


def _is_sum(network: Network, node: ir.Node) -> bool:
    """Whether a node adds two computed values of the same channels."""
    if node.op_type != "Add" or any(network.stored(value) is not None for value in node.inputs):
        return False
    first, second = (sizes_of(value) for value in node.inputs)
    same = first is not None and second is not None and len(first) == len(second) >= 2
    return same and first is not None and second is not None and first[1] == second[1] is not None


def _absorbs_signs(network: Network, node: ir.Node, position: int) -> bool:
    """Whether a layer reads a value as its data and can fold signs into its weights."""
    connected = node.op_type == "Gemm" and is_dense(network, node)
    return position == 0 and (connected or _convolution(network, node) is not None)


class _Splitter:
    """Splits the PRelus of a network.

    Args:
        network: The network.
        plan: The PRelus to split.
    """

    def __init__(self, network: Network, plan: dict[ir.Node, _Split]) -> None:
        self._network = network
        self._plan = plan
        self._signs: dict[ir.Value, Doubles] = {}
        self._absorbed: dict[ir.Value, Doubles] = {}

    def run(self) -> None:
        """Changes the network."""
        for node in self._network.nodes:
            if node in self._plan:
                self._split(node, self._plan[node])
            elif _is_sum(self._network, node):
                self._add(node)
            elif node.inputs and node.inputs[0] is not None:
                self._read(node, skip_flatten(self._network, node.inputs[0]))
        self._network.tidy()

    def _read(self, node: ir.Node, value: ir.Value) -> None:
        """Lets a layer read a value that has changed."""
        if value in self._absorbed:
            self._absorb_prelu(node, self._absorbed[value])
            return
        signs, layer = self._signs.get(value), layer_of(self._network, node)
        if signs is None or layer is None or (signs > 0).all():
            return
        factors = per_input(node, layer.weight, signs)
        assert factors is not None
        store_layer(self._network, node, Layer(layer.weight * factors, layer.bias))

    def _split(self, node: ir.Node, split: _Split) -> None:
        """Replaces a PRelu."""
        network, name, like = self._network, str(node.name), node.outputs[0]
        value = node.inputs[0]
        assert value is not None
        if split.way == "into":
            relu = network.node("Relu", [value], name, like=like)
            network.replace(node, [relu], relu.outputs[0])
            self._absorbed[relu.outputs[0]] = split.slopes
            return
        linear, rectifying = split.signs * split.slopes, np.abs(1 - split.slopes)
        before = value.producer()
        if split.way == "twice":
            assert before is not None
            layer = layer_of(network, before)
            source, twin = before.inputs[0], before
        else:
            layer = Layer(np.ones((len(linear), 1, 1, 1)), np.zeros(len(linear)))
            source, twin = value, None
        assert layer is not None
        assert source is not None
        straight = self._scaled(twin, f"{name}_linear", source, layer, linear, like)
        rectified = self._scaled(twin, f"{name}_rectified", source, layer, rectifying, like)
        relu = network.node("Relu", rectified.outputs, f"{name}_relu", like=like)
        total = network.node("Add", [straight.outputs[0], relu.outputs[0]], name, like=like)
        network.replace(node, [straight, rectified, relu, total], total.outputs[0])
        self._signs[total.outputs[0]] = split.signs

    def _absorb_prelu(self, node: ir.Node, slopes: Doubles) -> None:
        """Makes the 1×1 convolution that reads a PRelu a sum of two convolutions."""
        network, name, like = self._network, str(node.name), node.outputs[0]
        relu = node.inputs[0]
        rectifier = None if relu is None else relu.producer()
        first = None if rectifier is None else rectifier.inputs[0]
        before = None if first is None else first.producer()
        assert before is not None
        inner, outer = layer_of(network, before), layer_of(network, node)
        assert inner is not None
        assert outer is not None
        mixing = outer.weight[:, :, 0, 0]
        weight = np.einsum("oc,cikl->oikl", mixing * slopes, inner.weight)
        bias = mixing @ (slopes * inner.bias)
        straight = network.twin(before, before.inputs, f"{name}_linear", like)
        store_layer(network, straight, Layer(weight, bias))
        rectified = network.twin(node, node.inputs, f"{name}_rectified", like)
        scaled = outer.weight * (1 - slopes).reshape(1, -1, 1, 1)
        store_layer(network, rectified, Layer(scaled, outer.bias))
        total = network.node("Add", [straight.outputs[0], rectified.outputs[0]], name, like=like)
        network.replace(node, [straight, rectified, total], total.outputs[0])

    def _add(self, node: ir.Node) -> None:
        """Gives the summands of a sum the same signs."""
        values = [value for value in node.inputs if value is not None]
        signs = [self._signs.get(value) for value in values]
        known = [sign for sign in signs if sign is not None]
        if not known or all((sign > 0).all() for sign in known):
            return
        plus = np.ones_like(known[0])
        each = [plus if sign is None else sign for sign in signs]
        target = each[0] if not _why_positive(self._network, node.outputs[0]) else plus
        self._signs[node.outputs[0]] = target
        for position, (value, sign) in enumerate(zip(values, each, strict=True)):
            if not (sign == target).all():
                layer = Layer(np.ones((len(sign), 1, 1, 1)), np.zeros(len(sign)))
                name = f"{node.name}_turned{position}"
                turned = self._scaled(None, name, value, layer, sign * target, value)
                self._network.graph.insert_before(node, turned)
                node.replace_input_with(position, turned.outputs[0])

    def _scaled(
        self,
        twin: ir.Node | None,
        name: str,
        source: ir.Value,
        layer: Layer,
        scale: Doubles,
        like: ir.Value,
    ) -> ir.Node:
        """A convolution with its outputs scaled: like ``twin``, or one weight per channel."""
        if twin is None:
            made = self._network.node("Conv", [source, source], name, like=like, group=len(scale))
        else:
            made = self._network.twin(twin, [source, *twin.inputs[1:]], name, like)
        weight = layer.weight * scale.reshape(-1, 1, 1, 1)
        store_layer(self._network, made, Layer(weight, layer.bias * scale))
        return made
