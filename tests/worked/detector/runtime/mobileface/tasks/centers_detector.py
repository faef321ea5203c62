"""Detectors of kind "centers": peaks of a heat map, and the size at each."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..errors import InputError
from ..models.kinds import CentersSpec
from ..models.session import Session
from ..types import Detections
from ..vision.image import ChannelOrder, Image, to_color
from .detection import Detector

__all__ = ["CentersDetector"]


class CentersDetector(Detector):
    """Finds the peaks of a heat map.

    Args:
        session: A model of kind "centers".
        score_threshold: Peaks must reach this, 0 to 1; None: the model's own.

    Raises:
        ModelError: If the model is of another kind.
        InputError: If the threshold is out of range.
    """

    def __init__(self, session: Session, *, score_threshold: float | None = None) -> None:
        super().__init__(session)
        self._section = session.spec.require(CentersSpec, str(session.path))
        least = self._section.score_threshold if score_threshold is None else score_threshold
        if not 0 <= least <= 1:
            raise InputError(f"score_threshold {least} is not between 0 and 1")
        self._least = least

    def _detect(self, images: Sequence[Image], color: ChannelOrder) -> list[Detections]:
        return [self._detect_one(to_color(image, "bgr", color)) for image in images]

    def _detect_one(self, image: Image) -> Detections:
        section = self._section
        found = self.session.run({section.image: image[None]})
        heat, sizes = found[section.heat][0, 0], found[section.sizes][0]
        peaks = (heat == cv2.dilate(heat, np.ones((3, 3), np.uint8))) & (heat >= self._least)
        rows, columns = np.nonzero(peaks)
        order = np.argsort(-heat[rows, columns], kind="stable")
        rows, columns = rows[order], columns[order]
        centers = (np.stack([columns, rows], axis=1) + 0.5) * section.stride
        halves = sizes[:, rows, columns].T / 2
        boxes = np.concatenate([centers - halves, centers + halves], axis=1)
        return Detections(boxes.astype(np.float32), heat[rows, columns])
