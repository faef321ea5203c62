"""Clients that are slow, many, gone, or do not speak HTTP."""

from __future__ import annotations

import contextlib
import gc
import logging
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from .conftest import PORTRAIT
from .raw import connect, exchange, form, read, request, seconds_until_closed, until
from .running import Running, serving

LIMITS = {
    "body_bytes": 200_000,
    "held_bytes": 450_000,
    "head_seconds": 1.0,
    "body_seconds": 1.0,
    "answer_seconds": 1.0,
    "connections": 8,
}


@pytest.fixture(scope="module")
def hurried() -> Iterator[Running]:
    """A server with short times and small limits."""
    with serving(limits=LIMITS) as server:
        yield server


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What clients do wrong is nothing for the service's log."""
    yield
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_head_that_drips_is_answered_408(hurried: Running) -> None:
    with connect(hurried.port) as place:
        start = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 1000:
                place.sendall(bytes([byte]))
                time.sleep(0.05)
                if time.monotonic() - start > 2.5:
                    break
        answer = read(place)
        assert answer.status == 408
        assert answer.error["code"] == "timeout"
        assert answer.headers["connection"] == "close"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_silent_connection_is_closed(hurried: Running) -> None:
    with connect(hurried.port) as place:
        seconds = seconds_until_closed(place)
    print(f"closed after {seconds:.2f} s")
    assert 0.5 < seconds < 5


def test_a_second_head_may_not_drip_either(hurried: Running) -> None:
    with connect(hurried.port) as place:
        place.sendall(request("GET", "/health"))
        assert read(place).status == 200
        place.sendall(b"GET /hea")
        seconds = seconds_until_closed(place)
    print(f"closed after {seconds:.2f} s")
    assert 0.5 < seconds < 5


def test_connections_are_kept_alive(hurried: Running) -> None:
    with connect(hurried.port) as place:
        for _ in range(3):
            place.sendall(request("GET", "/health"))
            answer = read(place)
            assert answer.status == 200
            assert answer.headers.get("connection") != "close"
            time.sleep(0.6)  # longer than a head may take in all
        place.sendall(request("GET", "/health") * 3)  # pipelined
        assert [read(place).status for _ in range(1)] == [200]


def test_a_body_that_drips_is_answered_408(hurried: Running) -> None:
    body, kind = form(b"x" * 5000)
    with connect(hurried.port) as place:
        start = time.monotonic()
        place.sendall(
            request("POST", "/api/v1/detect", Content_Type=kind, Content_Length=str(len(body)))
        )
        with contextlib.suppress(OSError):
            for byte in body:
                place.sendall(bytes([byte]))
                time.sleep(0.05)
                if time.monotonic() - start > 1.5:
                    break
        answer = read(place)
        assert answer.status == 408
        assert "within 1 s" in answer.error["what"]
        assert seconds_until_closed(place) < 3


@pytest.mark.parametrize("path", ["/api/v1/detect", "/api/v1/nothing", "/health"])
def test_an_endless_body_ends(hurried: Running, path: str) -> None:
    """Also where nobody reads it: not found, method not allowed."""
    _, kind = form(b"")
    with connect(hurried.port) as place:
        start = time.monotonic()
        place.sendall(request("POST", path, Transfer_Encoding="chunked", Content_Type=kind))
        sent = 0
        with contextlib.suppress(OSError):
            while time.monotonic() - start < 10:
                place.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
                sent += 1024
                time.sleep(0.002)
        print(f"{sent} bytes in {time.monotonic() - start:.2f} s")
        assert time.monotonic() - start < 8


def test_a_client_that_sends_before_it_reads_sees_413(hurried: Running, portrait: bytes) -> None:
    data = b"x" * 3_000_000
    with hurried.client() as client:
        answer = client.post("/api/v1/detect", files={"file": data})
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "too_large"
        assert answer.headers["connection"] == "close"
        assert client.get("/health").status_code == 200


def test_chunks_over_the_limit_are_413(hurried: Running) -> None:
    body, kind = form(b"x" * 250_000)
    with connect(hurried.port) as place:
        place.sendall(
            request("POST", "/api/v1/detect", Transfer_Encoding="chunked", Content_Type=kind)
        )
        for first in range(0, len(body), 1000):
            part = body[first : first + 1000]
            place.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        place.sendall(b"0\r\n\r\n")
        answer = read(place)
    assert answer.status == 413, answer


def test_all_bodies_together_are_limited(hurried: Running) -> None:
    """Two announced bodies fit, the third does not; when one client leaves, its place is free."""
    body, kind = form(b"x" * 190_000)
    head = request("POST", "/api/v1/detect", Content_Type=kind, Content_Length=str(len(body)))
    bodies = hurried.server.application.bodies
    until(lambda: not bodies.held)
    with connect(hurried.port) as first, connect(hurried.port) as second:
        first.sendall(head + body[:1000])
        second.sendall(head + body[:1000])
        until(lambda: bodies.held > len(body))
        answer = exchange(hurried.port, head + body)
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.error["code"] == "busy"
        second.close()
        until(lambda: bodies.held <= len(body))
        assert exchange(hurried.port, head + body).status == 400  # no picture


def test_half_an_upload_leaves_nothing(hurried: Running) -> None:
    body, kind = form(PORTRAIT.read_bytes()[:100_000])
    head = request("POST", "/api/v1/detect", Content_Type=kind, Content_Length=str(len(body)))
    for size in (0, 10, 1000, 70_000):
        for reset in (False, True):
            with connect(hurried.port) as place:
                place.sendall(head + body[:size])
                time.sleep(0.05)
                if reset:
                    place.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: not hurried.server.application.bodies.held)
    until(lambda: not hurried.service.queue.depth)
    until(lambda: not hurried.server.server_state.tasks)


def test_a_client_that_does_not_read_is_cut_off(hurried: Running) -> None:
    """It asks for much and takes nothing: its buffers fill, and its connection ends."""
    connections = hurried.server.server_state.connections
    until(lambda: not connections)  # those of other tests are gone
    with socket.socket() as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        place.settimeout(5)
        place.connect(("127.0.0.1", hurried.port))
        until(lambda: bool(connections))
        with contextlib.suppress(OSError):
            for _ in range(3000):
                place.sendall(request("GET", "/api/v1/openapi.json"))
        until(lambda: not connections)


@pytest.mark.slow
def test_a_client_that_does_not_read_does_not_hold_up_the_end() -> None:
    """The service cuts it off after the time of grace, and no socket stays open."""
    with socket.socket() as place:
        with serving() as server:
            connections = server.server.server_state.connections
            place.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            place.settimeout(1)
            place.connect(("127.0.0.1", server.port))
            with contextlib.suppress(OSError):
                for _ in range(3000):
                    place.sendall(request("GET", "/api/v1/openapi.json"))
            until(lambda: any(one.transport.get_write_buffer_size() for one in set(connections)))
            start = time.monotonic()
        passed = time.monotonic() - start
        print(f"the service ended {passed:.2f} s after it was told to")
        assert passed < 6
        assert connections == set()
        gc.collect()  # a socket that nobody closed would be a ResourceWarning, thus an error, here


def test_waiting_connections_make_room(hurried: Running) -> None:
    """Connections without a request cannot keep others out."""
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(connect(hurried.port)) for _ in range(8)]
        for place in waiting:
            place.sendall(request("GET", "/health"))
            assert read(place).status == 200
        time.sleep(1.2)
        assert exchange(hurried.port, request("GET", "/health")).status == 200
        assert waiting[0].recv(1) == b""  # the one that waited longest


def test_too_many_connections_get_503(hurried: Running) -> None:
    body, kind = form(b"x" * 100)
    head = request("POST", "/api/v1/detect", Content_Type=kind, Content_Length=str(len(body)))
    connections = hurried.server.server_state.connections
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(connect(hurried.port)).sendall(head)
        until(lambda: sum(one.under_way for one in set(connections)) == 8)
        answer = exchange(hurried.port, request("GET", "/health"))
    assert answer.status == 503
    assert answer.error["what"] == "too many connections"
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET /health HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET  /health HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nBad\x00Name: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 40_000,
        b"GET /" + b"a" * 40_000,
        request("GET", "/health", X="a" * 40_000),
        request("GET", "/health?" + "a" * 40_000),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        request("POST", "/health", Content_Length="-1"),
        request("POST", "/health", Content_Length="1e3"),
        request("POST", "/health", Content_Length="+5"),
        request("POST", "/health", Content_Length="5, 6"),
        request("POST", "/health", Content_Length="9" * 30),
        request("POST", "/health", Transfer_Encoding="gzip"),
        request("POST", "/health", Transfer_Encoding="chunked, chunked"),
        request("POST", "/api/v1/detect", b"Z\r\nx\r\n0\r\n\r\n", Transfer_Encoding="chunked"),
        request("POST", "/api/v1/detect", b"-1\r\nx\r\n0\r\n\r\n", Transfer_Encoding="chunked"),
        request(
            "POST",
            "/api/v1/detect",
            b"0\r\n\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n",
            Content_Length="4",
            Transfer_Encoding="chunked",
        ),
        b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    ],
)
def test_what_is_not_http_gets_one_answer(hurried: Running, data: bytes) -> None:
    with connect(hurried.port) as place:
        place.sendall(data)
        answer = read(place)
        assert answer.status in (400, 413), answer
        assert answer.error["code"] in ("bad_input", "too_large")
        assert answer.headers["connection"] == "close"
        rest = b""
        with contextlib.suppress(ConnectionResetError):
            while part := place.recv(65536):
                rest += part
    assert b"HTTP/" not in rest, "a second answer: the body was taken for a request"
