"""The stored image of an enrolled face: upright and with some surroundings.

It is the model's own crop with a border on each side, at about the resolution of the source.
Another model's crop, which shows more or less of the head, can be taken from it later, so that
a gallery can be migrated to another model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ..errors import GalleryError
from ..tasks.align import crop_matrix
from ..types import Face, FloatArray, Landmarks
from ..vision.crops import CROPS
from ..vision.image import Image

__all__ = ["CROP_QUALITY", "Enclosing", "decode", "enclose"]

_BORDER = 0.4
"""Width of the border on each side, as a share of the crop's side."""

CROP_QUALITY = 95
"""JPEG quality of stored images, 0 to 100."""

_MAX_SCALE = 2.0
"""Maximum side of the crop without its border, in sides of the network's input."""


@dataclass(frozen=True, slots=True, eq=False)
class Enclosing:
    """An image of a face, to be stored.

    Attributes:
        image: uint8 (S, S, 3) BGR or (S, S).
        bbox: The face box in pixels of ``image``.
        kps: The landmarks in pixels of ``image``, by name.
    """

    image: Image
    bbox: tuple[float, ...]
    kps: dict[str, tuple[float, float]]


def enclose(image: Image, face: Face, crop: str, side: int) -> Enclosing:
    """Crops the image of a face that is to be stored.

    Args:
        image: uint8 (H, W, 3) BGR or (H, W).
        face: A face in ``image``, with landmarks that are sufficient for the crop.
        crop: The model's crop, a name in `mobileface.vision.crops`.
        side: Side of the network's input in pixels.

    Raises:
        InputError: If the landmarks are not sufficient for the crop.
    """
    marks = face.landmarks
    assert marks is not None
    unit = crop_matrix(marks, CROPS[crop], side, side)
    scale = math.sqrt(abs(float(np.linalg.det(unit[:, :2]))))  # crop pixels per source pixel
    inner = side * min(max(1 / max(scale, 1e-6), 1), _MAX_SCALE)
    shrink = min(scale * inner / side, 1.0)
    if shrink < 1:  # area interpolation: a warp alone would skip pixels
        size = (max(round(image.shape[1] * shrink), 1), max(round(image.shape[0] * shrink), 1))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    border = round(_BORDER * inner)
    matrix = unit * (inner / side)
    matrix[:, 2] += border
    outer = round(inner) + 2 * border
    # The warp for the shrunken image; both coordinate systems have their origin at a pixel centre.
    warp = matrix.copy()
    warp[:, :2] /= shrink
    warp[:, 2] += matrix[:, :2] @ np.full(2, 0.5 / shrink - 0.5)
    drawn = cv2.warpAffine(image, warp, (outer, outer), flags=cv2.INTER_CUBIC)
    points = marks.points.astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return Enclosing(
        np.asarray(drawn, np.uint8),
        _moved_box(face.bbox, matrix, scale * inner / side),
        {
            name: (round(float(x), 2), round(float(y), 2))
            for name, (x, y) in zip(marks.names, points, strict=True)
        },
    )


def _moved_box(bbox: FloatArray, matrix: np.ndarray, scale: float) -> tuple[float, ...]:  # type: ignore[type-arg]
    """The transformed box: moved with its centre and scaled, but not rotated."""
    centre = matrix[:, :2] @ ((bbox[:2] + bbox[2:]) / 2) + matrix[:, 2]
    half = (bbox[2:] - bbox[:2]) / 2 * scale
    return tuple(round(float(value), 2) for value in (*(centre - half), *(centre + half)))


def landmarks_of(kps: dict[str, tuple[float, float]] | None) -> Landmarks | None:
    """Landmarks from points by name; None without points."""
    if not kps:
        return None
    return Landmarks(tuple(kps), np.array(list(kps.values()), np.float32).reshape(-1, 2))


def decode(content: bytes, where: str) -> Image:
    """Decodes a stored JPEG image.

    Raises:
        GalleryError: If ``content`` is not an image.
    """
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise GalleryError("corrupt: a stored crop is not an image", where=where)
    return np.asarray(image, np.uint8)
