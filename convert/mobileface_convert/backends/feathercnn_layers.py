"""FeatherCNN's conversions of ONNX operators.

What the engine has no layer for is built from those that it has::

    min(x, high)    high - ReLU(high - x)                         Scale, ReLU, Scale
    PReLU(x)        s · x + (1 - s) · ReLU(x)                     Scale, ReLU, Scale, Eltwise
    padding, crop   a depthwise convolution whose kernel has a single 1
    more channels   a 1×1 convolution with the identity
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from mobileface.errors import UnsupportedOperatorError

from .feathercnn_writer import FeatherWriter

__all__ = ["LAYERS", "FeatherContext", "layer"]

Doubles = npt.NDArray[np.float64]
Shape = tuple[int, ...]
_IMAGE = 4


@dataclass(frozen=True)
class FeatherContext:
    """What a conversion works with.

    Attributes:
        writer: The network that layers are added to.
        node: The operator to convert.
        blobs: The blob of each value so far.
        constants: The stored arrays.
        shapes: Shape of each value, with batch 1.
        where: Name of the model in error messages.
    """

    writer: FeatherWriter
    node: onnx.NodeProto
    blobs: Mapping[str, str]
    constants: Mapping[str, npt.NDArray[Any]]
    shapes: Mapping[str, Shape]
    where: str

    @property
    def name(self) -> str:
        """Name of the node, or of its output."""
        return str(self.node.name or self.node.output[0])

    @property
    def data(self) -> str:
        """The blob of the first input."""
        return self.blob(0)

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute, or its default."""
        for entry in self.node.attribute:
            if entry.name == name:
                return helper.get_attribute_value(entry)
        return default

    def shape(self, position: int = 0) -> Shape:
        """Shape of an input.

        Raises:
            UnsupportedOperatorError: If it is unknown.
        """
        return self._shape_of(self.node.input[position])

    @property
    def output_shape(self) -> Shape:
        """Shape of the first output.

        Raises:
            UnsupportedOperatorError: If it is unknown.
        """
        return self._shape_of(self.node.output[0])

    def blob(self, position: int) -> str:
        """The blob of an input.

        Raises:
            UnsupportedOperatorError: If the input is a stored array, which layers cannot read.
        """
        name = self.node.input[position]
        if name not in self.blobs:
            raise self.unsupported(f"its input '{name}' is a stored array")
        return self.blobs[name]

    def constant(self, position: int) -> Doubles | None:
        """The stored array of an input; None if it has none, or the input is not stored."""
        if position >= len(self.node.input):
            return None
        found = self.constants.get(self.node.input[position])
        return None if found is None else np.asarray(found, np.float64)

    def stored(self, position: int, role: str) -> Doubles:
        """The stored array of an input.

        Raises:
            UnsupportedOperatorError: If the input is computed.
        """
        found = self.constant(position)
        if found is None:
            raise self.unsupported(f"its {role} is computed, not stored")
        return found

    def per_channel(self, position: int, data: int = 0) -> Doubles:
        """A stored array as one value per channel (C,) of another input.

        Raises:
            UnsupportedOperatorError: If it does not hold that.
        """
        shape, found = self.shape(data), self.stored(position, "operand")
        wide = (1,) * (len(shape) - found.ndim) + found.shape
        if len(wide) != len(shape) or found.size not in (1, shape[1]) or found.size != wide[1]:
            raise self.unsupported(f"it combines a blob of shape {shape} with {found.shape} values")
        if not np.isfinite(found).all():
            raise self.unsupported("a stored array has nan or inf")
        return np.broadcast_to(found.ravel(), (shape[1],))

    def unsupported(self, what: str) -> UnsupportedOperatorError:
        """The error for a node that FeatherCNN has no layers for."""
        return UnsupportedOperatorError(
            f"FeatherCNN has no layer for node '{self.name}' ({self.node.op_type}): {what}",
            where=self.where,
            hint="cut the network before it, or export to ncnn",
        )

    def _shape_of(self, name: str) -> Shape:
        if name not in self.shapes:
            raise self.unsupported(f"the shape of '{name}' is unknown or not fixed")
        return self.shapes[name]


Conversion = Callable[[FeatherContext], str]
"""Adds the layers of an operator; returns the blob of its output."""

LAYERS: dict[str, Conversion] = {}
"""Conversions by ONNX operator."""


def layer(*operators: str) -> Callable[[Conversion], Conversion]:
    """Decorator that registers a conversion for some operators."""

    def register(convert: Conversion) -> Conversion:
        LAYERS.update(dict.fromkeys(operators, convert))
        return convert

    return register


@layer("Identity", "Dropout", "Cast")
def same(context: FeatherContext) -> str:
    """No layer."""
    if context.attribute("to", onnx.TensorProto.FLOAT) != onnx.TensorProto.FLOAT:
        raise context.unsupported("the engine computes in float32 only")
    return context.data


@layer("Flatten", "Reshape", "Squeeze", "Unsqueeze")
def reshape(context: FeatherContext) -> str:
    """No layer: blobs of one row or column are vectors, and InnerProduct flattens its input."""
    before, after = context.shape(), context.output_shape
    vectors = all(math.prod(shape[2:]) == 1 for shape in (before, after))
    if (before != after and not (len(after) == 2 or vectors)) or before[:1] != after[:1]:
        raise context.unsupported(f"a reshape from {before} to {after}")
    return context.data


@layer("Conv")
def convolution(context: FeatherContext) -> str:
    """``Convolution`` or ``ConvolutionDepthWise``; uneven padding is a layer before it."""
    weight, shape = context.stored(1, "weight"), context.shape()
    groups = context.attribute("group", 1)
    if weight.ndim != _IMAGE:
        raise context.unsupported(f"a kernel of {weight.ndim - 2} dimensions")
    if groups != 1 and not groups == shape[1] == len(weight):
        raise context.unsupported(f"{groups} groups for {shape[1]} and {len(weight)} channels")
    if any(step != 1 for step in context.attribute("dilations", ())):
        raise context.unsupported("dilation")
    bias = context.stored(2, "bias") if len(context.node.input) > 2 else None
    if groups == 1 == math.prod(weight.shape[2:]) and context.writer.is_vector(context.data):
        return context.writer.inner_product(context.name, context.data, weight[:, :, 0, 0], bias)
    stride = tuple(context.attribute("strides", (1, 1)))
    data, pad = context.data, _pads(context, weight.shape[2:], stride)
    if pad[:2] != pad[2:]:
        data, pad = _resized(context, data, pad), (0, 0, 0, 0)
    return context.writer.convolution(
        context.name,
        data,
        weight,
        bias,
        stride=stride,
        pad=pad[:2],
        depthwise=groups == shape[1] == len(weight),
    )


def _pads(
    context: FeatherContext, kernel: tuple[int, ...], stride: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """Padding above, left, below and right."""
    mode = context.attribute("auto_pad", b"NOTSET").decode()
    if mode in ("NOTSET", "VALID"):
        top, left, bottom, right = context.attribute("pads", (0, 0, 0, 0))
        return top, left, bottom, right
    pairs = []
    for size, window, step in zip(context.shape()[2:], kernel, stride, strict=True):
        total = max(0, (math.ceil(size / step) - 1) * step + window - size)
        less, more = total // 2, total - total // 2
        pairs.append((less, more) if mode == "SAME_UPPER" else (more, less))
    return pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1]


def _resized(context: FeatherContext, data: str, pad: tuple[int, int, int, int]) -> str:
    """Pads a blob with zeros by a depthwise convolution; a negative padding crops it.

    Padding by a before and b after is a convolution padded by p = max(a, b, 0) on both sides, with
    a kernel of 2p + 1 - a - b values of which number p - a is 1 and the others are 0.
    """
    channels = context.shape()[1]
    both = [max(pad[axis], pad[axis + 2], 0) for axis in range(2)]
    sizes = [2 * p + 1 - pad[axis] - pad[axis + 2] for axis, p in enumerate(both)]
    kernel = np.zeros((channels, 1, *sizes))
    kernel[:, :, both[0] - pad[0], both[1] - pad[1]] = 1
    return context.writer.convolution(
        f"{context.name}_pad", data, kernel, pad=(both[0], both[1]), depthwise=True
    )


@layer("Pad")
def pad(context: FeatherContext) -> str:
    """Zeros around an image, and channels of zeros behind the others."""
    numbers = [int(number) for number in context.stored(1, "padding")]
    value = context.constant(2)
    axes = [int(a) for a in context.stored(3, "axes")] if len(context.node.input) > 3 else None
    shape = context.shape()
    if context.attribute("mode", b"constant") != b"constant" or (value is not None and value.any()):
        raise context.unsupported("padding that is not zero")
    if len(shape) != _IMAGE or axes is not None or min(numbers) < 0 or any(numbers[:2]):
        raise context.unsupported(f"padding by {numbers} of a blob of shape {shape}")
    if numbers[4]:
        raise context.unsupported("batches")
    data, more = context.data, numbers[5]
    if more:
        identity = np.eye(shape[1] + more, shape[1])[:, :, None, None]
        data = context.writer.convolution(f"{context.name}_channels", data, identity)
    around = (numbers[2], numbers[3], numbers[6], numbers[7])
    if not any(around):
        return data
    if more:
        raise context.unsupported("padding of channels and rows at once")
    return _resized(context, data, around)


@layer("MaxPool", "AveragePool")
def pooling(context: FeatherContext) -> str:
    """``Pooling`` of what the windows read; the engine rounds their number up."""
    average, shape = context.node.op_type == "AveragePool", context.shape()
    kernel = tuple(context.attribute("kernel_shape", ()))
    if len(kernel) != 2 or any(step != 1 for step in context.attribute("dilations", ())):
        raise context.unsupported("only plain windows over two axes")
    stride = tuple(context.attribute("strides", (1, 1)))
    data, pads = context.data, _pads(context, kernel, stride)
    windows = context.output_shape[2:]
    before, change = pads[:2], (0, 0, 0, 0)
    if average and any(pads) and context.attribute("count_include_pad", 0):
        before, change = (0, 0), pads
    sizes = [size + change[axis] + change[axis + 2] for axis, size in enumerate(shape[2:])]
    axes = list(zip(sizes, before, kernel, stride, windows, strict=True))
    rest = [max(0, s + begin - (n - 1) * step - k) for s, begin, k, step, n in axes]
    change = (*change[:2], change[2] - rest[0], change[3] - rest[1])
    placed = tuple(
        math.ceil((s - less + begin - k) / step) + 1
        for (s, begin, k, step, _), less in zip(axes, rest, strict=True)
    )
    if placed != windows:
        raise context.unsupported(f"the engine cannot place {windows} windows with this padding")
    if any(change):
        data = _resized(context, data, change)
    options = {0: int(average), 1: kernel[1], 11: kernel[0], 2: stride[1], 12: stride[0]}
    if any(before):
        options |= {3: before[1], 13: before[0], 14: 0, 15: 0}
    return context.writer.add("Pooling", context.name, data, options=options)


@layer("GlobalAveragePool", "GlobalMaxPool")
def global_pooling(context: FeatherContext) -> str:
    """``Pooling`` over the whole image."""
    average = int(context.node.op_type == "GlobalAveragePool")
    return context.writer.add("Pooling", context.name, context.data, options={0: average, 4: 1})


@layer("Gemm", "MatMul")
def inner_product(context: FeatherContext) -> str:
    """``InnerProduct``, which reads a bias in any case."""
    weight = context.stored(1, "weight")
    if len(context.shape()) != 2 or weight.ndim != 2 or context.attribute("transA", 0):
        raise context.unsupported("only rows times a stored matrix")
    if not context.attribute("transB", 0):
        weight = weight.T
    weight = weight * context.attribute("alpha", 1.0)
    bias = context.constant(2)
    if len(context.node.input) > 2:
        whole = context.stored(2, "bias") * context.attribute("beta", 1.0)
        bias = np.broadcast_to(whole.ravel(), (len(weight),))
    return context.writer.inner_product(context.name, context.data, weight, bias)


@layer("Softmax")
def softmax(context: FeatherContext) -> str:
    """``Softmax``, which the engine computes over the whole blob."""
    shape = context.shape()
    axis = context.attribute("axis", -1) % len(shape)
    if axis != 1 or math.prod(shape[2:]) != 1:
        raise context.unsupported(f"softmax along axis {axis} of a blob of shape {shape}")
    return context.writer.add("Softmax", context.name, context.data, options={0: 0, 1: 1})


@layer("Concat")
def concat(context: FeatherContext) -> str:
    """``Concat`` of channels."""
    if context.attribute("axis", 1) % len(context.shape()) != 1:
        raise context.unsupported("only channels can be concatenated")
    blobs = [context.blob(position) for position in range(len(context.node.input))]
    if len(blobs) == 1:
        return blobs[0]
    return context.writer.add("Concat", context.name, *blobs, options={0: 0})
