"""Face alignment: crops a face, upright and at a fixed size, using its landmarks."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import ImageError, InputError
from ..types import FloatArray, Landmarks
from ..vision.chips import ChipPlace, extract_chip, place_chip
from ..vision.crops import CROPS, CropTemplate
from ..vision.image import Image, check_image

__all__ = ["align", "allows_crop", "crop_matrix"]

_INTERPOLATION = {"cubic": cv2.INTER_CUBIC, "linear": cv2.INTER_LINEAR}
_MAX_CROP_SIDE = 4096
_MIN_POINTS = 3
_EYE_CORNERS = ("left_eye_outer", "left_eye_inner", "right_eye_outer", "right_eye_inner")
_MAX_IMAGE_SIDE = 32766
"""Maximum side, in pixels, of an image that OpenCV's warp can address."""

Matrix = npt.NDArray[np.float64]


def align(
    image: Image,
    landmarks: Landmarks,
    *,
    crop: str = "mobileface",
    size: int | tuple[int, int] | None = None,
    box: FloatArray | None = None,
) -> Image:
    """Crops and aligns a face.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        landmarks: Landmarks of the face.
        crop: Name of the template, see `mobileface.vision.crops`: "mobileface" (as published:
            affine, from both eyes and the mouth), "arcface" (similarity transform, from five
            points, or from eyes, nose and mouth), "dlib" and "dlib_20" (dlib's face chips with a
            margin of 0.25 and 0.2, from the corners of the eyes and the base of the nose) or "box"
            (the square around the face box, rotated so that the eyes, if available, are level).
        size: Side of the crop, or its height and width; by default the template's.
        box: float32 (4,): x1, y1, x2, y2 of the face in pixels; only needed for the crop "box".

    Returns:
        uint8 (height, width, 3) or (height, width); black outside the image.

    Raises:
        ImageError: If ``image`` is not an image, or is too large.
        InputError: If the template is unknown, landmarks that it needs are missing, all landmarks
            lie on a line (affine) or coincide, a face chip is not square, or the box is missing,
            empty or not finite.
    """
    image = check_image(image)
    if max(image.shape[:2]) > _MAX_IMAGE_SIDE:
        raise ImageError(
            f"the sides must be at most {_MAX_IMAGE_SIDE} pixels, not {image.shape[:2]}"
        )
    template = _template(crop)
    height, width = (size, size) if isinstance(size, int) else (size or (template.size,) * 2)
    if template.transform == "chip":
        return extract_chip(image, _chip(landmarks, template, height, width))
    if template.transform == "box":
        return extract_chip(image, _box_chip(landmarks, box, height, width))
    matrix = crop_matrix(landmarks, template, height, width)
    method = _INTERPOLATION[template.interpolation]
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), flags=method), np.uint8)


def allows_crop(names: tuple[str, ...], crop: str) -> bool:
    """True if landmarks with these names suffice for a crop.

    Raises:
        InputError: If the crop is unknown.
    """
    blank = Landmarks(names, np.zeros((len(names), 2), np.float32))
    template = _template(crop)
    if template.transform == "box":
        return True
    try:
        _matching(blank, template)
    except InputError:
        return False
    return True


def crop_matrix(landmarks: Landmarks, template: CropTemplate, height: int, width: int) -> Matrix:
    """The 2×3 matrix that maps pixels of the image to pixels of the crop.

    Raises:
        InputError: See `align`.
    """
    if template.transform == "box":
        raise InputError("the crop 'box' needs the face box, not only landmarks")
    if template.transform == "chip":
        return _chip(landmarks, template, height, width).matrix()
    source, target = _pairs(landmarks, template, height, width)
    return (_affine if template.transform == "affine" else _similarity)(source, target)


def _chip(landmarks: Landmarks, template: CropTemplate, height: int, width: int) -> ChipPlace:
    """The position of a face chip in the image."""
    if height != width:
        raise InputError(f"a face chip must be square, not {height}×{width} pixels")
    return place_chip(*_pairs(landmarks, template, height, width), height)


def _box_chip(landmarks: Landmarks, box: FloatArray | None, height: int, width: int) -> ChipPlace:
    """The square around a box, rotated with the eyes; upright without the eyes."""
    if height != width:
        raise InputError(f"the crop 'box' must be square, not {height}×{width} pixels")
    if not 1 <= height <= _MAX_CROP_SIDE:
        raise InputError(
            f"the sides of a crop must be from 1 to {_MAX_CROP_SIDE} pixels, not {height}×{width}"
        )
    if box is None:
        raise InputError("the crop 'box' needs the face box", hint="align(…, box=face.bbox)")
    corners = np.asarray(box, np.float64).reshape(-1)
    if corners.shape != (4,) or not np.isfinite(corners).all():
        raise InputError(f"{corners.tolist()} is not a box")
    x1, y1, x2, y2 = corners.tolist()
    side = max(x2 - x1, y2 - y1)
    if min(x2 - x1, y2 - y1) <= 0 or side <= 1:
        raise InputError(f"{corners.tolist()} is an empty box")
    return ChipPlace(((x1 + x2) / 2, (y1 + y2) / 2), _tilt(landmarks), side / height, height)


def _tilt(landmarks: Landmarks) -> float:
    """Clockwise angle in radians from the horizontal to the line through the eyes."""
    eyes = landmarks.select(("left_eye", "right_eye"))
    if eyes is None:
        corners = landmarks.select(_EYE_CORNERS)
        if corners is None:
            return 0.0
        eyes = np.asarray(corners.reshape(2, 2, 2).mean(axis=1), np.float32)
    if not np.isfinite(eyes).all():
        raise InputError("the landmarks are not finite")
    across, down = (eyes[1] - eyes[0]).tolist()
    return math.atan2(down, across)


def _pairs(
    landmarks: Landmarks, template: CropTemplate, height: int, width: int
) -> tuple[Matrix, Matrix]:
    """The landmarks in the image and their target positions in the crop, in pixels."""
    if not (1 <= height <= _MAX_CROP_SIDE and 1 <= width <= _MAX_CROP_SIDE):
        raise InputError(
            f"the sides of a crop must be from 1 to {_MAX_CROP_SIDE} pixels, not {height}×{width}"
        )
    source, places = _matching(landmarks, template)
    if not np.isfinite(source).all():
        raise InputError("the landmarks are not finite")
    return source, places * (width, height)


def _template(name: str) -> CropTemplate:
    if name not in CROPS:
        raise InputError(f"unknown crop '{name}'", hint=f"available: {', '.join(CROPS)}")
    return CROPS[name]


def _matching(landmarks: Landmarks, template: CropTemplate) -> tuple[Matrix, Matrix]:
    """The landmarks and their target positions, as fractions of the crop.

    If the corners of the mouth are missing, its centre is used, with the mean of their targets.
    """
    names, places = template.points, np.asarray(template.template, np.float64)
    found = landmarks.select(names)
    if found is None and "left_mouth" in names:
        corners = [names.index("left_mouth"), names.index("right_mouth")]
        kept = [index for index in range(len(names)) if index not in corners]
        names = (*(names[index] for index in kept), "mouth")
        places = np.vstack([places[kept], places[corners].mean(axis=0)])
        found = landmarks.select(names)
    if found is None or len(found) < _MIN_POINTS:
        raise InputError(
            f"the crop needs the landmarks {', '.join(template.points)}; "
            f"available: {', '.join(landmarks.names)}"
        )
    return found.astype(np.float64), places


def _affine(source: Matrix, target: Matrix) -> Matrix:
    """The affine transform that maps three points exactly."""
    (x1, y1), (x2, y2) = source[1:] - source[0]
    if abs(x1 * y2 - y1 * x2) < 1e-6:
        raise InputError("the three landmarks lie on a line")
    pair = (source.astype(np.float32), target.astype(np.float32))
    return np.asarray(cv2.getAffineTransform(*pair), np.float64)


def _similarity(source: Matrix, target: Matrix) -> Matrix:
    """The similarity transform (rotation, scale, translation) with the least squared error.

    For centred points f and t, its linear part is [[a, −b], [b, a]] with a = Σ f·t / Σ |f|² and
    b = Σ (fx·ty − fy·tx) / Σ |f|² (Umeyama, "Least-squares estimation of transformation parameters
    between two point patterns", 1991; in 2D, without reflection).
    """
    origin, goal = source.mean(axis=0), target.mean(axis=0)
    f, t = source - origin, target - goal
    spread = float((f**2).sum())
    if spread < 1e-6:
        raise InputError("the landmarks coincide")
    a = float((f * t).sum()) / spread
    b = float((f[:, 0] * t[:, 1] - f[:, 1] * t[:, 0]).sum()) / spread
    rotation = np.array([[a, -b], [b, a]])
    return np.hstack([rotation, (goal - rotation @ origin)[:, None]])
