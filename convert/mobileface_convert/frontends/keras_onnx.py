"""Builds the ONNX graph of a Keras network.

::

    Keras (N, H, W, C)                            ONNX (N, C, H, W)
    Conv2D                                        Conv
    SeparableConv2D                               Conv by channel, then Conv 1×1
    BatchNormalization                            BatchNormalization (folded into the Conv before it
                                                  afterwards, by `backends.onnx.clean`)
    padding "same"                                pads, the odd one below and at the right

A batch normalisation's variance of zero or below is refused: nothing could divide by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from mobileface.errors import GraphError, UnsupportedOperatorError

from ..graph.onnx_builder import DEFAULT_OPSET, GraphBuilder
from ..graph.same_padding import same_padding
from .keras_file import KerasLayer, KerasNetwork

__all__ = ["build_keras"]

Size = tuple[int, int]

_ACTIVATIONS = {"relu": "Relu", "softmax": "Softmax", "sigmoid": "Sigmoid", "linear": ""}


@dataclass(frozen=True)
class _Value:
    """A value of the graph that is built.

    Attributes:
        value: (N, channels, height, width), or (N, channels) after pooling over all of it.
        size: Height and width; None after that pooling.
    """

    value: ir.Value
    size: Size | None


def build_keras(
    network: KerasNetwork, *, name: str, image: str, output: str, opset: int = DEFAULT_OPSET
) -> ir.Model:
    """The ONNX model of a network.

    Args:
        network: The network.
        name: Name of the graph.
        image: Name of its input, float32 (N, channels, height, width).
        output: Name of its output.
        opset: Version of the ONNX operator set.

    Raises:
        GraphError: Layers do not fit together; names the layer.
        UnsupportedOperatorError: A setting of a layer has no conversion; names both.
    """
    builder = GraphBuilder(name, opset)
    height, width, channels = network.shape
    fed = _Value(builder.input(image, np.float32, ("N", channels, height, width)), (height, width))
    values: dict[str, _Value] = {}
    for layer in network.layers:
        if layer.kind == "InputLayer":
            values[layer.name] = fed
            continue
        where = f"{network.origin}, layer '{layer.name}' ({layer.kind})"
        inputs = [values[given] for given in layer.inputs]
        try:
            made = _BUILDERS[layer.kind](builder, layer, inputs, where)
        except (KeyError, TypeError, ValueError) as error:
            raise GraphError(f"a setting is missing or not valid ({error})", where=where) from error
        values[layer.name] = _activated(builder, layer, made, where)
    return builder.build({output: values[network.output].value})


def _convolution(
    builder: GraphBuilder, layer: KerasLayer, inputs: list[_Value], where: str
) -> _Value:
    kernel = layer.arrays["kernel"].transpose(3, 2, 0, 1)
    windows, size = _windows(layer, kernel.shape[2:], inputs[0], where)
    parts = [builder.constant(kernel, np.float32, name="weight"), *_bias(builder, layer)]
    made = builder.op("Conv", inputs[0].value, *parts, name=layer.name, **windows)
    return _Value(made, size)


def _separable(
    builder: GraphBuilder, layer: KerasLayer, inputs: list[_Value], where: str
) -> _Value:
    depthwise = layer.arrays["depthwise_kernel"]
    rows, columns, channels, depth = depthwise.shape
    # Output d of channel c is channel c · depth + d of the pointwise convolution.
    kernel = depthwise.transpose(2, 3, 0, 1).reshape(channels * depth, 1, rows, columns)
    windows, size = _windows(layer, (rows, columns), inputs[0], where)
    weight = builder.constant(kernel, np.float32, name="weight")
    first = builder.op(
        "Conv", inputs[0].value, weight, name=f"{layer.name}_depthwise", group=channels, **windows
    )
    point = layer.arrays["pointwise_kernel"].transpose(3, 2, 0, 1)
    parts = [builder.constant(point, np.float32, name="weight"), *_bias(builder, layer)]
    return _Value(builder.op("Conv", first, *parts, name=layer.name, kernel_shape=(1, 1)), size)


def _bias(builder: GraphBuilder, layer: KerasLayer) -> list[ir.Value]:
    if "bias" not in layer.arrays:
        return []
    return [builder.constant(layer.arrays["bias"], np.float32, name="bias")]


def _normalization(
    builder: GraphBuilder, layer: KerasLayer, inputs: list[_Value], where: str
) -> _Value:
    arrays = layer.arrays
    epsilon = float(layer.config["epsilon"])
    variance = arrays["moving_variance"]
    if not epsilon >= 0 or (variance + epsilon <= 0).any():
        raise GraphError("a variance is zero or below", where=where)
    ones, zeros = np.ones_like(variance), np.zeros_like(variance)
    parts = [arrays.get("gamma", ones), arrays.get("beta", zeros), arrays["moving_mean"], variance]
    constants = [builder.constant(part, np.float32, name="normalization") for part in parts]
    made = builder.op(
        "BatchNormalization", inputs[0].value, *constants, name=layer.name, epsilon=epsilon
    )
    return _Value(made, inputs[0].size)


def _pooling(builder: GraphBuilder, layer: KerasLayer, inputs: list[_Value], where: str) -> _Value:
    windows, size = _windows(layer, tuple(layer.config["pool_size"]), inputs[0], where)
    return _Value(builder.op("MaxPool", inputs[0].value, name=layer.name, **windows), size)


def _add(builder: GraphBuilder, layer: KerasLayer, inputs: list[_Value], where: str) -> _Value:
    one, other = inputs
    if one.value.shape != other.value.shape:
        raise GraphError(
            f"shapes {one.value.shape} and {other.value.shape} are not the same", where=where
        )
    return _Value(builder.op("Add", one.value, other.value, name=layer.name), one.size)


def _mean(builder: GraphBuilder, layer: KerasLayer, inputs: list[_Value], _: str) -> _Value:
    pooled = builder.op("GlobalAveragePool", inputs[0].value, name=layer.name)
    return _Value(builder.op("Flatten", pooled, axis=1), None)


def _unchanged(_: GraphBuilder, __: KerasLayer, inputs: list[_Value], ___: str) -> _Value:
    return inputs[0]  # `_activated` does the rest


def _activated(builder: GraphBuilder, layer: KerasLayer, made: _Value, where: str) -> _Value:
    """A layer's result with the activation that it states."""
    function = layer.config.get("activation", "linear")
    if function not in _ACTIVATIONS:
        raise UnsupportedOperatorError(
            f"the activation {function!r} has no conversion",
            where=where,
            hint=f"known: {', '.join(_ACTIVATIONS)}",
        )
    if not _ACTIVATIONS[function]:
        return made
    kind, name = _ACTIVATIONS[function], f"{layer.name}_{function}"
    if function == "softmax":  # over the channels
        return _Value(builder.op(kind, made.value, name=name, axis=1), made.size)
    value = builder.op(kind, made.value, name=name)
    return _Value(value, made.size)


def _windows(
    layer: KerasLayer, kernel: tuple[int, ...], given: _Value, where: str
) -> tuple[dict[str, Any], Size]:
    """The attributes of windows that move over a value, and the size of the result.

    Raises:
        UnsupportedOperatorError: A setting has no conversion.
        GraphError: The value is smaller than a window.
    """
    config = layer.config
    strides = tuple(int(step) for step in config["strides"])
    plain = tuple(config.get("dilation_rate", (1, 1))) == (1, 1) and config.get("groups", 1) == 1
    if config["padding"] not in ("same", "valid") or not plain or min(strides) < 1:
        raise UnsupportedOperatorError(
            "only plain windows with the padding 'same' or 'valid' have a conversion", where=where
        )
    if given.size is None or len(kernel) != 2 or len(strides) != 2:
        raise GraphError("windows move over two axes", where=where)
    before, after, size = [], [], []
    for length, window, step in zip(given.size, kernel, strides, strict=True):
        pads = same_padding(length, window, step) if config["padding"] == "same" else (0, 0)
        padded = length + sum(pads)
        if padded < window:
            raise GraphError(f"{length} pixels are fewer than a window of {window}", where=where)
        before.append(pads[0])
        after.append(pads[1])
        size.append((padded - window) // step + 1)
    found = {"kernel_shape": kernel, "strides": strides, "pads": (*before, *after)}
    return found, (size[0], size[1])


_Builder = Callable[[GraphBuilder, KerasLayer, list[_Value], str], _Value]

_BUILDERS: Mapping[str, _Builder] = {
    "Conv2D": _convolution,
    "SeparableConv2D": _separable,
    "BatchNormalization": _normalization,
    "Activation": _unchanged,
    "MaxPooling2D": _pooling,
    "Add": _add,
    "GlobalAveragePooling2D": _mean,
}
