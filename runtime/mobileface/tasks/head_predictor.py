"""Gender, age or expression of a face, each from a head of a small network."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..models.kinds import HeadSpec, HeadsSpec
from ..models.session import Session
from ..types import Attributes, FloatArray
from ..vision.image import Tensor
from .attribute_model import AttributeModel, softmax

__all__ = ["HeadPredictor"]


class HeadPredictor(AttributeModel):
    """Predicts what its network has heads for; the other fields of `Attributes` are None.

    Args:
        session: A model whose task is "attributes" and whose kind is "heads".

    Raises:
        ModelError: If the model is of another kind.
    """

    def __init__(self, session: Session) -> None:
        section = session.spec.require(HeadsSpec, str(session.path))
        image = session.spec.require_input()
        fills = tuple(head.attribute for head in section.heads)
        super().__init__(session, section.crop, (image.height, image.width), fills)
        self.heads = section.heads

    def predict_tensor(self, tensor: Tensor) -> list[Attributes]:
        """See `AttributeModel.predict_tensor`."""
        found = self.session.run({self.image.name: tensor})
        rows = {head.attribute: _probabilities(head, found[head.output]) for head in self.heads}
        return [
            Attributes(
                **{
                    name: value
                    for head in self.heads
                    for name, value in _told(head, rows[head.attribute][number]).items()
                }
            )
            for number in range(len(tensor))
        ]


def _probabilities(head: HeadSpec, values: FloatArray) -> FloatArray:
    """float32 (N, classes)."""
    return values if head.probabilities else softmax(values)


def _told(head: HeadSpec, row: FloatArray) -> dict[str, Any]:
    """What the probabilities of one head's classes say, as fields of `Attributes`."""
    if head.attribute == "gender":
        return {"gender": head.classes[int(row.argmax())], "gender_probs": row}
    if head.attribute == "age":
        years = row.astype(np.float64) @ np.asarray(head.years, np.float64)
        return {"age": float(years), "age_probs": row}
    best = np.argsort(-row, kind="stable")[:2]
    kept = best[:1] if row[best[0]] > 0.5 else best
    words = tuple(head.classes[index] for index in kept)
    return {"expressions": words, "expression_probs": row}
