"""Detectors of kind "yolo": a network with decoding and non-maximum suppression in its graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from ..models.kinds import YoloSpec
from ..models.kinds.yolo import network_images
from ..models.session import Session
from ..types import Detections
from ..vision.image import ChannelOrder, Image
from .detection import Detector

__all__ = ["YoloDetector"]


class YoloDetector(Detector):
    """Detects faces with a network that includes normalization, decoding and NMS.

    Args:
        session: A model of kind "yolo".
        score_threshold: Minimum score of a box, a probability; None for the model's default.
        iou_threshold: IoU threshold for non-maximum suppression, 0 to 1; None for the model's
            default.
        topk: Number of highest-scoring boxes that NMS considers; None for the model's default.
        short_side: Size in pixels that the shorter side of the image is scaled to. A larger size
            finds smaller faces and takes longer. None for the model's default.

    Raises:
        ModelError: If the model is of another kind.
        InputError: If an option is out of range.
    """

    def __init__(
        self,
        session: Session,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        topk: int | None = None,
        short_side: int | None = None,
    ) -> None:
        super().__init__(session)
        section = session.spec.require(YoloSpec, str(session.path))
        self.section = section
        self.score_threshold = _chosen(score_threshold, section.score_threshold)
        self.iou_threshold = _chosen(iou_threshold, section.iou_threshold)
        self.topk = section.topk if topk is None else topk
        self.short_side = section.short_side if short_side is None else short_side
        for name in ("score_threshold", "iou_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be from 0 to 1, not {getattr(self, name)}")
        for name in ("topk", "short_side"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")

    def _detect(self, images: Sequence[Image], color: ChannelOrder) -> list[Detections]:
        section = self.section
        inputs: dict[str, Any] = {
            section.image: self.prepare(images, color=color),
            section.iou_input: np.array(self.iou_threshold, np.float32),
            section.topk_input: np.array(self.topk, np.int64),
        }
        (height, width), (rows, columns) = images[0].shape[:2], inputs[section.image].shape[1:3]
        found = self.session.run(inputs)
        factors = np.array([width / columns, height / rows] * 2, np.float32)
        results = []
        for scores, boxes in zip(found[section.scores], found[section.boxes], strict=True):
            taken = scores[:, 0] >= self.score_threshold  # unused rows are -1
            results.append(Detections(boxes[taken] * factors, scores[taken, 0]))
        return results

    def prepare(self, images: Sequence[Image], *, color: ChannelOrder = "bgr") -> Image:
        """The network's input: images of one size, scaled, uint8 (N, height, width, 3) RGB.

        Raises:
            InputError: If ``color`` is unknown.
        """
        return network_images(images, self.section, color=color, short_side=self.short_side)


def _chosen(value: float | None, default: float) -> float:
    return default if value is None else value
