"""Write the product of rows with a stored matrix as a fully connected layer.

::

    before   x, (N, D) ─ MatMul(W) ─ + b ─ y
    after    x ─ Gemm(W, b) ─ y

Exporters write fully connected layers in either form; the other passes know the second.
"""

from __future__ import annotations

import onnx_ir as ir

from ..graph.report import Report
from .layer_weights import Layer, data_of, layer_of, store_layer
from .onnx_graph import Network, sizes_of

__all__ = ["use_gemm"]


def use_gemm(network: Network) -> Report:
    """Changes every MatMul of rows with a stored matrix, with the bias that is added, if any."""
    changed = []
    for node in network.nodes:
        weight = network.stored(node.inputs[1]) if node.op_type == "MatMul" else None
        if weight is None or weight.ndim != 2 or len(sizes_of(node.inputs[0]) or ()) != 2:
            continue
        if weight.dtype.kind != "f":
            continue
        gemm = network.node("Gemm", node.inputs, str(node.name), like=node.outputs[0], transB=0)
        network.replace(node, [gemm], gemm.outputs[0])
        changed.append(f"{gemm.name}{_take_bias(network, gemm)}")
    return Report(tuple(changed))


def _take_bias(network: Network, gemm: ir.Node) -> str:
    """Makes a stored row that the only reader adds the bias of a layer."""
    reader = network.only_reader(gemm.outputs[0])
    found = data_of(network, reader) if reader is not None and reader.op_type == "Add" else None
    layer = layer_of(network, gemm)
    if reader is None or found is None or layer is None:
        return ""
    bias = layer.bias + found[1]  # one number, or one for each output
    name = str(reader.name)
    store_layer(network, gemm, Layer(layer.weight, bias))
    network.absorb(gemm, reader)
    return f" with {name}"
