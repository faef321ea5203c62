"""Gender, age and expression of a face."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..models.kinds import AttributeSpec
from ..models.session import Session
from ..types import Attributes, Face, FloatArray
from ..vision.image import ChannelOrder, Image, Tensor, tensor_batches
from .base import Request, Stage, Task
from .face_crops import face_crops, require_crop
from .loading import load_attributes

__all__ = ["TASK", "AttributePredictor", "AttributeStage", "softmax"]

_BATCH = 32
"""Faces a run: larger batches gain nothing on a CPU and cost memory."""


class AttributePredictor:
    """Tells gender, age and expression from face crops.

    Args:
        session: A model whose task is "attributes".

    Raises:
        ModelError: If the model is of another kind.
    """

    def __init__(self, session: Session) -> None:
        spec = session.spec
        self.heads = spec.require(AttributeSpec, str(session.path))
        self.session = session
        self.spec = spec
        self.name = spec.name
        self.image = spec.require_input()
        self.crop = self.heads.crop

    def predict(
        self,
        images: Image | Sequence[Image],
        *,
        color: ChannelOrder = "bgr",
        batch_size: int | None = None,
    ) -> list[Attributes]:
        """Attributes of face crops.

        Args:
            images: One crop (H, W, 3) or (H, W), a batch (N, H, W, 3), or a sequence of crops of
                any sizes; uint8. The shorter side is scaled to the model's input, the longer cut.
            color: Channel order of colour crops.
            batch_size: Crops a run of the network; memory grows with it, results do not change.
                None: what `mobileface tune` found best for this machine, or 32.

        Returns:
            The attributes of each crop, in the order given.

        Raises:
            ImageError: A crop is no picture; names its number.
            InputError: ``batch_size`` is below 1 or ``color`` unknown.
        """
        size = (self.session.batch or _BATCH) if batch_size is None else batch_size
        tensors = tensor_batches(images, self.image, color, size)
        return [found for tensor in tensors for found in self.predict_tensor(tensor)]

    __call__ = predict

    def predict_tensor(self, tensor: Tensor) -> list[Attributes]:
        """Attributes from a network input as `mobileface.vision.image.to_tensor` makes it.

        Args:
            tensor: As the spec of the input says, float32 (N, C, height, width) for most models.
        """
        heads = self.heads
        logits = self.session.run({self.image.name: tensor})
        names = (heads.gender_output, heads.age_output, heads.expression_output)
        rows = zip(*(softmax(logits[name]) for name in names), strict=True)
        return [self._attributes(*row) for row in rows]

    def _attributes(self, gender: FloatArray, age: FloatArray, mood: FloatArray) -> Attributes:
        heads = self.heads
        years = age * np.asarray(heads.ages, np.float32)
        best = np.argsort(-mood, kind="stable")[:2]
        expressions = tuple(heads.expressions[index] for index in best)
        if mood[best[0]] < heads.uncertain_below:
            expressions = (heads.uncertain_expression,)
        return Attributes(
            gender=heads.genders[int(gender.argmax())],
            gender_probs=gender,
            age=float(years.sum(dtype=np.float64)),
            age_published=int(np.trunc(years).sum()),
            age_probs=age,
            expressions=expressions,
            expression_probs=mood,
        )


def softmax(logits: FloatArray) -> FloatArray:
    """Probabilities along the last axis, float32; the largest logit is subtracted first."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


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
