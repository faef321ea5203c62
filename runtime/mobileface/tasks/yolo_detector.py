"""Detectors of the YOLO kind: one run for pictures of one size, boxes mapped back to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from ..errors import InputError
from ..models.session import Session
from ..models.spec import YoloSpec
from ..types import Detections
from ..vision.image import ChannelOrder, Image, to_color

__all__ = ["YoloFaceDetector", "input_size", "network_pictures"]


def input_size(
    height: int, width: int, spec: YoloSpec, short_side: int | None = None
) -> tuple[int, int]:
    """Height and width to which a picture is scaled, by GluonCV's rule for YOLOv3.

    The shorter side becomes ``short_side``; if the longer one is then above the spec's
    ``max_side``, it becomes that. Both are rounded to a multiple, halves to the even one, each for
    itself: the proportions may change a little.

    Args:
        height: Of the picture.
        width: Of the picture.
        spec: The detector's sizes.
        short_side: In place of the spec's.
    """
    unit, longer = spec.multiple, max(height, width)
    scale = (short_side or spec.short_side) / min(height, width)
    if round(scale * longer / unit) * unit > spec.max_side:
        scale = spec.max_side // unit * unit / longer
    rows, columns = (max(1, round(side * scale / unit)) * unit for side in (height, width))
    return rows, columns


class YoloFaceDetector:
    """Runs a detector whose graph holds normalisation, decoding and suppression.

    Args:
        session: Its model.
        spec: The model's section "yolo".
    """

    def __init__(self, session: Session, spec: YoloSpec) -> None:
        self._session = session
        self.spec = spec

    def detect(
        self,
        images: Sequence[Image],
        *,
        color: ChannelOrder = "bgr",
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        topk: int | None = None,
        short_side: int | None = None,
    ) -> list[Detections]:
        """Finds faces in checked pictures of one size; see `Detector.detect_batch`."""
        if not images:
            return []
        spec = self.spec
        minimum = spec.score_threshold if score_threshold is None else score_threshold
        inputs = self._options(minimum, iou_threshold, topk)
        inputs[spec.image] = self.prepare(images, color=color, short_side=short_side)
        (height, width), (rows, columns) = images[0].shape[:2], inputs[spec.image].shape[1:3]
        found = self._session.run(inputs)
        factors = np.array([width / columns, height / rows] * 2, np.float32)
        results = []
        for scores, boxes in zip(found[spec.scores], found[spec.boxes], strict=True):
            taken = scores[:, 0] >= max(minimum, 0)  # unused rows are -1
            results.append(Detections(boxes[taken] * factors, scores[taken, 0]))
        return results

    def prepare(
        self,
        images: Sequence[Image],
        *,
        color: ChannelOrder = "bgr",
        short_side: int | None = None,
    ) -> Image:
        """The network's input: pictures of one size, scaled, uint8 (N, height, width, 3) RGB.

        Raises:
            InputError: ``short_side`` is below 1 or ``color`` unknown.
        """
        return network_pictures(images, self.spec, color=color, short_side=short_side)

    def _options(
        self, minimum: float, iou_threshold: float | None, topk: int | None
    ) -> dict[str, Any]:
        """The model's optional inputs.

        Raises:
            InputError: One is out of range.
        """
        spec = self.spec
        overlap = spec.iou_threshold if iou_threshold is None else iou_threshold
        candidates = spec.topk if topk is None else topk
        for name, value in (("score_threshold", minimum), ("iou_threshold", overlap)):
            if not 0 <= value <= 1:
                raise InputError(f"{name} {value} is not between 0 and 1")
        if candidates < 1:
            raise InputError(f"topk {candidates} is below 1")
        return {
            spec.iou_input: np.array(overlap, np.float32),
            spec.topk_input: np.array(candidates, np.int64),
        }


def network_pictures(
    images: Sequence[Image],
    spec: YoloSpec,
    *,
    color: ChannelOrder = "bgr",
    short_side: int | None = None,
) -> Image:
    """Pictures of one size as a network takes them; see `YoloFaceDetector.prepare`."""
    if short_side is not None and short_side < 1:
        raise InputError(f"short_side {short_side} is below 1")
    height, width = images[0].shape[:2]
    rows, columns = input_size(height, width, spec, short_side)
    return np.stack([_scaled(image, color, rows, columns) for image in images])


def _scaled(image: Image, color: ChannelOrder, rows: int, columns: int) -> Image:
    """The picture in RGB and of the network's size, interpolated as upstream does (cubic)."""
    rgb = to_color(image, "rgb", color)
    if rgb.shape[:2] == (rows, columns):
        return rgb
    return np.asarray(cv2.resize(rgb, (columns, rows), interpolation=cv2.INTER_CUBIC), np.uint8)
