"""An HTTP server on the loopback interface that sends scripted replies and records requests."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Reply:
    """One scripted reply.

    Attributes:
        body: The full file, of which a range may be sent.
        status: The status code, unless a range is sent.
        headers: Additional headers; an ETag is compared with If-Range.
        ranges: Whether Range requests are supported.
        cut_after: Number of body bytes after which the connection is closed; None: all.
        length: Whether Content-Length is sent.
        stall: Seconds to wait after the body before the connection is closed.
        delay: Seconds to wait before the reply.
    """

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    ranges: bool = True
    cut_after: int | None = None
    length: bool = True
    stall: float = 0.0
    delay: float = 0.0


@dataclass
class Asked:
    """One request, and the number of body bytes sent in reply."""

    path: str
    headers: Mapping[str, str]
    sent: int


class Server(ThreadingHTTPServer):
    """Sends scripted replies and records requests; an unexpected request gets status 410."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Reply] = []
        self.asked: list[Asked] = []
        self.url = f"http://127.0.0.1:{self.server_port}/raw/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores clients that close the connection, as they do if a file is too large."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def ranges(self) -> list[str | None]:
        return [asked.headers.get("Range") for asked in self.asked]

    def sent(self) -> list[int]:
        return [asked.sent for asked in self.asked]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        script = self.server.script
        reply = script.pop(0) if script else Reply(b"", 410)
        start = self._start(reply)
        body = reply.body[start:]
        shown = body[: reply.cut_after]
        self.server.asked.append(Asked(self.path, dict(self.headers), len(shown)))
        threading.Event().wait(reply.delay)  # not time.sleep, which tests replace
        self.send_response(206 if start else reply.status)
        if start:
            size = len(reply.body)
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        if reply.length:
            self.send_header("Content-Length", str(len(body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(shown)
        self.wfile.flush()
        threading.Event().wait(reply.stall)

    def _start(self, reply: Reply) -> int:
        """The first byte to send: 0 unless a range is requested, supported and up to date."""
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        tag = reply.headers.get("ETag")
        current = self.headers.get("If-Range", tag) == tag
        return int(wanted[1]) if wanted and reply.status == 200 and reply.ranges and current else 0

    def log_message(self, *_: object) -> None:
        pass
