"""The web page: static files from a fixed table; nothing of a request becomes a path."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response

__all__ = ["FILES", "FOLDER", "page_router"]

FOLDER = Path(__file__).parents[1] / "page"

_HTML, _CSS = "text/html; charset=utf-8", "text/css; charset=utf-8"
_JS, _SVG, _JSON = "text/javascript; charset=utf-8", "image/svg+xml", "application/json"

FILES = {
    "index.html": _HTML,
    "style.css": _CSS,
    "symbols.svg": _SVG,
    "icon.svg": _SVG,
    "texts/en.json": _JSON,
    "api.js": _JS,
    "app.js": _JS,
    "cameras.js": _JS,
    "compare.js": _JS,
    "dialogs.js": _JS,
    "effect_options.js": _JS,
    "effects.js": _JS,
    "enrolment.js": _JS,
    "event_list.js": _JS,
    "face_canvas.js": _JS,
    "live.js": _JS,
    "people.js": _JS,
    "person.js": _JS,
    "photos.js": _JS,
    "pictures.js": _JS,
    "search.js": _JS,
    "similarity.js": _JS,
    "system.js": _JS,
    "texts.js": _JS,
    "ui.js": _JS,
}
"""The files of the folder ``page``, and their content types."""


@dataclass(frozen=True, slots=True)
class _Page:
    """A file as it is sent.

    Attributes:
        content: Its bytes.
        headers: Type, ETag and caching: browsers keep it, and ask each time whether it is new.
    """

    content: bytes
    headers: dict[str, str]


def page_router() -> APIRouter:
    """Routes for all files of the page, which are read once, here.

    Raises:
        OSError: If a file is missing; then the installation is broken.
    """
    router = APIRouter(include_in_schema=False)
    for name, kind in FILES.items():
        content = (FOLDER / name).read_bytes()
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {"Content-Type": kind, "ETag": etag, "Cache-Control": "no-cache"}
        place = "/" if name == "index.html" else f"/page/{name}"
        router.add_api_route(place, _sender(_Page(content, headers)), methods=["GET", "HEAD"])
    return router


def _sender(page: _Page) -> Callable[[Request], Awaitable[Response]]:
    async def send(request: Request) -> Response:
        known = request.headers.get("if-none-match", "")
        if page.headers["ETag"] in known:
            return Response(status_code=304, headers=page.headers)
        return Response(page.content, headers=page.headers)

    return send
