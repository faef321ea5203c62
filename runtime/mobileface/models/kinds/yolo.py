"""Kind "yolo": a detector whose graph holds normalization, decoding and NMS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...fields import Count, Names, Number, Text
from .base import (
    PROBE_SEED,
    Facts,
    Feed,
    Kind,
    Option,
    Shape,
    Tensors,
    detection_rows,
    paired_detections,
)

if TYPE_CHECKING:
    from ...arrays import ByteArray, FloatArray
    from ...vision.image import ChannelOrder

__all__ = ["YOLO", "YoloSpec", "input_size", "network_images"]

_PROBES = ((129, 160), (200, 96))
"""Height and width of the probe images."""


@dataclass(frozen=True, slots=True)
class YoloSpec:
    """A YOLO detector: one run from an image to boxes, in pixels of that image.

    Attributes:
        image: Name of the ONNX input, uint8 (N, H, W, 3) RGB.
        ids: Name of the output with the class of each row, float32 (N, rows, 1); -1: unused.
        scores: Name of the output with the scores, float32 (N, rows, 1), highest first.
        boxes: Name of the output with left, top, right, bottom, float32 (N, rows, 4).
        iou_input: Name of the optional input: boxes that overlap more are suppressed.
        valid_input: Name of the optional input: rows must score more than this.
        topk_input: Name of the optional input: how many rows NMS compares.
        rows: Number of rows.
        short_side: Pixels that the shorter side of an image is scaled to.
        max_side: Pixels that the longer side may then have.
        multiple: Sides are scaled to multiples of this.
        score_threshold: Boxes that score less are dropped.
        iou_threshold: Default of ``iou_input``.
        topk: Default of ``topk_input``.
        labels: Name of each class.
    """

    image: Text
    ids: Text
    scores: Text
    boxes: Text
    iou_input: Text
    valid_input: Text
    topk_input: Text
    rows: Count
    short_side: Count
    max_side: Count
    multiple: Count
    score_threshold: Number
    iou_threshold: Number
    topk: Count
    labels: Names


class Yolo(Kind[YoloSpec]):
    """YOLOv3 (Redmon and Farhadi, arXiv:1804.02767) as GluonCV trains it."""

    name = "yolo"
    task = "detection"
    section = YoloSpec
    runner = "mobileface.tasks.yolo_detector:YoloDetector"
    options = (
        Option("score_threshold", float, "S", "lower finds more faces, wrong ones too", 0.4),
        Option("iou_threshold", float, "IOU", "of boxes that overlap more, keep the best"),
        Option("topk", int, "N", "compare only the N best boxes"),
        Option("short_side", int, "PIXELS", "scale the shorter side to this; finds smaller faces"),
    )
    calibration = "photos"
    ordered = False
    exports_trunk = True
    input_color = "rgb"

    def tensors(self, section: YoloSpec) -> Tensors:
        """An image and three optional scalars in, rows of ids, scores and boxes out."""
        inputs: dict[str, Shape] = {section.image: (None, None, None, 3)}
        inputs |= dict.fromkeys((section.iou_input, section.valid_input, section.topk_input), ())
        widths = {section.ids: 1, section.scores: 1, section.boxes: 4}
        return Tensors(inputs, {name: (None, section.rows, w) for name, w in widths.items()})

    def probes(self, spec: Facts) -> list[Feed]:
        """Two smooth images of different sizes; noise shows a detector nothing."""
        from ..probes import make_probes

        image = spec.require(YoloSpec).image
        return [{image: make_probes(2, *size, 3, PROBE_SEED)[1:]} for size in _PROBES]

    def rows(self, spec: Facts, fed: Feed, found: Feed) -> FloatArray:
        """Score, and box in parts of the image's longer side."""
        section = spec.require(YoloSpec)
        side = max(fed[section.image].shape[1:3])
        return detection_rows(found[section.scores], found[section.boxes], side)

    def pair(self, found: FloatArray, expected: FloatArray) -> FloatArray:
        """Detections matched by IoU: rounding may change their order."""
        return paired_detections(found, expected)

    def significant(self, spec: Facts, rows: FloatArray) -> FloatArray:
        """What the runtime would report; all rows if it would report none (random weights)."""
        sure = rows[:, 0] >= spec.require(YoloSpec).score_threshold
        return rows[sure] if sure.any() else rows

    def feed(self, spec: Facts, image: ByteArray) -> Feed:
        """The image, scaled as the runtime scales it."""
        section = spec.require(YoloSpec)
        return {section.image: network_images([image], section)}


YOLO = Yolo()


def input_size(
    height: int, width: int, spec: YoloSpec, short_side: int | None = None
) -> tuple[int, int]:
    """Height and width to which an image is scaled, by GluonCV's rule for YOLOv3.

    The shorter side becomes ``short_side``; if the longer one is then above the spec's
    ``max_side``, it becomes that. Each side is rounded to a multiple, halves to even, so the
    proportions may change a little.

    Args:
        height: Of the image.
        width: Of the image.
        spec: The detector's sizes.
        short_side: In place of the spec's.
    """
    unit, longer = spec.multiple, max(height, width)
    scale = (short_side or spec.short_side) / min(height, width)
    if round(scale * longer / unit) * unit > spec.max_side:
        scale = spec.max_side // unit * unit / longer
    rows, columns = (max(1, round(side * scale / unit)) * unit for side in (height, width))
    return rows, columns


def network_images(
    images: Sequence[ByteArray],
    spec: YoloSpec,
    *,
    color: ChannelOrder = "bgr",
    short_side: int | None = None,
) -> ByteArray:
    """Images of one size as the network takes them, scaled as upstream does (cubic).

    Args:
        images: uint8 (H, W, 3) or (H, W), all of one size.
        spec: The detector's sizes.
        color: Channel order of color images.
        short_side: In place of the spec's.

    Returns:
        uint8 (N, height, width, 3), RGB.
    """
    import cv2
    import numpy as np

    from ...vision.image import to_color

    height, width = images[0].shape[:2]
    rows, columns = input_size(height, width, spec, short_side)
    scaled = []
    for image in images:
        rgb = to_color(image, "rgb", color)
        if rgb.shape[:2] != (rows, columns):
            rgb = np.asarray(cv2.resize(rgb, (columns, rows), interpolation=cv2.INTER_CUBIC))
        scaled.append(rgb)
    return np.stack(scaled)
