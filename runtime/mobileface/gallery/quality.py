"""Quality measures that decide whether a face is good enough to be enrolled."""

from __future__ import annotations

from dataclasses import dataclass

import cv2

from ..errors import ImageError, InputError
from ..types import Face
from ..vision.frontality import frontality, roll
from ..vision.image import Image, resize, to_color

__all__ = ["QualityLimits", "measure", "require_quality", "sharpness"]

_SIDE = 112
"""Side in pixels to which a crop is scaled to measure sharpness, which depends on the size."""


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """Quality limits for enrolment; docs/gallery.md describes how the defaults were chosen.

    Attributes:
        face_size: Minimum shorter side of the face box, in pixels.
        sharpness: Minimum variance of the Laplacian of the crop at 112×112.
        frontality: Minimum frontality, from the nose's position between the eyes: 1 is frontal,
            0 is profile.
        roll: Maximum head roll, in degrees to either side.

    Raises:
        InputError: If a limit is not from 0 to 1e9.
    """

    face_size: float = 40.0
    sharpness: float = 10.0
    frontality: float = 0.4
    roll: float = 45.0

    def __post_init__(self) -> None:
        for name in ("face_size", "sharpness", "frontality", "roll"):
            if not 0 <= getattr(self, name) < 1e9:  # false for nan
                raise InputError(f"{name} must be from 0 to 1e9, not {getattr(self, name)}")


def sharpness(crop: Image) -> float:
    """Variance of the Laplacian of a greyscale face crop scaled to 112×112; low if blurred.

    The measure is LAPV in S. Pertuz et al., "Analysis of focus measure operators for
    shape-from-focus", Pattern Recognition 46, 2013.
    """
    gray = resize(to_color(crop, "gray"), _SIDE, _SIDE)
    return float(cv2.Laplacian(gray, cv2.CV_64F).var())


def measure(face: Face | None, crop: Image) -> dict[str, float]:
    """Measures the quality of a face.

    Args:
        face: The detected face; None if the image is already an aligned face crop.
        crop: The aligned crop, uint8 (H, W, 3) BGR or (H, W).

    Returns:
        Those of "face_size", "sharpness", "frontality" and "roll" that can be measured.
    """
    found: dict[str, float | None] = {"sharpness": sharpness(crop)}
    if face is None:
        found["face_size"] = float(min(crop.shape[:2]))
    else:
        found["face_size"] = float((face.bbox[2:] - face.bbox[:2]).min())
        if face.landmarks is not None:
            found |= {
                "frontality": frontality(face.landmarks),
                "roll": face.roll if face.roll is not None else roll(face.landmarks),
            }
    return {name: round(value, 3) for name, value in found.items() if value is not None}


def require_quality(
    values: dict[str, float], limits: QualityLimits, where: str, *, adjustable: bool = True
) -> None:
    """Checks measured values against the limits.

    Args:
        values: The values, see `measure`.
        limits: The limits.
        where: The image, for the error.
        adjustable: The caller can change the limits; the error's hint says so.

    Raises:
        ImageError: If a value does not meet its limit; the error lists all such values and limits.
    """
    messages = {
        "face_size": "the face has {value:.0f} pixels, at least {limit:.0f} are needed",
        "sharpness": "the face is blurred: sharpness {value:.0f}, at least {limit:.0f} is needed",
        "frontality": (
            "the face is turned away: frontality {value:.2f}, at least {limit:.2f} is needed"
        ),
    }
    faults = [
        text.format(value=values[name], limit=getattr(limits, name))
        for name, text in messages.items()
        if name in values and values[name] < getattr(limits, name)
    ]
    if abs(values.get("roll", 0.0)) > limits.roll:
        faults.append(
            f"the head is tilted by {abs(values['roll']):.0f}°, at most {limits.roll:.0f}° is "
            "allowed"
        )
    if faults:
        hint = "use a better image" + (", or relax the limit" if adjustable else "")
        raise ImageError("; ".join(faults), where=where, hint=hint)
