"""What is done to an ONNX model before pnnx reads it.

::

    before   pixels ─ Sub(127.5) ─ Conv(W, b) ─ …
    after    (pixels − mean) · norm ─ Conv(W · 2ᵏ, b) ─ …        norm = 2⁻ᵏ

Its size is fixed and padding is spelt out. ncnn prepares pixels with
``substract_mean_normalize(mean, norm)``, so the arithmetic on them leaves the network. Some models
divide the pixels by folding the division into the first convolution, whose weights are then too
small for float16 (pnnx makes anything below 6e-5 zero): a power of two moves back out, which
changes no digit of a product.
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

__all__ = ["Prepared", "between", "prepare"]

Doubles = npt.NDArray[np.float64]

_IR_VERSION = 11
"""The ONNX Runtime inside pnnx refuses newer files; nothing newer is used."""


@dataclass(frozen=True)
class Prepared:
    """A model that pnnx can read.

    Attributes:
        model: The model, for one picture at a time.
        shape: Shape of its input (1, C, H, W).
        factor: What the input is multiplied by first, for each channel or for all.
        shift: What is added then.
    """

    model: onnx.ModelProto
    shape: tuple[int, ...]
    factor: Doubles
    shift: Doubles

    def pixels(self, mean: Doubles, std: Doubles) -> tuple[Doubles, Doubles]:
        """Mean and norm, as ncnn wants them, for pixels of which the model takes (p - mean) / std.

        factor · (p - mean) / std + shift = (p - (mean - shift · std / factor)) · (factor / std)
        """
        return mean - self.shift * std / self.factor, self.factor / std


def between(model: onnx.ModelProto, start: str, outputs: list[str], where: str) -> onnx.ModelProto:
    """The part of a model from one value to others.

    Raises:
        ConversionError: There are no such values, or they do not depend on the first alone.
    """
    try:
        part = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(model)).extract_model(
            [start], outputs
        )
    except (ValueError, KeyError) as error:
        raise ConversionError(
            f"the part from '{start}' to {', '.join(outputs)} cannot be cut out ({error})",
            where=where,
        ) from error
    del part.graph.value_info[:]
    for value in part.graph.output:  # sizes that hold for another input
        value.type.tensor_type.ClearField("shape")
    return part


def prepare(model: onnx.ModelProto, shape: tuple[int, ...], where: str) -> Prepared:
    """The model for one picture of a size, with everything stated that pnnx does not assume.

    Args:
        model: A model with one float32 input (N, C, H, W); it is not changed.
        shape: The input's shape, with batch 1.
        where: What error messages call it.

    Raises:
        ConversionError: It has another kind of input.
        UnsupportedOperatorError: It is quantised.
    """
    ready = onnx.ModelProto()
    ready.CopyFrom(model)
    ready.ir_version = min(ready.ir_version, _IR_VERSION)
    graph = ready.graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise ConversionError(
            f"{len(inputs)} inputs, of which the first is no float32 picture"
            if inputs
            else "no input",
            where=where,
            hint="only networks from one picture to vectors or maps are exported",
        )
    inputs[0].type.CopyFrom(helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, shape))
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    _refuse_integers(graph, where)
    _widen(graph)
    _spell_out_padding(graph)
    factor, shift = _peel(graph, inputs[0].name, shape[1])
    smaller = _balance(graph, inputs[0].name)
    return Prepared(ready, shape, factor * smaller, shift * smaller)


def _refuse_integers(graph: onnx.GraphProto, where: str) -> None:
    """Refuses a quantised model, which pnnx takes apart into what ncnn has no layers for.

    Raises:
        UnsupportedOperatorError: It computes with integers; names a node.
    """
    for node in graph.node:
        if "Quantize" in node.op_type or "Integer" in node.op_type or "QLinear" in node.op_type:
            raise UnsupportedOperatorError(
                f"it is quantised (node '{node.name}', {node.op_type}), pnnx reads float models",
                where=where,
                hint="export the model in float32; ncnn has tools of its own to quantise it",
            )


def _widen(graph: onnx.GraphProto) -> None:
    """Weights that are stored as float16 and cast to float32 are stored as float32."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Cast"]:
        tensor = stored.get(node.input[0])
        if tensor is not None and helper.get_node_attr_value(node, "to") == onnx.TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor).astype(np.float32)
            graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
            graph.node.remove(node)


def _spell_out_padding(graph: onnx.GraphProto) -> None:
    """States mode and value of each ``Pad``: pnnx does not know their defaults."""
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


def _peel(graph: onnx.GraphProto, name: str, channels: int) -> tuple[Doubles, Doubles]:
    """Takes arithmetic with constants off the input; returns its factor and shift."""
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
    """The node that alone reads the input, as long as it computes with a number a channel."""
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


def _balance(graph: onnx.GraphProto, name: str) -> float:
    """Multiplies the first convolution by a power of two; returns its reciprocal."""
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
