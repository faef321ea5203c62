"""What takes the place of a background: its blurred self, a colour or another picture."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..arrays import ByteArray, FloatArray
from ..errors import InputError
from ..vision.image import ChannelOrder, Image, check_color, check_image, resize, to_color

__all__ = [
    "COLORS",
    "Backdrop",
    "parse_color",
    "shrunk",
    "to_bytes",
    "weighted_blur",
    "whole_factor",
]

COLORS = {
    "black": (0, 0, 0),
    "blue": (0, 0, 255),
    "gray": (128, 128, 128),
    "green": (0, 128, 0),
    "lime": (0, 255, 0),
    "navy": (0, 0, 128),
    "red": (255, 0, 0),
    "silver": (192, 192, 192),
    "teal": (0, 128, 128),
    "white": (255, 255, 255),
    "yellow": (255, 255, 0),
}
"""Names of colours, as in CSS, with their red, green and blue."""

_SIGMA = 0.015
"""Sigma of the blur at strength 1, as a share of the image's longer side."""

_MAX_BLUR = 4.0
_SMALL_SIGMA = 4.0
"""Images are blurred at a size at which sigma is about this many pixels."""

_LEAST_WEIGHT = 1e-3
"""Weight around a pixel far below which the mean of the whole image counts."""


def parse_color(text: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of "#RRGGBB", "#RGB" or a name of `COLORS`.

    Raises:
        InputError: If it is none of them.
    """
    if found := COLORS.get(text.lower()):
        return found
    if not re.fullmatch(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})", text):
        raise InputError(
            f"unknown colour '{text}'", hint=f"write #RRGGBB or one of {', '.join(COLORS)}"
        )
    digits = text.lstrip("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


@dataclass(frozen=True)
class Backdrop:
    """What takes the place of a background; one of three.

    Attributes:
        blur: Strength of the blur, 0 (unchanged) to 4: sigma is 0.015 · blur of the image's longer
            side.
        fill: A colour: "#RRGGBB", a name of `COLORS`, or red, green and blue, 0 to 255.
        picture: uint8 (H, W, 3) or (H, W), of any size: scaled so that it covers the image, and its
            middle taken.
        color: Channel order of a colour ``picture``.

    Raises:
        InputError: If none or several of them are given, or one is invalid.
        ImageError: If ``picture`` is not an image.
    """

    blur: float | None = None
    fill: str | Sequence[int] | None = None
    picture: Image | None = None
    color: ChannelOrder = "bgr"

    def __post_init__(self) -> None:
        given = [name for name in ("blur", "fill", "picture") if getattr(self, name) is not None]
        if len(given) != 1:
            raise InputError(
                f"a backdrop is one of blur, fill and picture, not {' and '.join(given) or 'none'}"
            )
        if self.blur is not None and not 0 <= self.blur <= _MAX_BLUR:
            raise InputError(f"blur {self.blur} is not between 0 and {_MAX_BLUR:.0f}")
        if self.fill is not None:
            self._fill()
        if self.picture is not None:
            check_image(self.picture, "picture")
            check_color(self.color)

    @property
    def unchanged(self) -> bool:
        """True for a blur of strength 0."""
        return self.blur == 0

    def behind(self, image: Image, alpha: ByteArray, color: ChannelOrder) -> Image:
        """The new background of an image.

        Args:
            image: uint8 (H, W, 3) or (H, W), checked.
            alpha: uint8 (H, W): 255 where only people are seen, who are left out of the blur.
            color: Channel order of a colour image.

        Returns:
            A new uint8 array of the image's shape and channel order.
        """
        height, width = image.shape[:2]
        if self.blur is not None:
            return _blurred(image, alpha, self.blur * _SIGMA * max(height, width))
        wanted = "gray" if image.ndim == 2 else color
        if self.picture is not None:
            return _covering(to_color(check_image(self.picture), wanted, self.color), height, width)
        pixel = to_color(np.array([[self._fill()]], np.uint8), wanted, "rgb")
        return np.full_like(image, pixel[0, 0])

    def _fill(self) -> tuple[int, int, int]:
        if isinstance(self.fill, str):
            return parse_color(self.fill)
        values = tuple(self.fill or ())
        if len(values) != 3 or not all(
            isinstance(value, int | np.integer) and 0 <= value <= 255 for value in values
        ):
            raise InputError(f"a colour is three numbers from 0 to 255, not {self.fill}")
        return int(values[0]), int(values[1]), int(values[2])


def weighted_blur(image: FloatArray, weight: FloatArray, sigma: float) -> FloatArray:
    """The mean of an image's pixels around each pixel, by a Gaussian and weights of its own.

    Where hardly any weight is near, it becomes the mean of the whole image, with the same weights.

    Args:
        image: float32 (H, W, 3) or (H, W).
        weight: float32 (H, W), 0 to 1: the share of what is meant. A pixel with half of it has half
            another colour, and counts 1/16.
        sigma: Sigma of the Gaussian in pixels.

    Returns:
        float32, of the image's shape.
    """
    weight = np.square(np.square(weight))
    stacked = weight if image.ndim == 2 else weight[..., None]
    total = image * stacked
    channels = 1 if image.ndim == 2 else image.shape[2]
    mean = np.array(cv2.mean(total)[:channels]) / max(cv2.mean(weight)[0], _LEAST_WEIGHT)
    near, share = (
        np.asarray(
            cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.float32
        )
        for values in (total, weight)
    )
    least = np.float32(_LEAST_WEIGHT)
    near += least * mean.astype(np.float32)
    near /= (share if image.ndim == 2 else share[..., None]) + least
    return np.asarray(near, np.float32)


def whole_factor(scale: float) -> int:
    """The largest power of two that is at most ``scale``; at least 1."""
    return 1 << max(math.floor(math.log2(max(scale, 1.0))), 0)


def to_bytes(values: FloatArray) -> ByteArray:
    """Values rounded, and limited to 0..255."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def shrunk(image: Image, factor: int) -> Image:
    """An image whose sides are divided by a power of two and rounded up, by area averaging.

    OpenCV is fast for sides that can be divided.
    """
    height, width = (-(-side // factor) for side in image.shape[:2])
    return resize(image, height, width)


def _blurred(image: Image, alpha: ByteArray, sigma: float) -> Image:
    """The background alone, blurred; computed at a size at which sigma is a few pixels."""
    factor = whole_factor(sigma / _SMALL_SIGMA)
    small = shrunk(image, factor).astype(np.float32)
    share = 1 - shrunk(alpha, factor).astype(np.float32) / 255
    soft = weighted_blur(small, share, sigma / factor)
    return resize(to_bytes(soft), *image.shape[:2])


def _covering(picture: Image, height: int, width: int) -> Image:
    """The middle of a picture that is scaled so that it just covers a size."""
    rows, columns = picture.shape[:2]
    scale = max(height / rows, width / columns)
    high, wide = min(round(height / scale), rows), min(round(width / scale), columns)
    top, left = (rows - max(high, 1)) // 2, (columns - max(wide, 1)) // 2
    part = picture[top : top + max(high, 1), left : left + max(wide, 1)]
    return np.array(resize(part, height, width))
