"""Changes the number of channels of families of values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from .families import Family
from .layer_weights import (
    Doubles,
    Layer,
    data_of,
    is_dense,
    is_depthwise,
    layer_of,
    skip_flatten,
    store_layer,
)
from .onnx_graph import Network, sizes_of

__all__ = ["Numbers", "resize"]

Numbers = npt.NDArray[np.intp]

_VARIANCE = 4
"""Position of a batch normalisation's variance, which must not be zero."""


def resize(
    network: Network,
    family: Family,
    numbers: Numbers,
    absorbed: Mapping[ir.Node, Doubles] | None = None,
) -> None:
    """Selects, drops or adds channels.

    Args:
        network: The network.
        family: The values that change.
        numbers: The old indices of the new channels; −1 is a new, unused channel of zeros.
        absorbed: Terms that are added to the biases of layers that read the family.
    """
    for value in family.members:
        node = value.producer()
        assert node is not None
        _resize_outputs(network, node, numbers)
        sizes = sizes_of(value)
        if sizes is not None and value.shape is not None:
            value.shape = ir.Shape([value.shape[0], len(numbers), *value.shape[2:]])
    for reader, _ in family.readers:
        layer = layer_of(network, reader)
        assert layer is not None
        added = (absorbed or {}).get(reader, 0.0)
        weight = _with_inputs(layer.weight, family.channels, numbers)
        store_layer(network, reader, Layer(weight, layer.bias + added))
        _change_rows(network, reader)


def _with_inputs(weight: Doubles, channels: int, numbers: Numbers) -> Doubles:
    """The weight of a dense layer for other input channels."""
    runs = weight.reshape(len(weight), channels, -1, *weight.shape[2:])
    return _take(runs, numbers, 1).reshape(len(weight), -1, *weight.shape[2:])


def _resize_outputs(network: Network, node: ir.Node, numbers: Numbers) -> None:
    """Changes the output channels of a node, which are its input channels unless it is dense."""
    if is_dense(network, node) or is_depthwise(network, node):
        depthwise = is_depthwise(network, node)
        layer = layer_of(network, node)
        assert layer is not None
        store_layer(
            network, node, Layer(_take(layer.weight, numbers, 0), _take(layer.bias, numbers, 0))
        )
        if depthwise:
            node.attributes["group"] = ir.AttrInt64("group", len(numbers))
        return
    if node.op_type == "BatchNormalization":
        for position in range(1, 5):
            rest = 1.0 if position == _VARIANCE else 0.0
            _store(network, node, position, numbers, rest)
    elif node.op_type == "PRelu":
        _store(network, node, 1, numbers, 0.0)
    elif (found := data_of(network, node)) is not None:
        _store(network, node, 1 - found[2], numbers, 1.0 if node.op_type == "Div" else 0.0)


def _store(network: Network, node: ir.Node, position: int, numbers: Numbers, rest: float) -> None:
    """Stores the numbers of the new channels, if there is one for each."""
    value = node.inputs[position]
    array = network.stored(value)
    if array is None or value is None:
        return
    if array.size == 1 and node.op_type != "BatchNormalization":
        return  # one number for all channels
    axis = int(np.argmax(array.shape))  # the others are 1
    network.store(node, position, _take(array.astype(np.float64), numbers, axis, rest))


def _take(values: Doubles, numbers: Numbers, axis: int, rest: float = 0.0) -> Doubles:
    """Selected elements along an axis; ``rest`` where the index is −1."""
    taken = np.take(values, numbers, axis=axis)
    np.moveaxis(taken, axis, 0)[numbers < 0] = rest
    return taken


def _change_rows(network: Network, reader: ir.Node) -> None:
    """Lets a Flatten or Reshape that a layer reads through make rows of another length."""
    value, layer = reader.inputs[0], layer_of(network, reader)
    node = None if value is None else value.producer()
    if value is None or node is None or layer is None or skip_flatten(network, value) is value:
        return
    length = layer.weight.shape[1]
    shape = network.stored(node.inputs[1]) if node.op_type == "Reshape" else None
    if shape is not None and shape[1] > 0:
        sizes = np.array([shape[0], length], np.int64)
        node.replace_input_with(1, network.constant(sizes, f"{node.name}_rows"))
    if value.shape is not None:
        value.shape = ir.Shape([value.shape[0], length])
