"""Whether anything moves in front of a camera, by the difference of small grey pictures."""

from __future__ import annotations

import cv2
import numpy as np

from ..types import FloatArray
from ..vision.image import Image

__all__ = ["MotionGate"]

_SIZE = (160, 90)
_STEP = 12.0
"""Grey levels by which a point must differ; the noise of sensors stays below it."""

_SHARE = 0.002
"""Share of the points that must differ: a face of 1/20 of the picture's width that comes or goes
changes about as many."""

_LEARNING_SECONDS = 0.5
"""How fast the picture that is compared with follows: light that changes slowly does not count."""

_HOLD_SECONDS = 1.0
_CHECK_SECONDS = 2.0


class MotionGate:
    """Decides which frames of a camera are analysed.

    Frames are, from a movement on for one second; while a face is followed; and until a detection
    has run, two seconds after the last one, so that a person who does not move is found too.

    Args:
        check_seconds: Longest time without a detection.
    """

    def __init__(self, check_seconds: float = _CHECK_SECONDS) -> None:
        self._check = check_seconds
        self._before: FloatArray | None = None
        self._moved = self._detected = -np.inf
        self._time = 0.0

    def __call__(self, frame: Image, now: float, following: bool) -> bool:
        """True if a frame is to be analysed.

        Args:
            frame: uint8 (H, W, 3) BGR.
            now: Its time in seconds.
            following: True while a face is followed.
        """
        if self._differs(frame, now):
            self._moved = now
        return following or now - self._moved < _HOLD_SECONDS or now - self._detected >= self._check

    def detected(self, now: float) -> None:
        """A detection has run on a frame of this time."""
        self._detected = now

    def _differs(self, frame: Image, now: float) -> bool:
        small = cv2.resize(frame, _SIZE, interpolation=cv2.INTER_LINEAR)
        gray = cv2.blur(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), (3, 3)).astype(np.float32)
        if self._before is None:
            self._before, self._time = gray, now
            return True
        share = float(np.mean(np.abs(gray - self._before) > _STEP))
        passed, self._time = now - self._time, now
        learned = min(max(passed / _LEARNING_SECONDS, 0.0), 1.0)
        cv2.accumulateWeighted(gray, self._before, learned)
        return share >= _SHARE
