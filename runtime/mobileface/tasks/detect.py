"""Face detection."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..errors import ModelError
from ..image import ChannelOrder, Image, check_image
from ..session import Session
from ..types import Detections
from .hog import HogFaceDetector

__all__ = ["Detector"]


class Detector:
    """Finds faces in pictures.

    Args:
        session: A model whose task is "detection".

    Raises:
        ModelError: The model does something else.
    """

    def __init__(self, session: Session) -> None:
        if session.spec.hog is None:
            raise ModelError(
                f"its task is '{session.spec.task}', not 'detection'", where=str(session.path)
            )
        self.session = session
        self.spec = session.spec.hog

    def detect(
        self,
        image: Image,
        *,
        color: ChannelOrder = "bgr",
        score_threshold: float = 0.0,
        min_face_size: float | None = None,
        upsample: int = 0,
    ) -> Detections:
        """Finds faces in one picture.

        Args:
            image: uint8 (H, W, 3) or (H, W).
            color: Channel order of a colour picture.
            score_threshold: Lower finds more, wrong ones too; 0 is the detector's own decision.
            min_face_size: Smaller faces are not searched for, in pixels; saves time. None: as small
                as the detector can.
            upsample: How often the picture is doubled first: finds faces half as large, in four
                times the time.

        Returns:
            Boxes and scores, best first.

        Raises:
            ImageError: The picture is none.
            InputError: An option out of range.
        """
        detector = HogFaceDetector(
            self._score,
            self.spec,
            upsample=upsample,
            min_face_size=min_face_size,
            score_threshold=score_threshold,
        )
        return detector.detect(check_image(image), color=color)

    def _score(self, planes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Scores of all window positions of one pyramid level."""
        return self.session.run({self.spec.image: planes})[self.spec.output]
