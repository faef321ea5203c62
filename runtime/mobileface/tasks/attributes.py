"""Gender, age and expression of a face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..models.kinds import AttributeSpec
from ..models.session import Session
from ..types import Attributes, FloatArray
from ..vision.image import ChannelOrder, Image, Tensor, tensor_batches

__all__ = ["AttributePredictor", "softmax"]

_BATCH = 32
"""Faces a run: larger batches gain nothing on a CPU and cost memory."""


class AttributePredictor:
    """Tells gender, age and expression from face crops.

    Args:
        session: A model whose task is "attributes" and whose kind is "attributes".

    Attributes:
        spec: The model's facts.
        name: Name of the model.
        crop: Name of the crop that it wants.
        crop_size: None: it takes crops of the template's size, and scales them.
        fills: What it tells: "gender", "age" and "expression".

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
        self.crop_size: tuple[int, int] | None = None
        self.fills: tuple[str, ...] = ("gender", "age", "expression")

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
