"""Face detection: the base class of all detectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..errors import ImageError, InputError
from ..models.session import Session
from ..types import Detections, FloatArray
from ..vision.image import ChannelOrder, Image, as_images

__all__ = ["Detector"]

_BATCH = 8
"""Default batch size: larger batches gain nothing on a CPU and need more memory."""


class Detector(ABC):
    """Detects faces in images.

    Each kind of detector is a subclass, with its options as keyword arguments of the constructor.
    `mobileface.load_detector` creates the right one for a model.

    Args:
        session: A model whose task is "detection".

    Attributes:
        spec: The model's spec.
        name: Name of the model.
        point_names: Names of the keypoints that are returned with each box; empty for most
            detectors.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.spec = session.spec
        self.name = session.spec.name
        self.point_names: tuple[str, ...] = ()

    def detect(self, image: Image, *, color: ChannelOrder = "bgr") -> Detections:
        """Detects faces in one image.

        Args:
            image: uint8 (H, W, 3) or (H, W), of any size.
            color: Channel order of a colour image.

        Returns:
            Boxes, scores and keypoints, sorted by score, highest first.

        Raises:
            ImageError: If ``image`` is not an image.
        """
        return self.detect_batch([image], color=color)[0]

    __call__ = detect

    def detect_batch(
        self,
        images: Sequence[Image] | npt.NDArray[np.uint8],
        *,
        color: ChannelOrder = "bgr",
        batch_size: int = _BATCH,
    ) -> list[Detections]:
        """Detects faces in images of one size, in batches if the network supports them.

        Args:
            images: uint8 (N, H, W, 3), or images of one size.
            color: Channel order of colour images.
            batch_size: Images per run of the network; more need more memory, the results are the
                same.

        Returns:
            The faces of each image.

        Raises:
            ImageError: If an element is not an image, or has a different size.
            InputError: If ``batch_size`` is below 1 or ``color`` is unknown.
        """
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        checked = as_images(images)
        for number, image in enumerate(checked):
            if image.shape[:2] != checked[0].shape[:2]:
                raise ImageError(
                    f"expected size {checked[0].shape[:2]}, got {image.shape[:2]}",
                    where=f"image {number}",
                    hint="all images of a batch must have the same size",
                )
        found: list[Detections] = []
        for start in range(0, len(checked), batch_size):
            found += self._detect(checked[start : start + batch_size], color)
        return found

    @abstractmethod
    def _detect(self, images: Sequence[Image], color: ChannelOrder) -> list[Detections]:
        """Detects faces in checked images of one size."""

    def landmark_boxes(self, boxes: npt.ArrayLike) -> FloatArray:
        """The boxes of detected faces as landmark models expect them.

        Args:
            boxes: (N, 4), as returned by `detect`.

        Returns:
            float32 (N, 4): the boxes unchanged or, if the spec has a ``landmark_box``, the squares
            that the landmark models were trained on, truncated to whole pixels as upstream does.
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
