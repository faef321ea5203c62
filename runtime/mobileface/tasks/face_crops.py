"""Aligned crops of the faces of an image, for tasks whose network needs them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError, ModelNotFoundError
from ..types import Face, Landmarks
from ..vision.image import Image
from .align import align
from .base import Request

__all__ = ["face_crops", "require_crop"]

_NONE = Landmarks((), np.zeros((0, 2), np.float32))


def face_crops(
    image: Image, faces: Sequence[Face], crop: str, size: tuple[int, int] | None = None
) -> dict[int, Image]:
    """Crops of the faces whose landmarks (or box, for the crop "box") allow one, by index.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        faces: Faces of this image.
        crop: Name of the template, see `mobileface.vision.crops`.
        size: Height and width; None for the template's size.
    """
    found = {}
    for number, face in enumerate(faces):
        marks = _NONE if face.landmarks is None else face.landmarks
        with contextlib.suppress(InputError):
            found[number] = align(image, marks, crop=crop, size=size, box=face.bbox)
    return found


def require_crop(request: Request, model: Any) -> None:
    """Makes sure that the landmarks suffice for a model's crop.

    Args:
        request: The request whose ``points`` provide the landmarks.
        model: An object with ``name`` and ``crop``.

    Raises:
        ModelNotFoundError: If no landmark model outputs the landmarks.
    """
    if request.points is None:
        return
    try:
        request.points.require_crop(model.crop)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(f"{model.name}: {error.what}", hint=error.hint) from error
