"""What routes share: the service, uploads, and the documented errors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from pydantic import BaseModel
from starlette.datastructures import UploadFile

from ...errors import shown
from ..picture_analysis import Picture
from ..service import Service
from .failures import FailureAnswer, Problem

__all__ = ["ERRORS", "TheService", "document", "errors", "read_picture", "service_of"]

_TEXTS = {
    400: "The input is not usable, e.g. no picture or no face",
    401: "No valid API key",
    403: "Refused: another site's page, or a host that is not allowed",
    404: "Not found",
    408: "The body came too slowly",
    409: "Conflict with what is there",
    413: "The body is too large",
    422: "A parameter is missing or invalid",
    429: "Too many wrong API keys",
    500: "An error inside of the service; its log says more",
    503: "Too busy, or a model, the gallery or the disk cannot be used now; see Retry-After",
}


def errors(
    *more: int, answer: type[BaseModel] | None = None, media: Sequence[str] = ()
) -> dict[int | str, dict[str, Any]]:
    """The answers of a route, for its documentation.

    Args:
        more: Statuses of errors besides those that all routes have.
        answer: What the answer 200 looks like, for handlers that return a `document`.
        media: Media types of the answer 200, for handlers that return something else than JSON.
    """
    statuses = sorted({400, 401, 403, 408, 413, 422, 429, 500, 503, *more})
    found: dict[int | str, dict[str, Any]] = {} if answer is None else {200: {"model": answer}}
    if media:
        found[200] = {"description": "The content", "content": {kind: {} for kind in media}}
    return found | {s: {"model": FailureAnswer, "description": _TEXTS[s]} for s in statuses}


ERRORS = errors()

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


async def service_of(request: Request) -> Service:
    """The service of the application. Async, else FastAPI calls it on a thread of its pool."""
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(service_of)]


def document(content: dict[str, Any]) -> Response:
    """JSON types as an answer: not checked again, and written by the fast encoder."""
    return Response(_encode(content).encode(), media_type="application/json")


async def read_picture(upload: UploadFile) -> Picture:
    """The content of an uploaded picture, and its name without folders.

    Raises:
        Problem: If the upload is empty.
    """
    name = (upload.filename or "picture").replace("\\", "/").rpartition("/")[2]
    name = shown(name)[:200] or "picture"
    data = await upload.read()
    if not data:
        raise Problem(400, "is empty", where=name)
    return data, name
