"""Landmarks (eyes, nose, mouth) of detected faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..models.kinds import LandmarkSpec
from ..models.session import Session
from ..models.spec import ModelSpec
from ..types import FloatArray, Landmarks
from ..vision.boxes import as_boxes
from ..vision.gray import dlib_gray
from ..vision.image import ChannelOrder, Image, check_color, check_image

__all__ = [
    "LandmarkModel",
    "LandmarkPredictor",
    "LandmarkSet",
    "instead",
    "limited_boxes",
    "merge_landmarks",
    "merged_names",
    "turns_of",
]

_MAX_COORDINATE = 1 << 30
"""Maximum absolute coordinate of a box in pixels, so that differences cannot overflow."""

_MAX_ROLL = 1e6

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

    def predict(
        self, image: Image, boxes: npt.ArrayLike, *, color: ChannelOrder = "bgr"
    ) -> list[Landmarks]:
        """Predicts the landmarks of each face.

        Args:
            image: uint8 (H, W, 3), in any channel order, or (H, W).
            boxes: (N, 4): x1, y1, x2, y2 in pixels, truncated to integers. They may extend beyond
                the image, where pixels are treated as black.
            color: Channel order of a colour image; it makes no difference.

        Returns:
            The landmarks of each box, in whole pixels; they may lie outside the box or the image.

        Raises:
            ImageError: If ``image`` is not an image.
            InputError: If the boxes are not an (N, 4) array of finite numbers in the supported
                range, or ``color`` is unknown.
        """
        corners = check_boxes(boxes)
        check_color(color)
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


class LandmarkModel(Protocol):
    """What predicts landmarks that have names of their own from the boxes of upright faces."""

    name: str
    spec: ModelSpec
    point_names: tuple[str, ...]

    def predict(
        self, image: Image, boxes: npt.ArrayLike, *, color: ChannelOrder = "bgr"
    ) -> list[Landmarks]:
        """The landmarks of each box, see `LandmarkPredictor.predict`."""


def turns_of(
    rolls: npt.ArrayLike | Sequence[float | None] | None, count: int
) -> npt.NDArray[np.float64]:
    """The degrees by which heads are turned, float64 (count,): unknown rolls are 0.

    Raises:
        InputError: If the rolls are not as many numbers.
    """
    try:
        array = np.full(count, np.nan) if rolls is None else np.array(rolls, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"the rolls are not an array of numbers ({error})") from error
    if array.shape != (count,) or (np.abs(array) > _MAX_ROLL).any():
        raise InputError(f"expected {count} rolls in degrees, got shape {array.shape}")
    return np.where(np.isnan(array), 0.0, array)


class LandmarkSet:
    """Several landmark models whose landmarks are merged.

    Args:
        predictors: The models.

    Attributes:
        point_names: Names of the merged landmarks.
    """

    def __init__(self, predictors: Sequence[LandmarkModel]) -> None:
        self.predictors = list(predictors)

    def __iter__(self) -> Iterator[LandmarkModel]:
        return iter(self.predictors)

    def __len__(self) -> int:
        return len(self.predictors)

    @property
    def point_names(self) -> tuple[str, ...]:
        """Names of the merged landmarks."""
        return merged_names([predictor.point_names for predictor in self.predictors])

    def predict(
        self, image: Image, boxes: npt.ArrayLike, *, color: ChannelOrder = "bgr"
    ) -> list[Landmarks]:
        """Predicts and merges the landmarks of each face; see `LandmarkPredictor.predict`."""
        parts = [predictor.predict(image, boxes, color=color) for predictor in self.predictors]
        return [merge_landmarks(found) for found in zip(*parts, strict=True)]

    __call__ = predict


def merged_names(names: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Names of the merged landmarks of several models."""
    blank = [Landmarks(points, np.zeros((len(points), 2), np.float32)) for points in names]
    return merge_landmarks(blank).names


def instead(others: Landmarks | None, marks: Landmarks) -> Landmarks:
    """Landmarks with all of ``marks``, and the others of a face that have other names.

    Returns:
        The landmarks in the order of `merge_landmarks`.
    """
    if others is None:
        return merge_landmarks([marks])
    kept = [number for number, name in enumerate(others.names) if name not in marks.names]
    names = tuple(others.names[number] for number in kept)
    z = None if others.z is None else others.z[kept]
    return merge_landmarks([Landmarks(names, others.points[kept], z), marks])


def merge_landmarks(parts: Sequence[Landmarks]) -> Landmarks:
    """Merges the landmarks that several models predict for one face.

    A landmark that several models predict becomes their mean.

    Returns:
        The landmarks in the order eyes, nose, mouth, then all others. If a model gives depths, z is
        nan for the points without.
    """
    gathered: dict[str, list[FloatArray]] = {}
    depths: dict[str, list[float]] = {}
    for part in parts:
        for name, point in zip(part.names, part.points, strict=True):
            gathered.setdefault(name, []).append(point)
        if part.z is not None:
            for name, depth in zip(part.names, part.z.tolist(), strict=True):
                depths.setdefault(name, []).append(depth)
    known = [name for name in _ORDER if name in gathered]
    names = (*known, *(name for name in gathered if name not in _ORDER))
    points = [
        found[0] if len(found) == 1 else np.mean(found, axis=0)
        for found in (gathered[name] for name in names)
    ]
    z = None
    if depths:
        z = np.array([np.mean(depths.get(name, [np.nan])) for name in names], np.float32)
    return Landmarks(names, np.asarray(points, np.float32).reshape(-1, 2), z)
