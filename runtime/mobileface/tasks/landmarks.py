"""Landmarks of faces whose boxes are known: eyes, nose, mouth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError, ModelError
from ..models.session import Session
from ..types import FloatArray, Landmarks
from ..vision.boxes import as_boxes
from ..vision.gray import dlib_gray
from ..vision.image import Image, check_image

__all__ = ["LandmarkPredictor", "merge_landmarks", "merged_names"]

_FARTHEST = 1 << 30
"""Pixels. Beyond this a box is damage, and its corners' differences might overflow."""

_ORDER = ("left_eye", "right_eye", "nose", "mouth", "left_mouth", "right_mouth")


class LandmarkPredictor:
    """Finds the points of faces.

    Args:
        session: A model whose task is "landmarks".

    Raises:
        ModelError: The model does something else.
    """

    def __init__(self, session: Session) -> None:
        if session.spec.landmarks is None:
            raise ModelError(
                f"its task is '{session.spec.task}', not 'landmarks'", where=str(session.path)
            )
        self.session = session
        self.spec = session.spec.landmarks
        self.name = session.spec.name

    def predict(self, image: Image, boxes: npt.ArrayLike) -> list[Landmarks]:
        """The points of each face.

        Args:
            image: uint8 (H, W, 3), in any channel order, or (H, W).
            boxes: (N, 4): x1, y1, x2, y2 in pixels; fractions are cut off. They may reach beyond
                the picture, where pixels count as black.

        Returns:
            For each box its points, in whole pixels; they may lie outside the box or the picture.

        Raises:
            ImageError: The picture is none.
            InputError: The boxes are no (N, 4) numbers, not finite, or absurdly far away.
        """
        corners = check_boxes(boxes)
        gray = dlib_gray(check_image(image))
        inputs: dict[str, npt.NDArray[Any]] = {self.spec.image: gray, self.spec.boxes: corners}
        points = self.session.run(inputs)[self.spec.output]
        return [Landmarks(self.spec.points, face) for face in points]


def check_boxes(boxes: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Boxes as whole numbers (N, 4), cut off toward zero.

    Raises:
        InputError: As `LandmarkPredictor.predict`.
    """
    array = as_boxes(boxes)
    bad = ~(np.abs(array) <= _FARTHEST).all(axis=1)
    if bad.any():
        number = int(bad.argmax())
        raise InputError(f"{array[number].tolist()} is no box in a picture", where=f"box {number}")
    return array.astype(np.int64)


def merged_names(predictors: Sequence[LandmarkPredictor]) -> tuple[str, ...]:
    """What several models' points are once they are merged."""
    names = [predictor.spec.points for predictor in predictors]
    blank = [Landmarks(points, np.zeros((len(points), 2), np.float32)) for points in names]
    return merge_landmarks(blank).names


def merge_landmarks(parts: Sequence[Landmarks]) -> Landmarks:
    """Joins what several models found in one face; a point that several give is their mean.

    Returns:
        The points in the order eyes, nose, mouth.
    """
    gathered: dict[str, list[FloatArray]] = {}
    for part in parts:
        for name, point in zip(part.names, part.points, strict=True):
            gathered.setdefault(name, []).append(point)
    known = [name for name in _ORDER if name in gathered]
    names = (*known, *(name for name in gathered if name not in _ORDER))
    points = [np.mean(gathered[name], axis=0) for name in names]
    return Landmarks(names, np.asarray(points, np.float32).reshape(-1, 2))
