"""Converts an ONNX model to the dialect of ncnn's files that FeatherCNN reads.

The rules of the dialect are in `feathercnn_rules`. A network that ends by scaling its output to
unit length ends before that: the engine has no product of blobs, and a program divides a vector by
its length in one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from mobileface.errors import ConversionError, UnsupportedOperatorError

from . import feathercnn_arithmetic  # noqa: F401  it registers its conversions
from .feathercnn_layers import LAYERS, FeatherContext, Shape
from .feathercnn_rules import check_dialect
from .feathercnn_writer import FeatherWriter
from .ncnn import NcnnModel
from .ncnn_prepare import fixed_input

__all__ = ["FeatherModel", "to_feathercnn"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class FeatherModel:
    """A network in FeatherCNN's dialect.

    Attributes:
        files: Its two files.
        lengthened: For each output, whether the program must divide it by its length.
    """

    files: NcnnModel
    lengthened: tuple[bool, ...]


def to_feathercnn(model: onnx.ModelProto, shape: Sequence[int], where: str) -> FeatherModel:
    """Converts a model.

    Args:
        model: A model with one float32 input (N, C, H, W); it is not changed.
        shape: Shape of the input, with batch 1.
        where: Name of the model in error messages.

    Raises:
        UnsupportedOperatorError: If an operator cannot be written; says which node and why.
        ConversionError: If the model does not have exactly one float32 input.
    """
    ready = fixed_input(model, tuple(shape), where)
    graph = ready.graph
    del graph.value_info[:]  # inferred for another batch
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    shapes = _shapes(ready)
    (image,) = (value.name for value in graph.input if value.name not in constants)
    makers = {name: node for node in graph.node for name in node.output}
    sources, lengthened = {}, []
    for value in graph.output:
        last = makers.get(value.name)
        unit = last is not None and _is_unit_length(last, constants)
        sources[value.name] = last.input[0] if last is not None and unit else value.name
        lengthened.append(unit)
    writer = FeatherWriter()
    writer.reserve(*sources)
    channels, height, width = shape[1:]
    options = {0: width, 1: height, 2: channels}
    blobs = {image: writer.add("Input", image, options=options)}
    for node in _needed(graph, set(sources.values())):
        if node.op_type == "Constant":
            constants[node.output[0]] = _constant(node)
            continue
        convert = LAYERS.get(node.op_type)
        context = FeatherContext(writer, node, blobs, constants, shapes, where)
        if convert is None:
            raise context.unsupported(f"there are layers for {', '.join(sorted(LAYERS))}")
        blobs[node.output[0]] = convert(context)
    missing = [name for name in sources.values() if name not in blobs]
    if missing:
        raise ConversionError(f"output '{missing[0]}' is not computed", where=where)
    files = writer.finish([blobs[image]], {name: blobs[s] for name, s in sources.items()})
    check_dialect(files, where)
    return FeatherModel(files, tuple(lengthened))


def _needed(graph: onnx.GraphProto, wanted: set[str]) -> list[onnx.NodeProto]:
    """The nodes that the wanted values depend on, in order."""
    found = []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            found.append(node)
            wanted.update(node.input)
    return found[::-1]


def _constant(node: onnx.NodeProto) -> Array:
    """The value of a node ``Constant``.

    Raises:
        UnsupportedOperatorError: If it is not stored as a tensor.
    """
    for entry in node.attribute:
        if entry.name == "value":
            return np.asarray(numpy_helper.to_array(entry.t))
        if entry.name in ("value_float", "value_floats", "value_int", "value_ints"):
            return np.asarray(onnx.helper.get_attribute_value(entry))
    raise UnsupportedOperatorError("it has no numbers", where=f"node '{node.name}' (Constant)")


def _shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """The shape of each value that is known and fixed."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    found: dict[str, Shape] = {t.name: tuple(t.dims) for t in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        sizes = tuple(d.dim_value for d in kind.shape.dim)
        if kind.HasField("shape") and all(sizes):
            found[value.name] = sizes
    return found


def _is_unit_length(node: onnx.NodeProto, constants: dict[str, Array]) -> bool:
    """Whether a node divides rows by their length, up to an epsilon."""
    read = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    if node.op_type == "LpNormalization":
        return read.get("p", 2) == 2 and read.get("axis", -1) in (-1, 1)
    if node.op_type != "RMSNormalization" or read.get("axis", -1) not in (-1, 1):
        return False
    scale = constants.get(node.input[1])
    return scale is not None and bool(np.allclose(scale, scale.size**-0.5, rtol=1e-6))
