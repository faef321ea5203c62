"""`CameraEvent`: somebody was seen at a camera, or has left."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

__all__ = ["CameraEvent", "EventType", "is_event_id", "read_event"]

EventType = Literal["person_seen", "unknown_seen", "left"]

_SCHEMA = 1
_ID = re.compile(r"(\d{8})T\d{6}\.\d{6}-[A-Za-z0-9][A-Za-z0-9_-]{0,31}-\d{1,12}")


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

    def to_dict(self) -> dict[str, Any]:
        """The event as JSON types."""
        return {"schema": _SCHEMA, **dataclasses.asdict(self), "bbox": list(self.bbox)}

    def to_json(self) -> str:
        """The event as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)


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
        values["bbox"] = tuple(float(value) for value in values["bbox"])
        for name in ("delay_ms", "seconds"):
            values[name] = float(values[name])
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an event ({error})") from error
    texts = (values["id"], values["camera"], values["time"], values["since"])
    if (
        not all(isinstance(text, str) for text in texts)
        or not is_event_id(values["id"])
        or values["type"] not in get_args(EventType)
        or not isinstance(values["name"], str | None)
    ):
        raise ValueError("not an event")
    return CameraEvent(**values)
