"""Image resizing that reproduces dlib's results exactly.

dlib resizes bilinearly with aligned corner pixels: output column c of w reads the input at
c * (W - 1) / (w - 1). The scores of its detectors depend on the rounding, which follows from the
vector instructions in dlib's x86 builds. Columns are computed in groups of four, at positions that
are summed in float32. They are interpolated in float32, then rounded to the nearest integer for
greyscale images or truncated for colour images. The last columns, up to four, are interpolated in
float64 and always truncated. Measured with dlib 20.0.1 through ``dlib.pyramid_down(6)``; builds
without vector instructions differ by one grey level in a few pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["double_planes", "resize_planes", "shrink_planes"]

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.floating[Any]]

_GROUP = 4
_CACHED_AXES = 128
"""Size of the cache of axes; the pyramids of all frames of a video have the same axes."""

_STRIP_PIXELS = 1 << 16
"""Pixels interpolated at a time: keeps the float images in the CPU cache and memory bounded."""


def shrink_planes(planes: UInt8Array, step: int) -> UInt8Array:
    """The next level of a pyramid: (step - 1) / step of the size, rounded down.

    Args:
        planes: uint8 (C, H, W), C = 1 (greyscale) or 3 (colour).
        step: 6 for levels of 5/6.

    Returns:
        uint8 (C, h, w); empty if a side becomes 0.
    """
    rows, columns = ((step - 1) * side // step for side in planes.shape[1:])
    return resize_planes(planes, rows, columns)


def double_planes(planes: UInt8Array) -> UInt8Array:
    """The image at twice its size: 2H + 1 rows, 2W + 2 columns, the sizes of dlib's pyramid_up.

    Args:
        planes: uint8 (C, H, W), C = 1 (greyscale) or 3 (colour).
    """
    _, height, width = planes.shape
    if not height or not width:
        return planes
    return resize_planes(planes, 2 * height + 1, 2 * width + 2)


def resize_planes(planes: UInt8Array, rows: int, columns: int) -> UInt8Array:
    """Resizes like dlib's ``resize_image`` with ``interpolate_bilinear``.

    Args:
        planes: uint8 (C, H, W), C = 1 (greyscale, rounded) or 3 (colour, truncated).
        rows: New height in pixels.
        columns: New width in pixels.

    Returns:
        uint8 (C, rows, columns).
    """
    count, height, width = planes.shape
    resized = np.empty((count, rows, columns), np.uint8)
    if resized.size == 0 or planes.size == 0:
        return resized
    summed = count > 1
    vertical = _plain_axis(rows, height, 0, summed=summed)
    grouped = _grouped_axis(columns, width)
    first = len(grouped.low)
    if first:
        offset = 0.5 if count == 1 else 0.0
        _blend_groups(planes, resized[:, :, :first], vertical.rounded(), grouped, offset)
    if first < columns:
        rest = _plain_axis(columns, width, first, summed=summed)
        _blend_rest(planes, resized[:, :, first:], vertical, rest)
    return resized


@dataclass(frozen=True)
class _Axis:
    """The input neighbours of the outputs along one axis, and their weights.

    Attributes:
        low: intp (n,), index of the neighbour at or before the position.
        high: intp (n,), index of the neighbour after the position.
        low_weight: float (n,), weight of the neighbour ``low``.
        high_weight: float (n,), weight of the neighbour ``high``.
    """

    low: npt.NDArray[np.intp]
    high: npt.NDArray[np.intp]
    low_weight: FloatArray
    high_weight: FloatArray

    def rounded(self) -> _Axis:
        """The axis with float32 weights, rounded separately; their sum may differ from 1."""
        low_weight = self.low_weight.astype(np.float32)
        return replace(self, low_weight=low_weight, high_weight=self.high_weight.astype(np.float32))


@lru_cache(maxsize=_CACHED_AXES)
def _plain_axis(length: int, source: int, first: int, *, summed: bool) -> _Axis:
    """The outputs from `first` to the end, at float64 positions: multiples or sums of the step."""
    step = (source - 1) / max(length - 1, 1)
    position = np.arange(first, length) * step
    if summed:
        position = np.cumsum(np.r_[first * step - step, np.full(length - first, step)])[1:]
    low = np.clip(np.floor(position).astype(np.intp), 0, source - 1)
    part = position - low
    return _Axis(low, np.minimum(low + 1, source - 1), 1 - part, part)


@lru_cache(maxsize=_CACHED_AXES)
def _grouped_axis(length: int, source: int) -> _Axis:
    """The outputs that dlib computes in groups of four, at positions summed in float32.

    These are all groups before the first one that would read beyond the last pixel.
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


def _blend_groups(
    planes: UInt8Array, result: UInt8Array, vertical: _Axis, horizontal: _Axis, offset: float
) -> None:
    """Fills `result` with the weighted sums of four neighbours plus `offset`, truncated.

    The float32 products and sums are computed in dlib's order.
    """
    left, right = _pick_columns(planes, horizontal)
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
        np.add(total, np.float32(offset), out=total)
        result[:, rows] = total


def _blend_rest(planes: UInt8Array, result: UInt8Array, vertical: _Axis, horizontal: _Axis) -> None:
    """Fills `result`, the last columns, in float64: first along rows, then along columns."""
    across = (
        planes[:, :, horizontal.low] * horizontal.low_weight
        + planes[:, :, horizontal.high] * horizontal.high_weight
    )
    above, below = across[:, vertical.low], across[:, vertical.high]
    result[...] = above * vertical.low_weight[:, None] + below * vertical.high_weight[:, None]


def _pick_columns(planes: UInt8Array, horizontal: _Axis) -> tuple[UInt8Array, UInt8Array]:
    """The left and right neighbours of the outputs in all rows, both uint8 (C, H, n).

    Selects rows of the transposed planes, which copies whole rows and is 20 times faster.
    """
    count, height, width = planes.shape
    left = np.empty((count, height, len(horizontal.low)), np.uint8)
    right = np.empty_like(left)
    for index, plane in enumerate(planes):
        transposed = cv2.transpose(plane).reshape(width, height)
        cv2.transpose(transposed[horizontal.low], dst=left[index])
        cv2.transpose(transposed[horizontal.high], dst=right[index])
    return left, right
