"""What a camera does, and who is told of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["CameraState", "Observers", "Seen"]


@dataclass(frozen=True, slots=True)
class Seen:
    """Somebody at a camera.

    Attributes:
        track_id: The track.
        name: The name; None if unknown or undecided.
        since: ISO 8601, UTC.
        decided: False while there is no decision yet.
    """

    track_id: int
    name: str | None
    since: str
    decided: bool = True


@dataclass(frozen=True, slots=True)
class Observers:
    """Who is told of what cameras do; called on their threads, must not block.

    Attributes:
        frame: Camera and fate of a frame: "analysed", "still" or "dropped".
        event: Camera and type of an event.
        reconnect: A camera was opened again.
        people: The people at a camera have changed.
        running: A camera sends frames, or is waited for.
    """

    frame: Callable[[str, str], None] = lambda *_: None
    event: Callable[[str, str], None] = lambda *_: None
    reconnect: Callable[[str], None] = lambda *_: None
    people: Callable[[str, tuple[Seen, ...]], None] = lambda *_: None
    running: Callable[[str, bool], None] = lambda *_: None


@dataclass(frozen=True, slots=True)
class CameraState:
    """What a camera does.

    Attributes:
        name: Its name.
        state: "starting", "running", "waiting" or "ended".
        why: Why it waits.
        width: Width of its frames in pixels; 0 before the first one.
        height: Their height.
        fps: Measured frames per second.
        frames: Frames so far.
        dropped: Frames that were not looked at, as newer ones came, or for `max_fps`.
        still: Frames in which nothing moved.
        reconnects: How often it was opened again.
        people: Who is there.
    """

    name: str
    state: str
    why: str
    width: int
    height: int
    fps: float
    frames: int
    dropped: int
    still: int
    reconnects: int
    people: tuple[Seen, ...]

    def to_dict(self) -> dict[str, Any]:
        """The state as JSON types."""
        return {**dataclasses.asdict(self), "people": [dataclasses.asdict(p) for p in self.people]}
