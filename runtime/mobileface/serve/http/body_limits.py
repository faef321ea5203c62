"""Limits of requests' bodies, ASGI: their size and the time in which they must arrive."""

from __future__ import annotations

import asyncio
from time import monotonic

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..settings import Limits
from .client_forms import formed_answer
from .failures import Problem

__all__ = ["BodyLimits"]


class BodyLimits:
    """Answers 413 to bodies that are too large, and 408 to those that come too slowly.

    Args:
        app: The application.
        limits: The limits.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > self._limits.body_bytes:
            # The rest of the body is not read: the connection cannot be used again.
            answer = formed_answer(self._too_large(), scope["path"])
            answer.headers["Connection"] = "close"
            await answer(scope, receive, send)
            return
        end = monotonic() + self._limits.body_seconds
        seen, whole = 0, False

        async def limited() -> Message:
            nonlocal seen, whole
            if whole:  # what follows is only the client's leaving
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(end - monotonic(), 0.001))
            except asyncio.TimeoutError:
                text = f"the body did not arrive within {self._limits.body_seconds:g} s"
                raise Problem(408, text, headers={"Connection": "close"}) from None
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if seen > self._limits.body_bytes:
                    raise self._too_large()
            return message

        await self._app(scope, limited, send)

    def _too_large(self) -> Problem:
        return Problem(
            413,
            f"the body has more than {self._limits.body_bytes:,} bytes",
            headers={"Connection": "close"},
        )
