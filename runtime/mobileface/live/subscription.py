"""`Subscription`: the events from now on, for one who is told of them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from .camera_events import CameraEvent

__all__ = ["QUEUE", "Subscription"]

QUEUE = 256
"""Most events that wait, by default."""


class Subscription:
    """The events from now on, for one subscriber; of too many that wait, the oldest are lost.

    Args:
        notify: Called on the thread of a camera whenever an event has come; must not block.
        size: Most events that wait.

    Attributes:
        lost: How many events were lost.
    """

    def __init__(self, notify: Callable[[], None] | None = None, size: int = QUEUE) -> None:
        self._waiting: deque[CameraEvent] = deque()
        self._notify, self._size = notify, size
        self._changed = threading.Condition()
        self.lost = 0

    def put(self, event: CameraEvent) -> None:
        """Adds an event."""
        with self._changed:
            if len(self._waiting) >= self._size:
                self._waiting.popleft()
                self.lost += 1
            self._waiting.append(event)
            self._changed.notify()
        if self._notify is not None:
            self._notify()

    def change(self, change: Callable[[CameraEvent], CameraEvent | None]) -> None:
        """Changes the events that wait; None leaves one out."""
        with self._changed:
            found = map(change, self._waiting)
            self._waiting = deque(event for event in found if event is not None)

    def get(self, timeout: float = 0.0) -> CameraEvent | None:
        """The next event; None if there is none within ``timeout`` seconds."""
        with self._changed:
            if not self._waiting and timeout > 0:
                self._changed.wait_for(lambda: bool(self._waiting), timeout)
            return self._waiting.popleft() if self._waiting else None
