"""Makeup as MobileFace published it: lighter, smoother skin; on faces alone if they are given."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..types import Face, FloatArray, Landmarks
from ..vision.image import ChannelOrder, Image, check_color, check_image

__all__ = ["face_mask", "makeup", "smooth", "whiten"]

_KERNEL = (3, 3)
_LARGEST_DIAMETER = 99

_CENTER, _ACROSS, _DOWN = 0.45, 1.05, 1.35
"""An ellipse over a face, in distances of the eyes: its centre below them, and its half axes."""

_FARTHEST = 1e5
"""Pixels. An ellipse beyond is damage."""

_FEATHER = 0.12
"""Of the ellipse's smaller half axis: how softly it ends."""


def whiten(image: Image, rate: float = 0.15, *, color: ChannelOrder = "bgr") -> Image:
    """Raises the brightness: the value of HSV times 1 + rate, at most 255.

    Args:
        image: uint8 (H, W, 3).
        rate: 0 leaves the picture as it is; 0.15 as published.
        color: Channel order.

    Raises:
        ImageError: Not a picture.
        InputError: A grey picture, or a rate that is not finite or below −1.
    """
    image = _colored(image, color)
    if not (np.isfinite(rate) and rate >= -1):
        raise InputError(f"rate {rate} is not a number from -1 on")
    there, back = (
        (cv2.COLOR_BGR2HSV, cv2.COLOR_HSV2BGR)
        if color == "bgr"
        else (cv2.COLOR_RGB2HSV, cv2.COLOR_HSV2RGB)
    )
    hsv = cv2.cvtColor(image, there)
    hsv[..., 2] = np.minimum(hsv[..., 2] * (1 + rate), 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(hsv, back), np.uint8)


def smooth(
    image: Image,
    *,
    diameter: int = 15,
    sigma_color: float = 100,
    sigma_space: float = 100,
    share: float = 0.7,
) -> Image:
    """Smooths skin and keeps edges: bilateral filter, Gaussian 3×3, blended with the picture.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        diameter: Pixels that the bilateral filter sees; 15 as published.
        sigma_color: Grey values that count as near; 100 as published.
        sigma_space: Pixels that count as near; 100 as published.
        share: Of the smoothed picture in the result; 0.7 as published.

    Raises:
        ImageError: Not a picture.
        InputError: An option out of range.
    """
    image = check_image(image)
    if not 1 <= diameter <= _LARGEST_DIAMETER:
        raise InputError(f"diameter {diameter} is not from 1 to {_LARGEST_DIAMETER}")
    if not (0 < sigma_color < np.inf and 0 < sigma_space < np.inf):
        raise InputError(f"sigmas {sigma_color}, {sigma_space} are not positive numbers")
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
    """Whitens, then smooths.

    Args:
        image: uint8 (H, W, 3).
        faces: Change only these, with a soft edge; None: the whole picture, as published.
        whiten_rate: As `whiten` takes it.
        diameter: As `smooth` takes it.
        sigma_color: As `smooth` takes it.
        sigma_space: As `smooth` takes it.
        share: As `smooth` takes it.
        strength: 0 leaves the picture as it is, 1 changes it fully.
        color: Channel order.

    Returns:
        A picture of the same shape.

    Raises:
        ImageError: Not a picture.
        InputError: A grey picture, or an option out of range.
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
    # Beyond the reach of the filters around the faces nothing counts, so nothing is computed.
    rows, columns = (_reach(weight.any(axis=axis), diameter) for axis in (1, 0))
    result, part = image.copy(), image[rows, columns]
    difference = change(part).astype(np.float32) - part if part.size else np.float32(0)
    result[rows, columns] = np.round(part + weight[rows, columns, None] * difference)
    return result


def _reach(used: npt.NDArray[np.bool_], diameter: int) -> slice:
    """The part of an axis from its first to its last used place, as far as the filters see."""
    places = np.flatnonzero(used)
    if not len(places):
        return slice(0, 0)
    return slice(max(int(places[0]) - diameter, 0), int(places[-1]) + diameter + 1)


def face_mask(shape: tuple[int, ...], faces: Sequence[Face]) -> FloatArray:
    """Where faces are: 1 on them, 0 elsewhere, softly in between.

    Each face is an ellipse that follows the eyes; without landmarks one in its box.

    Args:
        shape: Height and width of the picture.
        faces: The faces.

    Returns:
        float32 (H, W), 0 to 1.
    """
    height, width = shape[:2]
    mask = np.zeros((height, width), np.float32)
    for face in faces:
        center, axes, angle = _ellipse(face)
        if not (np.abs([*center, *axes]) < _FARTHEST).all() or min(axes) < 1:
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


def _ellipse(face: Face) -> tuple[npt.NDArray[np.float64], tuple[float, float], float]:
    """Centre, half axes and angle of the ellipse over a face."""
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
    """The middles of both eyes, if the landmarks give them."""
    for names in (("left_eye",), ("left_eye_outer", "left_eye_inner")):
        left = marks.select(names)
        right = marks.select(tuple(name.replace("left", "right") for name in names))
        if left is not None and right is not None:
            return left.mean(axis=0).astype(np.float64), right.mean(axis=0).astype(np.float64)
    return None


def _colored(image: Image, color: ChannelOrder) -> Image:
    """A checked colour picture."""
    image = check_image(image)
    check_color(color)
    if image.ndim != 3:
        raise InputError("a grey picture has no colours to change")
    return np.ascontiguousarray(image)
