"""A drawn face of the mean shape, of nobody: what `anonymize` puts over a face.

It is drawn from `mobileface.effects.mesh_shape` alone: shading by the slope of its surface, darker
brows, lips and pupils, light eyes. No photo is part of it.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from ..types import FloatArray
from .mesh_regions import Region, contour, inward, mesh_size, region_mask
from .mesh_shape import MEAN_SHAPE
from .mesh_triangles import load_triangles

__all__ = ["HALF_HEIGHT", "HALF_WIDTH", "drawn_over"]

HALF_WIDTH, HALF_HEIGHT = (float(value) for value in np.abs(MEAN_SHAPE[:, :2]).max(axis=0))
"""Half the width and height of the mean shape, in its units."""

_LIGHT = (-0.25, -0.45, -0.86)
"""Direction to the light, in the axes of the mean shape: from above, beside the camera."""

_AMBIENT, _DIRECT = 0.76, 0.32
"""Brightness of the skin, in parts of its tone: everywhere, and where it faces the light."""

_BROWS, _LIPS, _SEAM, _PUPIL = 0.5, 0.74, 0.45, 0.22
"""Brightness of features, in parts of the skin's."""

_EYES = 1.35
"""Brightness of the white of an eye, in parts of the skin's mean."""

_IRIS = 0.24
"""Radius of iris and pupil, as a share of the eye's width."""

_SMALLEST = 8.0
"""Pixels: a smaller face is not drawn."""


def drawn_over(part: npt.NDArray[np.uint8], points: FloatArray) -> npt.NDArray[np.uint8]:
    """A part of an image with the drawn face over it, in the mean colour of what it covers.

    Args:
        part: uint8 (H, W, 3), in any channel order, or (H, W).
        points: float32 (468, 2): the mean shape in pixels of the part.

    Returns:
        A new array like ``part``; a copy if the face is smaller than 8 pixels or lies outside.
    """
    size = mesh_size(points)
    oval = region_mask(part.shape, points, "face")
    if size < _SMALLEST or not oval.any():
        return part.copy()
    tone = np.atleast_1d(np.asarray(part[oval > 0], np.float64).mean(axis=0))
    light = _shading(part.shape, points, size)
    darker: dict[Region, float] = {"brows": _BROWS, "lips": _LIPS, "mouth": _SEAM}
    for region, factor in darker.items():
        mask = region_mask(part.shape, points, region, feather=max(0.008 * size, 0.3))
        light *= 1 - mask * (1 - factor)
    drawn = light[..., None] * tone
    eyes = region_mask(part.shape, points, "eyes", feather=max(0.004 * size, 0.3))[..., None]
    white = min(_EYES * float(tone.mean()), 245.0)
    drawn = drawn * (1 - eyes) + eyes * white * (1 - _pupils(part.shape, points))[..., None]
    weight = inward(oval, max(0.025 * size, 0.5))[..., None]
    below = part.reshape(*part.shape[:2], -1)
    found = np.clip(np.round(below + weight * (drawn - below)), 0, 255).astype(np.uint8)
    return np.asarray(found.reshape(part.shape), np.uint8)


def _shading(shape: tuple[int, ...], points: FloatArray, size: float) -> FloatArray:
    """How light the skin is, float32 (H, W)."""
    plane = np.full(shape[:2], _AMBIENT, np.float32)
    corners = np.round(points * 16).astype(np.int32)
    for numbers, value in zip(_skin(), _slopes(), strict=True):
        cv2.fillConvexPoly(plane, corners[numbers], (float(value),), cv2.LINE_8, 4)
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), max(0.03 * size, 0.5)), np.float32)


def _skin() -> npt.NDArray[np.int64]:
    """The triangles that are drawn; those between the lips have no area: the mouth is closed."""
    found = load_triangles()
    return found.corners[: found.skin]


@cache
def _slopes() -> FloatArray:
    """The brightness of each triangle of the mean shape, by Lambert's law, float32 (880,)."""
    corners = MEAN_SHAPE[_skin()]
    normal = np.cross(corners[:, 2] - corners[:, 0], corners[:, 1] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    lit = np.clip(normal @ (np.array(_LIGHT) / np.linalg.norm(_LIGHT)), 0, 1)
    return np.asarray(_AMBIENT + _DIRECT * lit, np.float32)


def _pupils(shape: tuple[int, ...], points: FloatArray) -> FloatArray:
    """How dark iris and pupil make the eyes, float32 (H, W)."""
    plane = np.zeros(shape[:2], np.float32)
    for ring in (contour("left_eye"), contour("right_eye")):
        eye = points[list(ring)]
        middle, radius = eye.mean(axis=0), _IRIS * mesh_size(eye)
        if np.abs(middle).max() < 1e5:
            place = tuple(round(float(value) * 16) for value in middle)
            cv2.circle(plane, place, max(round(radius * 16), 8), (1 - _PUPIL,), -1, cv2.LINE_AA, 4)
    return plane
