"""Kind "hog": a sliding-window detector over gradient histograms."""

from __future__ import annotations

from dataclasses import dataclass

from ...fields import AtLeastTwo, Count, Number, Text
from .base import PROBE_SEED, Facts, Feed, Kind, Option, Tensors

__all__ = ["HOG", "HogSpec"]

_HEIGHT, _WIDTH = 120, 160


@dataclass(frozen=True, slots=True)
class HogSpec:
    """A sliding-window detector over gradient histograms; one ONNX run scores a pyramid level.

    Attributes:
        image: Name of the ONNX input, uint8 (1 or 3, H, W).
        output: Name of the ONNX output, float32 (K, rows, columns), threshold subtracted.
        filters: Number of filters K.
        filter_rows: Height of a filter in cells.
        filter_columns: Width of a filter in cells.
        cell_size: Side of a cell in pixels.
        pyramid_step: Each level is (step − 1) / step of the one before.
        max_pyramid_levels: Largest number of levels that are searched.
        min_layer_width: A level narrower than this, in pixels, is not searched.
        min_layer_height: A level lower than this, in pixels, is not searched.
        overlap_threshold: Two boxes overlap if their intersection is more than this part of the
            rectangle around both.
        covered_threshold: Or if it is more than this part of either of them.
    """

    image: Text
    output: Text
    filters: Count
    filter_rows: Count
    filter_columns: Count
    cell_size: Count
    pyramid_step: AtLeastTwo
    max_pyramid_levels: Count
    min_layer_width: Count
    min_layer_height: Count
    overlap_threshold: Number
    covered_threshold: Number


class Hog(Kind[HogSpec]):
    """dlib's frontal face detector (King, arXiv:1502.00046)."""

    name = "hog"
    task = "detection"
    section = HogSpec
    runner = "mobileface.tasks.hog_detector:HogDetector"
    options = (
        Option("score_threshold", float, "S", "lower finds more faces, wrong ones too", -0.2),
        Option("min_face_size", float, "PIXELS", "skip smaller faces; saves time"),
        Option("upsample", int, "N", "double the image N times first, for smaller faces"),
    )
    no_export = (
        "its histograms add gradients up by direction and cell, for which {target} has no layers"
    )

    def tensors(self, section: HogSpec) -> Tensors:
        """One level of the pyramid in, a score for each window out."""
        return Tensors(
            {section.image: (None, None, None)}, {section.output: (section.filters, None, None)}
        )

    def probes(self, spec: Facts) -> list[Feed]:
        """One smooth image as a level of the pyramid."""
        from ..probes import make_probes

        image = make_probes(2, _HEIGHT, _WIDTH, 1, PROBE_SEED)[1]
        return [{spec.require(HogSpec).image: image.transpose(2, 0, 1)}]

    def describe_input(self, section: HogSpec) -> str:
        """The level of the pyramid."""
        return f"`{section.image}`, uint8 (1 or 3, H, W), one level of the pyramid"

    def describe_output(self, section: HogSpec) -> str:
        """The scores."""
        shape = f"float32 ({section.filters}, rows, columns)"
        return f"`{section.output}`, {shape}, score minus threshold"


HOG = Hog()
