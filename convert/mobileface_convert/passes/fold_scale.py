"""Fold a multiplication or division by constants into the layer after it, or before it.

::

    before   x ─ · s ─ Conv(W, b), any padding ─ y
    after    x ─ Conv(W·s, b) ─ y                              s scales the input channels

    before   x ─ Conv(W, b) ─ · s ─ y
    after    x ─ Conv(s·W, s·b) ─ y                            s scales the filters

s is one number, or one per channel. Zero padding stays zero when it is scaled, so padding does not
matter, unlike for a sum. The same holds for Gemm and, with one number, for ConvTranspose. Folding
is computed in float64 and rounded once.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..graph.report import Refusal, Report
from .layer_weights import Doubles, Layer, along_outputs, data_of, layer_of, per_input, store_layer
from .onnx_graph import Network

__all__ = ["fold_scale"]


def fold_scale(network: Network) -> Report:
    """Folds every scaling that can be folded exactly, and reports why others are unchanged."""
    changed, refused = [], []
    for node in network.nodes:
        scaling = _scaling(network, node)
        if scaling is None:
            continue
        value, scale = scaling
        found = _fold(network, node, value, scale)
        if isinstance(found, str):
            refused.append(Refusal(str(node.name), found))
        else:
            changed.append(f"{node.name} into {found.name}")
            position = list(node.inputs).index(value)
            if position:
                node.replace_input_with(0, value)
            network.drop(node)
    return Report(tuple(changed), tuple(refused))


def _scaling(network: Network, node: ir.Node) -> tuple[ir.Value, Doubles] | None:
    """What a node scales and the factors, one number or one per channel; None for other nodes."""
    found = data_of(network, node) if node.op_type in ("Mul", "Div") else None
    if found is None or (node.op_type == "Div" and found[2] == 1):
        return None
    with np.errstate(divide="ignore"):
        factors = 1 / found[1] if node.op_type == "Div" else found[1]
    return (found[0], factors) if np.isfinite(factors).all() else None


def _fold(network: Network, node: ir.Node, value: ir.Value, scale: Doubles) -> ir.Node | str:
    """Folds a scaling into the layer after or before it; returns that, or why there is none."""
    after = network.only_reader(node.outputs[0])
    if after is not None and after.inputs[0] is node.outputs[0]:
        layer = layer_of(network, after)
        scales = None if layer is None else _input_scales(after, layer, scale)
        if layer is not None and scales is not None:
            store_layer(network, after, Layer(layer.weight * scales, layer.bias))
            return after
    before = value.producer()
    layer = None if before is None else layer_of(network, before)
    if before is None or layer is None:
        return f"neither '{value.name}' nor a single reader is a layer with stored weights"
    if network.only_reader(value) is not node:
        return f"'{before.name}' is also used elsewhere"
    if len(scale) not in (1, len(layer.bias)):
        return f"it scales {len(scale)} channels, but '{before.name}' has {len(layer.bias)}"
    each = np.broadcast_to(scale, layer.bias.shape)
    weight = layer.weight * along_outputs(before, layer.weight, each)
    store_layer(network, before, Layer(weight, each * layer.bias))
    return before


def _input_scales(node: ir.Node, layer: Layer, scale: Doubles) -> Doubles | None:
    """Factors of a layer's weight for factors of what it reads; None if they do not fit."""
    return scale if len(scale) == 1 else per_input(node, layer.weight, scale)
