"""Prepares an ONNX model for pnnx.

::

    before   pixels ─ Sub(127.5) ─ Conv(W, b) ─ …
    after    (pixels − mean) · norm ─ Conv(W · 2ᵏ, b) ─ …        norm = 2⁻ᵏ

The input size becomes fixed and ``Pad`` gets explicit defaults. ncnn normalises pixels with
``substract_mean_normalize(mean, norm)``, so arithmetic on the input moves out of the network. Some
models fold the division of the pixels into the first convolution, whose weights are then too small
for float16 (pnnx sets values below 6e-5 to zero): a power of two moves back out, which keeps the
products exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from mobileface.errors import ConversionError, UnsupportedOperatorError

from ..graph.onnx_builder import free_name

__all__ = ["Prepared", "extract_part", "fixed_input", "prepare"]

Doubles = npt.NDArray[np.float64]

_IR_VERSION = 11
"""Highest IR version that the ONNX Runtime in pnnx accepts; our models use nothing newer."""


@dataclass(frozen=True)
class Prepared:
    """A model that pnnx can read.

    The outputs of the original model for ``x`` are those of ``model`` for ``x * factor + shift``.

    Attributes:
        model: The prepared model, with batch 1.
        shape: Shape of the input (1, C, H, W).
        factor: Factor per channel (C,), or one for all (1,).
        shift: Shift per channel (C,), or one for all (1,), added after the multiplication.
    """

    model: onnx.ModelProto
    shape: tuple[int, ...]
    factor: Doubles
    shift: Doubles

    def mean_and_norm(self, mean: Doubles, std: Doubles) -> tuple[Doubles, Doubles]:
        """Mean and norm for ncnn, where the original model expects (p - mean) / std of pixels p.

        factor · (p - mean) / std + shift = (p - (mean - shift · std / factor)) · (factor / std)
        """
        return mean - self.shift * std / self.factor, self.factor / std


def extract_part(
    model: onnx.ModelProto, start: str, outputs: list[str], where: str
) -> onnx.ModelProto:
    """Extracts the part of a model between one value and some outputs.

    Args:
        model: The model.
        start: Name of the value that becomes the input.
        outputs: Names of the values that become the outputs.
        where: Name of the model in error messages.

    Raises:
        ConversionError: If a value does not exist, or an output depends on other inputs too.
    """
    try:
        part = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(model)).extract_model(
            [start], outputs
        )
    except (ValueError, KeyError) as error:
        raise ConversionError(
            f"the part from '{start}' to {', '.join(outputs)} cannot be extracted ({error})",
            where=where,
        ) from error
    del part.graph.value_info[:]
    for value in part.graph.output:  # inferred for the original input
        value.type.tensor_type.ClearField("shape")
    return part


def prepare(model: onnx.ModelProto, shape: tuple[int, ...], where: str) -> Prepared:
    """Prepares a model: fixed input size, float32 weights, explicit padding, plain pixel input.

    Args:
        model: A model with one float32 input (N, C, H, W); it is not changed.
        shape: Shape of the input, with batch 1.
        where: Name of the model in error messages.

    Raises:
        ConversionError: If the model does not have exactly one float32 input.
        UnsupportedOperatorError: If the model is quantised.
    """
    ready = fixed_input(model, shape, where)
    ready.ir_version = min(ready.ir_version, _IR_VERSION)
    graph = ready.graph
    stored = {tensor.name for tensor in graph.initializer}
    (name,) = (value.name for value in graph.input if value.name not in stored)
    _set_padding_defaults(graph)
    factor, shift = _remove_input_arithmetic(graph, name, shape[1])
    scale = _scale_first_convolution(graph, name)
    return Prepared(ready, shape, factor * scale, shift * scale)


def fixed_input(model: onnx.ModelProto, shape: tuple[int, ...], where: str) -> onnx.ModelProto:
    """A copy of a model whose input has a fixed size and whose weights are float32.

    Args:
        model: A model with one float32 input (N, C, H, W); it is not changed.
        shape: Shape of the input, with batch 1.
        where: Name of the model in error messages.

    Raises:
        ConversionError: If the model does not have exactly one float32 input.
        UnsupportedOperatorError: If the model is quantised.
    """
    ready = onnx.ModelProto()
    ready.CopyFrom(model)
    graph = ready.graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise ConversionError(
            f"{len(inputs)} inputs, expected one float32 image" if inputs else "no input",
            where=where,
            hint="only networks with one image as input can be exported",
        )
    inputs[0].type.CopyFrom(helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, shape))
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    _check_not_quantized(graph, where)
    _store_float32(graph)
    return ready


def _check_not_quantized(graph: onnx.GraphProto, where: str) -> None:
    """Checks that a model is not quantised: pnnx splits such models into unsupported layers.

    Raises:
        UnsupportedOperatorError: If the model contains quantised operators; names a node.
    """
    for node in graph.node:
        if "Quantize" in node.op_type or "Integer" in node.op_type or "QLinear" in node.op_type:
            raise UnsupportedOperatorError(
                f"the model is quantised (node '{node.name}', {node.op_type}), "
                "pnnx reads float models only",
                where=where,
                hint="export the model in float32; ncnn has its own tools for quantisation",
            )


def _store_float32(graph: onnx.GraphProto) -> None:
    """Replaces weights that are stored as float16 and cast to float32 by float32 weights."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Cast"]:
        tensor = stored.get(node.input[0])
        if tensor is not None and helper.get_node_attr_value(node, "to") == onnx.TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor).astype(np.float32)
            graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
            graph.node.remove(node)


def _set_padding_defaults(graph: onnx.GraphProto) -> None:
    """Makes mode and value of each ``Pad`` explicit, as pnnx does not know the defaults."""
    zero = free_name("zero", {tensor.name for tensor in graph.initializer})
    added = False
    for node in graph.node:
        if node.op_type != "Pad":
            continue
        if not any(attribute.name == "mode" for attribute in node.attribute):
            node.attribute.append(helper.make_attribute("mode", "constant"))
        if len(node.input) == 2:
            node.input.append(zero)
            added = True
    if added:
        graph.initializer.append(numpy_helper.from_array(np.float32(0), zero))


def _remove_input_arithmetic(
    graph: onnx.GraphProto, name: str, channels: int
) -> tuple[Doubles, Doubles]:
    """Removes arithmetic with constants at the input; returns its factor and shift."""
    factor, shift = np.ones(1), np.zeros(1)
    for node, number in _arithmetic(graph, name, channels):
        if node.op_type in ("Add", "Sub"):
            shift = shift + (number if node.op_type == "Add" else -number)
        else:
            by = number if node.op_type == "Mul" else 1 / number
            factor, shift = factor * by, shift * by
        _redirect(graph, node.output[0], name)
        graph.node.remove(node)
    return factor, shift


def _arithmetic(
    graph: onnx.GraphProto, name: str, channels: int
) -> Iterator[tuple[onnx.NodeProto, Doubles]]:
    """Yields the only reader of the input and its constant, while it is per-channel arithmetic.

    The caller removes each node before it asks for the next one.
    """
    stored = {tensor.name: tensor for tensor in graph.initializer}
    heads = {value.name for value in graph.output}
    while True:
        readers = [node for node in graph.node if name in node.input]
        if len(readers) != 1 or readers[0].op_type not in ("Add", "Sub", "Mul", "Div"):
            return
        node = readers[0]
        other = stored.get(node.input[1])
        if other is None or node.input[0] != name or node.output[0] in heads:
            return
        number = numpy_helper.to_array(other).astype(np.float64)
        if number.size not in (1, channels) or (
            number.size > 1 and (number.ndim < 3 or number.shape[-3] != channels)
        ):
            return
        if not np.isfinite(number).all() or (node.op_type in ("Mul", "Div") and not number.all()):
            return
        yield node, number.ravel()


def _redirect(graph: onnx.GraphProto, before: str, after: str) -> None:
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name == before:
                node.input[position] = after


def _scale_first_convolution(graph: onnx.GraphProto, name: str) -> float:
    """Multiplies the weights of the first convolution by a power of two; returns its reciprocal.

    The power brings the largest absolute weight into [0.5, 1). Returns 1.0 if nothing changes.
    """
    readers = [node for node in graph.node if name in node.input]
    if len(readers) != 1 or readers[0].op_type != "Conv":
        return 1.0
    weight = readers[0].input[1]
    tensor = next((t for t in graph.initializer if t.name == weight), None)
    used = sum(list(node.input).count(weight) for node in graph.node)
    array = np.zeros(0) if tensor is None else numpy_helper.to_array(tensor)
    largest = float(np.abs(array).max(initial=0.0))
    if tensor is None or used != 1 or not 0 < largest < math.inf:
        return 1.0
    power = math.ldexp(1.0, -math.frexp(largest)[1])
    if power <= 1:
        return 1.0
    tensor.CopyFrom(numpy_helper.from_array(array * np.float32(power), weight))
    return 1 / power
