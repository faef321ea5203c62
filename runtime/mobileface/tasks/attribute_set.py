"""Several attribute models as one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import InputError
from ..types import Attributes, Face
from ..vision.image import ChannelOrder, Image
from .attribute_model import AttributeModel
from .face_crops import face_crops

__all__ = ["AttributeSet", "merge_attributes"]


class AttributeSet:
    """Several attribute models as one: together they fill `Attributes`.

    Args:
        predictors: The models; what several of them tell is taken from the first.
        refused: Models that could not be loaded, with the reason.

    Attributes:
        refused: As given.
        fills: Which of "gender", "age" and "expression" they tell.
    """

    def __init__(
        self, predictors: Sequence[AttributeModel], refused: Mapping[str, str] | None = None
    ) -> None:
        self.predictors = list(predictors)
        self.refused = dict(refused or {})

    def __iter__(self) -> Iterator[AttributeModel]:
        return iter(self.predictors)

    def __len__(self) -> int:
        return len(self.predictors)

    @property
    def fills(self) -> tuple[str, ...]:
        """What the models tell, without repetition."""
        return tuple(dict.fromkeys(word for model in self.predictors for word in model.fills))

    def predict(
        self,
        images: Image | Sequence[Image],
        *,
        color: ChannelOrder = "bgr",
        batch_size: int | None = None,
    ) -> list[Attributes]:
        """Attributes of face crops, if all models want the same crop.

        Args:
            images: As `AttributePredictor.predict` takes them.
            color: Channel order of colour crops.
            batch_size: Crops a run of a network.

        Returns:
            The merged attributes of each crop, in the order given.

        Raises:
            ImageError: A crop is no image; names its number.
            InputError: The models want different crops; ``batch_size`` is below 1 or ``color``
                unknown.
        """
        crops = {model.name: model.crop for model in self.predictors}
        if len(set(crops.values())) > 1:
            wanted = ", ".join(f"{name} '{crop}'" for name, crop in crops.items())
            raise InputError(
                f"the models want different crops: {wanted}",
                hint="give the image and its faces to 'describe', which cuts a crop for each model",
            )
        parts = [
            model.predict(images, color=color, batch_size=batch_size) for model in self.predictors
        ]
        return [merge_attributes(found) for found in zip(*parts, strict=True)]

    __call__ = predict

    def describe(
        self, image: Image, faces: Sequence[Face], *, color: ChannelOrder = "bgr"
    ) -> list[Attributes | None]:
        """Attributes of the faces of an image, each model on its own crop.

        Args:
            image: uint8 (H, W, 3) or (H, W).
            faces: Faces of this image, with box and landmarks.
            color: Channel order of a colour image.

        Returns:
            For each face what the models tell; None if its points allow no crop at all.

        Raises:
            InputError: ``color`` is unknown.
        """
        parts: list[list[Attributes]] = [[] for _ in faces]
        cut: dict[Any, dict[int, Image]] = {}
        for model in self.predictors:
            key = (model.crop, model.crop_size)
            if key not in cut:
                cut[key] = face_crops(image, faces, *key)
            found = model.predict(list(cut[key].values()), color=color)
            for number, attributes in zip(cut[key], found, strict=True):
                parts[number].append(attributes)
        return [merge_attributes(part) if part else None for part in parts]


def merge_attributes(parts: Sequence[Attributes]) -> Attributes:
    """Joins what several models tell of one face; each field is from the first that has it."""
    values: dict[str, Any] = {}
    for part in parts:
        for field in dataclasses.fields(Attributes):
            value = getattr(part, field.name)
            if value is not None:
                values.setdefault(field.name, value)
    return Attributes(**values)
