"""Describes an MXNet checkpoint, or a symbol without its arrays."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mobileface.errors import ConversionError, GraphError, UnsupportedOperatorError

from ..backends.onnx import add_graph, output_names, static_shapes
from ..frontends.mxnet_checkpoint import load_checkpoint
from ..frontends.mxnet_symbol import load_symbol
from ..graph.attributes import Attributes
from ..graph.multiply_adds import convolution, product, transposed_convolution
from ..graph.onnx_builder import GraphBuilder
from ..graph.shapes import Shape, known_shapes, reads_as_weight
from ..graph.source_graph import Edge, Graph, Node
from ..ops.registry import registered
from .description import SIZE_NEEDED, Description, End, Layer, Sizes

__all__ = ["describe_mxnet"]

_CONTROL = ("_foreach", "_while_loop", "_cond")
_NOT_COUNTED = ("RNN", "_linalg_gemm", "khatri_rao")

Static = Mapping[Edge, tuple[int, ...]]


def describe_mxnet(symbol: Path, params: Path | None, size: tuple[int, int] | None) -> Description:
    """Describes a network.

    Args:
        symbol: The ``-symbol.json`` file.
        params: The ``.params`` file; without it neither shapes nor multiply-adds are known.
        size: Height and width of images, which a checkpoint does not say.

    Raises:
        ConversionError: If a file cannot be read, is no checkpoint, or has control flow.
    """
    graph = load_symbol(symbol) if params is None else load_checkpoint(symbol, params)
    for node in graph.operators:
        if node.op in _CONTROL:
            raise UnsupportedOperatorError("control flow is not supported", where=node.where)
    known = registered()
    unsupported: dict[str, list[str]] = defaultdict(list)
    for node in graph.inference_nodes:
        if not node.is_variable and node.op not in known:
            unsupported[node.op].append(node.name)
    shapes, static, reason, refused = _shapes(graph, params, size, bool(unsupported))
    weights = Counter[str]()
    for array in graph.weights.values():
        weights[str(array.dtype)] += array.nbytes
    inference = set(graph.inference_nodes)
    uncounted = Counter(node.op for node in graph.operators if node.op in _NOT_COUNTED)
    layers = [_layer(graph, node, static, node in inference) for node in graph.operators]
    if not reason and any(layer.macs is None for layer in layers):
        reason = "a shape inside cannot be inferred"
    return Description(
        "mxnet",
        (symbol,) if params is None else (symbol, params),
        layers,
        inputs=[
            End(node.name, shapes.get(node.name), "float32")
            for node in graph.inputs
            if not reads_as_weight(graph, node)
        ],
        outputs=[End(name, shapes.get(name), "float32") for name in output_names(graph.outputs)],
        parameters=None
        if params is None
        else sum(
            array.size
            for name, array in graph.weights.items()
            if name not in graph.auxiliary and array.dtype.kind == "f"
        ),
        weights=weights,
        size=size,
        macs_reason=reason,
        not_counted=uncounted,
        unsupported=unsupported,
        refused=refused,
    )


def _shapes(
    graph: Graph, params: Path | None, size: tuple[int, int] | None, unsupported: bool
) -> tuple[dict[str, Sizes], Static, str, str]:
    """Shapes of inputs and outputs, all shapes for one image, why these are not known, a refusal.

    Raises:
        ConversionError: The arrays are not those of the symbol.
    """
    if params is None:
        return {}, {}, "the arrays are needed: pass the .params file too", ""
    try:
        given = known_shapes(graph, {})
    except GraphError:
        raise
    except ConversionError as error:
        return {}, {}, error.what, ""
    found: dict[str, Sizes] = {name: _sized(shape, size) for name, shape in given.items()}
    if unsupported:
        return found, {}, "an operator is not supported", ""
    static: Static = {}
    reason = "" if size else SIZE_NEEDED
    try:
        builder = GraphBuilder("inspected")
        fed = {
            name: builder.input(name, np.float32, [axis or "" for axis in shape])
            for name, shape in found.items()
        }
        values = add_graph(builder, graph, fed)
        for name, value in zip(output_names(graph.outputs), values, strict=True):
            if value.shape is not None:
                found[name] = tuple(_axis(axis) for axis in value.shape)
        if size:
            one = {name: _for_one(shape) for name, shape in found.items() if name in given}
            static = static_shapes(graph, one)
    except UnsupportedOperatorError as error:
        return found, {}, error.what, str(error)
    except GraphError as error:  # with open sizes, it may convert with fixed ones
        return found, {}, reason or error.what, str(error) if size else ""
    return found, static, reason, ""


def _sized(shape: Shape, size: tuple[int, int] | None) -> Sizes:
    return shape if size is None else (*shape[:2], *size)


def _for_one(shape: Sizes) -> tuple[int, ...]:
    return (1, *(axis for axis in shape[1:] if isinstance(axis, int)))


def _axis(axis: object) -> int | str | None:
    if isinstance(axis, int):
        return axis
    name = getattr(axis, "value", None)
    return name if isinstance(name, str) and name in ("N", "H", "W") else None


def _layer(graph: Graph, node: Node, static: Static, runs: bool) -> Layer:
    weights = {
        edge.node.name: array.shape
        for edge in node.inputs
        if (array := graph.weight(edge)) is not None
    }
    reads = [edge.node.name for edge in node.inputs if graph.weight(edge) is None]
    return Layer(node.op, node.name, reads, weights, _macs(graph, node, static) if runs else 0)


def _macs(graph: Graph, node: Node, static: Static) -> int | None:
    """Multiply-adds of a layer for one image; ``dot`` sums over its first axis if transposed."""

    def shape(position: int) -> tuple[int, ...] | None:
        if position >= len(node.inputs):
            return None
        edge = node.inputs[position]
        array = graph.weight(edge)
        return static.get(edge) if array is None else array.shape

    output, data = static.get(Edge(node)), shape(0)
    if node.op == "Convolution":
        return convolution(output, shape(1))
    if node.op == "Deconvolution":
        return transposed_convolution(data, shape(1))
    if node.op == "FullyConnected":
        weight = shape(1)
        return product(output, weight[-1] if weight else None)
    if node.op in ("dot", "batch_dot", "_linalg_gemm2"):
        turned = Attributes(node.attrs, node.where).boolean("transpose_a", False)
        if not data:
            return None
        first = 0 if node.op == "dot" else -2
        return product(output, data[first if turned else -1])
    return 0
