"""Landmarks (eyes, nose, mouth) of detected faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..models.kinds import LandmarkSpec
from ..models.session import Session
from ..types import FloatArray, Landmarks
from ..vision.boxes import as_boxes
from ..vision.gray import dlib_gray
from ..vision.image import Image, check_image

__all__ = ["LandmarkPredictor", "LandmarkSet", "limited_boxes", "merge_landmarks", "merged_names"]

_MAX_COORDINATE = 1 << 30
"""Maximum absolute coordinate of a box in pixels, so that differences cannot overflow."""

_ORDER = ("left_eye", "right_eye", "nose", "mouth", "left_mouth", "right_mouth")


class LandmarkPredictor:
    """Predicts the landmarks of faces.

    Args:
        session: A model whose task is "landmarks".

    Attributes:
        spec: The model's spec.
        name: Name of the model.
        point_names: Name of each landmark.

    Raises:
        ModelError: If the model is of another kind.
    """

    def __init__(self, session: Session) -> None:
        self._section = session.spec.require(LandmarkSpec, str(session.path))
        self.session = session
        self.spec = session.spec
        self.name = session.spec.name
        self.point_names = self._section.points

    def predict(self, image: Image, boxes: npt.ArrayLike) -> list[Landmarks]:
        """Predicts the landmarks of each face.

        Args:
            image: uint8 (H, W, 3), in any channel order, or (H, W).
            boxes: (N, 4): x1, y1, x2, y2 in pixels, truncated to integers. They may extend beyond
                the image, where pixels are treated as black.

        Returns:
            The landmarks of each box, in whole pixels; they may lie outside the box or the image.

        Raises:
            ImageError: If ``image`` is not an image.
            InputError: If the boxes are not an (N, 4) array of finite numbers in the supported
                range.
        """
        corners = check_boxes(boxes)
        gray = dlib_gray(check_image(image))
        inputs: dict[str, npt.NDArray[Any]] = {
            self._section.image: gray,
            self._section.boxes: corners,
        }
        points = self.session.run(inputs)[self._section.output]
        return [Landmarks(self.point_names, face) for face in points]

    __call__ = predict


def check_boxes(boxes: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Boxes as integers (N, 4), truncated toward zero.

    Raises:
        InputError: See `LandmarkPredictor.predict`.
    """
    return limited_boxes(boxes).astype(np.int64)


def limited_boxes(boxes: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Boxes as float64 (N, 4), finite and so small that whole pixels cannot overflow.

    Raises:
        InputError: See `LandmarkPredictor.predict`.
    """
    array = as_boxes(boxes)
    bad = ~(np.abs(array) <= _MAX_COORDINATE).all(axis=1)
    if bad.any():
        number = int(bad.argmax())
        raise InputError(f"{array[number].tolist()} is not a box in pixels", where=f"box {number}")
    return array


class LandmarkSet:
    """Several landmark models whose landmarks are merged.

    Args:
        predictors: The models.

    Attributes:
        point_names: Names of the merged landmarks.
    """

    def __init__(self, predictors: Sequence[LandmarkPredictor]) -> None:
        self.predictors = list(predictors)

    def __iter__(self) -> Iterator[LandmarkPredictor]:
        return iter(self.predictors)

    def __len__(self) -> int:
        return len(self.predictors)

    @property
    def point_names(self) -> tuple[str, ...]:
        """Names of the merged landmarks."""
        return merged_names([predictor.point_names for predictor in self.predictors])

    def predict(self, image: Image, boxes: npt.ArrayLike) -> list[Landmarks]:
        """Predicts and merges the landmarks of each face; see `LandmarkPredictor.predict`."""
        parts = [predictor.predict(image, boxes) for predictor in self.predictors]
        return [merge_landmarks(found) for found in zip(*parts, strict=True)]

    __call__ = predict


def merged_names(names: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Names of the merged landmarks of several models."""
    blank = [Landmarks(points, np.zeros((len(points), 2), np.float32)) for points in names]
    return merge_landmarks(blank).names


def merge_landmarks(parts: Sequence[Landmarks]) -> Landmarks:
    """Merges the landmarks that several models predict for one face.

    A landmark that several models predict becomes their mean.

    Returns:
        The landmarks in the order eyes, nose, mouth, then all others.
    """
    gathered: dict[str, list[FloatArray]] = {}
    for part in parts:
        for name, point in zip(part.names, part.points, strict=True):
            gathered.setdefault(name, []).append(point)
    known = [name for name in _ORDER if name in gathered]
    names = (*known, *(name for name in gathered if name not in _ORDER))
    points = [
        found[0] if len(found) == 1 else np.mean(found, axis=0)
        for found in (gathered[name] for name in names)
    ]
    return Landmarks(names, np.asarray(points, np.float32).reshape(-1, 2))
