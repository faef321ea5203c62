"""The time that cameras and events go by; a simulated one makes a day pass in minutes."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timezone

__all__ = ["SYSTEM_CLOCK", "Clock", "SimulatedClock", "iso_time"]


class Clock:
    """The clocks of the system."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()

    def time(self) -> float:
        """Seconds since 1970-01-01 00:00 UTC."""
        return time.time()

    def wait_until(self, moment: float, stop: threading.Event) -> bool:
        """Waits for a moment of `monotonic`; returns True if ``stop`` was set before."""
        return stop.wait(max(moment - self.monotonic(), 0.0))


SYSTEM_CLOCK = Clock()


class SimulatedClock(Clock):
    """A clock that moves only when somebody waits, and then at once.

    Args:
        start: Its `time` in the beginning.
    """

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._start, self._now = start, 0.0
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        """Simulated seconds since the start."""
        return self._now

    def time(self) -> float:
        """The start and the simulated seconds since."""
        return self._start + self._now

    def wait_until(self, moment: float, stop: threading.Event) -> bool:
        """Moves the clock to the moment; it never goes back."""
        with self._lock:
            self._now = max(self._now, moment)
        return stop.is_set()

    def advance(self, seconds: float) -> None:
        """Moves the clock on."""
        with self._lock:
            self._now += seconds


def iso_time(seconds: float) -> str:
    """A time as ISO 8601 in UTC with milliseconds, ``2026-11-27T00:54:00.123Z``."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
