"""The base class of all that runs an attribute model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from ..models.session import Session
from ..types import Attributes, FloatArray
from ..vision.image import ChannelOrder, Image, Tensor, tensor_batches

__all__ = ["AttributeModel", "softmax"]

_BATCH = 32
"""Faces per run: larger batches gain nothing on a CPU and cost memory."""


class AttributeModel(ABC):
    """Predicts attributes from face crops.

    Args:
        session: A model whose task is "attributes".
        crop: Name of the crop that it expects, see `mobileface.vision.crops`.
        crop_size: Height and width of that crop in pixels; None: the template's.
        fills: Which of "gender", "age" and "expression" it predicts.

    Attributes:
        spec: The model's facts.
        name: Name of the model.
        image: Its image input.
    """

    def __init__(
        self,
        session: Session,
        crop: str,
        crop_size: tuple[int, int] | None,
        fills: tuple[str, ...],
    ) -> None:
        self.session = session
        self.spec = session.spec
        self.name = session.spec.name
        self.image = session.spec.require_input()
        self.crop = crop
        self.crop_size = crop_size
        self.fills = fills

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
                any sizes; uint8. They are brought to the size of the model's input as its spec
                says.
            color: Channel order of colour crops.
            batch_size: Crops per run of the network; memory grows with it, results do not change.
                None: what `mobileface tune` found best for this machine, or 32.

        Returns:
            The attributes of each crop, in the order given.

        Raises:
            ImageError: If a crop is not an image; names its index.
            InputError: If ``batch_size`` is below 1 or ``color`` unknown.
        """
        size = (self.session.batch or _BATCH) if batch_size is None else batch_size
        tensors = tensor_batches(images, self.image, color, size)
        return [found for tensor in tensors for found in self.predict_tensor(tensor)]

    __call__ = predict

    @abstractmethod
    def predict_tensor(self, tensor: Tensor) -> list[Attributes]:
        """Attributes from a network input as `mobileface.vision.image.to_tensor` makes it.

        Args:
            tensor: As the spec of the input says, float32 (N, C, height, width) for most models.
        """


def softmax(logits: FloatArray) -> FloatArray:
    """Probabilities along the last axis, float32; the largest logit is subtracted first."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)
