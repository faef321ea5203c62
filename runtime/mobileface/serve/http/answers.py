"""What routes share: the service, uploads, and the documented errors."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.datastructures import UploadFile

from ...errors import shown
from ..picture_analysis import Picture
from ..service import Service
from .failures import FailureAnswer, Problem

__all__ = ["ERRORS", "TheService", "errors", "read_picture", "service_of"]

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
    503: "Too busy, or a model, the gallery or the disk cannot be used now; see Retry-After",
}


def errors(*more: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route, for its documentation: those of all routes, and ``more``."""
    statuses = sorted({400, 401, 403, 408, 413, 422, 429, 503, *more})
    return {s: {"model": FailureAnswer, "description": _TEXTS[s]} for s in statuses}


ERRORS = errors()


def service_of(request: Request) -> Service:
    """The service of the application."""
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(service_of)]


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
