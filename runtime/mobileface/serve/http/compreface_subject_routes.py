"""CompreFace's subjects and their examples."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from ..compreface_subjects import (
    CompreFaceError,
    add_example,
    add_subject,
    delete_example,
    delete_examples,
    delete_listed,
    delete_subject,
    delete_subjects,
    example_image,
    list_examples,
    list_subjects,
    rename_subject,
)
from ..service import Service
from .answers import TheService
from .client_forms import CompreFaceRoute
from .client_pictures import read_json, read_parts
from .compreface_routes import Least
from .guard import Guard

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", route_class=CompreFaceRoute, include_in_schema=False)

Subject = Annotated[str, Query(max_length=1000)]
AnySubject = Annotated[str | None, Query(max_length=1000)]
_MOST_IDS = 10_000


@router.post("/recognition/subjects", status_code=201)
async def post_subject(service: TheService, request: Request) -> dict[str, Any]:
    """Adds a subject without examples."""
    return await service.run(add_subject, service, await _subject_of(request))


@router.get("/recognition/subjects")
async def get_subjects(service: TheService) -> dict[str, Any]:
    """All subjects."""
    return await service.run(list_subjects, service)


@router.put("/recognition/subjects/{subject}")
async def put_subject(service: TheService, request: Request, subject: str) -> dict[str, Any]:
    """Renames a subject, or merges it with the one that has the name."""
    return await service.run(rename_subject, service, subject, await _subject_of(request))


@router.delete("/recognition/subjects/{subject}")
async def remove_subject(service: TheService, subject: str) -> dict[str, Any]:
    """Deletes a subject and its examples."""
    return await service.run(delete_subject, service, subject)


@router.delete("/recognition/subjects")
async def remove_subjects(service: TheService) -> dict[str, Any]:
    """Deletes all subjects."""
    return await service.run(delete_subjects, service)


@router.post("/recognition/faces", status_code=201)
async def post_example(
    service: TheService, request: Request, subject: Subject, least: Least = 0.0
) -> dict[str, Any]:
    """Adds an example of a subject."""
    (picture,) = await read_parts(request, "file")
    return await service.run(add_example, service, subject, picture, least)


@router.get("/recognition/faces")
async def get_examples(
    service: TheService,
    page: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    size: Annotated[int, Query(ge=1, le=1000)] = 20,
    subject: AnySubject = None,
) -> dict[str, Any]:
    """One page of the examples."""
    return await service.run(list_examples, service, subject or None, page, size)


@router.delete("/recognition/faces")
async def remove_examples(service: TheService, subject: AnySubject = None) -> dict[str, Any]:
    """Deletes all examples of a subject, or of all."""
    return await service.run(delete_examples, service, subject or None)


@router.post("/recognition/faces/delete")
async def remove_listed(service: TheService, request: Request) -> list[dict[str, Any]]:
    """Deletes some examples."""
    ids = await read_json(request)
    if not isinstance(ids, list) or len(ids) > _MOST_IDS or any(type(i) is not str for i in ids):
        raise CompreFaceError(f"the body must be a list of up to {_MOST_IDS} image IDs", number=26)
    return await service.run(delete_listed, service, ids)


@router.delete("/recognition/faces/{image_id}")
async def remove_example(service: TheService, image_id: str) -> dict[str, Any]:
    """Deletes an example."""
    return await service.run(delete_example, service, image_id)


@router.get("/recognition/faces/{image_id}/img")
async def get_image(service: TheService, image_id: str) -> Response:
    """The face of an example."""
    return await _image(service, image_id)


@router.get("/static/{key}/images/{image_id}")
async def get_static_image(
    service: TheService, request: Request, key: str, image_id: str
) -> Response:
    """The face of an example, with the key in the address."""
    guard: Guard = request.app.state.guard
    guard.require_key(key, request.client.host if request.client else "")
    return await _image(service, image_id)


async def _image(service: Service, image_id: str) -> Response:
    data = await service.run(example_image, service, image_id)
    return Response(data, media_type="image/jpeg")


async def _subject_of(request: Request) -> str:
    """The subject that a JSON body names."""
    body = await read_json(request)
    name = body.get("subject") if isinstance(body, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise CompreFaceError("'subject' is missing or empty", number=5)
    return name
