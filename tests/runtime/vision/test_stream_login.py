"""Whether a stream wants a login: what is asked, what is not, and servers that answer anything."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from mobileface.vision.stream_login import wants_login


@contextlib.contextmanager
def answering(answer: bytes, stall: float = 0.0) -> Iterator[tuple[int, list[bytes]]]:
    """A server that gives one answer to whatever it is asked; its port, and what it was asked."""
    asked: list[bytes] = []

    def serve(place: socket.socket) -> None:
        while True:
            try:
                connection, _ = place.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                asked.append(connection.recv(4096))
                for byte in answer:
                    connection.sendall(bytes([byte]))
                    time.sleep(stall)

    with socket.create_server(("127.0.0.1", 0)) as place:
        thread = threading.Thread(target=serve, args=(place,), daemon=True)
        thread.start()
        yield place.getsockname()[1], asked
        place.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n\r\n", True),
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", True),
        (b"HTTP/1.0 401\r\n\r\n", True),
        (b"RTSP/1.0 404 Not Found\r\n\r\n", False),
        (b"RTSP/1.0 200 OK\r\n\r\n", False),
        (b"HTTP/1.1 4010 Strange\r\n\r\n", False),
        (b"401 Unauthorized\r\n", False),
        (b"\x00" * 100, False),
        (b"", False),
    ],
)
def test_answers(answer: bytes, expected: bool) -> None:
    with answering(answer) as (port, asked):
        for scheme in ("rtsp", "http"):
            url = f"{scheme}://user:secret@127.0.0.1:{port}/a/b?c=d"
            assert wants_login(url, 5) is expected
    assert asked[0].startswith(f"DESCRIBE rtsp://127.0.0.1:{port}/a/b?c=d RTSP/1.0\r\n".encode())
    assert asked[1].startswith(f"GET /a/b?c=d HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n".encode())
    assert b"secret" not in b"".join(asked)
    assert b"uthoriz" not in b"".join(asked)


def test_a_real_web_server() -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(200 if "Authorization" in self.headers else 401)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert wants_login(f"http://user:secret@127.0.0.1:{server.server_port}/video", 5)
        server.shutdown()


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://user:p/w@127.0.0.1/live",
        "rtsp://127.0.0.1:99999/live",
        "rtsp://127.0.0.1:x/live",
        "rtsp://[::1/live",
        "rtsp://",
        "rtsp://127.0.0.1/a\r\nX: y",
        "rtsps://127.0.0.1/live",
        "udp://127.0.0.1:5000",
        "video.mp4",
        "rtsp://name\u0000.example/live",
        f"rtsp://{'a' * 300}.example/live",
    ],
)
def test_what_is_not_asked(url: str) -> None:
    start = time.monotonic()
    assert wants_login(url, 1) is False
    assert time.monotonic() - start < 10


def test_a_slow_server_has_its_time_limit() -> None:
    with answering(b"RTSP/1.0 401 Unauthorized\r\n", stall=0.2) as (port, _):
        start = time.monotonic()
        assert wants_login(f"rtsp://127.0.0.1:{port}/live", 0.5) is False
        assert time.monotonic() - start < 3
