"""Landmarks as a task of the analyzer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..types import Face
from ..vision.draw import Canvas
from ..vision.image import ChannelOrder, Image
from .align import allows_crop
from .base import Request, Stage, Task
from .detection import Detector
from .landmarks import LandmarkPredictor, LandmarkSet, merge_landmarks, merged_names
from .loading import load_landmarks

__all__ = ["TASK", "LandmarkStage"]


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
