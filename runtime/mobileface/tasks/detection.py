"""Face detection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ImageError, InputError, ModelError
from ..models.session import Session
from ..types import Detections, FloatArray
from ..vision.image import ChannelOrder, Image, as_images
from .hog_detector import HogFaceDetector
from .yolo_detector import YoloFaceDetector

__all__ = ["Detector"]

_BATCH = 8
"""Pictures a run: larger batches gain nothing on a CPU and cost memory."""


class Detector:
    """Finds faces in pictures.

    Args:
        session: A model whose task is "detection".

    Raises:
        ModelError: The model does something else.
    """

    def __init__(self, session: Session) -> None:
        spec = session.spec
        if spec.hog is None and spec.yolo is None:
            raise ModelError(f"its task is '{spec.task}', not 'detection'", where=str(session.path))
        self.session = session
        self.spec = spec
        self.name = spec.name
        self._yolo = None if spec.yolo is None else YoloFaceDetector(session, spec.yolo)

    def detect(
        self,
        image: Image,
        *,
        color: ChannelOrder = "bgr",
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        topk: int | None = None,
        short_side: int | None = None,
        min_face_size: float | None = None,
        upsample: int = 0,
    ) -> Detections:
        """Finds faces in one picture.

        Args:
            image: uint8 (H, W, 3) or (H, W), of any size.
            color: Channel order of a colour picture.
            score_threshold: Lower finds more, wrong ones too. None: the detector's own, which is 0
                for a HOG detector and a probability for one of the YOLO kind.
            iou_threshold: YOLO kind: of two boxes that overlap more than this (IoU, 0 to 1), the
                surer is kept. None: the detector's own.
            topk: YOLO kind: so many boxes are compared, the surest. None: the detector's own.
            short_side: YOLO kind: pixels that the shorter side of the picture is scaled to. More
                finds smaller faces and takes longer. None: the detector's own.
            min_face_size: HOG: smaller faces are not searched for, in pixels; saves time. None: as
                small as the detector can.
            upsample: HOG: how often the picture is doubled first: finds faces half as large, in
                four times the time.

        Returns:
            Boxes and scores, best first.

        Raises:
            ImageError: The picture is none.
            InputError: An option out of range, or one that this kind of detector does not have.
        """
        return self.detect_batch(
            [image],
            color=color,
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            topk=topk,
            short_side=short_side,
            min_face_size=min_face_size,
            upsample=upsample,
        )[0]

    def detect_batch(
        self,
        images: Sequence[Image] | npt.NDArray[np.uint8],
        *,
        color: ChannelOrder = "bgr",
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        topk: int | None = None,
        short_side: int | None = None,
        min_face_size: float | None = None,
        upsample: int = 0,
        batch_size: int = _BATCH,
    ) -> list[Detections]:
        """Finds faces in pictures of one size, several in a run where the detector can.

        Args:
            images: uint8 (N, H, W, 3), or pictures of one size.
            color: As `detect` takes it, like all options but the last.
            score_threshold: See `detect`.
            iou_threshold: See `detect`.
            topk: See `detect`.
            short_side: See `detect`.
            min_face_size: See `detect`.
            upsample: See `detect`.
            batch_size: Pictures a run; memory grows with it, results do not change.

        Returns:
            The faces of each picture.

        Raises:
            ImageError: An element is no picture, or of another size; names its number.
            InputError: An option out of range, or one that this kind of detector does not have.
        """
        if batch_size < 1:
            raise InputError(f"batch_size {batch_size} is below 1")
        pictures = as_images(images)
        for number, picture in enumerate(pictures):
            if picture.shape[:2] != pictures[0].shape[:2]:
                raise ImageError(
                    f"size {picture.shape[:2]} instead of {pictures[0].shape[:2]}",
                    where=f"image {number}",
                    hint="a batch is of one size",
                )
        of_yolo = {"iou_threshold": iou_threshold, "topk": topk, "short_side": short_side}
        if self._yolo is None:
            self._refuse(of_yolo)
            detector = self._hog(score_threshold, min_face_size, upsample)
            return [detector.detect(picture, color=color) for picture in pictures]
        self._refuse({"min_face_size": min_face_size, "upsample": upsample or None})
        found: list[Detections] = []
        for start in range(0, len(pictures), batch_size):
            part = pictures[start : start + batch_size]
            found += self._yolo.detect(
                part,
                color=color,
                score_threshold=score_threshold,
                **of_yolo,  # type: ignore[arg-type]
            )
        return found

    def landmark_boxes(self, boxes: npt.ArrayLike) -> FloatArray:
        """The boxes in which landmark models look for the points of detected faces.

        Args:
            boxes: (N, 4) as `detect` gives them.

        Returns:
            float32 (N, 4): the boxes themselves, or for a detector whose spec says so the squares
            that the landmark models were trained on, in whole pixels, cut as upstream does.
        """
        given = np.asarray(boxes, np.float32).reshape(-1, 4)
        square = self.spec.landmark_box
        if square is None:
            return given
        left, top, right, bottom = np.trunc(given.astype(np.float64)).T
        height = bottom - top
        x, y = (left + right) / 2, (top + bottom) / 2 + square.shift_down * height
        half = square.side * height / 2
        corners = np.stack([x - half, y - half, x + half, y + half], axis=1)
        return np.asarray(np.trunc(corners), np.float32)

    def _hog(
        self, score_threshold: float | None, min_face_size: float | None, upsample: int
    ) -> HogFaceDetector:
        assert self.spec.hog is not None
        return HogFaceDetector(
            self._score,
            self.spec.hog,
            upsample=upsample,
            min_face_size=min_face_size,
            score_threshold=0.0 if score_threshold is None else score_threshold,
        )

    def _refuse(self, options: dict[str, Any]) -> None:
        """Options that this kind of detector does not have must not be given.

        Raises:
            InputError: One is.
        """
        given = [name for name, value in options.items() if value is not None]
        if given:
            raise InputError(f"'{self.spec.name}' has no option {given[0]}")

    def _score(self, planes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Scores of all window positions of one pyramid level."""
        assert self.spec.hog is not None
        return self.session.run({self.spec.hog.image: planes})[self.spec.hog.output]
