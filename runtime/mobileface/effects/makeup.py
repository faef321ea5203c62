"""Makeup as published by MobileFace: whitens and smooths the skin, optionally of faces only."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..types import Face, FloatArray, Landmarks
from ..vision.image import ChannelOrder, Image, check_color, check_image
from .mesh_regions import POINTS, mesh_box, mesh_size, soft_mask

__all__ = ["face_mask", "makeup", "smooth", "whiten"]

_KERNEL = (3, 3)
_MAX_DIAMETER = 99

_CENTER, _ACROSS, _DOWN = 0.45, 1.05, 1.35
"""The ellipse over a face, in units of the eye distance: offset of its centre below the eyes, and
its half axes across and along the face."""

_MAX_COORDINATE = 1e5
"""Maximum centre and half axes of an ellipse in pixels; larger ones are invalid and skipped."""

_MESH_FEATHER = 0.02
"""Blur of the edges (sigma) of a mesh's skin, as a share of the mesh's size."""

_FEATHER = 0.12
"""Blur of the ellipse's edge (sigma), as a share of its smaller half axis."""


def whiten(image: Image, rate: float = 0.15, *, color: ChannelOrder = "bgr") -> Image:
    """Increases the brightness: multiplies the HSV value by 1 + rate and clips it at 255.

    Args:
        image: uint8 (H, W, 3).
        rate: 0 leaves the image unchanged; the published value is 0.15.
        color: Channel order.

    Raises:
        ImageError: If ``image`` does not have this type or shape.
        InputError: If the image is greyscale, or ``rate`` is not finite or is below −1.
    """
    image = _colored(image, color)
    if not (np.isfinite(rate) and rate >= -1):
        raise InputError(f"rate must be a finite number of at least -1, not {rate}")
    to_hsv, from_hsv = (
        (cv2.COLOR_BGR2HSV, cv2.COLOR_HSV2BGR)
        if color == "bgr"
        else (cv2.COLOR_RGB2HSV, cv2.COLOR_HSV2RGB)
    )
    hsv = cv2.cvtColor(image, to_hsv)
    hsv[..., 2] = np.minimum(hsv[..., 2] * (1 + rate), 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(hsv, from_hsv), np.uint8)


def smooth(
    image: Image,
    *,
    diameter: int = 15,
    sigma_color: float = 100,
    sigma_space: float = 100,
    share: float = 0.7,
) -> Image:
    """Smooths skin and keeps edges: bilateral filter, 3×3 Gaussian, blended with the image.

    The defaults are the published values.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        diameter: Diameter of the bilateral filter in pixels, 1 to 99.
        sigma_color: Sigma of the bilateral filter in colour space, in grey levels.
        sigma_space: Sigma of the bilateral filter in image space, in pixels.
        share: Share of the smoothed image in the result, 0 to 1.

    Raises:
        ImageError: If ``image`` does not have this type or shape.
        InputError: If an option is out of range.
    """
    image = check_image(image)
    if not 1 <= diameter <= _MAX_DIAMETER:
        raise InputError(f"diameter must be from 1 to {_MAX_DIAMETER}, not {diameter}")
    if not (0 < sigma_color < np.inf and 0 < sigma_space < np.inf):
        raise InputError(
            f"sigma_color {sigma_color} and sigma_space {sigma_space} must be positive numbers"
        )
    if not 0 <= share <= 1:
        raise InputError(f"share {share} is not between 0 and 1")
    filtered = cv2.bilateralFilter(np.ascontiguousarray(image), diameter, sigma_color, sigma_space)
    blurred = cv2.GaussianBlur(filtered, _KERNEL, 0)
    return np.asarray(share * blurred + (1 - share) * image, np.uint8)


def makeup(
    image: Image,
    faces: Sequence[Face] | None = None,
    *,
    whiten_rate: float = 0.15,
    diameter: int = 15,
    sigma_color: float = 100,
    sigma_space: float = 100,
    share: float = 0.7,
    strength: float = 1.0,
    color: ChannelOrder = "bgr",
) -> Image:
    """Whitens and smooths the skin.

    Args:
        image: uint8 (H, W, 3).
        faces: Change only these faces, with a soft edge; None changes the whole image, as
            published. Of a face with a mesh only the skin is changed: not lips, eyes and brows.
        whiten_rate: Rate of `whiten`.
        diameter: See `smooth`.
        sigma_color: See `smooth`.
        sigma_space: See `smooth`.
        share: See `smooth`.
        strength: From 0 (unchanged) to 1 (full effect).
        color: Channel order.

    Returns:
        The changed image, of the same shape.

    Raises:
        ImageError: If ``image`` does not have this type or shape.
        InputError: If the image is greyscale, or an option is out of range.
    """
    image = _colored(image, color)
    if not 0 <= strength <= 1:
        raise InputError(f"strength {strength} is not between 0 and 1")
    options = {"sigma_color": sigma_color, "sigma_space": sigma_space, "share": share}

    def change(part: Image) -> Image:
        return smooth(whiten(part, whiten_rate, color=color), diameter=diameter, **options)

    if faces is None and strength == 1:
        return change(image)
    weight = np.full(image.shape[:2], strength, np.float32)
    if faces is not None:
        weight *= face_mask(image.shape[:2], faces)
    # Only the faces and the filters' reach around them are computed.
    rows, columns = (_reach(weight.any(axis=axis), diameter) for axis in (1, 0))
    result, part = image.copy(), image[rows, columns]
    difference = change(part).astype(np.float32) - part if part.size else np.float32(0)
    result[rows, columns] = np.round(part + weight[rows, columns, None] * difference)
    return result


def _reach(used: npt.NDArray[np.bool_], diameter: int) -> slice:
    """The part of an axis from the first to the last used pixel, extended by the filter's reach."""
    places = np.flatnonzero(used)
    if not len(places):
        return slice(0, 0)
    return slice(max(int(places[0]) - diameter, 0), int(places[-1]) + diameter + 1)


def face_mask(shape: tuple[int, ...], faces: Sequence[Face]) -> FloatArray:
    """Mask of faces: 1 on a face, 0 elsewhere, with a soft edge.

    A face with a mesh of landmark_mesh is its skin: the oval without lips, mouth, eyes and brows.
    Any other is an ellipse aligned with the eyes; without eye landmarks it is inscribed in the face
    box.

    Args:
        shape: Height and width of the image.
        faces: The faces.

    Returns:
        float32 (H, W), 0 to 1.
    """
    height, width = shape[:2]
    mask = np.zeros((height, width), np.float32)
    for face in faces:
        if face.mesh is not None and len(face.mesh.points) == POINTS:
            _add_skin(mask, face.mesh.points)
            continue
        center, axes, angle = _ellipse(face)
        if not (np.abs([*center, *axes]) < _MAX_COORDINATE).all() or min(axes) < 1:
            continue
        sigma = max(_FEATHER * min(axes), 0.5)
        reach = max(axes) + 4 * sigma
        left, top = (max(int(value - reach), 0) for value in center)
        right = min(int(center[0] + reach) + 2, width)
        bottom = min(int(center[1] + reach) + 2, height)
        if left >= right or top >= bottom:
            continue
        part = np.zeros((bottom - top, right - left), np.uint8)
        middle = (float(center[0]) - left, float(center[1]) - top)
        sides = (2 * axes[0], 2 * axes[1])
        cv2.ellipse(part, (middle, sides, float(np.degrees(angle))), (255,), -1, cv2.LINE_AA)
        soft = cv2.GaussianBlur(part, (0, 0), sigma).astype(np.float32) / 255
        place = mask[top:bottom, left:right]
        np.maximum(place, soft, out=place)
    return mask


def _add_skin(mask: FloatArray, points: FloatArray) -> None:
    """Adds the skin of a mesh to a mask, with edges that are soft to their insides."""
    low, high = mesh_box(points, mask.shape, 2)
    place = mask[low[1] : high[1], low[0] : high[0]]
    if place.size:
        sigma = max(_MESH_FEATHER * mesh_size(points), 0.5)
        np.maximum(place, soft_mask(place.shape, points - low, ("skin",), sigma), out=place)


def _ellipse(face: Face) -> tuple[npt.NDArray[np.float64], tuple[float, float], float]:
    """Centre, half axes and angle (radians) of the ellipse over a face."""
    eyes = None if face.landmarks is None else _eyes(face.landmarks)
    if eyes is None:
        x1, y1, x2, y2 = (float(value) for value in face.bbox)
        return np.array([x1 + x2, y1 + y2]) / 2, ((x2 - x1) / 2, (y2 - y1) / 2), 0.0
    left, right = eyes
    across = right - left
    distance = float(np.hypot(*across))
    down = np.array([-across[1], across[0]])
    center = (left + right) / 2 + _CENTER * down
    return center, (_ACROSS * distance, _DOWN * distance), float(np.arctan2(across[1], across[0]))


def _eyes(marks: Landmarks) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """Centres of the left and right eye; None if the landmarks do not include the eyes."""
    for names in (("left_eye",), ("left_eye_outer", "left_eye_inner")):
        left = marks.select(names)
        right = marks.select(tuple(name.replace("left", "right") for name in names))
        if left is not None and right is not None:
            return left.mean(axis=0).astype(np.float64), right.mean(axis=0).astype(np.float64)
    return None


def _colored(image: Image, color: ChannelOrder) -> Image:
    """Checks a colour image and returns it as a contiguous array."""
    image = check_image(image)
    check_color(color)
    if image.ndim != 3:
        raise InputError("a colour image is required, not a greyscale one")
    return np.ascontiguousarray(image)
