"""Long answers: places for a limited number of them, and how threads wake them.

An answer that waits holds neither a worker's thread nor the event loop: it awaits its `Place`,
which any thread may `wake`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from ..errors import BusyError
from ..live.camera import LiveCamera
from ..live.camera_events import CameraEvent
from ..live.event_log import EventLog

__all__ = ["BOUNDARY", "Place", "Streams", "event_lines", "picture_parts"]

_ENCODERS = 2
_HEARTBEAT_SECONDS = 15.0
_RETRY_MILLISECONDS = 2000
BOUNDARY = "frame"


class Place:
    """One of the places for long answers; made on the event loop.

    Args:
        allowed: Whether the client may still have the answer, whose session may end.

    Attributes:
        allowed: The same.
    """

    def __init__(self, allowed: Callable[[], bool]) -> None:
        self.allowed = allowed
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Wakes the answer; any thread may call it."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._woken.set)

    async def wait(self, seconds: float) -> bool:
        """Waits until somebody wakes it; False if nobody does in time."""
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        self._woken.clear()
        return True


class Streams:
    """The places for long answers.

    Args:
        most: Number of places.

    Attributes:
        ended: True once all answers are to end.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._places: set[Place] = set()
        self._encoders = ThreadPoolExecutor(_ENCODERS, thread_name_prefix="mobileface-jpeg")
        self.ended = False

    @property
    def count(self) -> int:
        """Number of answers that run."""
        return len(self._places)

    def enter(self, allowed: Callable[[], bool] = lambda: True) -> Place:
        """Takes a place; call `leave` at the end.

        Args:
            allowed: Whether the client may still have the answer.

        Raises:
            BusyError: If all are taken, or the service ends.
        """
        if self.ended or len(self._places) >= self._most:
            raise BusyError(f"{len(self._places)} streams are open", hint="close another one")
        place = Place(allowed)
        self._places.add(place)
        return place

    def leave(self, place: Place) -> None:
        """Gives a place back."""
        self._places.discard(place)

    async def encoded(
        self, function: Callable[[bool], tuple[bytes, int] | None], annotated: bool
    ) -> tuple[bytes, int] | None:
        """Runs `LivePicture.latest` on a thread of its own."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._encoders, function, annotated)

    def go_on(self, place: Place) -> bool:
        """False once an answer is to end."""
        return not self.ended and place.allowed()

    def end(self) -> None:
        """Ends all answers; call it on the event loop."""
        self.ended = True
        self.wake()

    def wake(self) -> None:
        """Has all answers see whether they go on; call it on the event loop."""
        for place in self._places:
            place.wake()

    def close(self) -> None:
        """Ends the threads."""
        self.ended = True
        self._encoders.shutdown(wait=False, cancel_futures=True)


async def picture_parts(
    streams: Streams, place: Place, camera: LiveCamera, *, annotated: bool, fps: float | None
) -> AsyncIterator[bytes]:
    """The pictures of a camera as parts of ``multipart/x-mixed-replace``, the newest each time.

    Args:
        streams: The places.
        place: The place of this answer; `wake` is called for each new picture.
        camera: The camera.
        annotated: With boxes and names.
        fps: Most pictures per second; None for all.
    """
    sent, due = 0, 0.0
    while streams.go_on(place):
        pause = due - monotonic() if camera.picture.number > sent else _HEARTBEAT_SECONDS
        if pause > 0:
            await place.wait(pause)
            continue
        if fps is not None:
            due = max(due, monotonic()) + 1 / fps
        found = await streams.encoded(camera.picture.latest, annotated)
        if found is None:
            continue
        data, sent = found
        head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        yield head.encode() + data + b"\r\n"


async def event_lines(
    streams: Streams,
    place: Place,
    log: EventLog,
    waiting: Callable[[], CameraEvent | None],
    last: str | None,
) -> AsyncIterator[bytes]:
    """Events as ``text/event-stream`` (WHATWG HTML, 9.2 Server-sent events).

    Args:
        streams: The places.
        place: The place of this answer, woken for each event.
        log: The events.
        waiting: The next event that has come since; None if there is none.
        last: ID of the last event that the client has; the later ones in memory come first.
    """
    yield f"retry: {_RETRY_MILLISECONDS}\n\n".encode()
    if last is not None:
        for event in reversed(log.recent(after=last, limit=1_000_000)):
            last = event.id
            yield _event_text(event)
    while streams.go_on(place):
        event_or_none = waiting()
        if event_or_none is not None:
            if last is None or event_or_none.id > last:
                yield _event_text(event_or_none)
        elif not await place.wait(_HEARTBEAT_SECONDS) and streams.go_on(place):
            yield b": still here\n\n"


def _event_text(event: CameraEvent) -> bytes:
    return f"id: {event.id}\nevent: {event.type}\ndata: {event.to_json()}\n\n".encode()
