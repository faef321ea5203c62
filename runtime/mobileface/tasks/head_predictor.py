"""Gender, age or expression of a face, each from a head of a small network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..models.kinds import HeadSpec, HeadsSpec
from ..models.session import Session
from ..types import Attributes, FloatArray
from ..vision.image import ChannelOrder, Image, Tensor, tensor_batches
from .attributes import softmax

__all__ = ["HeadPredictor"]

_BATCH = 32
"""Faces a run: larger batches gain nothing on a CPU and cost memory."""


class HeadPredictor:
    """Tells what its network has heads for; the other fields of `Attributes` are None.

    Args:
        session: A model whose task is "attributes" and whose kind is "heads".

    Attributes:
        spec: The model's facts.
        name: Name of the model.
        crop: Name of the crop that it wants.
        crop_size: Height and width of that crop in pixels.
        fills: Which of "gender", "age" and "expression" it tells.

    Raises:
        ModelError: If the model is of another kind.
    """

    def __init__(self, session: Session) -> None:
        spec = session.spec
        section = spec.require(HeadsSpec, str(session.path))
        self.heads = section.heads
        self.session = session
        self.spec = spec
        self.name = spec.name
        self.image = spec.require_input()
        self.crop = section.crop
        self.crop_size: tuple[int, int] | None = (self.image.height, self.image.width)
        self.fills = tuple(head.attribute for head in self.heads)

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
                any sizes; uint8. They are brought to the model's input.
            color: Channel order of colour crops.
            batch_size: Crops a run of the network; memory grows with it, results do not change.
                None: what `mobileface tune` found best for this machine, or 32.

        Returns:
            The attributes of each crop, in the order given.

        Raises:
            ImageError: A crop is no image; names its number.
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
