"""Which pixels of an image show a person."""

from __future__ import annotations

import numpy as np

from ..models.kinds import PersonMaskSpec
from ..models.session import Session
from ..types import FloatArray
from ..vision.image import ChannelOrder, Image, check_color, check_image, to_tensor

__all__ = ["PersonSegmenter"]


class PersonSegmenter:
    """Finds the pixels that show people near the camera.

    Args:
        session: A model of kind "person_mask".

    Attributes:
        spec: The model's spec.
        name: Name of the model.

    Raises:
        ModelError: If the model is of another kind.

    Example:
        >>> segmenter = mobileface.load("segmentation_selfie")     # doctest: +SKIP
        >>> mask = segmenter(image)                                # doctest: +SKIP
        >>> image[mask < 0.5] = 255  # the background in white     # doctest: +SKIP
    """

    def __init__(self, session: Session) -> None:
        self._section = session.spec.require(PersonMaskSpec, str(session.path))
        self._input = session.spec.require_input()
        self.session = session
        self.spec = session.spec
        self.name = session.spec.name

    def segment(self, image: Image, *, color: ChannelOrder = "bgr") -> FloatArray:
        """The mask of one image.

        The network sees the whole image, stretched to its size. Its mask is stretched back, with
        bilinear interpolation.

        Args:
            image: uint8 (H, W, 3) or (H, W), of any size.
            color: Channel order of a colour image.

        Returns:
            float32 (H, W), 0 to 1: the probability that a pixel shows a person.

        Raises:
            ImageError: If ``image`` is not an image.
            InputError: If ``color`` is unknown.
        """
        import cv2

        image = check_image(image)
        check_color(color)
        tensor = to_tensor([image], self._input, color)
        mask = self.session.run({self._input.name: tensor})[self._section.mask][0]
        height, width = image.shape[:2]
        if mask.shape != (height, width):
            mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(np.clip(mask, 0, 1), np.float32)

    __call__ = segment
