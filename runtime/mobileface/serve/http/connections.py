"""Connections: their number, and the time that a client may take for its part.

uvicorn has no time-out for a request's head and none for clients that do not read, answers in plain
text when there are too many connections, and logs a line for each invalid request. This is its
protocol over h11 with these mended. It is h11 and not httptools because h11 is what uvicorn always
brings, is pure Python (no wheel to wait for on a new board), and refuses what RFC 9112 calls
invalid; the parser's time is small beside a face detector's, see docs/deploy.md.
"""

from __future__ import annotations

import asyncio
import http
import socket
from typing import Any, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..settings import Limits
from .failures import Problem, problem_answer
from .measured import HEADERS

__all__ = ["Connection", "connection_class"]

_LOOK_SECONDS = 0.5
"""Time from one look at a connection to the next."""

_FRESH_SECONDS = 1.0
"""Time in which a connection's first request is awaited even if others need its place."""


class Connection(H11Protocol):
    """One connection.

    - The head of a request must arrive within `Limits.head_seconds`; else the answer is 408.
    - A client that takes nothing of its answer for `Limits.answer_seconds` is cut off.
    - With `Limits.connections`, a new one takes the place of the one that has waited longest for a
      request; if all have requests under way, it gets 503 with ``Retry-After``.
    """

    limits = Limits()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Notes a new connection."""
        super().connection_made(transport)
        # An answer is written as head and body. asyncio sets this only for sockets that name their
        # protocol; without it, the body waits 40 ms for the client's acknowledgement of the head.
        connected = transport.get_extra_info("socket")
        if connected is not None and connected.family in (socket.AF_INET, socket.AF_INET6):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        now = self.loop.time()
        self._idle_since = now
        self._head_until: float | None = now + self.limits.head_seconds
        self._heard = False
        self._unsent, self._moved = 0, now
        self._look_later()
        if len(self.connections) > self.limits.connections and not self._has_a_place(now):
            self.app = cast(Any, _too_many)

    def data_received(self, data: bytes) -> None:
        """Reads."""
        self._heard = True
        super().data_received(data)
        self._note()

    def on_response_complete(self) -> None:
        """Waits for the next request."""
        self._idle_since, self._heard = self.loop.time(), False
        super().on_response_complete()
        if self.under_way:  # the next request was there already
            self._note()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        self._timer.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP. In the middle of an answer, only closes."""
        begun = self.under_way and self.cycle.response_started
        if self.under_way:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not begun:
            self._say(Problem(400, msg.rstrip(".").lower().replace("http", "HTTP")))
        self.transport.close()

    @property
    def under_way(self) -> bool:
        """True from the end of a request's head to the end of its answer."""
        return self.cycle is not None and not self.cycle.response_complete

    def _note(self) -> None:
        """After bytes came: the time for the head runs from its first byte to its last."""
        if self.under_way:
            self._head_until = None
        elif self._head_until is None:
            self._head_until = self.loop.time() + self.limits.head_seconds

    def _look_later(self) -> None:
        self._timer = self.loop.call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        now = self.loop.time()
        late = self._head_until is not None and now > self._head_until
        if late and not self.under_way and not self.transport.is_closing():
            if self._heard and self.cycle is None:
                text = f"no request arrived within {self.limits.head_seconds:g} s"
                self._say(Problem(408, text))
            self.transport.close()
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent != self._unsent:
            self._unsent, self._moved = unsent, now
        elif now - self._moved > self.limits.answer_seconds:
            self.transport.abort()
            return
        self._look_later()

    def _has_a_place(self, now: float) -> bool:
        """Closes the connection that has waited longest for a request; False if there is none."""
        others = [
            other
            for other in self.connections
            if isinstance(other, Connection) and not other.transport.is_closing()
        ]
        if len(others) <= self.limits.connections:
            return True
        idle = [
            other
            for other in others
            if not other.under_way and now - other._idle_since > _FRESH_SECONDS
        ]
        if not idle:
            return False
        min(idle, key=lambda other: other._idle_since).transport.close()
        return True

    def _say(self, problem: Problem) -> None:
        """Writes an answer past the parser, which is in no state for one."""
        answer = problem_answer(problem)
        phrase = http.HTTPStatus(problem.status_code).phrase
        headers = {**HEADERS, **answer.headers, "Connection": "close"}
        lines = [f"HTTP/1.1 {problem.status_code} {phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.transport.write("\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body)


def connection_class(limits: Limits) -> type[Connection]:
    """The class of the connections of one server."""
    return type("LimitedConnection", (Connection,), {"limits": limits})


async def _too_many(scope: Scope, receive: Receive, send: Send) -> None:
    problem = Problem(503, "too many connections", code="busy", headers={"Connection": "close"})
    await _with_headers(problem_answer(problem))(scope, receive, send)


def _with_headers(answer: Any) -> ASGIApp:
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)
    return cast(ASGIApp, answer)
