"""Finds channels that are the same number for every image and at every pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from .families import families, tied_inputs
from .fold_batchnorm import affine_of
from .layer_weights import (
    Doubles,
    by_channel,
    channel_values,
    data_of,
    is_dense,
    is_depthwise,
    is_padded,
    layer_of,
    number,
    skip_flatten,
)
from .onnx_graph import Network

__all__ = ["Mask", "constant_channels", "negligible"]

Mask = npt.NDArray[np.bool_]

_NEGLIGIBLE = 1e-12
"""Weights up to this fraction of the largest count as zero; float32 resolves 6e-8 of a sum."""


def negligible(weight: Doubles) -> Mask:
    """True for the kernels of a weight (outputs, channels, rest) that count as zero."""
    sizes = np.abs(weight)
    return np.asarray(sizes.max(axis=2) <= _NEGLIGIBLE * sizes.max(initial=0.0))


def constant_channels(network: Network) -> dict[ir.Value, Doubles]:
    """The constant of each channel, nan if it is not constant, for values of known channels."""
    found: dict[ir.Value, Doubles] = {}
    for family in families(network):
        for value in family.members:
            found[value] = np.full(family.channels, np.nan)
    for node in network.nodes:
        value = node.outputs[0]
        if value not in found:
            continue
        if is_dense(network, node) or is_depthwise(network, node):
            source = node.inputs[0]
            assert source is not None
            found[value] = _through_layer(network, node, found.get(skip_flatten(network, source)))
        else:
            read = [found.get(other) for other in tied_inputs(network, node)]
            known = [values for values in read if values is not None]
            result = _through(network, node, known) if known and len(known) == len(read) else None
            if result is not None:
                found[value] = result
    return found


def _through_layer(network: Network, node: ir.Node, read: Doubles | None) -> Doubles:
    """The constant output channels of a layer, given those of its input."""
    layer = layer_of(network, node)
    assert layer is not None
    if is_depthwise(network, node):
        weight = layer.weight.reshape(len(layer.bias), 1, -1)
        values = np.full((len(layer.bias), 1), np.nan) if read is None else read[:, None]
    else:
        channels = layer.weight.shape[1]
        if read is not None and channels % len(read) == 0:
            channels = len(read)
        else:
            read = None
        weight = by_channel(layer.weight, channels)
        values = (np.full(channels, np.nan) if read is None else read)[None]
    if is_padded(node):
        values = np.where(values == 0, values, np.nan)
    parts = np.where(negligible(weight), 0.0, weight.sum(axis=2) * values)  # nan: by the data
    return np.asarray(layer.bias + parts.sum(axis=1))


def _through(network: Network, node: ir.Node, read: Sequence[Doubles]) -> Doubles | None:
    """The constant output channels of an operator, given those of its inputs; None if unknown."""
    kind, x = node.op_type, read[0]
    if kind in _BINARY:
        stored = data_of(network, node)
        if stored is None:
            return np.asarray(_BINARY[kind](read[0], read[-1]))
        values = (x, stored[1]) if stored[2] == 0 else (stored[1], x)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(_BINARY[kind](*values))
    if kind == "PRelu":
        slopes = network.stored(node.inputs[1])
        given = None if slopes is None else channel_values(slopes, max(slopes.ndim, 2))
        given = given if given is not None or slopes is None else slopes.astype(float).ravel()
        return None if given is None else np.where(x < 0, given * x, x)
    if kind == "LeakyRelu":
        return np.where(x < 0, number(node, "alpha", 0.01) * x, x)
    if kind == "Clip":
        bounds = [network.stored(value) for value in node.inputs[1:]]
        low, high = (*bounds, None, None)[:2]
        low = np.asarray(-np.inf) if low is None else low
        high = np.asarray(np.inf) if high is None else high
        return np.asarray(np.clip(x, low, high))
    if kind == "BatchNormalization":
        affine = affine_of(network, node)
        return None if affine is None else affine[0] * x + affine[1]
    if kind in ("MaxPool", "AveragePool"):
        return None if is_padded(node) else x
    return _UNARY[kind](x) if kind in _UNARY else None


_UNARY: Mapping[str, Callable[[Doubles], Doubles]] = {
    "GlobalAveragePool": lambda x: x,
    "GlobalMaxPool": lambda x: x,
    "Identity": lambda x: x,
    "Neg": lambda x: -x,
    "Relu": lambda x: np.maximum(x, 0),
}
"""Functions of one value, applied to constants."""

_BINARY: Mapping[str, Callable[[Doubles, Doubles], Doubles]] = {
    "Add": np.add,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "Sub": np.subtract,
}
"""Functions of two values, applied to constants."""
