"""Limits of requests' bodies, ASGI: their size, and the time in which they must arrive."""

from __future__ import annotations

import asyncio
from time import monotonic

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..settings import Limits
from ..work_queue import set_leaving
from .client_forms import formed_answer
from .failures import Problem

__all__ = ["HEAD_BYTES", "BodyLimits"]

HEAD_BYTES = 32 * 1024
"""Most bytes of a request's line and headers. The parser checks only heads that come in parts."""

_DRAIN_SECONDS = 2.0
"""Time in which what is left of a body is dropped after an answer: a client that still sends when
the connection is closed may lose the answer."""


class BodyLimits:
    """Answers 413 to bodies that are too large, and 408 to those that come too slowly.

    All bodies together may have `Limits.held_bytes`; beyond, the answer is 503. After an answer
    that came before the end of its request's body, the connection is closed.

    Args:
        app: The application.
        limits: The limits.

    Attributes:
        held: Bytes of the bodies of the requests that are under way.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self.limits = app, limits
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(self, scope, receive, send)
        set_leaving(body.left)
        try:
            problem = body.problem()
            if problem is None:
                await self._app(scope, body.receive, body.send)
            else:
                await formed_answer(problem, scope["path"])(scope, body.receive, body.send)
        finally:
            self.held -= body.counted


class _Body:
    """The body of one request.

    Attributes:
        counted: Its bytes in `BodyLimits.held`.
    """

    def __init__(self, owner: BodyLimits, scope: Scope, receive: Receive, send: Send) -> None:
        self._owner, self._limits = owner, owner.limits
        self._receive, self._send = receive, send
        self._length, self._chunked = 0, False
        self._head = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
        for name, value in scope["headers"]:
            self._head += len(name) + len(value)
            if name == b"content-length":
                # The protocol has checked that these are digits; more than 20 are too many anyway.
                self._length = int(value[:20])
            elif name == b"transfer-encoding":
                self._chunked = True
        self._known = scope["http_version"] in ("1.0", "1.1")
        self._whole = not self._length and not self._chunked
        self._end = monotonic() + self._limits.body_seconds
        self._seen, self.counted = 0, 0
        self._slow = False

    def problem(self) -> Problem | None:
        """What the headers say is wrong."""
        if self._head > HEAD_BYTES:
            return _closing(f"line and headers have more than {HEAD_BYTES:,} bytes")
        if self._chunked and self._length:
            # One of two servers in a row may believe the one, the other the other (smuggling).
            return _closing("both Content-Length and Transfer-Encoding are given")
        if self._length > self._limits.body_bytes:
            return self._too_large()
        if not self._known:
            return _closing("only HTTP/1.0 and HTTP/1.1 are spoken here")
        return None

    async def receive(self) -> Message:
        """The next part of the body; after it, only the client's leaving.

        Raises:
            Problem: 408, 413, or 503 if all bodies together are too large.
        """
        if self._whole:
            return await self._receive()
        if not self.counted:
            self._count(self._length)
        left = self._end - monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.001))
        except (TimeoutError, asyncio.TimeoutError):
            self._slow = True
            text = f"the body did not arrive within {self._limits.body_seconds:g} s"
            raise Problem(408, text) from None
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._seen > self._limits.body_bytes:
                raise self._too_large()
            self._count(self._seen - self.counted)
        else:
            self._whole = True  # nothing comes any more
        return message

    async def send(self, message: Message) -> None:
        """Passes an answer on; before it ends, drops what is left of the body."""
        if not self._whole:
            if message["type"] == "http.response.start":
                headers = [pair for pair in message["headers"] if pair[0].lower() != b"connection"]
                message = {**message, "headers": [*headers, (b"connection", b"close")]}
            elif not message.get("more_body", False):
                await self._send({**message, "more_body": True})
                await self._drain()
                message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def left(self) -> None:
        """Waits until the client has closed the connection. For whole bodies; else for ever."""
        while self._whole:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return
        await asyncio.Event().wait()

    def _count(self, more: int) -> None:
        if more <= 0:
            return
        if self._owner.held + more > self._limits.held_bytes:
            raise Problem(503, "too many bodies are being received", code="busy")
        self._owner.held += more
        self.counted += more

    async def _drain(self) -> None:
        end = monotonic() + (0 if self._slow else _DRAIN_SECONDS)
        while (left := end - monotonic()) > 0:
            try:
                message = await asyncio.wait_for(self._receive(), left)
            except (TimeoutError, asyncio.TimeoutError):
                return
            if not message.get("more_body", False):
                return

    def _too_large(self) -> Problem:
        return Problem(413, f"the body has more than {self._limits.body_bytes:,} bytes")


def _closing(what: str) -> Problem:
    return Problem(400, what, headers={"Connection": "close"})
