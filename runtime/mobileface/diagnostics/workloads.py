"""Workloads for measuring models: images, and the call a user makes, from pixels to result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..analyzer import FaceAnalyzer
from ..errors import InputError
from ..tasks.align import align
from ..tasks.table import input_of
from ..types import Face, FloatArray, Landmarks
from ..vision.crops import CROPS
from ..vision.image import Image
from ..vision.synthetic_faces import draw_frames

__all__ = ["Scene", "Work", "make_scenes", "takes_batches", "work_of"]

Work = Callable[[int], object]
"""A function that runs the workload once; the number of the run selects the input."""

_FRAMES, _HEIGHT, _WIDTH = 8, 480, 640
_DEFAULT_LANDMARKS = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
"""Assumed eyes, nose and mouth corners, relative to the face box, without a landmark model."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """An image and one face in it.

    Attributes:
        frame: uint8 (H, W, 3), BGR.
        box: float32 (4,): x1, y1, x2, y2 of the face.
        marks: Landmarks of the face; None without a landmark model.
    """

    frame: Image
    box: FloatArray
    marks: Landmarks | None

    def crop(self, template: str, size: int | tuple[int, int] | None = None) -> Image:
        """The aligned face crop; uses `places` if the landmarks are not sufficient for it."""
        if self.marks is not None:
            try:
                return align(self.frame, self.marks, crop=template, size=size, box=self.box)
            except InputError:
                pass
        marks = Landmarks(CROPS["arcface"].points, self.places)
        return align(self.frame, marks, crop="arcface", size=size)

    @property
    def places(self) -> FloatArray:
        """float32 (5, 2): eyes, nose and mouth corners, estimated from the box."""
        x1, y1, x2, y2 = self.box
        return np.asarray(np.array(_DEFAULT_LANDMARKS) * [x2 - x1, y2 - y1] + [x1, y1], np.float32)


def make_scenes(analyzer: FaceAnalyzer | None, frames: Sequence[Image] = ()) -> list[Scene]:
    """Images with one face each.

    Args:
        analyzer: Detects the faces. Without an analyzer, or if it finds no face in an image, a box
            in the centre of the image is used.
        frames: The caller's photos; if empty, synthetic face images are used.
    """
    scenes = []
    for frame in frames or draw_frames(_FRAMES, _HEIGHT, _WIDTH):
        faces: list[Face] = [] if analyzer is None else analyzer(frame)
        if faces:
            scenes.append(Scene(frame, faces[0].bbox, faces[0].landmarks))
            continue
        height, width = frame.shape[:2]
        side = min(height, width) / 2
        middle = np.array([width, height, width, height]) / 2
        box = middle + np.array([-1, -1, 1, 1]) * side / 2
        scenes.append(Scene(frame, box.astype(np.float32), None))
    return scenes


def work_of(model: Any, scenes: Sequence[Scene], batch: int = 1) -> Work:
    """The call that measures a model, from uint8 pixels to its result.

    Args:
        model: A loaded model.
        scenes: Inputs, which are rotated.
        batch: Faces per call, for models that accept several crops.
    """
    kind = input_of(model.spec.task)
    if kind == "crop":
        size = (model.image.height, model.image.width)
        crops = [scene.crop(model.crop, size) for scene in scenes]
        return lambda number: model(_rotated(crops, number, batch), batch_size=batch)
    if kind == "points":
        sample = model.sample()
        return lambda _: model(sample)
    arguments = [_arguments(kind, scene) for scene in scenes]
    return lambda number: model(*arguments[number % len(arguments)])


def takes_batches(model: Any) -> bool:
    """Whether a model accepts several crops per call."""
    return input_of(model.spec.task) == "crop"


def _arguments(kind: str, scene: Scene) -> tuple[object, ...]:
    """The arguments of a model's call."""
    return (scene.frame, scene.box[None]) if kind == "boxes" else (scene.frame,)


def _rotated(crops: Sequence[Image], number: int, batch: int) -> list[Image]:
    """A batch of crops that begins with another one in each run."""
    return [crops[(number + place) % len(crops)] for place in range(batch)]
