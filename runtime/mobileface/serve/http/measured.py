"""The outermost layer, ASGI: counts requests, adds the headers of every answer."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..metrics import Metrics
from .failures import Problem, problem_answer

__all__ = ["HEADERS", "Measured"]

_log = logging.getLogger("mobileface.serve")

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
}
"""Headers of every answer that does not have them already."""

_RAW = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})


class Measured:
    """The outermost layer: whatever happens inside, a request has one answer.

    Args:
        app: The application.
        metrics: Where requests are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        start = perf_counter()
        try:
            await self._app(scope, receive, answer.send)
        except asyncio.CancelledError:  # only when the service ends
            if not await answer.ended():
                problem = Problem(503, "the service is ending", headers={"Connection": "close"})
                await problem_answer(problem)(scope, receive, answer.send)
        except Exception as error:
            if answer.begun and not answer.whole:
                raise  # the server closes the connection
            _log.error("an error inside of the service", exc_info=error)
            if not answer.begun:
                problem = Problem(500, "an error inside of the service")
                await problem_answer(problem)(scope, receive, answer.send)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(route, method, str(answer.status)).inc()
            self._metrics.seconds.labels(route).observe(perf_counter() - start)


class _Answer:
    """An answer on its way out."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun, self.whole = False, False
        self.status = 500

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun, self.status = True, message["status"]
            there = {name.lower(): value for name, value in message["headers"]}
            more = [pair for pair in _RAW if pair[0] not in there]
            message = {**message, "headers": [*message["headers"], *more]}
        elif message["type"] == "http.response.body":
            self.whole = not message.get("more_body", False)
        await self._send(message)

    async def ended(self) -> bool:
        """Ends an answer that has begun; False if none has."""
        if self.begun and not self.whole:
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})
        return self.begun
