"""Kind "centers": a detector that gives a heat map of face centres and a map of sizes."""

from __future__ import annotations

from dataclasses import dataclass

from ...fields import Count, Number, Text
from .base import PROBE_SEED, Facts, Feed, Kind, Option, Tensors

__all__ = ["CENTERS", "CentersSpec"]


@dataclass(frozen=True, slots=True)
class CentersSpec:
    """A detector of face centres (Zhou et al., "Objects as Points", arXiv:1904.07850).

    Attributes:
        image: Name of the ONNX input, uint8 (1, H, W, 3) BGR.
        heat: Name of the output with the scores, float32 (1, 1, H / stride, W / stride), 0 to 1.
        sizes: Name of the output with width and height in pixels, float32 (1, 2, …, …).
        stride: Pixels per cell of both maps.
        score_threshold: Centres that score less are dropped.
    """

    image: Text
    heat: Text
    sizes: Text
    stride: Count
    score_threshold: Number


class Centers(Kind[CentersSpec]):
    """A detector whose peaks the runtime finds."""

    name = "centers"
    task = "detection"
    section = CentersSpec
    runner = "mobileface.tasks.centers_detector:CentersDetector"
    options = (Option("score_threshold", float, "S", "lower finds more faces, wrong ones too"),)

    def tensors(self, section: CentersSpec) -> Tensors:
        """An image in, two maps out."""
        maps = {section.heat: (1, 1, None, None), section.sizes: (1, 2, None, None)}
        return Tensors({section.image: (1, None, None, 3)}, maps)

    def probes(self, spec: Facts) -> list[Feed]:
        """One smooth image."""
        from ..probes import make_probes

        return [{spec.require(CentersSpec).image: make_probes(2, 64, 96, 3, PROBE_SEED)[1:]}]

    def describe_input(self, section: CentersSpec) -> str:
        """The image."""
        return f"`{section.image}`, uint8 (1, H, W, 3), BGR"

    def describe_output(self, section: CentersSpec) -> str:
        """The maps."""
        return f"`{section.heat}` and `{section.sizes}`, one cell per {section.stride} pixels"


CENTERS = Centers()
