"""Attributes as a task of the analyzer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ModelNotFoundError
from ..types import Attributes, Face, FloatArray
from ..vision.image import ChannelOrder, Image
from .attribute_model import AttributeModel
from .attribute_set import AttributeSet
from .base import Request, Stage, Task
from .face_crops import require_crop
from .loading import load_attributes

__all__ = ["TASK", "AttributeStage"]


class AttributeStage(Stage):
    """Adds gender, age and expression.

    Args:
        models: What predicts them, each on its own crop; the first that tells something counts.
        refused: Models that cannot run, with the reason; what only they tell stays None.
    """

    def __init__(
        self, models: Sequence[AttributeModel], refused: Mapping[str, str] | None = None
    ) -> None:
        self.predictors = AttributeSet(models)
        self.models = self.predictors.predictors
        self.refused = dict(refused or {})

    @classmethod
    def load(cls, request: Request) -> AttributeStage:
        """The stage with the models that a request chooses.

        Of several models those whose crop the landmarks do not allow are left out.

        Raises:
            ModelNotFoundError: If there is no model, or the landmarks allow the crop of none.
        """
        choice = request.choice
        if choice is None or isinstance(choice, str):
            choice = load_attributes(choice, **request.loading)
        models: Sequence[AttributeModel] = (
            list(choice) if isinstance(choice, AttributeSet | Sequence) else [choice]
        )
        refused = dict(choice.refused) if isinstance(choice, AttributeSet) else {}
        refusals: dict[str, ModelNotFoundError] = {}
        for model in models:
            try:
                require_crop(request, model)
            except ModelNotFoundError as error:
                refusals[model.name] = error
        kept = [model for model in models if model.name not in refusals]
        if not kept and refusals:
            raise next(iter(refusals.values()))
        return cls(kept, refused | {name: error.what for name, error in refusals.items()})

    def run(self, image: Image, faces: Sequence[Face], color: ChannelOrder) -> list[Face]:
        """Adds attributes; a face whose points allow no crop (all on a line) gets None."""
        found = self.predictors.describe(image, faces, color=color)
        return [
            dataclasses.replace(face, attributes=attributes)
            for face, attributes in zip(faces, found, strict=True)
        ]


def _rounded(values: FloatArray | None) -> list[float] | None:
    return None if values is None else [round(float(value), 4) for value in values]


def _to_json(face: Face, _: bool) -> dict[str, Any]:
    """Attributes as JSON types; probabilities in the order of the classes in the model's spec.

    What no model tells is left out.
    """
    if face.attributes is None:
        return {}
    found = face.attributes
    values = {
        "gender": found.gender,
        "gender_probs": _rounded(found.gender_probs),
        "age": None if found.age is None else round(found.age, 2),
        "age_published": found.age_published,
        "age_probs": _rounded(found.age_probs),
        "expressions": None if found.expressions is None else list(found.expressions),
        "expression_probs": _rounded(found.expression_probs),
    }
    return {"attributes": {name: value for name, value in values.items() if value is not None}}


def _words(face: Face, years: str) -> list[str]:
    """Gender, age and expression as far as they are known."""
    found = face.attributes or Attributes()
    words = [
        found.gender,
        None if found.age is None else f"{found.age:.0f}{years}",
        None if found.expressions is None else "/".join(found.expressions),
    ]
    return [word for word in words if word is not None]


def _to_text(face: Face) -> list[str]:
    words = _words(face, " years")
    return [", ".join(words)] if words else []


def _caption(face: Face) -> str:
    return " ".join(_words(face, ""))


def _problem(first: Face, second: Face) -> str:
    """Probabilities are numbers and the same for the same face."""
    pairs = zip(_probabilities(first), _probabilities(second), strict=True)
    for one, other in pairs:
        if not np.isfinite(one).all() or not np.allclose(one, other, atol=1e-5):
            return "it gave no probabilities, or others for the same face"
    return ""


def _probabilities(face: Face) -> list[FloatArray]:
    found = face.attributes or Attributes()
    rows = (found.gender_probs, found.age_probs, found.expression_probs)
    return [row for row in rows if row is not None]


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
    problem=_problem,
)
