"""Kind "attributes": one network with heads for gender, age and expression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ...fields import Names, Number, Text, integer, list_of, one_of
from ...vision.crops import CROPS
from .base import Kind, Shape, Tensors

__all__ = ["ATTRIBUTE_NETWORK", "AttributeSpec"]


@dataclass(frozen=True, slots=True)
class AttributeSpec:
    """The outputs of an attribute network.

    Attributes:
        gender_output: Name of the output with the logits of ``genders``.
        age_output: Likewise of ``ages``.
        expression_output: Likewise of ``expressions``.
        genders: Name of each class.
        ages: Years that each class stands for.
        expressions: Name of each class; several classes may share a word.
        uncertain_below: If the best expression is less probable than this, none is named.
        uncertain_expression: The word that is given then.
        crop: How a face is cut out for it; a name in `mobileface.vision.crops`.
    """

    gender_output: Text
    age_output: Text
    expression_output: Text
    genders: Names
    ages: Annotated[tuple[int, ...], list_of(integer(0))]
    expressions: Names
    uncertain_below: Number
    uncertain_expression: Text
    crop: Annotated[str, one_of(tuple(CROPS))]


class AttributeNetwork(Kind[AttributeSpec]):
    """MobileFace's attribute network: three heads on one crop."""

    name = "attributes"
    task = "attributes"
    section = AttributeSpec
    runner = "mobileface.tasks.attributes:AttributePredictor"
    needs_input = True
    one_size = True
    calibration = "crops"

    def tensors(self, section: AttributeSpec) -> Tensors:
        """The logits of each head."""
        sizes = {
            section.gender_output: len(section.genders),
            section.age_output: len(section.ages),
            section.expression_output: len(section.expressions),
        }
        outputs: dict[str, Shape] = {name: (None, size) for name, size in sizes.items()}
        return Tensors(outputs=outputs)

    def crop(self, section: AttributeSpec) -> str:
        """The crop it was trained on."""
        return section.crop


ATTRIBUTE_NETWORK = AttributeNetwork()
