"""The ASGI application: layers and routes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import python_multipart  # noqa: F401  # what FastAPI raises without it is no ImportError
from fastapi import FastAPI, Security
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import APIKeyHeader
from starlette.formparsers import MultiPartParser
from starlette.types import ASGIApp, Receive, Scope, Send

from ... import __version__
from ..service import Service
from . import (
    analysis_routes,
    camera_routes,
    check_routes,
    compreface_routes,
    compreface_subject_routes,
    deepstack_routes,
    effect_routes,
    event_routes,
    page_routes,
    people_routes,
    system_routes,
)
from .body_limits import BodyLimits
from .failures import add_failures
from .guard import Guard
from .measured import Measured

__all__ = ["Application", "make_app"]

_KEY = APIKeyHeader(name="x-api-key", auto_error=False, description="One of the API keys")


class Application:
    """The routes behind their layers: counting, other origins, limits of bodies, guard.

    Args:
        service: The service.

    Attributes:
        api: The FastAPI application.
        bodies: The layer that limits bodies.
    """

    def __init__(self, service: Service) -> None:
        self.api = make_app(service)
        guard = self.api.state.guard = Guard(self.api, service)
        self.bodies = BodyLimits(guard, service.settings.limits)
        origins = service.settings.allowed_origins
        layers: ASGIApp = _with_origins(self.bodies, origins) if origins else self.bodies
        self._outer = Measured(layers, service.metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        await self._outer(scope, receive, send)


def make_app(service: Service) -> FastAPI:
    """The FastAPI application with all routes that the settings ask for."""
    # Uploads stay in memory: what is on a disk once may be found there later.
    most = max(MultiPartParser.spool_max_size, service.settings.limits.body_bytes)
    MultiPartParser.spool_max_size = most
    shared: dict[str, Any] = {"dependencies": [Security(_KEY)]}
    app = FastAPI(
        title="mobileface",
        version=__version__,
        description="Face analysis, galleries of people and live cameras on small machines.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        license_info={"name": "MIT", "identifier": "MIT"},
    )
    app.state.service = service
    add_failures(app)
    app.include_router(system_routes.router, **shared)
    app.include_router(check_routes.router, **shared)
    app.include_router(analysis_routes.router, **shared)
    app.include_router(people_routes.router, **shared)
    app.include_router(effect_routes.router, **shared)
    app.include_router(camera_routes.router, **shared)
    app.include_router(event_routes.router, **shared)
    if service.settings.compatible.compreface:
        app.include_router(compreface_routes.router)
        app.include_router(compreface_subject_routes.router)
    if service.settings.compatible.deepstack:
        app.include_router(deepstack_routes.router)
    app.include_router(page_routes.page_router())
    return app


def _with_origins(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Lets pages of other origins read the answers, also those that are errors."""
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=["x-api-key", "authorization", "x-mobileface", "content-type"],
        expose_headers=["Retry-After"],
    )
