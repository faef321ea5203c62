"""Source graph to ONNX model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
import onnxsim

from mobileface.errors import ConversionError, GraphError

from ..graph import Edge, Graph
from ..onnx_builder import DEFAULT_OPSET, GraphBuilder
from ..ops import convert_node

__all__ = ["check", "clean", "to_onnx"]

Dimension = int | str


def to_onnx(
    graph: Graph,
    input_shapes: Mapping[str, Sequence[Dimension]],
    outputs: Sequence[str] | None = None,
    *,
    opset: int = DEFAULT_OPSET,
    name: str = "network",
) -> onnx.ModelProto:
    """Converts a graph.

    Args:
        graph: The network.
        input_shapes: Shape of each network input, float32; a text dimension is dynamic.
        outputs: Names of the outputs; by default those of the nodes that compute them.
        opset: Version of the ONNX operator set.
        name: Name of the ONNX graph.

    Raises:
        GraphError: A weight is missing, or shapes do not fit; names node and array.
        UnsupportedOperatorError: An operator or attribute without a conversion.
        ConversionError: The result is no valid ONNX model (a defect of the converter).
    """
    _check_inputs(graph, input_shapes)
    builder = GraphBuilder(name, opset)
    values: dict[Edge, ir.Value] = {}
    for node in graph.nodes:
        if not node.is_variable:
            for index, value in enumerate(convert_node(builder, graph, node, values)):
                values[Edge(node, index)] = value
        elif node.name in input_shapes:
            values[Edge(node)] = builder.input(node.name, np.float32, input_shapes[node.name])
    names = list(outputs or [edge.node.name for edge in graph.outputs])
    if len(names) != len(graph.outputs):
        raise GraphError(f"{len(names)} names for {len(graph.outputs)} outputs", where=graph.origin)
    for output in names:
        if names.count(output) > 1 or output in input_shapes:
            raise GraphError(
                f"an output cannot be named '{output}', which is another value's name",
                where=graph.origin,
                hint="give each output a name of its own",
            )
    heads = {}
    for output, edge in zip(names, graph.outputs, strict=True):
        if edge not in values:
            raise GraphError(f"no output {edge.index}", where=edge.node.where)
        heads[output] = values[edge]
    return clean(ir.to_proto(builder.build(heads)), graph.origin)


def clean(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Folds constants and removes what is redundant (onnxsim), then checks the model fully.

    Raises:
        ConversionError: The checker refuses the model, which is a defect of the converter.
    """
    check(model, where)
    simplified, _ = onnxsim.simplify(model, check_n=0)
    check(simplified, where)
    del simplified.graph.value_info[:]  # derived data, a tenth of a small model's size
    return simplified


def check(model: onnx.ModelProto, where: str) -> None:
    """Runs ONNX's checker with full shape inference.

    Raises:
        ConversionError: The checker refuses the model, which is a defect of the converter.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionError(f"not a valid ONNX model: {error}", where=where) from error


def _check_inputs(graph: Graph, input_shapes: Mapping[str, Sequence[Dimension]]) -> None:
    """Every variable is an array or one of the named inputs, and every named input is used.

    Raises:
        GraphError: Names what is missing.
    """
    open_names = [node.name for node in graph.inputs]
    missing = [name for name in open_names if name not in input_shapes]
    if missing:
        listed = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        raise GraphError(
            f"{len(missing)} of {len(graph.weights) + len(missing)} arrays are missing: {listed}",
            where=graph.origin,
            hint=f"the parameters hold {len(graph.params)} arrays; do they belong to this symbol?",
        )
    unused = [name for name in input_shapes if name not in open_names]
    if unused:
        raise GraphError(
            f"the network has no input named '{unused[0]}'",
            where=graph.origin,
            hint=f"its inputs: {', '.join(open_names) or 'none'}",
        )
