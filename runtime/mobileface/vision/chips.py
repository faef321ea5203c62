"""Face chips: square crops that reproduce those of dlib exactly.

`place_chip` is dlib's ``chip_details`` for corresponding points, `extract_chip` its
``extract_image_chip`` (dlib/image_transforms/interpolation.h). A chip that is much smaller than its
area in the image is not sampled from the image itself, which would skip pixels, but from a level of
an image pyramid in which each level is half as large as the previous one
(dlib/image_transforms/image_pyramid.h).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import ImageError, InputError
from .image import Image

__all__ = ["ChipPlace", "extract_chip", "place_chip"]

Array = npt.NDArray[np.float64]

_LEVEL_OFFSET = np.array([1.25, 0.75])
"""Pixel (x, y) of a level is pixel (x / 2 − 1.25, y / 2 − 0.75) of the next level."""

_KERNEL = (1, 4, 6, 4, 1)
_MIN_LEVEL_SIDE = 11
"""Minimum side in pixels of a level from which dlib computes the next level."""


@dataclass(frozen=True)
class ChipPlace:
    """Position of a square chip in an image.

    Attributes:
        center: x and y of the centre, in pixels.
        angle: Clockwise rotation in radians.
        scale: Pixels of the image per pixel of the chip.
        size: Side of the chip in pixels.
    """

    center: tuple[float, float]
    angle: float
    scale: float
    size: int

    def matrix(self) -> Array:
        """The 2×3 matrix that maps pixels of the image to pixels of the chip."""
        scale = 1 / self._step
        cos, sin = math.cos(self.angle) * scale, math.sin(self.angle) * scale
        rotation = np.array([[cos, sin], [-sin, cos]])
        middle = np.full(2, (self.size - 1) / 2)
        return np.hstack([rotation, (middle - rotation @ np.array(self.center))[:, None]])

    @property
    def rectangle(self) -> Array:
        """Left, top, right and bottom before rotation, at the centres of the corner pixels.

        As in dlib, a rectangle of n pixels extends n − 1 from its first to its last pixel.
        """
        half = (self.size * self.scale - 1) / 2
        x, y = self.center
        return np.array([x - half, y - half, x + half, y + half])

    @property
    def _step(self) -> float:
        """Distance in the image between adjacent pixels of the chip."""
        return (self.size * self.scale - 1) / max(self.size - 1, 1)


def place_chip(points: Array, template: Array, size: int) -> ChipPlace:
    """Fits a template to landmarks with a similarity transform, by least squares.

    The squared error is measured in the image (Umeyama, "Least-squares estimation of
    transformation parameters between two point patterns", 1991; in 2D, without reflection).

    Args:
        points: Landmarks (P, 2) in pixels of the image.
        template: Target positions (P, 2) in pixels of the chip.
        size: Side of the chip in pixels.

    Raises:
        InputError: If all landmarks coincide.
    """
    origin, goal = template.mean(axis=0), points.mean(axis=0)
    f, t = template - origin, points - goal
    spread = (f**2).sum()
    a = float((f * t).sum() / spread)
    b = float((f[:, 0] * t[:, 1] - f[:, 1] * t[:, 0]).sum() / spread)
    scale = math.hypot(a, b)
    if scale * size <= 1:
        raise InputError("the landmarks coincide")
    x, y = np.array([[a, -b], [b, a]]) @ (np.full(2, size / 2) - origin) + goal
    return ChipPlace((float(x), float(y)), math.atan2(b, a), scale, size)


def extract_chip(image: Image, place: ChipPlace) -> Image:
    """Crops a chip with bilinear interpolation.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        place: Position of the chip.

    Returns:
        uint8 (size, size, 3) or (size, size); black outside the image.

    Raises:
        ImageError: If too little of the chip's area lies in the image to scale it down.
    """
    level, rectangle = _level(image, place)
    left, top, right, bottom = rectangle
    corners = np.array([[left, top], [right, top], [left, bottom]])
    first, across, down = _turned(corners, (left + right) / 2, (top + bottom) / 2, place.angle)
    steps = np.arange(place.size) / max(place.size - 1, 1)
    x = first[0] + (across - first)[0] * steps + ((down - first)[0] * steps)[:, None]
    y = first[1] + (across - first)[1] * steps + ((down - first)[1] * steps)[:, None]
    return _bilinear(level, x, y)


def _level(image: Image, place: ChipPlace) -> tuple[Image, Array]:
    """The pyramid level to sample from, and the chip's rectangle in it."""
    rectangle = place.rectangle
    depth, border, smaller = 0, 2, _halved(rectangle)
    while _area(smaller) > place.size**2:
        depth, border, smaller = depth + 1, 2 * border + 2, _halved(smaller)
    if not depth:
        return image, rectangle
    part, corner = _surroundings(image, place, border)
    rectangle = rectangle - np.tile(corner, 2)
    for _ in range(depth):
        if min(part.shape[:2]) < _MIN_LEVEL_SIDE:
            raise ImageError("too little of the face lies in the image to scale it down")
        part, rectangle = _next_level(part), _halved(rectangle)
    return part, rectangle


def _surroundings(image: Image, place: ChipPlace, border: int) -> tuple[Image, Array]:
    """The part of the image that a chip needs, with a border, and its upper left corner."""
    left, top, right, bottom = place.rectangle
    corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]])
    corners = _turned(corners, *place.center, place.angle)
    limit = np.array([image.shape[1], image.shape[0]]) - 1
    low = np.floor(np.maximum(corners.min(axis=0) - border, 0) + 0.5).astype(int)
    high = np.floor(np.minimum(corners.max(axis=0) + border, limit) + 0.5).astype(int)
    part = image[low[1] : max(high[1] + 1, 0), low[0] : max(high[0] + 1, 0)]
    return part, low


def _next_level(image: Image) -> Image:
    """The image at half its size: a 5×5 binomial filter at every second pixel, truncated."""
    rows, columns = (image.shape[0] - 3) // 2, (image.shape[1] - 3) // 2
    values = image.astype(np.uint32)
    across = sum(
        weight * values[:, shift : shift + 2 * columns - 1 : 2]
        for shift, weight in enumerate(_KERNEL)
    )
    down = sum(
        weight * np.asarray(across)[shift : shift + 2 * rows - 1 : 2]
        for shift, weight in enumerate(_KERNEL)
    )
    return (np.asarray(down) // 256).astype(np.uint8)


def _bilinear(image: Image, x: Array, y: Array) -> Image:
    """Values at positions between pixels, truncated to integers; 0 outside the image."""
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    inside = (left >= 0) & (top >= 0) & (left + 1 < image.shape[1]) & (top + 1 < image.shape[0])
    if not inside.any():
        return np.zeros((*x.shape, *image.shape[2:]), np.uint8)
    right_part, lower_part = x - left, y - top
    width = image.shape[1]
    first = np.where(inside, top * width + left, 0).reshape(-1)
    across, down = right_part.reshape(-1), lower_part.reshape(-1)
    # One row per channel: NumPy is fast along long rows.
    pixels = np.ascontiguousarray(image).reshape(image.shape[0] * width, -1)
    upper_left, upper_right, lower_left, lower_right = (
        pixels.take(first + step, axis=0).T.astype(np.float64, order="C")
        for step in (0, 1, width, width + 1)
    )
    upper = (1 - across) * upper_left + across * upper_right
    lower = (1 - across) * lower_left + across * lower_right
    mixed = ((1 - down) * upper + down * lower) * inside.reshape(-1)
    return np.ascontiguousarray(mixed.astype(np.uint8).T).reshape(*x.shape, *image.shape[2:])


def _turned(points: Array, x: float, y: float, angle: float) -> Array:
    """Rotates points (P, 2) around a centre."""
    center, cos, sin = np.array([x, y]), math.cos(angle), math.sin(angle)
    across, down = (points - center).T
    turned: Array = center + np.stack(
        [cos * across - sin * down, sin * across + cos * down], axis=1
    )
    return turned


def _halved(rectangle: Array) -> Array:
    halved: Array = rectangle / 2 - np.tile(_LEVEL_OFFSET, 2)
    return halved


def _area(rectangle: Array) -> float:
    """Area of a rectangle, including its corner pixels as in dlib."""
    left, top, right, bottom = rectangle
    return float((right - left + 1) * (bottom - top + 1))
