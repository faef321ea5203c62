"""Regions of a face by landmark_mesh's 468 points: face oval, lips, eyes, brows, eye shadow.

The contours are read off the mean shape (`mobileface.effects.mesh_shape`): the oval is the rim of
its surface, the eyes are the innermost rings around their middles, and the lips lie between the
innermost and the outermost of the four rings around the mouth's opening. "left" is the viewer's
left.

>>> mask = region_mask((480, 640), face.mesh.points, "lips")   # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..types import FloatArray
from .mesh_shape import MEAN_SHAPE

__all__ = [
    "POINTS",
    "Contour",
    "Region",
    "check_mesh_points",
    "contour",
    "inward",
    "mesh_box",
    "mesh_size",
    "mirrored",
    "region_mask",
    "soft_mask",
]

Contour = Literal[
    "oval",
    "outer_lips",
    "inner_lips",
    "left_eye",
    "right_eye",
    "left_brow",
    "right_brow",
    "left_shadow",
    "right_shadow",
]
"""A closed line through points of the mesh; "shadow" runs around the eyelids, up to the brow."""

Region = Literal["face", "skin", "lips", "mouth", "eyes", "brows", "shadow"]
"""An area: "face" is the oval, and the lips where those of a turned face stick out of it; "skin" is
the oval without lips, mouth, eyes and brows; "lips" are without the "mouth" between them; "shadow"
is without the eye."""

POINTS = len(MEAN_SHAPE)
"""Number of points of the mesh: 468."""

_HALVES: dict[str, tuple[int, ...]] = {
    "oval": (
        *(10, 109, 67, 103, 54, 21, 162, 127, 234),
        *(93, 132, 58, 172, 136, 150, 149, 176, 148, 152),
    ),
    "outer_lips": (0, 37, 39, 40, 185, 61, 146, 91, 181, 84, 17),
    "inner_lips": (13, 82, 81, 80, 191, 78, 95, 88, 178, 87, 14),
}
"""The left halves of contours around the middle of the face, from top to bottom."""

_LEFT: dict[str, tuple[int, ...]] = {
    "eye": (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    "brow": (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    "shadow": (226, 46, 53, 52, 65, 221, 189, 243, 112, 26, 22, 23, 24, 110, 25),
}
"""Contours of the left side, clockwise."""

_SUBPIXEL = 4
"""Fractional bits of the corners of a mask's polygons."""

_FINER = ((500, 4), (1500, 2))
"""Polygons up to so many pixels across are drawn so many times larger, for the coverage of the
pixels on their edge."""

_MAX_COORDINATE = 1e5
"""Points farther from the image's corner, in pixels, draw nothing."""


@cache
def mirrored() -> npt.NDArray[np.intp]:
    """The number of each point's partner on the other side, intp (468,); its own in the middle."""
    distance = np.abs(MEAN_SHAPE[:, None] * [-1, 1, 1] - MEAN_SHAPE[None]).sum(axis=2)
    return np.asarray(distance.argmin(axis=1), np.intp)


@cache
def contour(name: Contour) -> tuple[int, ...]:
    """The numbers of a contour's points in order, clockwise or anticlockwise; the line is closed.

    Raises:
        InputError: If there is no contour of this name.
    """
    if name not in get_args(Contour):
        raise InputError(f"no contour {name!r}", hint=f"there are {', '.join(get_args(Contour))}")
    if name in _HALVES:
        half = _HALVES[name]
        return half + tuple(int(mirrored()[number]) for number in half[-2:0:-1])
    side, part = name.split("_")
    left = _LEFT[part]
    return left if side == "left" else tuple(int(mirrored()[number]) for number in left)


def region_mask(
    shape: Sequence[int],
    points: npt.NDArray[np.floating[Any]],
    region: Region,
    *,
    feather: float = 0,
) -> FloatArray:
    """Mask of a region of one face: 1 inside, 0 outside.

    Args:
        shape: Height and width of the image; further entries are ignored.
        points: (468, 2): the mesh's points in pixels of the image; they may lie outside it.
        region: The region.
        feather: Blur of the edge (sigma) in pixels; 0 keeps it sharp, with partly covered pixels
            antialiased.

    Returns:
        float32 (H, W), 0 to 1. All 0 for a region without area, e.g. the inside of a closed mouth.

    Raises:
        InputError: If the points are not those of a mesh, or there is no region of this name.
    """
    where = check_mesh_points(points)
    if region not in get_args(Region):
        raise InputError(f"no region {region!r}", hint=f"there are {', '.join(get_args(Region))}")
    inside, outside = _PARTS[region]
    mask = _filled(shape, where, inside)
    if outside:
        mask = np.minimum(mask, 255 - _filled(shape, where, outside))
    found = mask.astype(np.float32) / 255
    if feather > 0:
        found = np.asarray(cv2.GaussianBlur(found, (0, 0), feather), np.float32)
    return found


def soft_mask(
    shape: Sequence[int],
    points: npt.NDArray[np.floating[Any]],
    regions: Sequence[Region],
    sigma: float,
) -> FloatArray:
    """Mask of regions together whose soft edge lies inside of them: exactly 0 outside.

    Args:
        shape: Height and width of the image.
        points: (468, 2): the mesh's points in pixels of the image.
        regions: The regions.
        sigma: Blur of the edge in pixels, above 0.

    Returns:
        float32 (H, W), 0 to 1.

    Raises:
        InputError: See `region_mask`.
    """
    masks = [region_mask(shape, points, region) for region in regions]
    return inward(np.minimum(np.sum(masks, axis=0), 1), sigma)


def inward(mask: FloatArray, sigma: float) -> FloatArray:
    """A mask float32 (H, W), 0 to 1, whose edge is blurred (sigma in pixels) to its inside only."""
    blurred = cv2.GaussianBlur(mask, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(np.clip(2 * blurred - 1, 0, 1) * (mask > 0), np.float32)


def mesh_size(points: npt.NDArray[np.floating[Any]]) -> float:
    """The larger side of the box around a mesh, in pixels."""
    return float(np.ptp(points, axis=0).max())


def mesh_box(
    points: npt.NDArray[np.floating[Any]], shape: Sequence[int], margin: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The part of an image that a mesh lies in, with a margin in pixels.

    Returns:
        int64 (2,) each: x and y of its upper left pixel, and of the pixel behind its lower right
        one. Empty if the mesh lies outside the image.
    """
    size = np.array([shape[1], shape[0]])
    low = np.clip(np.floor(points.min(axis=0) - margin), 0, size).astype(np.int64)
    high = np.clip(np.ceil(points.max(axis=0) + margin) + 1, low, size).astype(np.int64)
    return low, high


def check_mesh_points(points: npt.NDArray[np.floating[Any]]) -> FloatArray:
    """Checks a mesh's points; returns them as float32 (468, 2).

    Raises:
        InputError: If they are not 468 finite points.
    """
    where = np.asarray(points, np.float32)
    if where.ndim != 2 or where.shape[0] != POINTS or where.shape[1] < 2:
        raise InputError(f"needs the {POINTS} points of landmark_mesh, not shape {where.shape}")
    if not np.isfinite(where[:, :2]).all():
        raise InputError("the points of the mesh are not finite")
    return where[:, :2]


_EYES: tuple[Contour, ...] = ("left_eye", "right_eye")
_BROWS: tuple[Contour, ...] = ("left_brow", "right_brow")
_PARTS: dict[str, tuple[tuple[Contour, ...], tuple[Contour, ...]]] = {
    "face": (("oval", "outer_lips"), ()),
    "skin": (("oval",), ("outer_lips", *_EYES, *_BROWS)),
    "lips": (("outer_lips",), ("inner_lips",)),
    "mouth": (("inner_lips",), ()),
    "eyes": (_EYES, ()),
    "brows": (_BROWS, ()),
    "shadow": (("left_shadow", "right_shadow"), _EYES),
}
"""The contours inside and outside of which each region lies."""


def _filled(
    shape: Sequence[int], points: FloatArray, names: tuple[Contour, ...]
) -> npt.NDArray[np.uint8]:
    """The insides of contours, uint8 (H, W), 0 to 255."""
    mask = np.zeros((int(shape[0]), int(shape[1])), np.uint8)
    if np.abs(points).max() > _MAX_COORDINATE:
        return mask
    for name in names:
        line = points[list(contour(name))]
        left, top = np.maximum(np.floor(line.min(axis=0)).astype(int), 0)
        right, bottom = np.minimum(np.ceil(line.max(axis=0)).astype(int) + 1, mask.shape[::-1])
        if left >= right or top >= bottom or np.ptp(line, axis=0).min() == 0:
            continue
        place = mask[top:bottom, left:right]
        np.maximum(place, _covered(place.shape, line - [left, top]), out=place)
    return mask


def _covered(shape: tuple[int, ...], line: FloatArray) -> npt.NDArray[np.uint8]:
    """How much of each pixel lies inside a polygon, uint8 (H, W), 0 to 255."""
    height, width = shape[:2]
    finer = next((times for size, times in _FINER if max(height, width) <= size), 1)
    fine = np.zeros((height * finer, width * finer), np.uint8)
    corners = ((line + 0.5) * finer - 0.5) * (1 << _SUBPIXEL)
    cv2.fillPoly(fine, [np.round(corners).astype(np.int32)], (255,), cv2.LINE_8, _SUBPIXEL)
    return np.asarray(cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
