"""The service itself: version, health, readiness, metrics, sessions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from ... import __version__
from ..metrics import CONTENT_TYPE
from .answers import ERRORS, TheService, errors
from .guard import COOKIE, Guard, token_of

__all__ = ["router"]

router = APIRouter(tags=["service"])


class Health(BaseModel):
    """The process answers."""

    status: str = "ok"


class Version(BaseModel):
    """What runs here."""

    version: str
    schema_version: int = Field(1, serialization_alias="schema")
    models: dict[str, tuple[str, ...]]
    missing: dict[str, str]
    gallery: bool
    cameras: int
    body_bytes: int = Field(description="Most bytes of a request's body")
    pixels: int = Field(description="Most pixels of a picture")


class SessionState(BaseModel):
    """Whether the page needs a key, and has a session."""

    required: bool
    signed_in: bool


class SignIn(BaseModel):
    """An API key."""

    key: Annotated[str, Field(max_length=1000)]


@router.head("/health", include_in_schema=False)
@router.get("/health")
async def health() -> Health:
    """Answers as long as the process does."""
    return Health()


@router.get("/metrics", response_class=PlainTextResponse, responses=ERRORS)
async def metrics(service: TheService) -> Response:
    """Counters for Prometheus."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)


@router.get("/api/v1/version", responses=ERRORS)
async def version(service: TheService) -> Version:
    """The version, the loaded models and what is missing."""
    return Version(
        version=__version__,
        schema_version=1,
        models=service.analyzer.models,
        missing=service.analyzer.missing,
        gallery=service.has_gallery,
        cameras=len(service.settings.cameras),
        body_bytes=service.settings.limits.body_bytes,
        pixels=service.settings.limits.pixels,
    )


@router.get("/api/v1/session", responses=ERRORS)
async def session_state(service: TheService, request: Request) -> SessionState:
    """Whether a key is needed, and whether this browser has a session."""
    signed_in = service.sessions.accept(token_of(request.headers))
    return SessionState(required=service.keys.required, signed_in=signed_in)


@router.post("/api/v1/session", responses=errors())
async def sign_in(
    service: TheService, request: Request, response: Response, given: SignIn
) -> SessionState:
    """Opens a session for a browser: its cookie stands for the key."""
    guard: Guard = request.app.state.guard
    guard.require_key(given.key, request.client.host if request.client else "")
    if service.keys.required:
        response.set_cookie(
            COOKIE,
            service.sessions.open(),
            max_age=7 * 24 * 3600,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    return SessionState(required=service.keys.required, signed_in=True)


@router.delete("/api/v1/session", responses=ERRORS)
async def sign_out(service: TheService, request: Request, response: Response) -> SessionState:
    """Ends the browser's session, and the streams that it has open."""
    service.sessions.close(token_of(request.headers))
    service.streams.wake()
    response.delete_cookie(COOKIE)
    return SessionState(required=service.keys.required, signed_in=False)
