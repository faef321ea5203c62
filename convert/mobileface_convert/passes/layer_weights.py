"""Layers with weights: what they hold in float64, and how they are stored again.

However many passes change a layer, its weights are rounded to float32 once (`Network.exact`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from .onnx_graph import Doubles, Network, sizes_of

__all__ = [
    "Doubles",
    "Layer",
    "along_outputs",
    "attribute",
    "by_channel",
    "channel_values",
    "data_of",
    "groups_of",
    "is_dense",
    "is_depthwise",
    "is_layer",
    "is_padded",
    "layer_of",
    "number",
    "pair",
    "per_input",
    "skip_flatten",
    "store_layer",
    "whole",
    "wholes",
]

_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm"})


@dataclass(frozen=True)
class Layer:
    """The weights of a layer.

    Attributes:
        weight: (outputs, inputs of a group, …) of Conv and Gemm; (inputs, outputs of a group, …)
            of ConvTranspose.
        bias: (outputs,); zero if the layer has none.
    """

    weight: Doubles
    bias: Doubles


def attribute(node: ir.Node, name: str, default: object = None) -> object:
    """The value of a node's attribute, as Python numbers, text or tuples of these."""
    found = node.attributes.get(name)
    if found is None:
        return default
    value = found.value
    return tuple(value) if isinstance(value, (list, tuple)) else value


def whole(node: ir.Node, name: str, default: int) -> int:
    """An attribute that is a whole number."""
    value = attribute(node, name, default)
    assert isinstance(value, int)
    return value


def wholes(node: ir.Node, name: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
    """An attribute that is a list of whole numbers."""
    value = attribute(node, name, default)
    assert isinstance(value, tuple)
    return value


def number(node: ir.Node, name: str, default: float) -> float:
    """An attribute that is a number: the shortest decimal one that is stored as this float32."""
    value = attribute(node, name, default)
    assert isinstance(value, (int, float))
    return float(str(np.float32(value)))


def pair(node: ir.Node, name: str, default: int) -> tuple[int, int]:
    """An attribute with one value for rows and one for columns."""
    rows, columns = wholes(node, name, (default, default))
    return rows, columns


def groups_of(node: ir.Node) -> int:
    """The number of groups of a convolution; 1 for other layers."""
    return whole(node, "group", 1)


def layer_of(network: Network, node: ir.Node) -> Layer | None:
    """The weights of a layer; None if it is none, or its weights are not stored or not finite."""
    if node.op_type not in _LAYERS or node.domain or len(node.inputs) < 2:
        return None
    weight = network.exact(node.inputs[1])
    given = node.inputs[2] if len(node.inputs) > 2 else None
    bias = network.exact(given)
    if weight is None or (given is not None and bias is None):
        return None
    if node.op_type == "Gemm":
        found = _gemm(node, weight, bias)
    else:
        outputs = len(weight) if node.op_type == "Conv" else weight.shape[1] * groups_of(node)
        found = Layer(weight, np.zeros(outputs) if bias is None else bias)
    finite = found is not None and np.isfinite(found.weight).all() and np.isfinite(found.bias).all()
    return found if finite else None


def _gemm(node: ir.Node, weight: Doubles, bias: Doubles | None) -> Layer | None:
    """The weights of a Gemm that multiplies rows; None for other forms."""
    if whole(node, "transA", 0):
        return None
    matrix = weight * number(node, "alpha", 1.0)
    matrix = matrix if whole(node, "transB", 0) else matrix.T
    row = np.zeros(1)
    if bias is not None:
        row = bias * number(node, "beta", 1.0)
        if row.ndim == 2 and len(row) > 1:
            return None
    return Layer(matrix, np.broadcast_to(row.ravel(), (len(matrix),)).copy())


def store_layer(network: Network, node: ir.Node, layer: Layer) -> None:
    """Stores new weights for a layer, as float32, under names that no other layer reads.

    A layer without a bias does not get one if the new bias is zero.
    """
    had_bias = len(node.inputs) > 2 and node.inputs[2] is not None
    node.resize_inputs(3 if had_bias or layer.bias.any() else 2)
    for position, numbers in ((1, layer.weight), (2, layer.bias)):
        if position < len(node.inputs):
            network.store(node, position, numbers)
    if node.op_type == "Gemm":
        node.attributes.clear()
        node.attributes["transB"] = ir.AttrInt64("transB", 1)
    elif node.op_type == "Conv":
        node.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", layer.weight.shape[2:])


def is_layer(network: Network, node: ir.Node | None) -> bool:
    """Whether a node is a layer whose weights are stored."""
    return node is not None and layer_of(network, node) is not None


def is_depthwise(network: Network, node: ir.Node) -> bool:
    """Whether a node is a convolution whose output channels each read one input channel."""
    weight = network.stored(node.inputs[1]) if node.op_type == "Conv" else None
    groups = groups_of(node) if weight is not None else 1
    return weight is not None and groups > 1 and weight.shape[:2] == (groups, 1)


def is_dense(network: Network, node: ir.Node) -> bool:
    """Whether a node is a layer whose every output reads all channels of its input."""
    if node.op_type == "Gemm":
        return is_layer(network, node)
    return node.op_type == "Conv" and groups_of(node) == 1 and is_layer(network, node)


def is_padded(node: ir.Node) -> bool:
    """Whether a node pads its input."""
    if attribute(node, "auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        return True
    return any(wholes(node, "pads"))


def along_outputs(node: ir.Node, weight: Doubles, values: Doubles) -> Doubles:
    """Values per output channel, shaped to multiply the weight."""
    if node.op_type != "ConvTranspose":
        return values.reshape(-1, *(1,) * (weight.ndim - 1))
    groups = groups_of(node)  # the rows of the weight are the inputs, group by group
    blocks = np.repeat(values.reshape(groups, weight.shape[1]), len(weight) // groups, axis=0)
    return blocks.reshape(*blocks.shape, *(1,) * (weight.ndim - 2))


def per_input(node: ir.Node, weight: Doubles, values: Doubles) -> Doubles | None:
    """Values per input channel, shaped to multiply the weight; None if their number differs.

    A Gemm that reads flattened channels has a run of inputs for each.
    """
    groups = groups_of(node)
    inputs = weight.shape[1] * groups
    fits = inputs % len(values) == 0 if node.op_type == "Gemm" else inputs == len(values)
    if node.op_type == "ConvTranspose" or not fits:
        return None
    runs = np.repeat(values, inputs // len(values)).reshape(groups, -1)
    blocks = np.repeat(runs, len(weight) // groups, axis=0)
    return blocks.reshape(*blocks.shape, *(1,) * (weight.ndim - 2))


def by_channel(weight: Doubles, channels: int) -> Doubles:
    """A dense layer's weight as (outputs, channels, weights of a channel)."""
    return weight.reshape(len(weight), channels, -1)


def channel_values(array: npt.NDArray[np.generic], rank: int) -> Doubles | None:
    """The numbers of an array that broadcasts over a value with channels on axis 1.

    Returns:
        One number, or one for each channel; None if it differs along another axis.
    """
    if array.dtype.kind != "f" or array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if array.size != 1 and (rank < 2 or array.size != shape[1]):
        return None
    return array.astype(np.float64).ravel()


def data_of(network: Network, node: ir.Node) -> tuple[ir.Value, Doubles, int] | None:
    """The computed input of an operator on two values, and the stored numbers of the other one.

    Returns:
        The value, one number or one per channel, and the position of the value; None if both are
        computed, or the numbers differ along other axes.
    """
    if len(node.inputs) != 2:
        return None
    for position, (value, other) in enumerate(zip(node.inputs, reversed(node.inputs), strict=True)):
        array = network.stored(other)
        sizes = sizes_of(value)
        if array is None or value is None or sizes is None or network.stored(value) is not None:
            continue
        found = channel_values(array, len(sizes))
        known = found is not None and (len(found) == 1 or sizes[1] in (None, len(found)))
        return (value, found, position) if known and found is not None else None
    return None


def skip_flatten(network: Network, value: ir.Value) -> ir.Value:
    """The value itself, or the one whose channels a Flatten or Reshape lays out in rows."""
    while True:
        node = value.producer()
        if node is None or node.inputs[0] is None or not _flattens(network, node):
            return value
        value = node.inputs[0]


def _flattens(network: Network, node: ir.Node) -> bool:
    """Whether a node turns each sample into a row, with the channels one after the other."""
    sizes = sizes_of(node.inputs[0])
    if sizes is None or len(sizes) < 2:
        return False
    if node.op_type == "Flatten":
        return whole(node, "axis", 1) == 1
    if node.op_type != "Reshape":
        return False
    shape, made = network.stored(node.inputs[1]), sizes_of(node.outputs[0])
    if shape is None or shape.shape != (2,):
        return False
    rows, row = (int(size) for size in shape)
    length = int(np.prod([size or 0 for size in sizes[1:]]))
    same_rows = (rows == 0 and not whole(node, "allowzero", 0)) or (
        rows == sizes[0] if rows > 0 else length > 0 and row == length
    )
    return same_rows and made is not None and len(made) == 2
