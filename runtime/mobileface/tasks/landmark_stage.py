"""Landmarks as a task of the analyzer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..types import Face, Landmarks
from ..vision.draw import Canvas
from ..vision.image import ChannelOrder, Image
from .align import allows_crop
from .base import Request, Stage, Task
from .detection import Detector
from .landmarks import LandmarkPredictor, LandmarkSet, merge_landmarks, merged_names
from .loading import load_landmarks
from .upright import TurnedFace, eye_roll, points_at, turned_patch, upright_face

__all__ = ["TASK", "LandmarkStage"]


_EYES = ("left_eye", "right_eye")

_UPRIGHT = 10.0
"""Degrees: landmark models tolerate heads that are turned by less."""

_SMALLEST_PATCH, _LARGEST_PATCH = 32, 512
"""Pixels of the side of an upright patch."""


class LandmarkStage(Stage):
    """Adds landmarks to faces that lack them.

    Args:
        models: The landmark models; empty if the keypoints of the detector suffice.
        detector: The detector of the boxes; None uses the boxes unchanged.
        request: Arguments for loading more models if a crop needs more landmarks.
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
        """Creates the stage with the models that a request selects."""
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
        """Loads more landmark models if the landmarks do not suffice for a crop.

        Raises:
            ModelNotFoundError: If no model outputs the missing landmarks.
        """
        if not allows_crop(self.point_names, crop):
            more = load_landmarks(crop=crop, **self._request.loading)
            have = {model.name for model in self.models}
            self.models += [model for model in more if model.name not in have]

    def run(self, image: Image, faces: Sequence[Face], color: ChannelOrder) -> list[Face]:
        """Adds landmarks to faces that lack some of `point_names`.

        Faces whose points come from the detector alone are measured first: how far they are turned
        in the image. Landmark models see them upright.
        """
        turned: list[TurnedFace | None] = [self._measure(image, face, color) for face in faces]
        marked = [
            face if found is None else self._with_points(face, found)
            for face, found in zip(faces, turned, strict=True)
        ]
        wanted = set(self.point_names)
        for number, (face, found) in enumerate(zip(marked, turned, strict=True)):
            known = face.landmarks
            if self.models and (known is None or not wanted <= set(known.names)):
                parts = self._predict(image, face, found)
                roll = None if found is None else eye_roll(merge_landmarks(parts), face.roll)
                if known is not None and roll is not None and abs(roll) >= _UPRIGHT:
                    known = self._again(image, face, known, roll, color)
                merged = merge_landmarks(parts if known is None else [known, *parts])
                marked[number] = dataclasses.replace(face, landmarks=merged, roll=roll)
        return marked

    def _measure(self, image: Image, face: Face, color: ChannelOrder) -> TurnedFace | None:
        """How far a face is turned, if its points come from the detector and have eyes."""
        detector, marks = self.detector, face.landmarks
        if detector is None or marks is None or face.roll is not None:
            return None
        if marks.names != detector.point_names or marks.names[:2] != _EYES:
            return None
        return upright_face(detector, image, face.bbox, marks.points, color)

    @staticmethod
    def _with_points(face: Face, found: TurnedFace) -> Face:
        assert face.landmarks is not None
        marks = Landmarks(face.landmarks.names, found.points)
        return dataclasses.replace(face, landmarks=marks, roll=found.roll)

    def _again(
        self, image: Image, face: Face, known: Landmarks, roll: float, color: ChannelOrder
    ) -> Landmarks:
        """The detector's points of a face whose roll a landmark model has found."""
        assert self.detector is not None
        points = points_at(self.detector, image, face.bbox, roll, color)
        return known if points is None else Landmarks(known.names, points)

    def _predict(self, image: Image, face: Face, turned: TurnedFace | None) -> list[Landmarks]:
        """The points that each landmark model finds in one face, upright."""
        detector = self.detector
        if detector is None or turned is None or abs(turned.roll) < _UPRIGHT:
            box = face.bbox[None]
            squares = box if detector is None else detector.landmark_boxes(box)
            return [model.predict(image, squares)[0] for model in self.models]
        longer = float(turned.size.max())
        scale = min(1.0, _LARGEST_PATCH / max(2.5 * longer, 1))
        side = max(_SMALLEST_PATCH, round(2.5 * longer * scale))
        patch, matrix = turned_patch(image, turned.center, turned.roll, scale, side)
        half = turned.size * scale / 2
        box = np.concatenate([side / 2 - half, side / 2 + half])[None]
        squares = detector.landmark_boxes(box)
        back = np.linalg.inv(matrix[:, :2])
        parts = []
        for model in self.models:
            (marks,) = model.predict(patch, squares)
            points = (marks.points.astype(np.float64) - matrix[:, 2]) @ back.T
            parts.append(Landmarks(marks.names, points.astype(np.float32)))
        return parts


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
        canvas.points(face.landmarks.points, face.bbox)


def _problem(first: Face, second: Face) -> str:
    finite = first.kps is not None and np.isfinite(first.kps).all()
    return "" if finite else "the landmarks are missing or not finite"


TASK = Task(
    name="landmarks",
    command="landmarks",
    help="detect faces and locate their eyes, nose and mouth",
    needs=("detection",),
    argument="landmarks",
    input="boxes",
    load=LandmarkStage.load,
    to_json=_to_json,
    to_text=_to_text,
    draw=_draw,
    problem=_problem,
)
