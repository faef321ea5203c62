"""Whether a picture of a face is good enough to be enrolled, in measured numbers."""

from __future__ import annotations

from dataclasses import dataclass

import cv2

from ..errors import ImageError, InputError
from ..types import Face
from ..vision.frontality import frontality, roll
from ..vision.image import Image, resize, to_color

__all__ = ["QualityLimits", "measure", "require_quality", "sharpness"]

_SIDE = 112
"""Pixels of a crop's side at which sharpness is measured: it depends on the size."""


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """The least that a picture must have; docs/gallery.md says how the defaults were measured.

    Attributes:
        face_size: Pixels of the shorter side of the face's box.
        sharpness: Variance of the Laplacian of the crop at 112×112.
        frontality: Nose between the eyes: 1 from the front, 0 in profile.
        roll: Degrees by which the head may be tilted, at most.
    """

    face_size: float = 40.0
    sharpness: float = 10.0
    frontality: float = 0.4
    roll: float = 45.0

    def __post_init__(self) -> None:
        for name in ("face_size", "sharpness", "frontality", "roll"):
            if not 0 <= getattr(self, name) < 1e9:  # false for nan
                raise InputError(f"{name} {getattr(self, name)} is no limit")


def sharpness(crop: Image) -> float:
    """Variance of the Laplacian of a face crop, gray and at one size; a blurred one has little.

    The measure is LAPV of S. Pertuz et al., "Analysis of focus measure operators for
    shape-from-focus", Pattern Recognition 46, 2013.
    """
    gray = resize(to_color(crop, "gray"), _SIDE, _SIDE)
    return float(cv2.Laplacian(gray, cv2.CV_64F).var())


def measure(face: Face | None, crop: Image) -> dict[str, float]:
    """What can be measured of a face.

    Args:
        face: As it was found; None: the picture is an aligned crop already.
        crop: The aligned crop, uint8, BGR or gray.

    Returns:
        Some of "face_size", "sharpness", "frontality" and "roll".
    """
    found: dict[str, float | None] = {"sharpness": sharpness(crop)}
    if face is None:
        found["face_size"] = float(min(crop.shape[:2]))
    else:
        found["face_size"] = float((face.bbox[2:] - face.bbox[:2]).min())
        if face.landmarks is not None:
            found |= {"frontality": frontality(face.landmarks), "roll": roll(face.landmarks)}
    return {name: round(value, 3) for name, value in found.items() if value is not None}


def require_quality(values: dict[str, float], limits: QualityLimits, where: str) -> None:
    """Refuses a picture below the limits.

    Raises:
        ImageError: Says every value that is not enough, and the limit.
    """
    words = {
        "face_size": "the face has {value:.0f} pixels, {limit:.0f} are needed",
        "sharpness": "the face is blurred: sharpness {value:.0f}, {limit:.0f} is needed",
        "frontality": "the face is turned away: frontality {value:.2f}, {limit:.2f} is needed",
    }
    faults = [
        text.format(value=values[name], limit=getattr(limits, name))
        for name, text in words.items()
        if name in values and values[name] < getattr(limits, name)
    ]
    if abs(values.get("roll", 0.0)) > limits.roll:
        faults.append(
            f"the head is tilted by {abs(values['roll']):.0f}°, {limits.roll:.0f}° are allowed"
        )
    if faults:
        raise ImageError(
            "; ".join(faults), where=where, hint="take a better picture, or lower the limit"
        )
