"""Converts a source graph to an ONNX model; reads, simplifies and checks ONNX models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxsim

from mobileface.errors import ConversionError, GraphError, SourceFormatError

from ..graph.onnx_builder import DEFAULT_OPSET, GraphBuilder, without_defaults
from ..graph.source_graph import Edge, Graph
from ..ops import convert_node

__all__ = [
    "add_graph",
    "build_onnx",
    "check",
    "clean",
    "folded",
    "output_names",
    "read_onnx",
    "static_shapes",
    "to_onnx",
]

Dimension = int | str


def to_onnx(
    graph: Graph,
    input_shapes: Mapping[str, Sequence[Dimension]],
    outputs: Sequence[str] | None = None,
    *,
    opset: int = DEFAULT_OPSET,
    name: str = "network",
    dtypes: Mapping[str, npt.DTypeLike] | None = None,
) -> onnx.ModelProto:
    """Converts a graph to ONNX as `build_onnx` does, and simplifies it.

    Raises:
        ConversionError: See `build_onnx`; or the result is not a valid ONNX model (a defect of the
            converter).
    """
    built = build_onnx(graph, input_shapes, outputs, opset=opset, name=name, dtypes=dtypes)
    return clean(built, graph.origin)


def build_onnx(
    graph: Graph,
    input_shapes: Mapping[str, Sequence[Dimension]],
    outputs: Sequence[str] | None = None,
    *,
    opset: int = DEFAULT_OPSET,
    name: str = "network",
    dtypes: Mapping[str, npt.DTypeLike] | None = None,
) -> onnx.ModelProto:
    """Converts a graph to ONNX, node by node and without simplifying it.

    Args:
        graph: The network.
        input_shapes: Shape of each network input; a string is a dynamic dimension.
        outputs: Names of the outputs; by default the names of the nodes that compute them, with
            the output's number (``split_output1``) where a node computes several.
        opset: Version of the ONNX operator set.
        name: Name of the ONNX graph.
        dtypes: Element types of the inputs that are not float32.

    Raises:
        GraphError: If a weight is missing or shapes do not match; names node and array.
        UnsupportedOperatorError: If an operator or attribute is not supported.
    """
    builder = GraphBuilder(name, opset)
    types = dtypes or {}
    fed = {
        name: builder.input(name, types.get(name, np.float32), shape)
        for name, shape in input_shapes.items()
    }
    found = add_graph(builder, graph, fed)
    names = list(outputs or output_names(graph.outputs))
    if len(names) != len(graph.outputs):
        raise GraphError(f"{len(names)} names for {len(graph.outputs)} outputs", where=graph.origin)
    for output in names:
        if names.count(output) > 1 or output in input_shapes:
            raise GraphError(
                f"an output cannot be named '{output}': another value has this name",
                where=graph.origin,
                hint="use a unique name for each output",
            )
    return ir.to_proto(builder.build(dict(zip(names, found, strict=True))))


def output_names(outputs: Sequence[Edge]) -> list[str]:
    """Names of the nodes, with the output's number where a node has several of the outputs."""
    nodes = [edge.node for edge in outputs]
    return [
        edge.node.name if nodes.count(edge.node) == 1 else f"{edge.node.name}_output{edge.index}"
        for edge in outputs
    ]


def add_graph(
    builder: GraphBuilder, graph: Graph, inputs: Mapping[str, ir.Value]
) -> tuple[ir.Value, ...]:
    """Adds a network to a model that is being built.

    Args:
        builder: The model.
        graph: The network.
        inputs: The value of each network input.

    Returns:
        The values of the network's outputs.

    Raises:
        GraphError: If a weight or an input is missing or shapes do not match; names node and
            array.
        UnsupportedOperatorError: If an operator or attribute is not supported.
    """
    values = _values(builder, graph, inputs)
    for edge in graph.outputs:
        if edge not in values:
            raise GraphError(f"no output {edge.index}", where=edge.node.where)
    return tuple(values[edge] for edge in graph.outputs)


def static_shapes(
    graph: Graph, input_shapes: Mapping[str, Sequence[int]]
) -> dict[Edge, tuple[int, ...]]:
    """Infers the shape of every value that a network computes from inputs of known shape.

    Args:
        graph: The network.
        input_shapes: Shape of each network input.

    Returns:
        Shapes by edge, including the inputs; without the edges whose shape cannot be inferred.

    Raises:
        GraphError: If a weight or an input is missing or shapes do not match.
        UnsupportedOperatorError: If an operator or attribute is not supported.
    """
    builder = GraphBuilder("shapes")
    fed = {name: builder.input(name, np.float32, shape) for name, shape in input_shapes.items()}
    found = {}
    for edge, value in _values(builder, graph, fed).items():
        if value.shape is None:
            continue
        sizes = tuple(size for size in value.shape if isinstance(size, int))
        if len(sizes) == len(value.shape):
            found[edge] = sizes
    return found


def _values(
    builder: GraphBuilder, graph: Graph, inputs: Mapping[str, ir.Value]
) -> dict[Edge, ir.Value]:
    """Adds a network's nodes; returns the value of each edge, including the inputs."""
    _check_inputs(graph, inputs)
    values: dict[Edge, ir.Value] = {}
    for node in graph.inference_nodes:
        if not node.is_variable:
            for index, value in enumerate(convert_node(builder, graph, node, values)):
                values[Edge(node, index)] = value
        elif node.name in inputs:
            values[Edge(node)] = inputs[node.name]
    return values


def read_onnx(path: Path) -> onnx.ModelProto:
    """Reads an ONNX file.

    Raises:
        SourceFormatError: If the file cannot be read or is not an ONNX model.
    """
    try:
        return onnx.load(str(path))
    except Exception as error:  # the error type depends on the version of protobuf
        raise SourceFormatError(f"not an ONNX model ({error})", where=str(path)) from error


def clean(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Simplifies a model with onnxsim and checks it before and after.

    Default values of inputs are kept, but hidden from onnxsim, which would treat them as constants.

    Raises:
        ConversionError: If the model is not valid (a defect of the converter).
    """
    check(model, where)
    bare, defaults = without_defaults(model)
    simplified, _ = onnxsim.simplify(bare, check_n=0)
    simplified.graph.initializer.extend(defaults)
    check(simplified, where)
    del simplified.graph.value_info[:]  # inferred again on load; a tenth of a small model's size
    return simplified


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model with everything computed that depends on no input, and otherwise the same nodes.

    Sizes that a network computes from the shape of a fixed input become known by that.

    Raises:
        ConversionError: If onnxsim does not manage it.
    """
    try:
        found, _ = onnxsim.simplify(model, check_n=0, perform_optimization=False)
    except Exception as error:  # whatever onnxsim, the checker and ONNX Runtime raise
        text = " ".join(str(error).split())[:200]
        raise ConversionError(f"its constants cannot be computed ({text})") from error
    return found


def check(model: onnx.ModelProto, where: str) -> None:
    """Runs ONNX's checker with full shape inference.

    Raises:
        ConversionError: If the model is not valid (a defect of the converter).
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionError(f"not a valid ONNX model: {error}", where=where) from error


def _check_inputs(graph: Graph, inputs: Mapping[str, object]) -> None:
    """Checks that the given inputs are exactly the network's inputs.

    Raises:
        GraphError: If an input or array is missing, or an input is not used; names it.
    """
    open_names = [node.name for node in graph.inputs]
    missing = [name for name in open_names if name not in inputs]
    if missing:
        raise graph.missing(missing)
    unused = [name for name in inputs if name not in open_names]
    if unused:
        raise GraphError(
            f"the network has no input named '{unused[0]}'",
            where=graph.origin,
            hint=f"its inputs: {', '.join(open_names) or 'none'}",
        )
