"""Notices that a camera's frames are decoded more slowly than they come."""

from __future__ import annotations

__all__ = ["Backlog"]

_WINDOW = 8.0
_SLOWEST = 0.9
"""Seconds of the stream for each second of the clock. What is missing is waiting to be decoded;
clocks of cameras differ by far less."""


class Backlog:
    """Compares the time stamps of a stream's frames with the clock."""

    def __init__(self) -> None:
        self._start: tuple[float, float] | None = None

    def grows(self, stamp: float, now: float) -> bool:
        """True if frames are decoded more slowly than they come, over the last 8 s.

        Args:
            stamp: The frame's time stamp in seconds.
            now: When it was decoded, in seconds of a clock.
        """
        if self._start is None:
            self._start = stamp, now
        passed = now - self._start[1]
        if passed < _WINDOW:
            return False
        speed = (stamp - self._start[0]) / passed
        self._start = stamp, now
        return speed < _SLOWEST
