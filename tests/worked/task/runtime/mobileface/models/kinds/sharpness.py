"""Kind "sharpness": a network that says how sharp a face crop is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ...fields import Text, one_of
from ...vision.crops import CROPS
from .base import Kind, Tensors

__all__ = ["SHARPNESS", "SharpnessSpec"]


@dataclass(frozen=True, slots=True)
class SharpnessSpec:
    """The output of a sharpness network.

    Attributes:
        output: Name of the ONNX output, float32 (N, 1), 0 (blurred) to 1 (sharp).
        crop: How a face is cut out for it; a name in `mobileface.vision.crops`.
    """

    output: Text
    crop: Annotated[str, one_of(tuple(CROPS))]


class Sharpness(Kind[SharpnessSpec]):
    """A network on one crop with one number as its output."""

    name = "sharpness"
    task = "sharpness"
    section = SharpnessSpec
    runner = "mobileface.tasks.sharpness:SharpnessPredictor"
    needs_input = True
    one_size = True

    def tensors(self, section: SharpnessSpec) -> Tensors:
        """One number for each crop."""
        return Tensors(outputs={section.output: (None, 1)})

    def crop(self, section: SharpnessSpec) -> str:
        """The crop it was trained on."""
        return section.crop


SHARPNESS = Sharpness()
