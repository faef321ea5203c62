"""What a model is measured on: pictures, and the call that a user makes, from pixels to result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..analyzer import FaceAnalyzer
from ..errors import InputError
from ..tasks.align import align
from ..tasks.table import task_named
from ..types import Face, FloatArray, Landmarks
from ..vision.crops import CROPS
from ..vision.image import Image
from ..vision.synthetic_faces import draw_frames

__all__ = ["Scene", "Work", "make_scenes", "takes_batches", "work_of"]

Work = Callable[[int], object]
"""Runs something once; the number of the run chooses its input."""

_DRAWN, _HEIGHT, _WIDTH = 8, 480, 640
_FACE_AT = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
"""Where eyes, nose and corners of the mouth lie in a face's box, if no model says so."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture and one face in it.

    Attributes:
        frame: uint8 (H, W, 3), BGR.
        box: float32 (4,): x1, y1, x2, y2 of the face.
        marks: Its points, if a model found them.
    """

    frame: Image
    box: FloatArray
    marks: Landmarks | None

    def crop(self, template: str, size: int | tuple[int, int] | None = None) -> Image:
        """The face cut out by a template, by its middle if its points do not allow that."""
        if self.marks is not None:
            try:
                return align(self.frame, self.marks, crop=template, size=size, box=self.box)
            except InputError:
                pass
        marks = Landmarks(CROPS["arcface"].points, self.places)
        return align(self.frame, marks, crop="arcface", size=size)

    @property
    def places(self) -> FloatArray:
        """float32 (5, 2): eyes, nose and corners of the mouth, guessed from the box."""
        x1, y1, x2, y2 = self.box
        return np.asarray(np.array(_FACE_AT) * [x2 - x1, y2 - y1] + [x1, y1], np.float32)


def make_scenes(analyzer: FaceAnalyzer | None, frames: Sequence[Image] = ()) -> list[Scene]:
    """Pictures with a face each.

    Args:
        analyzer: Finds the faces; None, and in a picture in which it finds none: the middle counts.
        frames: The caller's own photos; without them, drawn faces.
    """
    scenes = []
    for frame in frames or draw_frames(_DRAWN, _HEIGHT, _WIDTH):
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
    """The call that a model is measured by, from uint8 pixels to its result.

    Args:
        model: A loaded model.
        scenes: Inputs; they are rotated.
        batch: Faces per call, for models that take several crops.
    """
    kind = task_named(model.spec.task).input
    if kind == "crop":
        size = (model.image.height, model.image.width)
        crops = [scene.crop(model.crop, size) for scene in scenes]
        return lambda number: model(_rotated(crops, number, batch), batch_size=batch)
    arguments = [_arguments(kind, scene) for scene in scenes]
    return lambda number: model(*arguments[number % len(arguments)])


def takes_batches(model: Any) -> bool:
    """Whether a model takes several crops at a time."""
    return task_named(model.spec.task).input == "crop"


def _arguments(kind: str, scene: Scene) -> tuple[object, ...]:
    """What a model is called with."""
    if kind == "points":
        return (scene.places,)
    return (scene.frame, scene.box[None]) if kind == "boxes" else (scene.frame,)


def _rotated(crops: Sequence[Image], number: int, batch: int) -> list[Image]:
    """So many crops, beginning with another one every time."""
    return [crops[(number + place) % len(crops)] for place in range(batch)]
