"""Kind "yunet": a detector whose graph goes from an image's bytes to faces and their points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import SpecError
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

__all__ = ["PROBE_SCORE", "YUNET", "YunetSpec", "enlarged", "scaled_down"]

_PROBES = ((129, 160), (200, 96), (256, 341))
"""Height and width of the probe images."""

PROBE_SCORE = 0.02
"""Score threshold for probe images: they show no faces, but something scores more than this."""


@dataclass(frozen=True, slots=True)
class YunetSpec:
    """A YuNet detector: one run from images to faces, in pixels of those images.

    M is the number of faces in all images of a run, image by image, the best first.

    Attributes:
        image: Name of the ONNX input, uint8 (N, H, W, 3) BGR, any H and W from 1.
        index: Name of the output that says to which image a face belongs, int64 (M,).
        scores: Name of the output with the scores, float32 (M,), 0 to 1.
        boxes: Name of the output with left, top, right, bottom, float32 (M, 4).
        kps: Name of the output with x and y of each point, float32 (M, P, 2).
        score_input: Name of the optional input: faces must score more than this.
        iou_input: Name of the optional input: boxes that overlap more are suppressed.
        topk_input: Name of the optional input: how many boxes take part in suppression.
        score_threshold: Default of ``score_input``.
        iou_threshold: Default of ``iou_input``.
        topk: Default of ``topk_input``.
        max_side: Larger images are scaled down so that the longer side has this many pixels.
        second_side: Large images are searched at this longer side as well: faces that fill an
            image, or that its border cuts, are found only there.
        second_above: An image is large if its longer side, scaled down, is above this.
        tile_side: Side of the tiles in which a large image is searched on request.
        tile_overlap: Pixels that neighbouring tiles share.
        points: Name of each point.
    """

    image: Text
    index: Text
    scores: Text
    boxes: Text
    kps: Text
    score_input: Text
    iou_input: Text
    topk_input: Text
    score_threshold: Number
    iou_threshold: Number
    topk: Count
    max_side: Count
    second_side: Count
    second_above: Count
    tile_side: Count
    tile_overlap: Count
    points: Names


class Yunet(Kind[YunetSpec]):
    """YuNet (Wu, Peng, Yu 2023, https://doi.org/10.1007/s11633-023-1423-y)."""

    name = "yunet"
    task = "detection"
    section = YunetSpec
    runner = "mobileface.tasks.yunet_detector:YunetDetector"
    options = (
        Option("score_threshold", float, "S", "lower finds more faces, wrong ones too", 0.4),
        Option("iou_threshold", float, "IOU", "of boxes that overlap more, keep the best"),
        Option("topk", int, "N", "compare only the N best boxes"),
        Option("max_side", int, "PIXELS", "scale larger images down to this; 0: never"),
        Option("min_face_size", float, "PIXELS", "skip smaller faces; saves time"),
        Option("tile", int, "PIXELS", "search large images in tiles of this side, at full size"),
        Option("turns", int, "N", "4: search the image turned by every 90 degrees as well"),
    )
    ordered = False
    input_color = "bgr"
    no_export = "it chooses and suppresses faces in its graph, for which {target} has no layers"

    def check(self, section: YunetSpec, where: str) -> None:
        """Tiles must move on, and a second look must be at a smaller copy.

        Raises:
            SpecError: They do not.
        """
        if section.second_side > section.second_above:
            raise SpecError(
                f"second_side {section.second_side} is above second_above {section.second_above}",
                where=where,
            )
        if 2 * section.tile_overlap > section.tile_side:
            raise SpecError(
                f"tile_overlap {section.tile_overlap} is more than half of tile_side "
                f"{section.tile_side}",
                where=where,
            )

    def tensors(self, section: YunetSpec) -> Tensors:
        """An image and three optional scalars in, a row for each face out."""
        inputs: dict[str, Shape] = {section.image: (None, None, None, 3)}
        inputs |= dict.fromkeys((section.score_input, section.iou_input, section.topk_input), ())
        outputs: dict[str, Shape] = {
            section.index: (None,),
            section.scores: (None,),
            section.boxes: (None, 4),
            section.kps: (None, len(section.points), 2),
        }
        return Tensors(inputs, outputs)

    def probes(self, spec: Facts) -> list[Feed]:
        """Smooth images of three sizes, with a threshold that something in them exceeds.

        Such images show no face: at the detector's own threshold a record would be empty.
        """
        import numpy as np

        from ..probes import make_probes

        section = spec.require(YunetSpec)
        score = np.array(PROBE_SCORE, np.float32)
        return [
            {section.image: make_probes(4, *size, 3, PROBE_SEED)[[row]], section.score_input: score}
            for size in _PROBES
            for row in (1, 3)  # the others are noise
        ]

    def rows(self, spec: Facts, fed: Feed, found: Feed) -> FloatArray:
        """Score, and box and points in parts of the image's longer side."""
        section = spec.require(YunetSpec)
        scores, boxes, points = (found[n] for n in (section.scores, section.boxes, section.kps))
        side = max(fed[section.image].shape[1:3])
        return detection_rows(scores[None, :, None], boxes[None], side, points[None])

    def pair(self, found: FloatArray, expected: FloatArray) -> FloatArray:
        """Detections matched by IoU: rounding may change their order."""
        return paired_detections(found, expected)

    def significant(self, spec: Facts, rows: FloatArray) -> FloatArray:
        """What the runtime would report; all rows if it would report none, as on probe images."""
        sure = rows[:, 0] > spec.require(YunetSpec).score_threshold
        return rows[sure] if sure.any() else rows

    def feed(self, spec: Facts, image: ByteArray) -> Feed:
        """The image, scaled as the runtime scales it."""
        section = spec.require(YunetSpec)
        return {section.image: scaled_down(image, section.max_side)[None]}

    def describe_input(self, section: YunetSpec) -> str:
        """The image and the optional scalars."""
        optional = ", ".join(
            f"`{name}`" for name in (section.score_input, section.iou_input, section.topk_input)
        )
        return f"`{section.image}`, uint8 (N, H, W, 3) BGR of any size; optional: {optional}"

    def describe_output(self, section: YunetSpec) -> str:
        """One row for each face."""
        points = ", ".join(section.points)
        return (
            f"M faces: `{section.index}` int64 (M,), `{section.scores}` float32 (M,), "
            f"`{section.boxes}` float32 (M, 4), `{section.kps}` float32 (M, "
            f"{len(section.points)}, 2): {points}"
        )


YUNET = Yunet()


def scaled_down(image: ByteArray, side: int) -> ByteArray:
    """The image with a longer side of at most ``side`` pixels; never enlarged.

    Bilinear to the size wanted times a power of two, by a factor of less than four, then halved.
    OpenCV's INTER_AREA takes ten times as long and finds no more faces.

    Args:
        image: uint8 (H, W, 3) or (H, W), contiguous.
        side: Pixels, 1 or more.
    """
    import cv2
    import numpy as np

    height, width = image.shape[:2]
    longer = max(height, width)
    if longer <= side:
        return image
    rows, columns = (max(1, round(length * side / longer)) for length in (height, width))
    many = 1 << max(0, (longer // side).bit_length() - 2)
    scaled = cv2.resize(image, (columns * many, rows * many), interpolation=cv2.INTER_LINEAR)
    while many > 1:
        many //= 2
        scaled = cv2.resize(scaled, (columns * many, rows * many), interpolation=cv2.INTER_AREA)
    return np.asarray(scaled, np.uint8)


def enlarged(image: ByteArray, times: int) -> ByteArray:
    """The image with sides of a whole number of times the length, bilinear.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        times: 1: the image itself.
    """
    if times == 1:
        return image
    import cv2
    import numpy as np

    return np.asarray(cv2.resize(image, None, fx=times, fy=times), np.uint8)
