"""Let the first convolution read interleaved channels, without transposing them to planes.

A row of W pixels with C channels equals a row of W·C values of one channel. A kernel that is C
times as wide, with C times the stride, reads from it what the old kernel read from C planes::

    before   x (N, H, W, C) ─ Transpose ─ − m ─ Conv(kh × kw, stride (a, b), pad (p, q))
    after    x (N, H, W, C) ─ Reshape (N, 1, H, W·C) ─ − m ─
                          Conv(kh × C·kw, stride (a, C·b), pad (p, C·q))

The zero padding is as wide in pixels as before. Pointwise operators, which apply the same function
to every value, are allowed between the two; so are operators with one number per channel, if W is
known, as their numbers are then repeated for each pixel of a row.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..graph.report import Refusal, Report
from .families import is_pointwise
from .layer_weights import (
    Layer,
    attribute,
    data_of,
    is_dense,
    layer_of,
    pair,
    store_layer,
    wholes,
)
from .onnx_graph import Network, sizes_of

__all__ = ["interleave"]

_TO_PLANES = (0, 3, 1, 2)
_ARITHMETIC = ("Add", "Div", "Mul", "Sub")


def interleave(network: Network) -> Report:
    """Removes transpositions between the network's pixels and the first convolution."""
    changed, refused = [], []
    for node in network.nodes:
        if node.op_type != "Transpose" or wholes(node, "perm") != _TO_PLANES:
            continue
        if not _reads_input(node):
            continue
        found = _convolution(network, node)
        if isinstance(found, str):
            refused.append(Refusal(str(node.name), found))
            continue
        chain, reader = found
        _widen(network, node, chain, reader)
        changed.append(f"{node.name} into {reader.name}")
    return Report(tuple(changed), tuple(refused))


def _reads_input(node: ir.Node) -> bool:
    """Whether a node reads an input of the network, directly or through a Cast."""
    value = node.inputs[0]
    before = None if value is None else value.producer()
    if before is not None and before.op_type == "Cast":
        value = before.inputs[0]
    return value is not None and value.is_graph_input()


def _convolution(network: Network, node: ir.Node) -> tuple[list[ir.Node], ir.Node] | str:
    """The nodes up to the convolution that can read the pixels, and that; or why there is none."""
    sizes = sizes_of(node.inputs[0])
    if sizes is None or sizes[3] is None:
        return "the number of channels is unknown"
    chain: list[ir.Node] = []
    previous, reader = node, network.only_reader(node.outputs[0])
    while reader is not None and (
        is_pointwise(network, reader) or _by_channel(network, reader, sizes[2])
    ):
        chain.append(reader)
        previous, reader = reader, network.only_reader(reader.outputs[0])
    if reader is None:
        return f"'{previous.name}' is read by several layers, or is an output"
    if reader.op_type != "Conv" or not is_dense(network, reader):
        return f"its reader '{reader.name}' ({reader.op_type}) is not a convolution without groups"
    layer = layer_of(network, reader)
    if reader.inputs[0] is not previous.outputs[0] or layer is None or layer.weight.ndim != 4:
        return f"'{reader.name}' does not read it as an image"
    if attribute(reader, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return f"the padding of '{reader.name}' depends on the size of the image"
    if pair(reader, "dilations", 1)[1] != 1:
        return f"the kernel of '{reader.name}' is dilated along columns"
    return chain, reader


def _by_channel(network: Network, node: ir.Node, width: int | None) -> bool:
    """Whether a node combines each channel with a number, in rows of known width."""
    return node.op_type in _ARITHMETIC and width is not None and data_of(network, node) is not None


def _widen(network: Network, node: ir.Node, chain: list[ir.Node], reader: ir.Node) -> None:
    """Replaces the transposition, and lets the nodes after it read rows of all channels."""
    pixels = node.inputs[0]
    sizes, layer = sizes_of(pixels), layer_of(network, reader)
    assert pixels is not None
    assert pixels.shape is not None
    assert sizes is not None
    assert layer is not None
    for link in chain:
        found = data_of(network, link) if link.op_type in _ARITHMETIC else None
        if found is not None and len(found[1]) > 1:
            assert sizes[2] is not None
            row = np.tile(found[1], sizes[2]).astype(np.float32)
            link.replace_input_with(1 - found[2], network.constant(row, f"{link.name}_row"))
    columns = None if sizes[2] is None or sizes[3] is None else sizes[2] * sizes[3]
    rows = _rows(network, node, pixels, columns)
    network.replace(node, rows, rows[-1].outputs[0])
    shape = ir.Shape([pixels.shape[0], 1, pixels.shape[1], columns])
    for changed in (rows[-1], *chain):
        changed.outputs[0].shape = shape
    outputs, channels, height, width = layer.weight.shape
    weight = layer.weight.transpose(0, 2, 3, 1).reshape(outputs, 1, height, width * channels)
    store_layer(network, reader, Layer(weight, layer.bias))
    stride = pair(reader, "strides", 1)
    top, left, bottom, right = wholes(reader, "pads", (0, 0, 0, 0))
    for name, values in (
        ("strides", (stride[0], stride[1] * channels)),
        ("pads", (top, left * channels, bottom, right * channels)),
    ):
        reader.attributes[name] = ir.AttrInt64s(name, values)


def _rows(network: Network, node: ir.Node, pixels: ir.Value, columns: int | None) -> list[ir.Node]:
    """The nodes that view (N, H, W, C) as (N, 1, H, W·C)."""
    height = sizes_of(pixels)[1]  # type: ignore[index]
    name = str(node.name)
    if columns is not None and height is not None:
        shape = network.constant(np.array([0, 1, height, columns], np.int64), f"{name}_shape")
        return [network.node("Reshape", [pixels, shape], name, like=node.outputs[0])]
    axis = network.constant(np.array([1], np.int64), f"{name}_axis")
    deeper = network.node("Unsqueeze", [pixels, axis], f"{name}_deeper")
    deeper.outputs[0].type = pixels.type
    shape = network.constant(np.array([0, 0, 0, -1], np.int64), f"{name}_shape")
    return [deeper, network.node("Reshape", [deeper.outputs[0], shape], name, like=node.outputs[0])]
