"""Greyscale conversion as in dlib, which its landmark models were trained with."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import ImageError

__all__ = ["dlib_gray"]

# cv2.transform computes in float32 and rounds to the nearest integer. The last column subtracts a
# third, so that remainders of 1/3 and 2/3 are rounded down.
_FLOOR_OF_MEAN = np.array([[1 / 3, 1 / 3, 1 / 3, -1 / 3]], np.float32)


def dlib_gray(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Converts an image to greyscale as dlib does: (R + G + B) // 3.

    OpenCV's conversion uses different weights per channel and rounds, which shifts landmarks.

    Args:
        image: uint8 (H, W, 3) in any channel order, or (H, W), already greyscale.

    Returns:
        uint8 (H, W); a greyscale image is returned unchanged, not copied.

    Raises:
        ImageError: If the dtype or shape is wrong, or the image is empty.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or not image.size:
        raise ImageError(
            f"expected a non-empty uint8 image, got {image.dtype} of shape {image.shape}"
        )
    if image.ndim == 2:
        return image
    if image.shape[2] != 3:
        raise ImageError(f"expected an image with 1 or 3 channels, got {image.shape[2]}")
    gray: npt.NDArray[np.uint8] = np.asarray(cv2.transform(image, _FLOOR_OF_MEAN), np.uint8)
    return gray
