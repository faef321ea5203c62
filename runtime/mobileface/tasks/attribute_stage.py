"""Attributes as a task of the analyzer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ..types import Face
from ..vision.image import ChannelOrder, Image
from .attributes import AttributePredictor
from .base import Request, Stage, Task
from .face_crops import face_crops, require_crop
from .loading import load_attributes

__all__ = ["TASK", "AttributeStage"]


class AttributeStage(Stage):
    """Adds gender, age and expression.

    Args:
        predictor: What predicts them.
    """

    def __init__(self, predictor: AttributePredictor) -> None:
        self.predictor = predictor
        self.models = [predictor]

    @classmethod
    def load(cls, request: Request) -> AttributeStage:
        """The stage with the model that a request chooses.

        Raises:
            ModelNotFoundError: If there is no model, or the landmarks do not allow its crop.
        """
        predictor = request.choice
        if predictor is None or isinstance(predictor, str):
            predictor = load_attributes(predictor, **request.loading)
        require_crop(request, predictor)
        return cls(predictor)

    def run(self, image: Image, faces: Sequence[Face], color: ChannelOrder) -> list[Face]:
        """Adds attributes; a face whose points allow no crop (all on a line) gets None."""
        crops = face_crops(image, faces, self.predictor.crop)
        found = self.predictor.predict(list(crops.values()), color=color)
        attributes = dict(zip(crops, found, strict=True))
        return [
            dataclasses.replace(face, attributes=attributes.get(number))
            for number, face in enumerate(faces)
        ]


def _to_json(face: Face, _: bool) -> dict[str, Any]:
    """Attributes as JSON types; probabilities in the order of the classes in the model's spec."""
    if face.attributes is None:
        return {}
    found = face.attributes
    values = {
        "gender": found.gender,
        "gender_probs": [round(float(value), 4) for value in found.gender_probs],
        "age": round(found.age, 2),
        "age_published": found.age_published,
        "age_probs": [round(float(value), 4) for value in found.age_probs],
        "expressions": list(found.expressions),
        "expression_probs": [round(float(value), 4) for value in found.expression_probs],
    }
    return {"attributes": values}


def _to_text(face: Face) -> list[str]:
    if face.attributes is None:
        return []
    found = face.attributes
    return [f"{found.gender}, {found.age:.0f} years, {'/'.join(found.expressions)}"]


def _caption(face: Face) -> str:
    if face.attributes is None:
        return ""
    found = face.attributes
    return f"{found.gender} {found.age:.0f} {'/'.join(found.expressions)}"


TASK = Task(
    name="attributes",
    command="attributes",
    help="find faces and their gender, age and expression",
    needs=("detection", "landmarks"),
    argument="attributes",
    input="crop",
    load=AttributeStage.load,
    to_json=_to_json,
    to_text=_to_text,
    caption=_caption,
)
