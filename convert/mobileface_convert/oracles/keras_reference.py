"""A Keras network run in plain numpy, float64, as its configuration says: slow, without ONNX.

Arrays keep Keras's own order of axes, (N, height, width, channels). Nothing is folded or rewritten.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from mobileface.errors import UnsupportedOperatorError

from ..frontends.keras_file import KerasLayer, KerasNetwork

__all__ = ["KerasReference"]

Array = npt.NDArray[np.float64]


class KerasReference:
    """A network that was read from a Keras file.

    Args:
        network: The network.

    Attributes:
        name: What certificates call it.
    """

    def __init__(self, network: KerasNetwork) -> None:
        self._network = network
        self.name = "plain numpy in float64 on the published layers"

    def run(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The output, float32 (N, classes), for images (N, height, width, channels).

        Raises:
            UnsupportedOperatorError: A layer or an activation is not known here.
        """
        values: dict[str, Array] = {}
        for layer in self._network.layers:
            given = [values[name] for name in layer.inputs]
            made = images.astype(np.float64) if not given else _run(layer, given)
            values[layer.name] = _activate(layer, made)
        return values[self._network.output].astype(np.float32)


def _run(layer: KerasLayer, given: list[Array]) -> Array:
    data, arrays = given[0], layer.arrays
    if layer.kind == "Conv2D":
        windows = _windows(layer, data, arrays["kernel"].shape[:2], 0.0)
        found = np.einsum("nhwcij,ijco->nhwo", windows, arrays["kernel"], optimize=True)
        return np.asarray(found + arrays.get("bias", np.float32(0)))
    if layer.kind == "SeparableConv2D":
        depthwise = arrays["depthwise_kernel"]
        windows = _windows(layer, data, depthwise.shape[:2], 0.0)
        parts = np.einsum("nhwcij,ijcd->nhwcd", windows, depthwise, optimize=True)
        flat = parts.reshape(*parts.shape[:3], -1)
        return np.asarray(flat @ arrays["pointwise_kernel"][0, 0] + arrays.get("bias", 0.0))
    if layer.kind == "BatchNormalization":
        spread = np.sqrt(arrays["moving_variance"].astype(np.float64) + layer.config["epsilon"])
        scaled = (data - arrays["moving_mean"]) / spread
        return np.asarray(scaled * arrays.get("gamma", 1.0) + arrays.get("beta", 0.0))
    if layer.kind == "MaxPooling2D":
        windows = _windows(layer, data, tuple(layer.config["pool_size"]), -np.inf)
        return np.asarray(windows.max(axis=(-2, -1)))
    if layer.kind == "Add":
        return data + given[1]
    if layer.kind == "GlobalAveragePooling2D":
        return np.asarray(data.mean(axis=(1, 2)))
    if layer.kind == "Activation":
        return data
    raise UnsupportedOperatorError(f"layers of the class {layer.kind} are not known here")


def _windows(layer: KerasLayer, data: Array, kernel: tuple[int, ...], edge: float) -> Array:
    """(N, height, width, channels, rows, columns): what each place of the result sees."""
    strides, pads = tuple(layer.config["strides"]), []
    for length, window, step in zip(data.shape[1:3], kernel, strides, strict=True):
        total = 0
        if layer.config["padding"] == "same":
            total = max((int(np.ceil(length / step)) - 1) * step + window - length, 0)
        pads.append((total // 2, total - total // 2))
    padded = np.pad(data, ((0, 0), *pads, (0, 0)), constant_values=edge)
    found: Array = sliding_window_view(padded, kernel, axis=(1, 2))  # type: ignore[call-overload]
    return found[:, :: strides[0], :: strides[1]]


def _activate(layer: KerasLayer, data: Array) -> Array:
    function = layer.config.get("activation", "linear")
    if function == "linear":
        return data
    if function == "relu":
        return np.maximum(data, 0)
    if function == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-data)))
    if function == "softmax":
        powers = np.exp(data - data.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
    raise UnsupportedOperatorError(f"the activation {function!r} is not known here")
