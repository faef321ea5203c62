"""Line drawings: differences of Gaussians across edges, smoothed along them.

Kang, Lee and Chui, "Flow-based image abstraction", 2009, with the flow from a smoothed structure
tensor and the soft threshold of Winnemöller, Kyprianidis and Olsen, "XDoG", 2012.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from ..arrays import FloatArray

__all__ = ["edge_flow", "flow_lines", "soft_threshold"]

_RATIO = 1.6
"""Of the two Gaussians, as in both papers."""

_FLOW_SIGMAS = (1.5, 5.0)
"""Of the image before its gradient, and of the tensor's entries."""

_LINE_SIGMA = 1.2
_ALONG_SIGMA = 3.0
_ALONG_STEPS = 8


def edge_flow(image: FloatArray, unit: float = 1.0) -> tuple[FloatArray, FloatArray]:
    """The direction of edges at each pixel.

    The eigenvector with the smaller eigenvalue of the structure tensor, smoothed.

    Args:
        image: float32 (H, W).
        unit: Factor of all sigmas.

    Returns:
        x and y of unit vectors, float32 (H, W) each; their sign is arbitrary.
    """
    soft = _gauss(image, _FLOW_SIGMAS[0] * unit)
    across, down = (cv2.Scharr(soft, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    xx, xy, yy = (
        _gauss(np.asarray(product, np.float32), _FLOW_SIGMAS[1] * unit)
        for product in (across * across, across * down, down * down)
    )
    angle = 0.5 * np.arctan2(2 * xy, xx - yy) + np.float32(math.pi / 2)
    return np.asarray(np.cos(angle), np.float32), np.asarray(np.sin(angle), np.float32)


def flow_lines(
    image: FloatArray, unit: float = 1.0, width: float = 1.0, weight: float = 0.985
) -> FloatArray:
    """The flow-based difference of Gaussians: low on dark lines and the dark sides of edges.

    Args:
        image: float32 (H, W), 0 to 1.
        unit: Factor of all sigmas.
        width: Factor of the sigma across edges alone: of the lines' width.
        weight: Of the wider Gaussian (τ of the papers).

    Returns:
        float32 (H, W): (1 − weight) times the image where it is flat.
    """
    flow = edge_flow(image, unit)
    grid = np.meshgrid(
        np.arange(image.shape[1], dtype=np.float32), np.arange(image.shape[0], dtype=np.float32)
    )
    across = _across(image, flow, (grid[0], grid[1]), _LINE_SIGMA * unit * width, weight)
    return _along(across, flow, (grid[0], grid[1]), _ALONG_SIGMA * unit)


def soft_threshold(lines: FloatArray, threshold: float, slope: float) -> FloatArray:
    """1 from the threshold on, below it 1 + tanh(slope · (lines − threshold)) (XDoG, eq. 3)."""
    return np.asarray(1 + np.tanh(slope * np.minimum(lines - threshold, 0)), np.float32)


Field = tuple[FloatArray, FloatArray]


def _across(image: FloatArray, flow: Field, grid: Field, sigma: float, weight: float) -> FloatArray:
    """Difference of two Gaussians along the gradient, from samples one pixel or more apart."""
    step = max(sigma / 1.2, 0.5)
    count = math.ceil(2 * sigma * _RATIO / step)
    sums = [np.zeros_like(image), np.zeros_like(image)]
    totals = [0.0, 0.0]
    for number in range(-count, count + 1):
        away = np.float32(number * step)
        found = image if number == 0 else _sampled(image, grid, -flow[1] * away, flow[0] * away)
        for index, wide in enumerate((sigma, _RATIO * sigma)):
            share = math.exp(-(float(away) ** 2) / (2 * wide * wide))
            sums[index] += np.float32(share) * found
            totals[index] += share
    return sums[0] / np.float32(totals[0]) - np.float32(weight / totals[1]) * sums[1]


def _along(values: FloatArray, flow: Field, grid: Field, sigma: float) -> FloatArray:
    """A Gaussian along the flow, followed step by step with the sign that goes on."""
    step = np.float32(max(2.5 * sigma / _ALONG_STEPS, 0.5))
    total, weights = values.copy(), 1.0
    for sign in (1, -1):
        x, y = grid
        ahead_x, ahead_y = flow[0] * sign, flow[1] * sign
        for number in range(1, _ALONG_STEPS + 1):
            x, y = x + step * ahead_x, y + step * ahead_y
            share = math.exp(-((number * float(step)) ** 2) / (2 * sigma * sigma))
            total += np.float32(share) * _remap(values, x, y)
            weights += share
            next_x, next_y = (_remap(part, x, y, cv2.INTER_NEAREST) for part in flow)
            turn = np.where(next_x * ahead_x + next_y * ahead_y < 0, np.float32(-1), np.float32(1))
            ahead_x, ahead_y = next_x * turn, next_y * turn
    # Both sides' weights are in `weights`.
    return np.asarray(total / np.float32(weights), np.float32)


def _sampled(image: FloatArray, grid: Field, right: FloatArray, down: FloatArray) -> FloatArray:
    return _remap(image, grid[0] + right, grid[1] + down)


def _remap(
    image: FloatArray, x: FloatArray, y: FloatArray, how: int = cv2.INTER_LINEAR
) -> FloatArray:
    return np.asarray(cv2.remap(image, x, y, how, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _gauss(image: FloatArray, sigma: float) -> FloatArray:
    return np.asarray(
        cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.float32
    )
