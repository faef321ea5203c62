"""Computes a network from Caffe's two files, in numpy.

It reads the prototxt for the layers and the caffemodel for the weights, by the layers' names, as
Caffe does. All layers that the writer uses are here, as their reference in Caffe's documentation
(https://caffe.berkeleyvision.org/tutorial/layers.html) and, for Normalize, Caffe-SSD define them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf import text_format
from google.protobuf.message import DecodeError

from mobileface.errors import ConversionError

from ..backends.caffe import CaffeModel
from ..backends.caffe_proto import net_parameter
from .reference_layers import convolution, per_channel, pooling, reference

__all__ = ["CaffeEvaluator"]

FloatArray = npt.NDArray[np.float32]
Arrays = Sequence[FloatArray]
Layer = Any
"""A ``LayerParameter``, whose class protobuf creates at run time."""


class CaffeEvaluator:
    """A network as Caffe loads it.

    Args:
        model: The network.
        name: Name of the network in error messages.

    Raises:
        ConversionError: If a file cannot be read, or has a layer that the writer does not use.
    """

    name = "an evaluator of Caffe's layers"

    def __init__(self, model: CaffeModel, name: str) -> None:
        self._where = name
        net, stored = net_parameter()(), net_parameter()()
        try:
            text_format.Parse(model.prototxt, net)
            stored.ParseFromString(model.caffemodel)
        except (text_format.ParseError, DecodeError) as error:
            raise ConversionError(f"not a Caffe network ({error})", where=name) from error
        self._layers = list(net.layer)
        self._weights = {layer.name: [_array(b) for b in layer.blobs] for layer in stored.layer}
        for layer in self._layers:
            if layer.type not in (*_LAYERS, "Input"):
                raise self._failure(layer, "there is no such layer")

    def run(self, inputs: Mapping[str, FloatArray], outputs: Sequence[str]) -> list[FloatArray]:
        """Runs the network on a batch.

        Args:
            inputs: Values by input name, float32 (N, …).
            outputs: Names of the outputs to return.

        Returns:
            The outputs in that order, each float32 (N, …).

        Raises:
            ConversionError: If a blob is missing, or a layer cannot compute its blobs.
        """
        blobs = dict(inputs)
        for layer in self._layers:
            if layer.type == "Input":
                continue
            try:
                read = [blobs[name] for name in layer.bottom]
                found = _LAYERS[layer.type](layer, self._weights.get(layer.name, []), read)
            except KeyError as error:
                raise self._failure(layer, f"no layer before it writes {error}") from error
            except (ValueError, IndexError) as error:
                raise self._failure(layer, str(error)) from error
            parts = found if isinstance(found, list) else [found]
            blobs.update(
                {n: np.asarray(b, np.float32) for n, b in zip(layer.top, parts, strict=True)}
            )
        missing = [name for name in outputs if name not in blobs]
        if missing:
            raise ConversionError(f"no layer writes the output '{missing[0]}'", where=self._where)
        return [blobs[name] for name in outputs]

    def _failure(self, layer: Layer, why: str) -> ConversionError:
        return ConversionError(
            f"Caffe cannot run layer '{layer.name}' ({layer.type}): {why}", where=self._where
        )


def _array(blob: Any) -> FloatArray:
    return np.array(blob.data, np.float32).reshape(tuple(blob.shape.dim))


def _field(options: Any, name: str, default: Any) -> Any:
    """The value of an option, or Caffe's default, which the declared messages do not hold."""
    return getattr(options, name) if options.HasField(name) else default


def _pair(values: Sequence[int], default: int) -> tuple[int, int]:
    """Height and width of a repeated field, which has none, one or two values."""
    first, *rest = [*values] or [default]
    return first, rest[0] if rest else first


def _convolution(layer: Layer, weights: Arrays, read: Arrays) -> FloatArray:
    options = layer.convolution_param
    return convolution(
        read[0],
        weights[0],
        weights[1] if _field(options, "bias_term", True) else None,
        stride=_pair(options.stride, 1),
        pad=_pair(options.pad, 0),
        dilation=_pair(options.dilation, 1),
        groups=_field(options, "group", 1),
        transposed=layer.type == "Deconvolution",
    )


def _inner_product(_: Layer, weights: Arrays, read: Arrays) -> FloatArray:
    rows = read[0].reshape(len(read[0]), -1)
    return reference("Gemm", rows, *weights, transB=1)


def _pooling(layer: Layer, _: Arrays, read: Arrays) -> FloatArray:
    options, (data,) = layer.pooling_param, read
    average = options.pool == 1
    if options.global_pooling:
        return reference("GlobalAveragePool" if average else "GlobalMaxPool", data)
    kernel, stride = (options.kernel_h, options.kernel_w), (options.stride_h, options.stride_w)
    pad = (options.pad_h, options.pad_w)
    rows, columns = map(_windows, data.shape[2:], kernel, stride, pad)
    return pooling(
        data,
        average=average,
        kernel=kernel,
        stride=stride,
        start=pad,
        count=(rows, columns),
        counted=pad,
    )


def _windows(size: int, kernel: int, stride: int, pad: int) -> int:
    """Number of windows: rounded up, but none starts in the padding at the end."""
    count = math.ceil((size + 2 * pad - kernel) / stride) + 1
    return count - (pad > 0 and (count - 1) * stride >= size + pad)


def _scale(layer: Layer, weights: Arrays, read: Arrays) -> FloatArray:
    data, options = read[0], layer.scale_param
    axis = _field(options, "axis", 1)
    factor = read[1] if len(read) > 1 else weights[0]
    wide = factor.reshape(factor.shape + (1,) * (data.ndim - axis - factor.ndim))
    found = data * wide
    return found + per_channel(weights[1], data) if options.bias_term else found


def _eltwise(layer: Layer, _: Arrays, read: Arrays) -> FloatArray:
    options = layer.eltwise_param
    factors = list(options.coeff) or [1.0] * len(read)
    if len({blob.shape for blob in read}) > 1 or len(factors) != len(read):
        raise ValueError("its blobs have different shapes, or not one coefficient each")
    operation = _field(options, "operation", 1)
    if operation != 1:
        combine = np.multiply if operation == 0 else np.maximum
        return np.asarray(combine.reduce(list(read)), np.float32)
    parts = [np.float32(factor) * blob for factor, blob in zip(factors, read, strict=True)]
    return np.asarray(np.add.reduce(parts), np.float32)


def _power(layer: Layer, _: Arrays, read: Arrays) -> FloatArray:
    options = layer.power_param
    numbers = (
        _field(options, name, default)
        for name, default in (("power", 1.0), ("scale", 1.0), ("shift", 0.0))
    )
    power, scale, shift = (np.float32(number) for number in numbers)
    found = read[0] * scale + shift
    return found if power == 1 else np.power(found, power)


def _normalize(layer: Layer, weights: Arrays, read: Arrays) -> FloatArray:
    options, (data,) = layer.norm_param, read
    axes = tuple(range(1, data.ndim)) if _field(options, "across_spatial", True) else (1,)
    length = np.sqrt((data**2).sum(axis=axes, keepdims=True) + np.float32(options.eps))
    return np.asarray(data / length * weights[0], np.float32)


def _slice(layer: Layer, _: Arrays, read: Arrays) -> list[FloatArray]:
    options = layer.slice_param
    return np.split(read[0], list(options.slice_point), axis=_field(options, "axis", 1))


def _crop(layer: Layer, _: Arrays, read: Arrays) -> FloatArray:
    axis, (data, like) = _field(layer.crop_param, "axis", 2), read
    offsets = list(layer.crop_param.offset) or [0]
    offsets *= data.ndim - axis if len(offsets) == 1 else 1
    sizes = zip(offsets, like.shape[axis:], strict=True)
    kept = tuple(slice(start, start + size) for start, size in sizes)
    return np.asarray(data[(slice(None),) * axis + kept])


def _reshape(layer: Layer, _: Arrays, read: Arrays) -> FloatArray:
    shape = [size or read[0].shape[axis] for axis, size in enumerate(layer.reshape_param.shape.dim)]
    return read[0].reshape(shape)


def _relu(layer: Layer, _: Arrays, read: Arrays) -> FloatArray:
    return reference("LeakyRelu", read[0], alpha=float(layer.relu_param.negative_slope))


def _prelu(_: Layer, weights: Arrays, read: Arrays) -> FloatArray:
    return reference("PRelu", read[0], per_channel(weights[0], read[0]))


def _softmax(layer: Layer, _: Arrays, read: Arrays) -> FloatArray:
    options = layer.softmax_param
    return reference("Softmax", read[0], axis=_field(options, "axis", 1))


def _concat(layer: Layer, _: Arrays, read: Arrays) -> FloatArray:
    options = layer.concat_param
    return np.concatenate(read, axis=_field(options, "axis", 1))


def _plain(kind: str) -> Callable[[Layer, Arrays, Arrays], FloatArray]:
    """A layer without options that is an operator of ONNX."""
    return lambda _, __, read: reference(kind, read[0])


_LAYERS: dict[str, Callable[[Layer, Arrays, Arrays], FloatArray | list[FloatArray]]] = {
    "AbsVal": _plain("Abs"),
    "BNLL": _plain("Softplus"),
    "Concat": _concat,
    "Convolution": _convolution,
    "Crop": _crop,
    "Deconvolution": _convolution,
    "ELU": lambda layer, _, read: reference(
        "Elu", read[0], alpha=_field(layer.elu_param, "alpha", 1.0)
    ),
    "Eltwise": _eltwise,
    "Exp": _plain("Exp"),
    "Flatten": _plain("Flatten"),
    "InnerProduct": _inner_product,
    "Log": _plain("Log"),
    "Normalize": _normalize,
    "PReLU": _prelu,
    "Pooling": _pooling,
    "Power": _power,
    "ReLU": _relu,
    "Reshape": _reshape,
    "Scale": _scale,
    "Sigmoid": _plain("Sigmoid"),
    "Slice": _slice,
    "Softmax": _softmax,
    "TanH": _plain("Tanh"),
}
