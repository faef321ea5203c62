"""Live cameras: their state, their newest picture, and their pictures as MJPEG."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from ...live.camera import LiveCamera
from ..service import Service
from ..streams import BOUNDARY, picture_parts
from .answers import ERRORS, TheService, errors
from .failures import Problem
from .guard import still_allowed
from .long_answers import LongAnswer

__all__ = ["router"]

router = APIRouter(prefix="/api/v1/cameras", tags=["cameras"])

Annotation = Annotated[bool, Query(description="With boxes and names")]


class SomebodySeen(BaseModel):
    """Somebody in front of a camera."""

    track_id: int
    name: str | None = Field(description="null while unknown or undecided")
    since: str = Field(description="ISO 8601, UTC")
    decided: bool = Field(description="Whether it was decided who it is")


class CameraFacts(BaseModel):
    """What a camera does."""

    name: str
    state: Literal["starting", "running", "waiting", "ended"]
    why: str = Field(description="Why it waits; a password in an address is shown as ***")
    width: int
    height: int
    fps: float = Field(description="Measured frames per second")
    frames: int
    dropped: int = Field(description="Frames that were not analysed, as newer ones came")
    still: int = Field(description="Frames in which nothing moved")
    reconnects: int
    people: list[SomebodySeen]


class Cameras(BaseModel):
    """All cameras, in the order of the settings."""

    cameras: list[CameraFacts]


@router.get("", responses=ERRORS)
async def cameras(service: TheService) -> Cameras:
    """The state of all cameras."""
    states = [camera.state().to_dict() for camera in service.live.cameras.values()]
    return Cameras.model_validate({"cameras": states})


@router.get(
    "/{name}/snapshot",
    response_class=Response,
    responses=errors(404, media=["image/jpeg"]),
)
async def camera_snapshot(service: TheService, name: str, annotated: Annotation = True) -> Response:
    """The newest picture of a camera; 503 before the first one."""
    camera = require_camera(service, name)
    found = await service.streams.encoded(camera.picture.latest, annotated)
    if found is None:
        why = camera.state().why
        raise Problem(503, "there is no picture yet", where=f"camera '{name}'", hint=why)
    return Response(found[0], media_type="image/jpeg", headers={"X-Frame-Number": str(found[1])})


@router.get(
    "/{name}/stream",
    response_class=Response,
    responses=errors(404, media=["multipart/x-mixed-replace"]),
)
async def camera_stream(
    service: TheService,
    request: Request,
    name: str,
    annotated: Annotation = True,
    fps: Annotated[float | None, Query(gt=0, le=100, description="Most pictures a second")] = None,
) -> Response:
    """The pictures of a camera, one after the other (MJPEG); slow clients get fewer."""
    camera = require_camera(service, name)
    place = service.streams.enter(still_allowed(service, request.headers))

    def ended() -> None:
        camera.picture.unwatch(place.wake)
        service.streams.leave(place)

    camera.picture.watch(place.wake)
    parts = picture_parts(service.streams, place, camera, annotated=annotated, fps=fps)
    return LongAnswer(parts, f"multipart/x-mixed-replace; boundary={BOUNDARY}", ended)


def require_camera(service: Service, name: str) -> LiveCamera:
    """The camera of a name.

    Raises:
        Problem: 404, if there is none.
    """
    camera = service.live.cameras.get(name)
    if camera is None:
        raise Problem(404, f"there is no camera '{name[:100]}'")
    return camera
