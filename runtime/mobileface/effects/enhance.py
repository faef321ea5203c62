"""Enhancement of badly lit pictures: MobileFace's gamma correction, chosen by the histogram."""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..vision.image import ChannelOrder, Image, check_color, check_image

__all__ = ["HISTOGRAMS", "Enhancer", "Histogram", "enhance", "gamma_table", "lighting_gamma"]

Histogram = Literal["image", "first_row"]

HISTOGRAMS = ("image", "first_row")
"""What the brightness is judged by; as published, upstream's code sees the first row alone."""

_ADAPTS_IN = 0.5
"""Seconds in which an `Enhancer` follows a change of the light to two thirds."""

_DARK, _BRIGHT = 80, 200
"""Grey values below are dark, from this on bright."""


def lighting_gamma(
    image: Image, *, histogram: Histogram = "image", color: ChannelOrder = "bgr"
) -> float:
    """The exponent that MobileFace corrects a picture with.

    The largest of three shares of grey values decides: dark (below 80) gives
    clip(1 − dark² + 0.4, 0.4, 1), bright (from 200 on) gives bright³ + 2.5, the rest gives 1.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        histogram: "image": all pixels count; "first_row": only the first row, as published.
        color: Channel order of a colour picture.

    Returns:
        0.4 to 1 brightens, 2.5 to 3.5 darkens, 1 leaves it as it is.

    Raises:
        ImageError: Not a picture.
        InputError: No such histogram or channel order.
    """
    image = check_image(image)
    check_color(color)
    if histogram not in HISTOGRAMS:
        raise InputError(f"no histogram '{histogram}'", hint=f"there are: {', '.join(HISTOGRAMS)}")
    rows = image[:1] if histogram == "first_row" else image
    if rows.ndim == 3:
        code = cv2.COLOR_BGR2GRAY if color == "bgr" else cv2.COLOR_RGB2GRAY
        rows = np.asarray(cv2.cvtColor(np.ascontiguousarray(rows), code), np.uint8)
    dark = float((rows < _DARK).mean())
    bright = float((rows >= _BRIGHT).mean())
    normal = 1 - dark - bright
    if dark > max(normal, bright):
        return float(np.clip(1 - dark**2 + 0.4, 0.4, 1.0))
    if bright > max(normal, dark):
        return bright**3 + 2.5
    return 1.0


def gamma_table(gamma: float) -> npt.NDArray[np.uint8]:
    """uint8 (256,): round((v / 255) ** gamma · 255) for each value v.

    Raises:
        InputError: Gamma is not a positive number.
    """
    if not (np.isfinite(gamma) and gamma > 0):
        raise InputError(f"gamma {gamma} is not a positive number")
    return np.asarray(np.round((np.arange(256) / 255.0) ** gamma * 255), np.uint8)


def enhance(
    image: Image,
    *,
    gamma: float | None = None,
    strength: float = 1.0,
    histogram: Histogram = "image",
    color: ChannelOrder = "bgr",
) -> Image:
    """Brightens a dark picture, darkens a bright one.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        gamma: The exponent; None: as `lighting_gamma` chooses it.
        strength: 0 leaves the picture as it is, 1 corrects it fully: the exponent is taken to
            this power.
        histogram: As `lighting_gamma` takes it.
        color: Channel order of a colour picture.

    Returns:
        A picture of the same shape.

    Raises:
        ImageError: Not a picture.
        InputError: An option out of range.
    """
    image = check_image(image)
    if not 0 <= strength <= 1:
        raise InputError(f"strength {strength} is not between 0 and 1")
    if gamma is None:
        gamma = lighting_gamma(image, histogram=histogram, color=color)
    table = gamma_table(gamma if strength == 1 else gamma**strength)
    return np.asarray(cv2.LUT(np.ascontiguousarray(image), table), np.uint8)


class Enhancer:
    """Enhances the frames of a video without flicker: the exponent follows the light slowly.

    Args:
        fps: Frames a second.
        strength: As `enhance` takes it.
        histogram: As `enhance` takes it.
        gamma: As `enhance` takes it.

    Raises:
        InputError: The frame rate is not a positive number.
    """

    def __init__(
        self,
        fps: float,
        *,
        strength: float = 1.0,
        histogram: Histogram = "image",
        gamma: float | None = None,
    ) -> None:
        if not (np.isfinite(fps) and fps > 0):
            raise InputError(f"fps {fps} is not a positive number")
        self._share = 1 - math.exp(-1 / (fps * _ADAPTS_IN))
        self._strength, self._histogram, self._given = strength, histogram, gamma
        self._mean: float | None = None

    def __call__(self, frame: Image, *, color: ChannelOrder = "bgr") -> Image:
        """Enhances the next frame; raises as `enhance` does."""
        gamma = self._given
        if gamma is None:
            wanted = math.log(lighting_gamma(frame, histogram=self._histogram, color=color))
            before = wanted if self._mean is None else self._mean
            self._mean = before + self._share * (wanted - before)
            gamma = math.exp(self._mean)
        return enhance(frame, gamma=gamma, strength=self._strength, color=color)
