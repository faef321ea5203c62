"""Computes a network from FeatherCNN's files as the engine reads them, in numpy.

What the engine's last version (2019) does not do as ncnn does, it does not do here either: it
ignores options that it does not know; groups are only possible where each has one channel, and then
one value of a bias is read and the others are what happens to lie in memory, here nan; a
convolution of one channel has one output; pooling adds the padding of both sides at the start;
softmax is over the whole blob.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from mobileface.errors import ConversionError

from ..backends.ncnn import NcnnModel
from ..backends.ncnn_param import ParamLayer, read_param
from .reference_layers import convolution, per_channel, pooling, reference

__all__ = ["FeatherEvaluator"]

FloatArray = npt.NDArray[np.float32]
_TAG = b"\0\0\0\0"
_WITH_WEIGHTS = ("Convolution", "ConvolutionDepthWise", "InnerProduct", "Scale", "BatchNorm")


class FeatherEvaluator:
    """A network as FeatherCNN loads it.

    Args:
        model: The network's files and outputs.
        where: Name of the network in error messages.

    Raises:
        ConversionError: If the engine would refuse the files, or read beyond their end.
    """

    name = "an evaluator of FeatherCNN's reader"

    def __init__(self, model: NcnnModel, where: str) -> None:
        self._model, self._where, self._offset = model, where, 0
        self._layers = []
        for layer in read_param(model.param, where):
            if layer.kind not in _LAYERS:
                raise self._refused(layer, "there is no such layer")
            try:
                self._layers.append((layer, self._weights_of(layer)))
            except ValueError as error:
                raise self._refused(layer, str(error)) from error

    def run(self, tensor: FloatArray) -> list[FloatArray]:
        """Runs the network on a batch, which the engine would do image by image.

        Args:
            tensor: The input, float32 (N, C, H, W).

        Returns:
            The outputs, each float32 (N, C, H, W).

        Raises:
            ConversionError: If the engine would refuse a layer's input.
        """
        blobs: dict[str, FloatArray] = {}
        for layer, weights in self._layers:
            try:
                read = [blobs[name] for name in layer.bottoms]
                found = (
                    [tensor] if layer.kind == "Input" else _LAYERS[layer.kind](layer, weights, read)
                )
            except KeyError as error:
                raise self._refused(layer, f"no layer before it writes {error}") from error
            except (ValueError, IndexError) as error:
                raise self._refused(layer, str(error)) from error
            blobs.update(zip(layer.tops, found, strict=True))
        missing = [name for name in self._model.outputs if name not in blobs]
        if missing:
            raise ConversionError(f"no layer writes the output '{missing[0]}'", where=self._where)
        return [blobs[name] for name in self._model.outputs]

    def _weights_of(self, layer: ParamLayer) -> list[FloatArray]:
        """Reads what the engine reads of the bin file for a layer."""
        if layer.kind not in _WITH_WEIGHTS:
            return []
        size = layer.integer(0)
        if layer.kind in ("Convolution", "ConvolutionDepthWise"):
            if layer.integer(2, 1) > 1 or layer.integer(12, 1) > 1 or layer.integer(8):
                raise self._refused(layer, "dilation and int8 are not supported")
            if not size or size % layer.integer(7, 1):
                raise self._refused(layer, "outputs are no multiple of groups")
            biases = [size // layer.integer(7, 1)] if layer.integer(5) else []
            return [
                self._tagged(layer, layer.integer(6)),
                *(self._floats(layer, n) for n in biases),
            ]
        if layer.kind == "InnerProduct":
            if not layer.integer(1):
                raise self._refused(layer, "it reads a bias in any case")
            return [self._tagged(layer, layer.integer(2)), self._floats(layer, size)]
        if layer.kind == "Scale":
            if size <= 0:
                raise self._refused(layer, "it has no weights of its own")
            return [self._floats(layer, size) for _ in range(1 + bool(layer.integer(1)))]
        return [self._floats(layer, size) for _ in range(4)]

    def _tagged(self, layer: ParamLayer, count: int) -> FloatArray:
        tag = self._model.bin[self._offset : self._offset + len(_TAG)]
        if tag != _TAG:
            raise self._refused(layer, f"its weights start with {tag.hex()}, not with zero")
        self._offset += len(_TAG)
        return self._floats(layer, count)

    def _floats(self, layer: ParamLayer, count: int) -> FloatArray:
        size = np.dtype("<f4").itemsize * count
        if count < 0 or self._offset + size > len(self._model.bin):
            raise self._refused(layer, "the bin file ends before its weights do")
        found = np.frombuffer(self._model.bin, "<f4", count, self._offset)
        self._offset += size
        return found

    def _refused(self, layer: ParamLayer, why: str) -> ConversionError:
        return ConversionError(
            f"FeatherCNN cannot run layer '{layer.name}' ({layer.kind}): {why}", where=self._where
        )


def _convolution(
    layer: ParamLayer, weights: Sequence[FloatArray], read: Sequence[FloatArray]
) -> list[FloatArray]:
    (data,) = read
    width, groups = layer.integer(1), layer.integer(7, 1)
    kernel = (layer.integer(11, width), width)
    outputs = layer.integer(0) // groups
    inputs = weights[0].size // outputs // math.prod(kernel)
    if inputs != data.shape[1]:
        raise ValueError(f"it reads {data.shape[1]} channels, its weights are for {inputs}")
    if groups not in (1, inputs):
        raise ValueError("groups of several channels are not supported")
    depthwise = groups == inputs
    if depthwise:
        weight = weights[0][: inputs * math.prod(kernel)].reshape(inputs, 1, *kernel)
        outputs = inputs
    else:
        weight = weights[0].reshape(outputs, inputs, *kernel)
    bias = None
    if len(weights) > 1:
        bias = np.full(outputs, np.nan, np.float32)
        bias[: weights[1].size] = weights[1][:outputs]
    step, pad = layer.integer(3, 1), layer.integer(4)
    stride = (layer.integer(13, step), step)
    both = (layer.integer(14, pad), pad)
    return [convolution(data, weight, bias, stride=stride, pad=both, groups=groups)]


def _pooling(
    layer: ParamLayer, _: Sequence[FloatArray], read: Sequence[FloatArray]
) -> list[FloatArray]:
    (data,) = read
    width, step, left = layer.integer(1), layer.integer(2, 1), layer.integer(3)
    kernel, stride = (layer.integer(11, width), width), (layer.integer(12, step), step)
    top = layer.integer(13, left)
    margins = (top + layer.integer(15, top), left + layer.integer(14, left))
    if layer.integer(4):
        kernel, stride = (data.shape[2], data.shape[3]), (1, 1)
    rows, columns = (
        math.ceil((size + margin - window) / by) + 1
        for size, margin, window, by in zip(data.shape[2:], margins, kernel, stride, strict=True)
    )
    count = (1, 1) if layer.integer(4) else (rows, columns)
    return [
        pooling(
            data,
            average=layer.integer(0) != 0,
            kernel=kernel,
            stride=stride,
            start=margins,
            count=count,
        )
    ]


def _inner_product(
    layer: ParamLayer, weights: Sequence[FloatArray], read: Sequence[FloatArray]
) -> list[FloatArray]:
    rows = read[0].reshape(len(read[0]), -1)
    weight = weights[0].reshape(layer.integer(0), -1)
    found = reference("Gemm", rows, weight, weights[1], transB=1)
    return [found[:, :, None, None]]


def _softmax(
    _: ParamLayer, __: Sequence[FloatArray], read: Sequence[FloatArray]
) -> list[FloatArray]:
    rows = read[0].reshape(len(read[0]), -1)
    return [reference("Softmax", rows, axis=1).reshape(read[0].shape)]


def _batch_norm(
    layer: ParamLayer, weights: Sequence[FloatArray], read: Sequence[FloatArray]
) -> list[FloatArray]:
    slope, mean, var, bias = weights
    arrays = (slope, bias, mean, var)
    return [reference("BatchNormalization", read[0], *arrays, epsilon=layer.number(1))]


def _scale(
    _: ParamLayer, weights: Sequence[FloatArray], read: Sequence[FloatArray]
) -> list[FloatArray]:
    (data,) = read
    if weights[0].size != data.shape[1]:
        raise ValueError(
            f"it reads {data.shape[1]} channels, its weights are for {weights[0].size}"
        )
    factor, *shift = (per_channel(values, data) for values in weights)
    return [data * factor + shift[0] if shift else data * factor]


def _eltwise(
    layer: ParamLayer, _: Sequence[FloatArray], read: Sequence[FloatArray]
) -> list[FloatArray]:
    if layer.integer(0) != 1 or any(number < 0 for number in layer.options):
        raise ValueError("only sums without coefficients are supported")
    if len({blob.shape for blob in read}) > 1:
        raise ValueError("its blobs have different shapes")
    return [read[0] + read[1]]


def _concat(
    layer: ParamLayer, _: Sequence[FloatArray], read: Sequence[FloatArray]
) -> list[FloatArray]:
    if layer.integer(0) != 0:
        raise ValueError("only channels can be concatenated")
    return [np.concatenate(read, axis=1)]


Layer = Callable[[ParamLayer, Sequence[FloatArray], Sequence[FloatArray]], list[FloatArray]]

_LAYERS: dict[str, Layer] = {
    "Input": lambda _, __, read: list(read),
    "Convolution": _convolution,
    "ConvolutionDepthWise": _convolution,
    "ReLU": lambda _, __, read: [reference("Relu", read[0])],
    "Pooling": _pooling,
    "InnerProduct": _inner_product,
    "Dropout": lambda layer, _, read: [read[0] * np.float32(layer.number(0, 1.0))],
    "Softmax": _softmax,
    "BatchNorm": _batch_norm,
    "Scale": _scale,
    "Split": lambda layer, _, read: [read[0]] * len(layer.tops),
    "Eltwise": _eltwise,
    "Concat": _concat,
}
