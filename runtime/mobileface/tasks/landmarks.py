"""Landmarks of faces whose boxes are known: eyes, nose, mouth."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..models.kinds import LandmarkSpec
from ..models.session import Session
from ..types import Face, FloatArray, Landmarks
from ..vision.boxes import as_boxes
from ..vision.draw import Canvas
from ..vision.gray import dlib_gray
from ..vision.image import ChannelOrder, Image, check_image
from .align import allows_crop
from .base import Request, Stage, Task
from .detection import Detector
from .loading import load_landmarks

__all__ = ["TASK", "LandmarkPredictor", "LandmarkSet", "LandmarkStage", "merge_landmarks"]

_FARTHEST = 1 << 30
"""Pixels. Beyond this a box is damage, and its corners' differences might overflow."""

_ORDER = ("left_eye", "right_eye", "nose", "mouth", "left_mouth", "right_mouth")


class LandmarkPredictor:
    """Finds the points of faces.

    Args:
        session: A model whose task is "landmarks".

    Attributes:
        spec: The model's facts.
        name: Name of the model.
        point_names: Name of each point.

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
        inputs: dict[str, npt.NDArray[Any]] = {
            self._section.image: gray,
            self._section.boxes: corners,
        }
        points = self.session.run(inputs)[self._section.output]
        return [Landmarks(self.point_names, face) for face in points]

    __call__ = predict


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


class LandmarkSet:
    """Several landmark models as one: each completes the points of the others.

    Args:
        predictors: The models.

    Attributes:
        point_names: Names of the merged points.
    """

    def __init__(self, predictors: Sequence[LandmarkPredictor]) -> None:
        self.predictors = list(predictors)

    def __iter__(self) -> Iterator[LandmarkPredictor]:
        return iter(self.predictors)

    def __len__(self) -> int:
        return len(self.predictors)

    @property
    def point_names(self) -> tuple[str, ...]:
        """Names of the points once they are merged."""
        return merged_names([predictor.point_names for predictor in self.predictors])

    def predict(self, image: Image, boxes: npt.ArrayLike) -> list[Landmarks]:
        """The merged points of each face; see `LandmarkPredictor.predict`."""
        parts = [predictor.predict(image, boxes) for predictor in self.predictors]
        return [merge_landmarks(found) for found in zip(*parts, strict=True)]

    __call__ = predict


def merged_names(names: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Names of the points of several models once they are merged."""
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


class LandmarkStage(Stage):
    """Finds the points of faces that have none yet.

    Args:
        models: The landmark models; none if the detector's own points suffice.
        detector: What found the boxes; None: they are used as they are.
        request: How further models are loaded when a crop needs more points.
    """

    def __init__(
        self,
        models: Sequence[LandmarkPredictor],
        detector: Detector | None = None,
        request: Request | None = None,
    ) -> None:
        self.models = list(models)
        self.detector = detector
        self._request = request or Request()

    @classmethod
    def load(cls, request: Request, detector: Detector | None = None) -> LandmarkStage:
        """The stage with the models that a request chooses."""
        choice = request.choice
        if choice is not None and not isinstance(choice, str):
            ready = choice if isinstance(choice, LandmarkSet | Sequence) else [choice]
            return cls(list(ready), detector, request)
        if choice is None and detector is not None and detector.point_names:
            return cls([], detector, request)
        return cls(list(load_landmarks(choice, **request.loading)), detector, request)

    @property
    def point_names(self) -> tuple[str, ...]:
        """The landmarks that faces have after this stage."""
        own = [] if self.detector is None else [self.detector.point_names]
        return merged_names([*own, *(model.point_names for model in self.models)])

    def require_crop(self, crop: str) -> None:
        """Loads more landmark models until the points suffice for a crop.

        Raises:
            ModelNotFoundError: If no model gives the points.
        """
        if not allows_crop(self.point_names, crop):
            more = load_landmarks(crop=crop, **self._request.loading)
            have = {model.name for model in self.models}
            self.models += [model for model in more if model.name not in have]

    def run(self, image: Image, faces: Sequence[Face], color: ChannelOrder) -> list[Face]:
        """Adds landmarks to faces that lack some of `point_names`."""
        wanted = set(self.point_names)
        bare = [
            number
            for number, face in enumerate(faces)
            if face.landmarks is None or (self.models and not wanted <= set(face.landmarks.names))
        ]
        marked = list(faces)
        if not self.models or not bare:
            return marked
        boxes = np.stack([faces[number].bbox for number in bare])
        squares = boxes if self.detector is None else self.detector.landmark_boxes(boxes)
        parts = [model.predict(image, squares) for model in self.models]
        for number, found in zip(bare, zip(*parts, strict=True), strict=True):
            known = faces[number].landmarks
            merged = merge_landmarks([*([] if known is None else [known]), *found])
            marked[number] = dataclasses.replace(faces[number], landmarks=merged)
        return marked


def _to_json(face: Face, _: bool) -> dict[str, Any]:
    if face.landmarks is None:
        return {}
    return {
        "kps": [[round(float(value), 2) for value in point] for point in face.landmarks.points],
        "kps_names": list(face.landmarks.names),
    }


def _to_text(face: Face) -> list[str]:
    if face.landmarks is None:
        return []
    points = zip(face.landmarks.names, face.landmarks.points, strict=True)
    return [f"{name} ({x:.0f}, {y:.0f})" for name, (x, y) in points]


def _draw(canvas: Canvas, face: Face) -> None:
    if face.landmarks is not None:
        canvas.points(face.landmarks.points)


def _problem(first: Face, second: Face) -> str:
    finite = first.kps is not None and np.isfinite(first.kps).all()
    return "" if finite else "it gave no finite points"


TASK = Task(
    name="landmarks",
    command="landmarks",
    help="find faces and their eyes, nose and mouth",
    needs=("detection",),
    argument="landmarks",
    input="boxes",
    load=LandmarkStage.load,
    to_json=_to_json,
    to_text=_to_text,
    draw=_draw,
    problem=_problem,
)
