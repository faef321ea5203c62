"""`CameraEvent`: somebody was seen at a camera, or has left."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal, get_args

__all__ = ["CameraEvent", "EventType", "day_of", "is_event_id", "make_event_id", "read_event"]

EventType = Literal["person_seen", "unknown_seen", "left"]

_SCHEMA = 1
_ID = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}-[A-Za-z0-9][A-Za-z0-9_-]{0,31}-[0-9]{1,12}")
_DAY, _MOMENT = "%Y%m%d", "%Y%m%dT%H%M%S"
_MOST_COUNT = 2**63


@dataclass(frozen=True, slots=True)
class CameraEvent:
    """One event.

    Attributes:
        id: Sortable by time: ``20261127T005400.123456-front-7``, UTC.
        type: "person_seen", "unknown_seen" or "left".
        camera: Name of the camera.
        time: ISO 8601, UTC: when the frame was captured.
        track_id: The track at the camera.
        name: The person's name; None if unknown.
        person_id: The person's ID in the gallery; None if unknown.
        similarity: See `Decision`.
        threshold: See `Decision`.
        false_match_rate: "value", "low" and "high", see `Rate`; None without a calibration.
        bbox: x1, y1, x2, y2 of the face in pixels of the frame, where it was seen last for "left".
        det_score: Its detection score; None if the detector did not run in that frame.
        faces_used: Number of faces that voted.
        delay_ms: Milliseconds from the frame's capture to the event.
        since: ISO 8601, UTC: when the person was first seen.
        seconds: How long the person was seen.
        snapshot: True if pictures are kept.
    """

    id: str
    type: EventType
    camera: str
    time: str
    track_id: int
    name: str | None
    person_id: int | None
    similarity: float | None
    threshold: float | None
    false_match_rate: dict[str, float] | None
    bbox: tuple[float, ...]
    det_score: float | None
    faces_used: int
    delay_ms: float
    since: str
    seconds: float
    snapshot: bool = False

    @property
    def day(self) -> str:
        """The day of the event, ``20261127``."""
        return self.id[:8]

    @property
    def seconds_since_1970(self) -> float:
        """When it was noted, in whole seconds."""
        moment = datetime.strptime(self.id[:15], _MOMENT)
        return moment.replace(tzinfo=timezone.utc).timestamp()

    def to_dict(self) -> dict[str, Any]:
        """The event as JSON types."""
        return {"schema": _SCHEMA, **dataclasses.asdict(self), "bbox": list(self.bbox)}

    def to_json(self) -> str:
        """The event as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)


def make_event_id(microseconds: int, camera: str, track_id: int) -> str:
    """The ID of an event at a time in microseconds since 1970."""
    seconds, rest = divmod(microseconds, 1_000_000)
    text = datetime.fromtimestamp(seconds, timezone.utc).strftime(_MOMENT)
    return f"{text}.{rest:06d}-{camera}-{track_id}"


def day_of(seconds: float) -> str:
    """The day of a time in seconds since 1970, as in `CameraEvent.day`."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime(_DAY)


def is_event_id(text: str) -> bool:
    """True if a text has the form of an event's ID; such a text is safe in a file name."""
    return _ID.fullmatch(text) is not None


def read_event(line: str) -> CameraEvent:
    """An event from its line of JSON; unknown fields are left out.

    Raises:
        ValueError: If the line is damaged or not an event.
    """
    data = json.loads(line)
    if not isinstance(data, dict) or data.get("schema") != _SCHEMA:
        raise ValueError("not an event")
    try:
        values = {field.name: data[field.name] for field in dataclasses.fields(CameraEvent)}
        values["bbox"] = tuple(_number(value) for value in values["bbox"])
        for name in ("delay_ms", "seconds"):
            values[name] = _number(values[name])
        for name in ("similarity", "threshold", "det_score"):
            values[name] = None if values[name] is None else _number(values[name])
        if values["false_match_rate"] is not None:
            rate = values["false_match_rate"].items()
            values["false_match_rate"] = {_text(key): _number(value) for key, value in rate}
        for name in ("id", "camera", "time", "since"):
            _text(values[name])
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not an event ({error})") from error
    if (
        not is_event_id(values["id"])
        or values["type"] not in get_args(EventType)
        or not (values["name"] is None or _text(values["name"]))
        or not (values["person_id"] is None or _is_count(values["person_id"]))
        or not (_is_count(values["track_id"]) and _is_count(values["faces_used"]))
        or len(values["bbox"]) != 4
        or not isinstance(values["snapshot"], bool)
    ):
        raise ValueError("not an event")
    return CameraEvent(**values)


def _number(value: object) -> float:
    """A finite number.

    Raises:
        ValueError: If it is something else, or not finite.
        OverflowError: If it is too large for a float.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("not an event (no number)")
    return float(value)


def _text(value: object) -> str:
    """A text that can be written as UTF-8.

    Raises:
        ValueError: If it is something else, or has half of a surrogate pair.
    """
    if not isinstance(value, str):
        raise ValueError("not an event (no text)")
    value.encode()
    return value


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_COUNT
