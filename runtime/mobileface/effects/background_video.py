"""Changes the background of a video's frames, with a mask that neither flickers nor lags."""

from __future__ import annotations

import math

import cv2
import numpy as np

from ..arrays import FloatArray
from ..errors import InputError
from ..tasks.detection import Detector
from ..tasks.person_segmenter import PersonSegmenter
from ..vision.image import ChannelOrder, Image, check_color, check_image, resize, to_color
from .backdrops import Backdrop
from .background import change_background, shows_person, with_heads

__all__ = ["BackgroundChanger", "MaskSmoother", "small_mask"]

_TIME_CONSTANT = 0.15
"""Time constant in seconds with which the mask follows where the frame stands still."""

_STILL, _MOVED = 3.0, 12.0
"""Changes of the smoothed gray value from frame to frame: up to the first a pixel stands still,
from the second on the mask there is that of the new frame alone."""

_CUT = 0.4
"""Share of pixels that have moved from which on a frame begins anew everywhere."""

_DETECT_EVERY = 4
"""Faces are looked for in every fourth frame: heads are drawn wide enough for what they move."""

_ANEW = 0.1
"""Share of pixels that have changed since then from which on they are looked for at once."""

_NOISE_SIGMA = 2.0
"""Sigma, in pixels of the mask, of the smoothing of that change."""


def small_mask(
    segmenter: PersonSegmenter, image: Image, *, color: ChannelOrder = "bgr"
) -> FloatArray:
    """The mask of an image at the size at which the network gives it, float32 (h, w), 0 to 1.

    Raises:
        ImageError: If ``image`` is not an image.
        InputError: If ``color`` is unknown.
    """
    size = segmenter.spec.require_input()
    return segmenter(resize(check_image(image), size.height, size.width), color=color)


class MaskSmoother:
    """Smooths the masks of a video's frames over time.

    The mask m follows the network's p by m += k · (p − m). Where a frame is as the one before, k is
    1 − exp(−Δt / 0.15 s). Where its gray value, smoothed, has changed by 12 levels of 255 or more,
    k is 1, so that moving people leave no ghosts; between 3 and 12 levels, k grows linearly.
    Where 40 % of the pixels have changed by 12 levels, as at a cut, k is 1 everywhere.
    """

    def __init__(self) -> None:
        self._mask: FloatArray | None = None
        self._gray: FloatArray | None = None

    def __call__(self, mask: FloatArray, gray: Image, gap: float) -> FloatArray:
        """The smoothed mask of the next frame.

        Args:
            mask: float32 (h, w), 0 to 1.
            gray: uint8 (h, w): the frame at the size of the mask.
            gap: Seconds since the frame before.
        """
        now = np.asarray(
            cv2.GaussianBlur(gray.astype(np.float32), (0, 0), _NOISE_SIGMA), np.float32
        )
        if self._mask is None or self._gray is None or self._mask.shape != mask.shape:
            self._mask = mask
        else:
            change = (np.abs(now - self._gray) - _STILL) / (_MOVED - _STILL)
            slow = 1 - math.exp(-max(gap, 0.0) / _TIME_CONSTANT)
            if np.mean(change >= 1) >= _CUT:
                slow = 1.0
            rate = np.clip(slow + (1 - slow) * change, slow, 1)
            self._mask = np.asarray(self._mask + rate * (mask - self._mask), np.float32)
        self._gray = now
        return self._mask


class BackgroundChanger:
    """Changes the background of a video's frames, one by one.

    A frame without people is all background: a room does not appear when someone leaves it.

    Args:
        segmenter: A model of kind "person_mask".
        backdrop: What takes the place of the background.
        fps: Frames per second of the video, for frames without times.
        detector: Finds faces, whose heads are kept (`with_heads`); None: what the mask shows alone.

    Attributes:
        backdrop: The backdrop.
        frames: Number of frames so far.
        empty: Number of those in which no person was found.

    Raises:
        InputError: If ``fps`` is not a positive number.

    Example:
        >>> changer = BackgroundChanger(mobileface.load("segmentation_selfie"),
        ...                             Backdrop(blur=1), fps=25)              # doctest: +SKIP
        >>> shown = changer(frame)                                             # doctest: +SKIP
    """

    def __init__(
        self,
        segmenter: PersonSegmenter,
        backdrop: Backdrop,
        *,
        fps: float = 25,
        detector: Detector | None = None,
    ) -> None:
        if not (np.isfinite(fps) and fps > 0):
            raise InputError(f"fps {fps} is not a positive number")
        self._segmenter, self.backdrop = segmenter, backdrop
        self._detector, self._boxes = detector, np.zeros((0, 4), np.float32)
        self._seen: Image | None = None
        self._smoother = MaskSmoother()
        self._gap, self._time = 1 / fps, math.nan
        self.frames = self.empty = 0

    def __call__(
        self, frame: Image, *, time: float | None = None, color: ChannelOrder = "bgr"
    ) -> Image:
        """The next frame with its background changed.

        Args:
            frame: uint8 (H, W, 3) or (H, W).
            time: Its time in seconds; None: one frame later than the one before.
            color: Channel order of a colour frame.

        Raises:
            ImageError: If ``frame`` is not an image.
            InputError: If ``color`` is unknown.
        """
        frame = check_image(frame)
        check_color(color)
        gap = self._gap if time is None else time - self._time
        gap = self._gap if math.isnan(gap) else gap
        self._time = math.nan if time is None else time
        size = self._segmenter.spec.require_input()
        small = resize(frame, size.height, size.width)
        found = self._segmenter(small, color=color)
        gray = to_color(small, "gray", color)
        if self._detector is not None:
            if self._must_detect(gray):
                self._boxes = self._detector.detect(frame, color=color).boxes
                self._seen = gray
            found = with_heads(found, self._boxes, frame.shape)
        self.frames += 1
        self.empty += not shows_person(found)
        mask = self._smoother(found, gray, gap)
        return change_background(frame, mask, self.backdrop, color=color)

    def _must_detect(self, gray: Image) -> bool:
        """Whether faces may be elsewhere than they were found: a head must not outlive a cut."""
        if self._seen is None or self.frames % _DETECT_EVERY == 0:
            return True
        return float(np.mean(cv2.absdiff(gray, self._seen) > _MOVED)) >= _ANEW
