"""Encodes images as files; a comment may be added to PNG and JPEG."""

from __future__ import annotations

import cv2
import numpy as np

from ..errors import OutputError
from .comments import commented_picture
from .image import Image

__all__ = ["encode_jpeg", "encode_picture"]


def encode_picture(image: Image, suffix: str, *, comment: str = "", where: str = "image") -> bytes:
    """The content of an image file in the format of a suffix; it has no metadata but the comment.

    Args:
        image: uint8 (H, W, 3) BGR or (H, W).
        suffix: Suffix of the file, e.g. ".png"; "" means PNG.
        comment: ASCII text for the metadata of a PNG or JPEG; "" for none.
        where: Location for error messages.

    Raises:
        OutputError: If OpenCV does not support the format, it has no place for a comment, or the
            image cannot be encoded.
    """
    try:
        done, data = cv2.imencode(suffix or ".png", image)
    except cv2.error as error:
        raise OutputError(f"unknown image format '{suffix}'", where=where) from error
    if not done:
        raise OutputError("the image cannot be encoded", where=where)
    content = data.tobytes()
    return commented_picture(content, comment) if comment else content


def encode_jpeg(image: Image, quality: int) -> bytes:
    """The content of a JPEG file with an image.

    Args:
        image: uint8 (H, W, 3) BGR or (H, W).
        quality: 0 to 100.

    Raises:
        OutputError: If it cannot be encoded.
    """
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(image), settings)
    if not done:
        raise OutputError("the image cannot be encoded as JPEG")
    return data.tobytes()
