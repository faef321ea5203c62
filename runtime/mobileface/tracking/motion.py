"""SORT's motion model: predicts the boxes of all tracks in the next frame.

Bewley et al., "Simple Online and Realtime Tracking" (arXiv 1602.00763), section 3.2: the state of a
track is [u, v, s, r, u̇, v̇, ṡ], i.e. centre, area, aspect ratio and the speeds of the first three,
in a Kalman filter with constant speed. Each measurement affects one of u, v, s, r, and their noise
is independent, so the seven-dimensional filter separates into four filters: three of a value and
its speed, one of a value. The covariance of each is three numbers, in closed form.

The paper does not specify the noise. Here it is relative to the box: the error of a detector is a
few per cent of the face's side, and so is the change of a face's speed per frame.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["BoxFilter", "iou"]

FloatArray = npt.NDArray[np.float64]

MEASURED = np.array([0.05, 0.05, 0.10, 0.05])
"""Standard deviation of measurements of u, v (in sides), s (in areas), r (in ratios)."""

DRIFT = np.array([0.01, 0.01, 0.02, 0.01])
"""Process noise: standard deviation of the change of u, v, s, r per frame, beyond their speeds."""

ACCELERATION = np.array([0.02, 0.02, 0.02, 0.0])
"""Process noise: standard deviation of the change of speed per frame of u, v, s; r has none."""

UNKNOWN_SPEED = np.array([0.5, 0.5, 0.5, 0.0])
"""Standard deviation of a new track's speeds."""

_SMALLEST_AREA = 1.0


class BoxFilter:
    """The Kalman filters of T tracks.

    Attributes:
        value: float64 (T, 4): u, v, s, r.
        speed: float64 (T, 4): change per frame; 0 for r.
        covariance: float64 (T, 4, 3): variance of the value, covariance, variance of the speed.
    """

    def __init__(self) -> None:
        self.value = np.empty((0, 4))
        self.speed = np.empty((0, 4))
        self.covariance = np.empty((0, 4, 3))

    def __len__(self) -> int:
        return len(self.value)

    def add(self, boxes: FloatArray) -> None:
        """Adds tracks of unknown speed from measured boxes, (N, 4)."""
        value = to_state(boxes)
        scale = _scale(value)
        covariance = np.zeros((len(value), 4, 3))
        covariance[:, :, 0] = (MEASURED * scale) ** 2
        covariance[:, :, 2] = (UNKNOWN_SPEED * scale) ** 2
        self.value = np.concatenate([self.value, value])
        self.speed = np.concatenate([self.speed, np.zeros_like(value)])
        self.covariance = np.concatenate([self.covariance, covariance])

    def keep(self, which: npt.NDArray[np.bool_]) -> None:
        """Keeps only the tracks selected by a mask, bool (T,)."""
        self.value = self.value[which]
        self.speed = self.speed[which]
        self.covariance = self.covariance[which]

    def predict(self) -> FloatArray:
        """Advances all tracks by one frame; returns the predicted boxes, (T, 4)."""
        scale = _scale(self.value)
        shrinks = self.value[:, 2] + self.speed[:, 2] < _SMALLEST_AREA
        self.speed[shrinks, 2] = 0.0
        self.value += self.speed
        position, shared, speed = np.moveaxis(self.covariance, 2, 0)
        position += 2 * shared + speed + (DRIFT * scale) ** 2
        shared += speed
        speed += (ACCELERATION * scale) ** 2
        return self.boxes()

    def correct(self, tracks: npt.NDArray[np.int64], boxes: FloatArray) -> None:
        """Updates tracks with measured boxes.

        Args:
            tracks: (N,) index of the track of each box.
            boxes: (N, 4): x1, y1, x2, y2.
        """
        position, shared, speed = np.moveaxis(self.covariance[tracks], 2, 0)
        error = to_state(boxes) - self.value[tracks]
        certain = position + (MEASURED * _scale(self.value[tracks])) ** 2
        gain, speed_gain = position / certain, shared / certain
        self.value[tracks] += gain * error
        self.speed[tracks] += speed_gain * error
        remaining = (1 - gain) * position, (1 - gain) * shared, speed - speed_gain * shared
        self.covariance[tracks] = np.stack(remaining, axis=2)

    def boxes(self) -> FloatArray:
        """The current boxes, (T, 4)."""
        u, v, area, ratio = self.value.T
        area, ratio = np.maximum(area, _SMALLEST_AREA), np.maximum(ratio, 1e-3)
        width = np.sqrt(area * ratio)
        half = np.stack([width, area / width], axis=1) / 2
        center = np.stack([u, v], axis=1)
        return np.hstack([center - half, center + half])


def to_state(boxes: FloatArray) -> FloatArray:
    """Converts boxes (N, 4) to centre, area and ratio of width to height, (N, 4)."""
    sides = boxes[:, 2:] - boxes[:, :2]
    center = boxes[:, :2] + sides / 2
    return np.hstack([center, sides.prod(axis=1)[:, None], (sides[:, 0] / sides[:, 1])[:, None]])


def _scale(value: FloatArray) -> FloatArray:
    """Units of the noise: the square root of the area (for u and v), the area and the ratio."""
    area = np.maximum(value[:, 2], _SMALLEST_AREA)
    return np.stack([np.sqrt(area), np.sqrt(area), area, value[:, 3]], axis=1)


def iou(one: FloatArray, other: FloatArray) -> FloatArray:
    """Intersection over union of each box of ``one`` with each of ``other``.

    Args:
        one: (N, 4): x1, y1, x2, y2.
        other: (M, 4): x1, y1, x2, y2.

    Returns:
        float64 (N, M), 0 to 1.
    """
    x1, y1, x2, y2 = one.T[:, :, None]
    left, top, right, bottom = other.T[:, None, :]
    width = np.minimum(x2, right) - np.maximum(x1, left)
    height = np.minimum(y2, bottom) - np.maximum(y1, top)
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    union = (x2 - x1) * (y2 - y1) + (right - left) * (bottom - top) - shared
    return np.asarray(shared / np.maximum(union, np.finfo(np.float64).tiny))
