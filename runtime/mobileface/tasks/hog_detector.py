"""Detectors of kind "hog", equal to dlib's ``get_frontal_face_detector``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..models.kinds import HogSpec
from ..models.session import Session
from ..types import Detections
from ..vision.image import ChannelOrder, Image
from .detection import Detector
from .hog_search import HogSearch

__all__ = ["HogDetector"]


class HogDetector(Detector):
    """Detects faces as dlib's detector does.

    Args:
        session: A model of kind "hog".
        score_threshold: Minimum score of a box; see `HogSearch`.
        min_face_size: Minimum face size in pixels; see `HogSearch`.
        upsample: Number of times that the image is doubled first; see `HogSearch`.

    Raises:
        ModelError: If the model is of another kind.
        InputError: If an option is out of range.
    """

    def __init__(
        self,
        session: Session,
        *,
        score_threshold: float = 0.0,
        min_face_size: float | None = None,
        upsample: int = 0,
    ) -> None:
        super().__init__(session)
        section = session.spec.require(HogSpec, str(session.path))
        self._section = section
        self._search = HogSearch(
            self._score,
            section,
            upsample=upsample,
            min_face_size=min_face_size,
            score_threshold=score_threshold,
        )

    def _detect(self, images: Sequence[Image], color: ChannelOrder) -> list[Detections]:
        return [self._search.detect(image, color=color) for image in images]

    def _score(self, planes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The scores of all window positions of one pyramid level."""
        return self.session.run({self._section.image: planes})[self._section.output]
