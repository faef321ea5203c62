"""Gender, age and expression of a face."""

from __future__ import annotations

import numpy as np

from ..models.kinds import AttributeSpec
from ..models.session import Session
from ..types import Attributes, FloatArray
from ..vision.image import Tensor
from .attribute_model import AttributeModel, softmax

__all__ = ["AttributePredictor"]


class AttributePredictor(AttributeModel):
    """Predicts gender, age and expression.

    Args:
        session: A model whose task is "attributes" and whose kind is "attributes".

    Raises:
        ModelError: If the model is of another kind.
    """

    def __init__(self, session: Session) -> None:
        section = session.spec.require(AttributeSpec, str(session.path))
        super().__init__(session, section.crop, None, ("gender", "age", "expression"))
        self.heads = section

    def predict_tensor(self, tensor: Tensor) -> list[Attributes]:
        """See `AttributeModel.predict_tensor`."""
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
