"""Describes a graph, a parameter file, an ONNX or a TensorFlow Lite model, as JSON and as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mobileface.errors import ConversionError, shown

from ..backends.onnx import read_onnx
from ..frontends.mxnet_checkpoint import load_checkpoint
from ..frontends.mxnet_params import load_params
from ..frontends.mxnet_symbol import load_symbol
from ..frontends.tflite import TfliteNetwork, read_tflite
from ..graph.source_graph import Array, Graph

__all__ = ["describe", "format_description"]


def describe(paths: Sequence[Path]) -> dict[str, Any]:
    """Describes a symbol, a symbol with its parameters, a parameter file or a model of one file.

    Raises:
        ConversionError: If the files are not one of these, or cannot be read.
    """
    symbols = [path for path in paths if path.suffix == ".json"]
    arrays = [path for path in paths if path.suffix in (".params", ".nd")]
    if len(symbols) == 1 and len(paths) == 1 + len(arrays) <= 2:
        graph = load_checkpoint(symbols[0], arrays[0]) if arrays else load_symbol(symbols[0])
        return _describe_graph(graph)
    if len(arrays) == len(paths) == 1:
        return {"arrays": _describe_arrays(load_params(arrays[0]))}
    if len(paths) == 1 and paths[0].suffix == ".onnx":
        return _describe_onnx(paths[0])
    if len(paths) == 1 and paths[0].suffix == ".tflite":
        return _describe_tflite(read_tflite(paths[0]))
    raise ConversionError(
        "cannot be inspected together",
        where=", ".join(map(str, paths)),
        hint="pass a -symbol.json (and its .params), a .params or .nd file, or an .onnx or "
        ".tflite file",
    )


def format_description(description: Mapping[str, Any]) -> str:
    """The description as text for a terminal."""
    lines = []
    for layer in description.get("layers", ()):
        weights = ", ".join(f"{tuple(shape)}" for shape in layer["weights"].values())
        reads = ", ".join(layer["inputs"])
        lines.append(f"{layer['op']:<22} {layer['name']:<34} <- {reads}  {weights}".rstrip())
    for array in description.get("arrays", ()):
        lines.append(f"{array['name']:<48} {array['dtype']:<8} {tuple(array['shape'])}")
    if "operators" in description:
        counts = ", ".join(f"{count} {op}" for op, count in description["operators"].items())
        lines.append(f"operators: {sum(description['operators'].values())} ({counts})")
        shapes = description.get("shapes", {})
        for ends in ("inputs", "outputs"):
            named = [f"{name} {shapes.get(name, '')}".rstrip() for name in description[ends]]
            lines.append(f"{ends}: {', '.join(named)}")
        if "parameters" in description:
            lines.append(f"parameters: {description['parameters']}")
        lines.append(f"weights: {description['weight_bytes'] / 1e6:.3f} MB")
    return "\n".join(map(shown, lines))


def _describe_graph(graph: Graph) -> dict[str, Any]:
    layers = [
        {
            "op": node.op,
            "name": node.name,
            "inputs": [edge.node.name for edge in node.inputs if graph.weight(edge) is None],
            "weights": {
                edge.node.name: list(graph.params[edge.node.name].shape)
                for edge in node.inputs
                if graph.weight(edge) is not None
            },
        }
        for node in graph.operators
    ]
    return {
        "layers": layers,
        "operators": dict(Counter(node.op for node in graph.operators).most_common()),
        "inputs": [node.name for node in graph.inputs],
        "outputs": [edge.node.name for edge in graph.outputs],
        "weight_bytes": graph.weight_bytes,
    }


def _describe_arrays(arrays: Mapping[str, Array]) -> list[dict[str, Any]]:
    return [
        {"name": name, "dtype": str(array.dtype), "shape": list(array.shape)}
        for name, array in arrays.items()
    ]


def _describe_onnx(path: Path) -> dict[str, Any]:
    model = read_onnx(path)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    layers = [
        {
            "op": node.op_type,
            "name": node.name,
            "inputs": [name for name in node.input if name and name not in weights],
            "weights": {n: list(weights[n].dims) for n in node.input if n in weights},
        }
        for node in model.graph.node
    ]
    return {
        "layers": layers,
        "operators": dict(Counter(node.op_type for node in model.graph.node).most_common()),
        "inputs": [value.name for value in model.graph.input],
        "outputs": [value.name for value in model.graph.output],
        "weight_bytes": sum(len(tensor.raw_data) for tensor in weights.values()),
    }


def _describe_tflite(network: TfliteNetwork) -> dict[str, Any]:
    """As others, and the shapes of inputs and outputs, and how many parameters there are."""
    tensors, computed = network.tensors, network.computed
    layers = [
        {
            "op": operator.kind,
            "name": tensors[operator.outputs[0]].name if operator.outputs else "",
            "inputs": [tensors[n].name for n in operator.inputs if n in computed],
            "weights": {
                tensors[n].name: list(tensors[n].shape)
                for n in operator.inputs
                if n >= 0 and n not in computed
            },
        }
        for operator in network.operators
    ]
    ends = [*network.inputs, *network.outputs]
    return {
        "layers": layers,
        "operators": dict(Counter(operator.kind for operator in network.operators).most_common()),
        "inputs": [tensors[number].name for number in network.inputs],
        "outputs": [tensors[number].name for number in network.outputs],
        "shapes": {tensors[number].name: list(tensors[number].shape) for number in ends},
        "parameters": network.parameters,
        "weight_bytes": sum(item.data.nbytes for item in tensors if item.data is not None),
    }
