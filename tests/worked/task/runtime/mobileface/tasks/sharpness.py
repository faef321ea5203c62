"""How sharp a face is: the runner, and the task of the analyzer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..models.kinds import SharpnessSpec
from ..models.session import Session
from ..types import Face
from ..vision.image import ChannelOrder, Image, tensor_batches
from .base import Request, Stage, Task
from .face_crops import face_crops, require_crop
from .loading import load

__all__ = ["TASK", "SharpnessPredictor"]


class SharpnessPredictor:
    """Predicts how sharp face crops are.

    Args:
        session: A model whose task is "sharpness".

    Raises:
        ModelError: If the model is of another kind.
    """

    def __init__(self, session: Session) -> None:
        section = session.spec.require(SharpnessSpec, str(session.path))
        self.session = session
        self.spec = session.spec
        self.name = session.spec.name
        self.image = session.spec.require_input()
        self.crop = section.crop
        self._output = section.output

    def __call__(
        self, images: Sequence[Image], *, color: ChannelOrder = "bgr", batch_size: int = 32
    ) -> FloatArray:
        """Sharpness of crops, float32 (N,), 0 to 1."""
        tensors = tensor_batches(images, self.image, color, batch_size)
        found = [self.session.run({self.image.name: t})[self._output][:, 0] for t in tensors]
        return np.concatenate(found) if found else np.empty(0, np.float32)


class _Stage(Stage):
    def __init__(self, predictor: SharpnessPredictor) -> None:
        self.predictor = predictor
        self.models = [predictor]

    @classmethod
    def load(cls, request: Request) -> _Stage:
        predictor = request.choice
        if predictor is None or isinstance(predictor, str):
            predictor = load(predictor, task="sharpness", **request.loading)
        require_crop(request, predictor)
        return cls(predictor)

    def run(self, image: Image, faces: Sequence[Face], color: ChannelOrder) -> list[Face]:
        crops = face_crops(image, faces, self.predictor.crop)
        described = list(faces)
        found = self.predictor(list(crops.values()), color=color)
        for number, value in zip(crops, found, strict=True):
            described[number] = dataclasses.replace(faces[number], sharpness=float(value))
        return described


def _to_json(face: Face, _: bool) -> dict[str, Any]:
    return {} if face.sharpness is None else {"sharpness": round(face.sharpness, 4)}


def _to_text(face: Face) -> list[str]:
    return [] if face.sharpness is None else [f"sharpness {face.sharpness:.2f}"]


TASK = Task(
    name="sharpness",
    command="sharpness",
    help="find faces and say how sharp they are",
    needs=("detection", "landmarks"),
    argument="sharpness",
    input="crop",
    load=_Stage.load,
    to_json=_to_json,
    to_text=_to_text,
    caption=lambda face: "" if face.sharpness is None else f"sharpness {face.sharpness:.2f}",
)
