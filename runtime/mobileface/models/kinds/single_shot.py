"""Kind "single_shot": detectors whose graph goes from an image's bytes to faces and their points.

What it shares with kind "yunet" is in `OneRunSpec` and `OneRun`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeVar

from ...errors import SpecError
from ...fields import Count, Names, NonNegative, Number, Text, list_of, name
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

__all__ = [
    "PROBE_SCORE",
    "SINGLE_SHOT",
    "OneRun",
    "OneRunSpec",
    "SingleShotSpec",
    "enlarged",
    "scaled_down",
]

_PROBES = ((129, 160), (200, 96), (256, 341))
"""Height and width of the probe images."""

PROBE_SCORE = 0.02
"""Score threshold for probe images: they show no faces, but something scores more than this."""


@dataclass(frozen=True, slots=True)
class OneRunSpec:
    """A detector of one graph: one run from images to faces, in pixels of those images.

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


S = TypeVar("S", bound=OneRunSpec)


class OneRun(Kind[S]):
    """What detectors of one graph have in common."""

    task = "detection"
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

    def check(self, section: S, where: str) -> None:
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

    def tensors(self, section: S) -> Tensors:
        """An image and three optional scalars in, a row for each face out."""
        inputs: dict[str, Shape] = {section.image: (None, None, None, 3)}
        inputs |= dict.fromkeys((section.score_input, section.iou_input, section.topk_input), ())
        outputs: dict[str, Shape] = {
            section.index: (None,),
            section.scores: (None,),
            section.boxes: (None, 4),
        }
        if section.points:
            outputs[section.kps] = (None, len(section.points), 2)
        return Tensors(inputs, outputs)

    def probe_score(self, section: S) -> float:
        """Score threshold for probe images."""
        return PROBE_SCORE

    def probes(self, spec: Facts) -> list[Feed]:
        """Smooth images of three sizes, with a threshold that something in them exceeds.

        Such images show no face: at the detector's own threshold a record would be empty.
        """
        import numpy as np

        from ..probes import make_probes

        section = spec.require(self.section)
        score = np.array(self.probe_score(section), np.float32)
        return [
            {section.image: make_probes(4, *size, 3, PROBE_SEED)[[row]], section.score_input: score}
            for size in _PROBES
            for row in (1, 3)  # the others are noise
        ]

    def rows(self, spec: Facts, fed: Feed, found: Feed) -> FloatArray:
        """Score, and box and points in parts of the image's longer side."""
        section = spec.require(self.section)
        points = found[section.kps][None] if section.points else None
        side = max(fed[section.image].shape[1:3])
        scores, boxes = found[section.scores][None, :, None], found[section.boxes][None]
        return detection_rows(scores, boxes, side, points)

    def pair(self, found: FloatArray, expected: FloatArray) -> FloatArray:
        """Detections matched by IoU: rounding may change their order."""
        return paired_detections(found, expected)

    def significant(self, spec: Facts, rows: FloatArray) -> FloatArray:
        """What the runtime would report; all rows if it would report none, as on probe images."""
        sure = rows[:, 0] > spec.require(self.section).score_threshold
        return rows[sure] if sure.any() else rows

    def feed(self, spec: Facts, image: ByteArray) -> Feed:
        """The image, scaled as the runtime scales it."""
        section = spec.require(self.section)
        return {section.image: scaled_down(image, section.max_side)[None]}

    def describe_input(self, section: S) -> str:
        """The image and the optional scalars."""
        optional = ", ".join(
            f"`{name}`" for name in (section.score_input, section.iou_input, section.topk_input)
        )
        return f"`{section.image}`, uint8 (N, H, W, 3) BGR of any size; optional: {optional}"

    def describe_output(self, section: S) -> str:
        """One row for each face."""
        said = (
            f"M faces: `{section.index}` int64 (M,), `{section.scores}` float32 (M,), "
            f"`{section.boxes}` float32 (M, 4)"
        )
        if not section.points:
            return said
        points = f"float32 (M, {len(section.points)}, 2): {', '.join(section.points)}"
        return f"{said}, `{section.kps}` {points}"


@dataclass(frozen=True, slots=True)
class SingleShotSpec(OneRunSpec):
    """A detector that predicts faces for the cells of grids: `OneRunSpec` with more facts.

    Attributes:
        points: Name of each point; none if the detector gives no points, and no output ``kps``.
        layout: How its predictions are decoded, e.g. "scrfd".
        batch: Images that one run takes; 0: any number.
        height: Pixels of the height that images are scaled to inside the graph, keeping their
            proportions; 0: they are not.
        width: Likewise of the width.
        probe_score: Score threshold for a certificate's images, which show no faces.
    """

    points: Annotated[tuple[str, ...], list_of(name, empty=True)]
    layout: Text
    batch: NonNegative
    height: NonNegative
    width: NonNegative
    probe_score: Number


class SingleShot(OneRun[SingleShotSpec]):
    """Detectors of several published layouts; each layout's paper is cited where it is decoded."""

    name = "single_shot"
    section = SingleShotSpec
    runner = "mobileface.tasks.single_shot_detector:SingleShotDetector"
    options = (
        # Published thresholds are 0.25 to 0.6.
        dataclasses.replace(OneRun.options[0], thorough=0.25),
        *OneRun.options[1:],
    )

    def check(self, section: SingleShotSpec, where: str) -> None:
        """As for all detectors of one graph; a fixed size has both sides.

        Raises:
            SpecError: Two fields contradict each other.
        """
        super().check(section, where)
        if (section.height > 0) != (section.width > 0):
            raise SpecError("of height and width one is 0", where=where)

    def tensors(self, section: SingleShotSpec) -> Tensors:
        """As for all detectors of one graph, with the batch that it takes."""
        found = super().tensors(section)
        fed: dict[str, Shape] = {section.image: (section.batch or None, None, None, 3)}
        return Tensors({**found.inputs, **fed}, found.outputs)

    def probe_score(self, section: SingleShotSpec) -> float:
        """The one that was measured when the model was made."""
        return section.probe_score

    def describe_input(self, section: SingleShotSpec) -> str:
        """The image and the optional scalars, and what the graph does to the image."""
        said = super().describe_input(section)
        if section.height:
            said += f"; scaled to {section.width}x{section.height} pixels inside"
        return said + ("; one image per run" if section.batch == 1 else "")


SINGLE_SHOT = SingleShot()


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
