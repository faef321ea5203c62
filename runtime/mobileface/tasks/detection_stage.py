"""Detection as a task of the analyzer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from ..types import Face, Landmarks
from ..vision.draw import Canvas
from ..vision.image import ChannelOrder, Image
from .base import Request, Stage, Task
from .detection import Detector
from .loading import load_detector

__all__ = ["TASK", "DetectionStage"]


class DetectionStage(Stage):
    """Detects the faces of an image.

    Args:
        detector: The detector.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.models = [detector]

    @classmethod
    def load(cls, request: Request) -> DetectionStage:
        """Creates the stage with the detector that a request selects.

        Raises:
            InputError: If there are options for a detector that is already loaded.
        """
        if request.choice is not None and not isinstance(request.choice, str):
            if request.options:
                raise InputError(
                    f"option {next(iter(request.options))} needs a detector that is loaded by name",
                    hint="pass it to the detector's constructor",
                )
            return cls(request.choice)
        return cls(load_detector(request.choice, **request.loading, **request.options))

    def run(self, image: Image, faces: Sequence[Face], color: ChannelOrder) -> list[Face]:
        """Detects the faces of the image; ignores ``faces``."""
        found = self.detector.detect(image, color=color)
        points: Sequence[Any] = [None] * len(found)
        if found.keypoints is not None:
            points = [Landmarks(found.keypoint_names, kps) for kps in found.keypoints]
        return [
            Face(bbox=box, det_score=float(score), landmarks=marks)
            for box, score, marks in zip(found.boxes, found.scores, points, strict=True)
        ]


def _to_json(face: Face, _: bool) -> dict[str, Any]:
    return {
        "bbox": [round(float(value), 2) for value in face.bbox],
        "det_score": round(face.det_score, 4),
    }


def _to_text(face: Face) -> list[str]:
    x1, y1, x2, y2 = face.bbox
    return [f"({x1:.0f}, {y1:.0f})-({x2:.0f}, {y2:.0f})", f"score {face.det_score:.2f}"]


def _draw(canvas: Canvas, face: Face) -> None:
    canvas.box(face.bbox)


TASK = Task(
    name="detection",
    command="detect",
    help="detect faces",
    needs=(),
    argument="detector",
    input="image",
    load=DetectionStage.load,
    to_json=_to_json,
    to_text=_to_text,
    caption=lambda face: "" if np.isnan(face.det_score) else f"{face.det_score:.2f}",
    draw=_draw,
)
