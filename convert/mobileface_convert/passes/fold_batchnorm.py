"""Fold batch normalisation into the layer before it, or into the layers after it.

At inference BN(x) = s·x + t per channel, with s = scale / sqrt(var + epsilon) and t = B − s·mean.

::

    before   x ─ Conv(W, b) ─ BatchNormalization ─ y
    after    x ─ Conv(s·W, s·b + t) ─ y                            s scales the filters

    before   x ─ BatchNormalization ─ Conv(W, b), pad 0 ─ y
    after    x ─ Conv(W·s, b + Σ W·t) ─ y                          s scales the input channels

The same holds for Gemm (after a Flatten each channel covers a contiguous range of inputs) and, for
the first form, for ConvTranspose. With padding the second form is exact only if t is zero, because
padding is added after the normalisation. Folding is computed in float64 and rounded once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from mobileface.errors import GraphError

from ..graph.report import Refusal, Report
from .layer_weights import (
    Doubles,
    Layer,
    along_outputs,
    is_padded,
    layer_of,
    number,
    per_input,
    skip_flatten,
    store_layer,
    whole,
)
from .onnx_graph import Network

__all__ = ["affine_of", "fold_batchnorm"]


def fold_batchnorm(network: Network) -> Report:
    """Folds every BatchNormalization that can be folded exactly, and reports why others stay.

    Raises:
        GraphError: If a running variance is negative.
    """
    changed, left = [], {}
    for node in network.nodes:
        affine = affine_of(network, node)
        if affine is None:
            if node.op_type == "BatchNormalization":
                left[str(node.name)] = "its statistics are not stored, or it is training"
            continue
        backward = _fold_backward(network, node, *affine)
        if isinstance(backward, ir.Node):
            changed.append(f"{node.name} into {backward.name}")
            network.drop(node)
            continue
        forward = _fold_forward(network, node, *affine)
        if isinstance(forward, str):
            left[str(node.name)] = f"{backward}; {forward}"
            continue
        changed += [f"{node.name} into {layer.name}" for layer in forward]
        network.drop(node)
    return Report(tuple(changed), tuple(Refusal(name, reason) for name, reason in left.items()))


def affine_of(network: Network, node: ir.Node) -> tuple[Doubles, Doubles] | None:
    """Scale and shift of each channel of a batch normalisation; None for other nodes.

    Raises:
        GraphError: If a running variance is negative.
    """
    if node.op_type != "BatchNormalization" or whole(node, "training_mode", 0):
        return None
    arrays = [network.stored(value) for value in node.inputs[1:]]
    if any(array is None for array in arrays) or any(v.uses() for v in node.outputs[1:]):
        return None
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    if (variance < 0).any():
        raise GraphError("a running variance is negative", where=f"{network.where}, {node.name}")
    scale = gamma / np.sqrt(variance + number(node, "epsilon", 1e-5))
    shift = beta - scale * mean
    return (scale, shift) if np.isfinite(scale).all() and np.isfinite(shift).all() else None


def _fold_backward(
    network: Network, node: ir.Node, scale: Doubles, shift: Doubles
) -> ir.Node | str:
    """Folds into the layer before; returns that, or why it is not possible."""
    value = node.inputs[0]
    before = None if value is None else value.producer()
    if value is None or before is None:
        return "it reads the network's input"
    layer = layer_of(network, before)
    if layer is None:
        return f"it reads '{before.name}' ({before.op_type}), which has no weights to fold into"
    if network.only_reader(value) is not node:
        return f"'{before.name}' is also used elsewhere"
    weight = layer.weight * along_outputs(before, layer.weight, scale)
    store_layer(network, before, Layer(weight, scale * layer.bias + shift))
    return before


def _fold_forward(
    network: Network, node: ir.Node, scale: Doubles, shift: Doubles
) -> list[ir.Node] | str:
    """Folds into all layers after; returns these, or why it is not possible."""
    made: list[tuple[ir.Node, Layer]] = []
    for value, user, position in _readers(network, node.outputs[0]):
        if user is None:
            return f"it is an output{'' if value is node.outputs[0] else ' after a Flatten'}"
        layer = layer_of(network, user)
        if layer is None or position:
            return f"'{user.name}' ({user.op_type}) reads it"
        if is_padded(user) and shift.any():
            return f"'{user.name}' pads it with zeros, which the shift would change"
        scales, shifts = (per_input(user, layer.weight, values) for values in (scale, shift))
        if scales is None or shifts is None:
            return f"'{user.name}' ({user.op_type}) does not read it channel by channel"
        added = (layer.weight * shifts).sum(axis=tuple(range(1, layer.weight.ndim)))
        made.append((user, Layer(layer.weight * scales, layer.bias + added)))
    if len({id(user) for user, _ in made}) < len(made):
        return "a layer reads it twice"
    for user, layer in made:
        store_layer(network, user, layer)
    return [user for user, _ in made]


def _readers(network: Network, value: ir.Value) -> Iterator[tuple[ir.Value, ir.Node | None, int]]:
    """The readers of a value and their input positions, through Flatten; None is an output."""
    if value.is_graph_output():
        yield value, None, 0
    for use in value.uses():
        made = use.node.outputs[0]
        if use.idx == 0 and skip_flatten(network, made) is not made:
            yield from _readers(network, made)
        else:
            yield value, use.node, use.idx
