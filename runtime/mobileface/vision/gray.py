"""The grey image that dlib's landmark models were trained on and expect."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import ImageError

__all__ = ["dlib_gray"]

# cv2.transform computes in float32 and rounds to the nearest: the last column takes off a third,
# so that remainders of 1/3 and 2/3 round down and whole thirds stay.
_FLOOR_OF_MEAN = np.array([[1 / 3, 1 / 3, 1 / 3, -1 / 3]], np.float32)


def dlib_gray(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Makes an image grey the way dlib does: (R + G + B) // 3, each channel alike.

    OpenCV's own conversion weighs the channels and rounds, which moves landmarks.

    Args:
        image: (H, W, 3) uint8, channels in any order, or (H, W) uint8, already grey.

    Returns:
        (H, W) uint8; a grey image is returned as it is, not copied.

    Raises:
        ImageError: Another dtype or shape, or no pixels.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or not image.size:
        raise ImageError(f"{image.dtype} {image.shape} is not a non-empty uint8 image")
    if image.ndim == 2:
        return image
    if image.shape[2] != 3:
        raise ImageError(f"an image of {image.shape[2]} channels instead of 3 or none")
    gray: npt.NDArray[np.uint8] = np.asarray(cv2.transform(image, _FLOOR_OF_MEAN), np.uint8)
    return gray
