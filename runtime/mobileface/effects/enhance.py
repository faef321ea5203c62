"""Correction of under- and overexposed images: MobileFace's histogram-based gamma correction."""

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
"""Pixels that the brightness is computed from; the published code uses only the first row."""

_TIME_CONSTANT = 0.5
"""Time constant in seconds of an `Enhancer`'s reaction to a change of brightness."""

_DARK, _BRIGHT = 80, 200
"""Grey values below ``_DARK`` are dark, those at or above ``_BRIGHT`` are bright."""


def lighting_gamma(
    image: Image, *, histogram: Histogram = "image", color: ChannelOrder = "bgr"
) -> float:
    """The gamma exponent with which MobileFace corrects an image.

    It depends on the largest of three shares of the grey values: if most are dark (below 80), it is
    clip(1 − dark² + 0.4, 0.4, 1); if most are bright (200 or more), it is bright³ + 2.5; otherwise
    it is 1.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        histogram: "image" uses all pixels, "first_row" only the first row, as published.
        color: Channel order of a colour image.

    Returns:
        The exponent: 0.4 to 1 brightens the image, 2.5 to 3.5 darkens it, 1 leaves it unchanged.

    Raises:
        ImageError: If ``image`` does not have this type or shape.
        InputError: If ``histogram`` or ``color`` is unknown.
    """
    image = check_image(image)
    check_color(color)
    if histogram not in HISTOGRAMS:
        raise InputError(
            f"unknown histogram '{histogram}'", hint=f"available: {', '.join(HISTOGRAMS)}"
        )
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
    """Lookup table of a gamma correction.

    Returns:
        uint8 (256,): round((v / 255) ** gamma · 255) for each value v.

    Raises:
        InputError: If ``gamma`` is not a positive number.
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
    """Brightens underexposed images and darkens overexposed ones.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        gamma: The gamma exponent; None uses `lighting_gamma`.
        strength: From 0 (unchanged) to 1 (full correction); the exponent is raised to this power.
        histogram: See `lighting_gamma`.
        color: Channel order of a colour image.

    Returns:
        The corrected image, of the same shape.

    Raises:
        ImageError: If ``image`` does not have this type or shape.
        InputError: If an option is out of range.
    """
    image = check_image(image)
    if not 0 <= strength <= 1:
        raise InputError(f"strength {strength} is not between 0 and 1")
    if gamma is None:
        gamma = lighting_gamma(image, histogram=histogram, color=color)
    table = gamma_table(gamma if strength == 1 else gamma**strength)
    return np.asarray(cv2.LUT(np.ascontiguousarray(image), table), np.uint8)


class Enhancer:
    """Enhances the frames of a video without flicker, by smoothing the exponent over time.

    Args:
        fps: Frames per second of the video.
        strength: See `enhance`.
        histogram: See `enhance`.
        gamma: See `enhance`.

    Raises:
        InputError: If ``fps`` is not a positive number.
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
        self._gap, self._time = 1 / fps, math.nan
        self._strength, self._histogram, self._gamma = strength, histogram, gamma
        self._mean: float | None = None

    def __call__(
        self, frame: Image, *, time: float | None = None, color: ChannelOrder = "bgr"
    ) -> Image:
        """Enhances the next frame; raises the errors of `enhance`.

        Args:
            frame: See `enhance`.
            time: Time of the frame in seconds; None: the rate is constant.
            color: See `enhance`.
        """
        gap = self._gap if time is None else time - self._time
        gap = self._gap if math.isnan(gap) else max(gap, 0.0)
        self._time = math.nan if time is None else time
        gamma = self._gamma
        if gamma is None:
            target = math.log(lighting_gamma(frame, histogram=self._histogram, color=color))
            before = target if self._mean is None else self._mean
            self._mean = before + (1 - math.exp(-gap / _TIME_CONSTANT)) * (target - before)
            gamma = math.exp(self._mean)
        return enhance(frame, gamma=gamma, strength=self._strength, color=color)
