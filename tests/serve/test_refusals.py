"""Input of every kind that is wrong: one clear error, nothing of the server in it."""

from __future__ import annotations

import json
import re
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from mobileface.errors import GalleryError, ModelError, OutputError
from mobileface.serve.http.failures import as_problem

from .conftest import PORTRAIT
from .raw import BOUNDARY, exchange, form, request, until, upload
from .running import Running, serving

NOT_SHOWN = re.compile(
    rb"Traceback|File \\\"|\.py\b|/home/|/tmp/|/usr/|site-packages|mobileface\.|0x[0-9a-f]{6}"
)
"""What an answer must not say of the server."""


def refused(server: Running, data: bytes, *statuses: int) -> dict[str, str]:
    answer = exchange(server.port, data)
    assert answer.status in statuses, answer
    assert not NOT_SHOWN.search(answer.body), answer.body
    assert str(Path.home()).encode() not in answer.body
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert len(answer.body) < 2000
    return answer.error


def part(name: str, data: bytes, filename: str | None = None) -> bytes:
    file = "" if filename is None else f'; filename="{filename}"'
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode("utf-8", "surrogateescape") + data + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
KIND = f"multipart/form-data; boundary={BOUNDARY}"


def png(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and has next to no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 999))


@pytest.mark.parametrize(
    ("kind", "body", "statuses"),
    [
        ("text/plain", b"hello", (400, 422)),
        ("application/json", b"{}", (422,)),
        ("application/json", b"{", (422,)),
        ("application/json", b"[" * 100_000, (400, 422)),
        ("application/x-www-form-urlencoded", b"file=abc", (422,)),
        ("application/x-www-form-urlencoded", b"a=1&" * 5000, (400,)),
        ("multipart/form-data", part("file", b"x", "a.jpg") + END, (400,)),
        ("multipart/form-data; boundary=", part("file", b"x", "a.jpg") + END, (400, 422)),
        ("multipart/form-data; boundary=" + "b" * 3000, b"x", (400,)),
        (KIND, b"", (422,)),
        (KIND, b"no boundary here", (400,)),
        (KIND, part("file", b"x", "a.jpg"), (400, 422)),
        (
            KIND,
            f"--{BOUNDARY}\r\nContent-Disposition: form-data\r\n\r\nx\r\n".encode() + END,
            (400,),
        ),
        (KIND, f"--{BOUNDARY}\r\n\r\nx\r\n".encode() + END, (400,)),
        (KIND, part("file", b"text only") + END, (422,)),
        (KIND, b"".join(part(f"f{n}", b"x") for n in range(3000)) + END, (400,)),
        (KIND, b"".join(part(f"f{n}", b"x", "a") for n in range(3000)) + END, (400,)),
        (KIND, part("other", b"x" * 3_000_000) + END, (400,)),
        (KIND, part("file", b"x", "\udcff\udcfe.jpg") + END, (400,)),
        (KIND, part("file", b"x", "a" * 20_000) + END, (400,)),
        (KIND, part("file", b"x", "\x1b[2J\x00../../b.jpg") + END, (400,)),
        (KIND, part("file", b"x" * 100, "a.jpg") + part("file", b"y", "b.jpg") + END, (400,)),
        (KIND + "; charset=utf-7", part("file", b"x", "a.jpg") + END, (400,)),
        (KIND + "; charset=none", part("file", b"x", "a.jpg") + END, (400,)),
        ("\xff\xfe", b"x", (400, 422)),
    ],
)
# Starlette leaves the memory of a part without an end to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_bodies_that_are_wrong(
    running: Running, kind: str, body: bytes, statuses: tuple[int, ...]
) -> None:
    data = request("POST", "/api/v1/detect", body, Content_Type=kind)
    refused(running, data, *statuses)


@pytest.mark.parametrize(
    ("path", "fields", "statuses"),
    [
        ("search", {"top": "many"}, (422,)),
        ("search", {"top": "0"}, (422,)),
        ("search", {"top": "1e9"}, (422,)),
        ("search", {"threshold": "nan"}, (422,)),
        ("search", {"threshold": "2"}, (422,)),
        ("search", {"fmr": "0"}, (422,)),
        ("search", {"fmr": "inf"}, (422,)),
        ("search", {"fmr": "-1"}, (422,)),
        ("search", {"top": "9" * 5000}, (422,)),
        ("detect?tasks=" + "x" * 3000, {}, (400,)),
        ("analyze?tasks=hats", {}, (400,)),
        ("analyze?tasks=a%00b%1b", {}, (400,)),
        ("analyze?" + "tasks=age&" * 50, {}, (422,)),
        ("analyze?embeddings=perhaps", {}, (422,)),
    ],
)
def test_parameters_that_are_wrong(
    running: Running, path: str, fields: dict[str, str], statuses: tuple[int, ...]
) -> None:
    body = b"".join(part(name, text.encode()) for name, text in fields.items())
    body += part("file", b"no picture", "a.jpg") + END
    refused(running, request("POST", f"/api/v1/{path}", body, Content_Type=KIND), *statuses)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b'{"key": 5}',
        b'{"key": ["a"]}',
        b'{"key": "\\ud800"}',
        b'{"key": "' + b"x" * 2000 + b'"}',
        b'\xff\xfe{"key": "x"}',
        b'{"key": NaN}',
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    ],
)
def test_json_that_is_wrong(running: Running, body: bytes) -> None:
    data = request("POST", "/api/v1/session", body, Content_Type="application/json")
    refused(running, data, 400, 422)


def test_the_size_of_a_picture_is_read_before_its_pixels(running: Running) -> None:
    """60,000 x 60,000 pixels would be 10.8 GB."""
    start = time.perf_counter()
    error = refused(running, upload("/api/v1/detect", png(60_000, 60_000)), 400)
    print(error, f"{1000 * (time.perf_counter() - start):.1f} ms")
    assert "pixels" in error["what"]
    assert error["where"] == "a.jpg"
    refused(running, upload("/api/v1/detect", png(0, 5)), 400)
    refused(running, upload("/api/v1/detect", png(2**31 - 1, 2**31 - 1)), 400)


def test_methods_and_addresses(running: Running) -> None:
    for method, path, status in (
        ("GET", "/api/v1/detect", 405),
        ("BREW", "/health", 405),
        ("TRACE", "/health", 405),
        ("CONNECT", "/health", 405),
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/nothing", 404),
    ):
        assert refused(running, request(method, path), status)["code"] in (
            "method_not_allowed",
            "not_found",
        )


def test_strange_methods_do_not_fill_the_metrics(running: Running) -> None:
    for number in range(50):
        exchange(running.port, request(f"M{number}", f"/path-{number}"))
    text = exchange(running.port, request("GET", "/metrics")).body.decode()
    assert "M17" not in text
    assert "path-" not in text
    assert 'mobileface_requests_total{method="other",route="other",status="404"}' in text


@pytest.fixture
def faulty() -> Iterator[tuple[Running, Callable[[Exception], None]]]:
    """A server whose detector raises what it is told."""
    fault: list[Exception] = []

    def fail(*_: object) -> None:
        raise fault[-1]

    with serving() as server:
        server.service.analyzer.detect = fail  # type: ignore[assignment]
        yield server, fault.append


def test_a_fault_is_answered_500_and_logged_once(
    faulty: tuple[Running, Callable[[Exception], None]],
    portrait: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, set_fault = faulty
    set_fault(ZeroDivisionError("secret /etc/shadow"))
    error = refused(server, upload("/api/v1/detect", portrait), 500)
    assert error == {
        "code": "internal",
        "what": "an error inside of the service",
        "where": "",
        "hint": "",
    }
    until(lambda: not server.server.server_state.tasks)
    records = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(records) == 1
    assert records[0].exc_info is not None
    assert exchange(server.port, request("GET", "/health")).status == 200


def test_the_servers_own_errors_are_answered_without_its_paths(
    faulty: tuple[Running, Callable[[Exception], None]], portrait: bytes
) -> None:
    server, set_fault = faulty
    for error, code in (
        (GalleryError("is locked", where="/var/lib/mobileface/people.gallery"), "gallery"),
        (OutputError("cannot write /var/lib/a b/x.gallery-wal (no space)"), "storage"),
        (ModelError("bad", where="/srv/m.onnx", hint="look into '/srv/models/of us/'"), "model"),
    ):
        set_fault(error)
        answer = refused(server, upload("/api/v1/detect", portrait), 503)
        print(answer)
        assert answer["code"] == code
        assert answer["where"] == ""
        assert not re.search(r"/(var|srv|lib)", json.dumps(answer))


def test_paths_are_taken_out_of_texts() -> None:
    for text, shown in (
        ("no file /a/b/c.onnx, or it is broken", "no file c.onnx, or it is broken"),
        ("3 and/or 4", "3 and/or 4"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("in C:\\models\\x.onnx", "in x.onnx"),
        ("'/a/b'", "'b'"),
    ):
        assert as_problem(ModelError(text)).failure.what == shown
    print(PORTRAIT.name)


def test_uploads_do_not_reach_the_disk(running: Running, tmp_path: Path) -> None:
    """A form of nearly the largest size is held in memory."""
    from starlette.formparsers import MultiPartParser

    assert MultiPartParser.spool_max_size >= running.service.settings.limits.body_bytes
    answer = httpx.post(
        f"{running.address}/api/v1/detect", files={"file": b"x" * 15_000_000}, trust_env=False
    )
    assert answer.status_code == 400


def test_a_form_that_looks_like_boundaries_takes_no_long_time(running: Running) -> None:
    """The parser looks for boundaries at each carriage return."""
    start = time.perf_counter()
    refused(running, upload("/api/v1/detect", b"\r\n--7d3" * 700_000), 400)
    plain = time.perf_counter()
    refused(running, upload("/api/v1/detect", b"x" * 4_900_000), 400)
    slow, fast = plain - start, time.perf_counter() - plain
    print(f"{slow:.2f} s, plain bytes {fast:.2f} s")
    assert form(b"")[1] == KIND
