"""Kind "heads": a network on one crop with heads for some of gender, age and expression."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from ...errors import SpecError
from ...fields import (
    OMIT_AT_DEFAULT,
    Boolean,
    Check,
    Text,
    list_of,
    name,
    nested,
    number,
    one_of,
)
from ...vision.crops import CROPS
from .base import Kind, Shape, Tensors

__all__ = ["ATTRIBUTE_HEADS", "HeadSpec", "HeadsSpec"]

Attribute = Literal["gender", "age", "expression"]

_AGE = "age"


def _several(check: Check) -> Check:
    """A list, which may be empty."""
    return list_of(check, empty=True)


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """One output of the network.

    Attributes:
        output: Name of the ONNX output, float32 (N, number of classes).
        attribute: What it tells.
        probabilities: True if the graph holds the softmax, so that each row sums to 1.
        classes: Name of each class of gender or expression; several may share a word.
        years: Years that each class of age stands for.
    """

    output: Text
    attribute: Annotated[Attribute, one_of(("gender", "age", "expression"))]
    probabilities: Boolean
    classes: Annotated[tuple[str, ...], _several(name)] = field(
        default=(), metadata=OMIT_AT_DEFAULT
    )
    years: Annotated[tuple[float, ...], _several(number)] = field(
        default=(), metadata=OMIT_AT_DEFAULT
    )

    @property
    def size(self) -> int:
        """Number of classes."""
        return len(self.years or self.classes)

    def check(self, where: str) -> None:
        """Checks the classes.

        Raises:
            SpecError: Age has names or another attribute has years, there are fewer than two
                classes, or a year is below zero.
        """
        wanted, other = ("years", "classes") if self.attribute == _AGE else ("classes", "years")
        if getattr(self, other):
            raise SpecError(f"'{self.attribute}' has no {other}", where=f"{where}, {other}")
        if len(getattr(self, wanted)) < 2:
            raise SpecError("fewer than two classes", where=f"{where}, {wanted}")
        if min(self.years, default=0.0) < 0:
            raise SpecError("a year is below zero", where=f"{where}, years")


@dataclass(frozen=True, slots=True)
class HeadsSpec:
    """What a network tells of a face.

    Attributes:
        crop: How a face is cut out for it; a name in `mobileface.vision.crops`.
        heads: Its outputs, one for each attribute that it tells.
    """

    crop: Annotated[str, one_of(tuple(CROPS))]
    heads: Annotated[tuple[HeadSpec, ...], list_of(nested(HeadSpec))]


class AttributeHeads(Kind[HeadsSpec]):
    """A small network for one attribute or more; several such models complete each other."""

    name = "heads"
    task = "attributes"
    section = HeadsSpec
    runner = "mobileface.tasks.head_predictor:HeadPredictor"
    needs_input = True
    one_size = True
    calibration = "crops"

    def check(self, section: HeadsSpec, where: str) -> None:
        """No two heads tell the same or share an output."""
        for facts in ("attribute", "output"):
            values = [getattr(head, facts) for head in section.heads]
            if len(set(values)) < len(values):
                raise SpecError(f"two heads have the same {facts}", where=f"{where}, heads")

    def tensors(self, section: HeadsSpec) -> Tensors:
        """One row a crop from each head."""
        outputs: dict[str, Shape] = {head.output: (None, head.size) for head in section.heads}
        return Tensors(outputs=outputs)

    def describe_output(self, section: HeadsSpec) -> str:
        """Name, shape and classes of each head."""
        return "; ".join(_describe(head) for head in section.heads)

    def crop(self, section: HeadsSpec) -> str:
        """The crop it was trained on."""
        return section.crop


def _describe(head: HeadSpec) -> str:
    values = "probabilities" if head.probabilities else "logits"
    classes = ", ".join(head.classes)
    if head.years:
        classes = f"{head.size} ages from {head.years[0]:g} to {head.years[-1]:g} years"
    return f"`{head.output}`, float32 (N, {head.size}), {values} of {head.attribute}: {classes}"


ATTRIBUTE_HEADS = AttributeHeads()
