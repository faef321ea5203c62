"""When frames were taken, and where they belong in a video with a constant rate."""

from __future__ import annotations

import math

__all__ = ["FrameSlots", "FrameTimes"]

_JUMP_BACK = 1.0
"""A time stamp that is this many seconds before the previous one starts a new count."""

_MAX_GAP = 600.0


class FrameTimes:
    """Turns the time stamps of frames into times that never go back.

    Args:
        fps: Nominal frames per second, for frames without a time stamp.
    """

    def __init__(self, fps: float) -> None:
        self._gap = 1 / fps
        self._last: float | None = None
        self._last_stamp = 0.0
        self._offset = 0.0

    def __call__(self, stamp: float) -> float:
        """The time of the next frame in seconds.

        Args:
            stamp: Its time stamp in seconds. The nominal rate is used if it is not finite, or is 0
                for two frames in a row, which means that it is unknown. If the stamps start again,
                as in joined files, the times go on.
        """
        last, last_stamp = self._last, self._last_stamp
        if not math.isfinite(stamp):
            stamp, time = last_stamp, 0.0 if last is None else last + self._gap
        elif last is None:
            time = stamp
        elif stamp == last_stamp == 0:
            time = last + self._gap
        elif stamp < last_stamp - _JUMP_BACK:
            self._offset = last + self._gap - stamp
            time = stamp + self._offset
        else:
            time = max(stamp + self._offset, last)
        self._last, self._last_stamp = time, stamp
        return time


class FrameSlots:
    """Distributes frames to the equally spaced slots of a video, so that it keeps real time.

    A frame is shown in the slot that is nearest to its time, and repeated until the next one. Of
    frames in the same slot, the last one is shown.

    Args:
        fps: Slots per second.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._start: float | None = None
        self._slot = 0

    def before(self, time: float) -> int:
        """How often the previous frame must be written before a frame of this time comes.

        0 means that the new frame replaces the previous one. A pause of more than ten minutes is
        shortened to ten minutes.
        """
        if self._start is None:
            self._start = time
            return 0
        slot = math.floor((time - self._start) * self._fps + 0.5)
        most = math.ceil(_MAX_GAP * self._fps)
        if slot - self._slot > most:
            self._start += (slot - self._slot - most) / self._fps
            slot = self._slot + most
        repeats = max(slot - self._slot, 0)
        self._slot += repeats
        return repeats
