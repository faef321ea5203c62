"""Layers that the evaluators of exported files share, computed by the ONNX project.

Each is one operator of the ONNX project's reference evaluator, which is plain numpy and independent
of ONNX Runtime, OpenCV and ncnn. What an engine does differently from ONNX is the evaluators' own.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import helper
from onnx.reference import ReferenceEvaluator

__all__ = ["convolution", "per_channel", "pooling", "reference"]

FloatArray = npt.NDArray[np.float32]
Pair = tuple[int, int]


def reference(kind: str, *inputs: npt.NDArray[Any], **attributes: Any) -> FloatArray:
    """Computes one ONNX operator.

    Args:
        kind: Type of the operator.
        inputs: Its inputs.
        attributes: Its attributes; lists as tuples.

    Returns:
        Its first output, float32.
    """
    run = _evaluator(kind, len(inputs), tuple(sorted(attributes.items())))
    names = [f"x{number}" for number in range(len(inputs))]
    found = run.run(None, dict(zip(names, inputs, strict=True)))[0]
    return np.asarray(found, np.float32)


@cache
def _evaluator(
    kind: str, inputs: int, attributes: tuple[tuple[str, Any], ...]
) -> ReferenceEvaluator:
    names = [f"x{number}" for number in range(inputs)]
    return ReferenceEvaluator(helper.make_node(kind, names, ["y"], **dict(attributes)))


def convolution(
    data: FloatArray,
    weight: FloatArray,
    bias: FloatArray | None = None,
    *,
    stride: Pair = (1, 1),
    pad: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
    transposed: bool = False,
) -> FloatArray:
    """Convolution, or transposed convolution, of (N, C, H, W), padded by the same on both sides.

    Args:
        data: float32 (N, C, H, W).
        weight: float32 (O, C / groups, h, w); transposed (C, O / groups, h, w).
        bias: float32 (O,); None for zeros.
        stride: Steps along height and width.
        pad: Rows above and below, columns left and right.
        dilation: Distances between the kernel's rows and columns.
        groups: Number of groups of channels.
        transposed: Whether it is the transposed convolution.
    """
    if transposed:
        data, weight, pad = _as_convolution(data, weight, stride, pad, dilation, groups)
        stride = (1, 1)
    return reference(
        "Conv",
        *((data, weight) if bias is None else (data, weight, bias)),
        strides=stride,
        pads=(*pad, *pad),
        dilations=dilation,
        group=groups,
        kernel_shape=weight.shape[2:],
    )


def _as_convolution(
    data: FloatArray, weight: FloatArray, stride: Pair, pad: Pair, dilation: Pair, groups: int
) -> tuple[FloatArray, FloatArray, Pair]:
    """Data, weight and padding of the convolution that is a transposed convolution.

    Zeros between the pixels stand for the stride, and the kernel is turned by 180 degrees
    (Dumoulin and Visin, A guide to convolution arithmetic, relationship 14). The evaluator's own
    ConvTranspose takes a hundred times as long.
    """
    (count, channels, *sizes), (_, outputs, *kernel) = data.shape, weight.shape
    spread = [(size - 1) * step + 1 for size, step in zip(sizes, stride, strict=True)]
    reach = [by * (size - 1) for by, size in zip(dilation, kernel, strict=True)]
    cut = [max(0, border - far) for border, far in zip(pad, reach, strict=True)]
    wide = np.zeros((count, channels, *spread), np.float32)
    wide[:, :, :: stride[0], :: stride[1]] = data
    wide = wide[:, :, cut[0] : spread[0] - cut[0], cut[1] : spread[1] - cut[1]]
    parts = weight.reshape(groups, channels // groups, outputs, *kernel)[..., ::-1, ::-1]
    turned = parts.swapaxes(1, 2).reshape(groups * outputs, channels // groups, *kernel)
    around = [max(0, far - border) for border, far in zip(pad, reach, strict=True)]
    return wide, np.ascontiguousarray(turned), (around[0], around[1])


def pooling(
    data: FloatArray,
    *,
    average: bool,
    kernel: Pair,
    stride: Pair,
    start: Pair,
    count: Pair,
    counted: Pair | None = None,
) -> FloatArray:
    """Pooling of (N, C, H, W) over windows that may reach beyond the image.

    Args:
        data: float32 (N, C, H, W).
        average: Whether to average instead of taking the largest value.
        kernel: Height and width of a window.
        stride: Steps along height and width.
        start: Rows and columns by which the first window begins before the image.
        count: Number of windows along height and width.
        counted: None to average over pixels of the image only; otherwise rows and columns after
            the image that an average counts as zeros too, besides those before it.
    """
    axes = list(zip(data.shape[2:], kernel, stride, start, count, strict=True))
    ends = [
        max(0, (number - 1) * step + window - begin - size)
        for size, window, step, begin, number in axes
    ]
    margins = ((0, 0), (0, 0), (start[0], ends[0]), (start[1], ends[1]))
    wide = np.pad(data, margins, constant_values=0.0 if average else -np.inf)
    views = np.lib.stride_tricks.sliding_window_view(wide, (1, 1, *kernel))[..., 0, 0, :, :]
    windows = views[:, :, :: stride[0], :: stride[1]][:, :, : count[0], : count[1]]
    if not average:
        return np.asarray(windows.max(axis=(-2, -1)), np.float32)
    lengths = []
    for (size, window, step, begin, number), after in zip(axes, counted or (0, 0), strict=True):
        first = np.arange(number) * step - begin
        lowest = 0 if counted is None else -begin
        lengths.append(np.minimum(first + window, size + after) - np.maximum(first, lowest))
    total = windows.sum(axis=(-2, -1), dtype=np.float64)
    return np.asarray(total / np.outer(*lengths), np.float32)


def per_channel(values: FloatArray, like: FloatArray, axis: int = 1) -> FloatArray:
    """Values (C,) in a shape that broadcasts along one axis of a blob."""
    return values.reshape(-1, *(1,) * (like.ndim - axis - 1))
