"""Events of cameras: list, stream, pictures, enrolment, removal."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel, Field

from ...live.camera_events import EventType, is_event_id
from .. import people
from ..streams import event_lines
from .answers import ERRORS, TheService, errors
from .failures import Problem
from .guard import still_allowed
from .long_answers import LongAnswer
from .people_routes import Enrolled, NewName

__all__ = ["router"]

router = APIRouter(prefix="/api/v1/events", tags=["events"])

EventId = Annotated[str, Path(max_length=100)]

_PICTURE = errors(404, media=["image/jpeg"])


class EventFacts(BaseModel):
    """Somebody was seen at a camera, or has left."""

    schema_version: int = Field(1, alias="schema")
    id: str = Field(description="Sortable by time")
    type: EventType
    camera: str
    time: str = Field(description="When the frame was captured, ISO 8601, UTC")
    track_id: int
    name: str | None = Field(description="null if unknown")
    person_id: int | None
    similarity: float | None = Field(description="Of the most similar face that voted (cosine)")
    threshold: float | None
    false_match_rate: dict[str, float] | None = Field(description="value, low and high (95 %)")
    bbox: tuple[float, ...] = Field(description="x1, y1, x2, y2 in pixels of the frame")
    det_score: float | None
    faces_used: int = Field(description="Number of faces that voted")
    delay_ms: float = Field(description="From the capture of the frame to the event")
    since: str = Field(description="When the person was first seen, ISO 8601, UTC")
    seconds: float = Field(description="How long the person was seen")
    snapshot: bool = Field(description="Whether pictures are kept")


class Events(BaseModel):
    """Events, newest first."""

    events: list[EventFacts]


class Deleted(BaseModel):
    """How many events were deleted."""

    deleted: int


@router.get("", responses=ERRORS)
async def list_events(
    service: TheService,
    camera: Annotated[str | None, Query(max_length=100)] = None,
    type: EventType | None = None,  # noqa: A002  # the name of the parameter
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    before: Annotated[str | None, Query(max_length=100, description="ID of an event")] = None,
) -> Events:
    """The latest events."""
    found = service.live.events.recent(camera=camera, type=type, limit=limit, before=before)
    return Events.model_validate({"events": [event.to_dict() for event in found]})


@router.get(
    "/stream",
    response_class=Response,
    responses=errors(media=["text/event-stream"]),
)
async def event_stream(
    service: TheService,
    request: Request,
    last_event_id: Annotated[str | None, Header(max_length=100)] = None,
) -> Response:
    """Events as they come (server-sent events); ``Last-Event-ID`` resumes after one."""
    last = last_event_id if last_event_id and is_event_id(last_event_id) else None
    place = service.streams.enter(still_allowed(service, request.headers))
    log = service.live.events
    subscriber = log.subscribe(place.wake)

    def ended() -> None:
        log.unsubscribe(subscriber)
        service.streams.leave(place)

    lines = event_lines(service.streams, place, log, subscriber.get, last)
    return LongAnswer(lines, "text/event-stream", ended)


@router.get("/{event_id}/snapshot", response_class=Response, responses=_PICTURE)
async def event_snapshot(service: TheService, event_id: EventId) -> Response:
    """The frame of an event, with the face marked."""
    return _picture(await service.run(service.live.events.snapshot, event_id), event_id)


@router.get("/{event_id}/face", response_class=Response, responses=_PICTURE)
async def event_face(service: TheService, event_id: EventId) -> Response:
    """The face of an event, with its surroundings."""
    return _picture(await service.run(service.live.events.face, event_id), event_id)


@router.post("/{event_id}/enrol", status_code=201, responses=errors(404))
async def enrol_seen(service: TheService, event_id: EventId, given: NewName) -> Enrolled:
    """Enrols the face of an event in the gallery; the event is the person's from then on."""
    document = await service.run(people.enrol_event, service, event_id, given.name)
    return Enrolled.model_validate(document)


@router.delete("/{event_id}", responses=errors(404))
async def delete_event(service: TheService, event_id: EventId) -> Deleted:
    """Deletes an event and its pictures."""
    if not await service.run(service.live.events.delete, event_id):
        raise _none(event_id)
    return Deleted(deleted=1)


def _picture(data: bytes | None, event_id: str) -> Response:
    if data is None:
        raise _none(event_id)
    return Response(data, media_type="image/jpeg")


def _none(event_id: str) -> Problem:
    return Problem(404, "there is no such event, or no picture of it", where=event_id[:100])
