"""Face detection: the base class of all detectors, and the stage that runs one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ImageError, InputError
from ..models.session import Session
from ..types import Detections, Face, FloatArray, Landmarks
from ..vision.draw import Canvas
from ..vision.image import ChannelOrder, Image, as_images
from .base import Request, Stage, Task
from .loading import load_detector

__all__ = ["TASK", "DetectionStage", "Detector"]

_BATCH = 8
"""Images a run: larger batches gain nothing on a CPU and cost memory."""


class Detector(ABC):
    """Finds faces in images.

    Each kind of detector is a subclass, with its options as keywords of the constructor.
    `mobileface.load_detector` makes the right one for a model.

    Args:
        session: A model whose task is "detection".

    Attributes:
        spec: The model's facts.
        name: Name of the model.
        point_names: Names of the keypoints that it gives with each box; most give none.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.spec = session.spec
        self.name = session.spec.name
        self.point_names: tuple[str, ...] = ()

    def detect(self, image: Image, *, color: ChannelOrder = "bgr") -> Detections:
        """Finds faces in one image.

        Args:
            image: uint8 (H, W, 3) or (H, W), of any size.
            color: Channel order of a colour image.

        Returns:
            Boxes, scores and keypoints, sorted by score, highest first.

        Raises:
            ImageError: If it is not an image.
        """
        return self.detect_batch([image], color=color)[0]

    __call__ = detect

    def detect_batch(
        self,
        images: Sequence[Image] | npt.NDArray[np.uint8],
        *,
        color: ChannelOrder = "bgr",
        batch_size: int = _BATCH,
    ) -> list[Detections]:
        """Finds faces in images of one size, several in a run if the detector can.

        Args:
            images: uint8 (N, H, W, 3), or images of one size.
            color: Channel order of colour images.
            batch_size: Images a run; memory grows with it, results do not change.

        Returns:
            The faces of each image.

        Raises:
            ImageError: If an element is not an image, or has another size; names its index.
            InputError: If ``batch_size`` is below 1 or ``color`` unknown.
        """
        if batch_size < 1:
            raise InputError(f"batch_size {batch_size} is below 1")
        checked = as_images(images)
        for number, image in enumerate(checked):
            if image.shape[:2] != checked[0].shape[:2]:
                raise ImageError(
                    f"size {image.shape[:2]} instead of {checked[0].shape[:2]}",
                    where=f"image {number}",
                    hint="all images of a batch must have the same size",
                )
        found: list[Detections] = []
        for start in range(0, len(checked), batch_size):
            found += self._detect(checked[start : start + batch_size], color)
        return found

    @abstractmethod
    def _detect(self, images: Sequence[Image], color: ChannelOrder) -> list[Detections]:
        """The faces of checked images of one size."""

    def landmark_boxes(self, boxes: npt.ArrayLike) -> FloatArray:
        """The boxes in which landmark models look for the points of detected faces.

        Args:
            boxes: (N, 4) as `detect` gives them.

        Returns:
            float32 (N, 4): the boxes themselves, or, if the spec says so, the squares that the
            landmark models were trained on, in whole pixels, truncated as upstream does.
        """
        given = np.asarray(boxes, np.float32).reshape(-1, 4)
        square = self.spec.landmark_box
        if square is None:
            return given
        left, top, right, bottom = np.trunc(given.astype(np.float64)).T
        height = bottom - top
        x, y = (left + right) / 2, (top + bottom) / 2 + square.shift_down * height
        half = square.side * height / 2
        corners = np.stack([x - half, y - half, x + half, y + half], axis=1)
        return np.asarray(np.trunc(corners), np.float32)


class DetectionStage(Stage):
    """Finds the faces of an image.

    Args:
        detector: What finds them.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.models = [detector]

    @classmethod
    def load(cls, request: Request) -> DetectionStage:
        """The stage with the detector that a request chooses."""
        if request.choice is not None and not isinstance(request.choice, str):
            if request.options:
                raise InputError(
                    f"option {next(iter(request.options))} is for detectors that are loaded by "
                    "name",
                    hint="give it to the detector's constructor",
                )
            return cls(request.choice)
        return cls(load_detector(request.choice, **request.loading, **request.options))

    def run(self, image: Image, faces: Sequence[Face], color: ChannelOrder) -> list[Face]:
        """The faces of the image, whatever is known of it."""
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
    canvas.box(face.bbox, thin=np.isnan(face.det_score))


TASK = Task(
    name="detection",
    command="detect",
    help="find faces",
    needs=(),
    argument="detector",
    input="image",
    load=DetectionStage.load,
    to_json=_to_json,
    to_text=_to_text,
    caption=lambda face: "" if np.isnan(face.det_score) else f"{face.det_score:.2f}",
    draw=_draw,
)
