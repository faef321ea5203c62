"""Kind "person_mask": a network that says for each pixel of an image whether it shows a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import SpecError
from ...fields import Count, Text
from .base import Facts, Feed, Kind, Tensors

if TYPE_CHECKING:
    from ...arrays import FloatArray

__all__ = ["PERSON_MASK", "PersonMaskSpec"]

_BLOCKS = 16
"""Blocks of a mask across and down whose means a certificate records."""


@dataclass(frozen=True, slots=True)
class PersonMaskSpec:
    """A segmentation network: whole images in, stretched to its size, and their masks out.

    Attributes:
        mask: Name of the ONNX output with the probability of a person at each pixel, float32 (N,
            height, width), 0 to 1.
        height: Rows of the mask.
        width: Columns of the mask.
    """

    mask: Text
    height: Count
    width: Count


class PersonMask(Kind[PersonMaskSpec]):
    """Masks of people near the camera, as in MediaPipe's selfie segmentation."""

    name = "person_mask"
    task = "segmentation"
    section = PersonMaskSpec
    runner = "mobileface.tasks.person_segmenter:PersonSegmenter"
    needs_input = True
    one_size = True
    on_request = True
    no_export = "it scales an image's bytes in its graph, for which {target} has no layers"

    def check(self, section: PersonMaskSpec, where: str) -> None:
        """The mask can be divided into blocks.

        Raises:
            SpecError: It cannot.
        """
        for name, side in (("height", section.height), ("width", section.width)):
            if side % _BLOCKS:
                raise SpecError(f"must be a multiple of {_BLOCKS}", where=f"{where}, {name}")

    def tensors(self, section: PersonMaskSpec) -> Tensors:
        """The mask of each image."""
        return Tensors(outputs={section.mask: (None, section.height, section.width)})

    def rows(self, spec: Facts, fed: Feed, found: Feed) -> FloatArray:
        """Means of person and of background in 16×16 blocks of each mask, float32 (N, 512).

        The background is there because a mask without a person has no direction to compare.
        """
        import numpy as np

        section = spec.require(PersonMaskSpec)
        mask = found[section.mask].astype(np.float64)
        blocks = (_BLOCKS, section.height // _BLOCKS, _BLOCKS, section.width // _BLOCKS)
        means = mask.reshape(len(mask), *blocks).mean(axis=(2, 4)).reshape(len(mask), -1)
        return np.asarray(np.concatenate([means, 1 - means], axis=1), np.float32)

    def describe_output(self, section: PersonMaskSpec) -> str:
        """The mask."""
        return (
            f"`{section.mask}`, float32 (N, {section.height}, {section.width}), probability of a "
            "person at each pixel of the stretched image"
        )


PERSON_MASK = PersonMask()
