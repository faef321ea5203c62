"""Estimates from landmarks how frontal and how tilted a face is."""

from __future__ import annotations

import math

import numpy as np

from ..types import FloatArray, Landmarks

__all__ = ["frontality", "roll"]

_EYES = (("left_eye", "right_eye"), ("left_eye_outer", "right_eye_outer"))
_NOSES = ("nose", "nose_base")


def frontality(marks: Landmarks) -> float | None:
    """Frontality of a face: 1 seen from the front, 0 in profile.

    It is the ratio of the smaller to the larger distance between the nose and an eye; None without
    these landmarks.
    """
    for eyes in _EYES:
        for nose in _NOSES:
            points = marks.select((*eyes, nose))
            if points is None:
                continue
            one, other = (float(np.hypot(*(points[2] - points[side]))) for side in (0, 1))
            return min(one, other) / max(one, other, 1e-6)
    return None


def roll(marks: Landmarks) -> float | None:
    """Angle of the line between the eyes in degrees; None without the eyes."""
    for eyes in _EYES:
        points: FloatArray | None = marks.select(eyes)
        if points is not None:
            x, y = (float(value) for value in points[1] - points[0])
            return math.degrees(math.atan2(y, x))
    return None
