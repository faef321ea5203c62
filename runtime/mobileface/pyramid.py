"""Image resizing as dlib does it, pixel by pixel.

dlib resizes bilinearly with the corner pixels aligned: output column c of w reads the input at
c * (W - 1) / (w - 1). Scores of its detectors depend on how that is rounded, and what its x86
builds do follows from their vector instructions: columns come in groups of four whose positions
are sums in float32, blended in float32 and rounded to the nearest for grey images, cut off for
colour images; the last columns, one to four, take the plain path, which always cuts off (in
float64 for colour images). Measured with dlib 20.0.1 through ``dlib.pyramid_down(6)``; builds
without these instructions differ by a grey level here and there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["double_planes", "resize_planes", "shrink_planes"]

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.floating[Any]]

_GROUP = 4
_STRIP_PIXELS = 1 << 16
"""Pixels blended at a time: keeps the float images in the cache and their memory bounded."""


def shrink_planes(planes: UInt8Array, step: int) -> UInt8Array:
    """The next level of a pyramid: (step - 1) / step of the size, rounded down.

    Args:
        planes: uint8 (C, H, W), C = 1 grey or 3 colour.
        step: 6 for levels of 5/6.

    Returns:
        uint8 (C, h, w); empty if a side becomes 0.
    """
    rows, columns = ((step - 1) * side // step for side in planes.shape[1:])
    return resize_planes(planes, rows, columns)


def double_planes(planes: UInt8Array) -> UInt8Array:
    """The image twice as large: 2H + 1 rows, 2W + 2 columns, the sizes of dlib's pyramid_up.

    Args:
        planes: uint8 (C, H, W), C = 1 grey or 3 colour.
    """
    _, height, width = planes.shape
    if not height or not width:
        return planes
    return resize_planes(planes, 2 * height + 1, 2 * width + 2)


def resize_planes(planes: UInt8Array, rows: int, columns: int) -> UInt8Array:
    """Resizes like dlib's ``resize_image`` with ``interpolate_bilinear``.

    Args:
        planes: uint8 (C, H, W), C = 1 grey or 3 colour; colour is cut off, grey rounded.
        rows: New height in pixels.
        columns: New width in pixels.

    Returns:
        uint8 (C, rows, columns).
    """
    count, height, width = planes.shape
    resized = np.empty((count, rows, columns), np.uint8)
    if resized.size == 0 or planes.size == 0:
        return resized
    grouped = _grouped_axis(columns, width)
    first = len(grouped.low)
    if count == 1:
        vertical = rest_vertical = _plain_axis(rows, height, 0).single()
        rest = _plain_axis(columns, width, first).single()
    else:
        rest_vertical = _plain_axis(rows, height, 0)
        vertical = rest_vertical.rounded()
        rest = _plain_axis(columns, width, first)
    offset = 0.5 if count == 1 else 0.0
    if first:
        _blend(planes, resized[:, :, :first], vertical, grouped, offset)
    if first < columns:
        _blend(planes, resized[:, :, first:], rest_vertical, rest, 0.0)
    return resized


@dataclass(frozen=True)
class _Axis:
    """Where the outputs of one axis read, and how much of either neighbour counts.

    Attributes:
        low: intp (n,) index of the neighbour at or before the position.
        high: intp (n,) index of the other.
        low_weight: float (n,).
        high_weight: float (n,).
    """

    low: npt.NDArray[np.intp]
    high: npt.NDArray[np.intp]
    low_weight: FloatArray
    high_weight: FloatArray

    def single(self) -> _Axis:
        """Float32 weights that add up to 1 in float32."""
        high_weight = self.high_weight.astype(np.float32)
        return replace(self, low_weight=1 - high_weight, high_weight=high_weight)

    def rounded(self) -> _Axis:
        """Float32 weights, each rounded by itself; their sum may miss 1."""
        low_weight = self.low_weight.astype(np.float32)
        return replace(self, low_weight=low_weight, high_weight=self.high_weight.astype(np.float32))


def _plain_axis(length: int, source: int, first: int) -> _Axis:
    """Outputs from `first` on, at positions summed in float64."""
    step = (source - 1) / max(length - 1, 1)
    steps = np.full(length - first + 1, step)
    steps[0] = first * step - step
    position = np.cumsum(steps)[1:]
    low = np.clip(np.floor(position).astype(np.intp), 0, source - 1)
    part = position - low
    return _Axis(low, np.minimum(low + 1, source - 1), 1 - part, part)


def _grouped_axis(length: int, source: int) -> _Axis:
    """The outputs that dlib computes in groups of four, at positions summed in float32.

    These are all up to the first group that would read beyond the last pixel.
    """
    step = (source - 1) / max(length - 1, 1)
    steps = np.full((length // _GROUP, _GROUP), _GROUP * step, dtype=np.float32)
    steps[:1] = np.arange(_GROUP) * step
    position = np.cumsum(steps, axis=0, dtype=np.float32)
    outside = np.floor(position[:, -1]) + 1 > source - 1
    groups = int(np.argmax(outside)) if outside.any() else len(outside)
    position = position[:groups].ravel()
    low = np.floor(position).astype(np.intp)
    part = position - low.astype(np.float32)
    return _Axis(low, low + 1, 1 - part, part)


def _blend(
    planes: UInt8Array, result: UInt8Array, vertical: _Axis, horizontal: _Axis, offset: float
) -> None:
    """Fills `result` with the four neighbours' weighted sum plus `offset`, cut off to uint8.

    The order of products and sums is dlib's.
    """
    left, right = _pick_columns(planes, horizontal.low), _pick_columns(planes, horizontal.high)
    strip = max(1, _STRIP_PIXELS // (result.shape[0] * result.shape[2]))
    for start in range(0, result.shape[1], strip):
        rows = slice(start, start + strip)
        above, below = vertical.low[rows], vertical.high[rows]
        above_weight = vertical.low_weight[rows, None]
        below_weight = vertical.high_weight[rows, None]
        total = left[:, above] * (above_weight * horizontal.low_weight)
        total += right[:, above] * (above_weight * horizontal.high_weight)
        total += left[:, below] * (below_weight * horizontal.low_weight)
        total += right[:, below] * (below_weight * horizontal.high_weight)
        if offset:
            total += total.dtype.type(offset)
        result[:, rows] = total


def _pick_columns(planes: UInt8Array, columns: npt.NDArray[np.intp]) -> UInt8Array:
    """The planes' given columns.

    They are picked as rows of the transposed planes: that copies whole rows, 20 times faster.
    """
    picked = np.empty((*planes.shape[:2], len(columns)), np.uint8)
    for plane, result in zip(planes, picked, strict=True):
        transposed = cv2.transpose(plane).reshape(plane.shape[::-1])
        result[...] = cv2.transpose(transposed[columns]).reshape(result.shape)
    return picked
