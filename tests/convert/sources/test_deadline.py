"""Servers that send slowly, or headers without end: a download has a time limit as a whole."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mobileface.errors import SourceError
from mobileface_convert.sources.files import DownloadSource, RetryPolicy, SourceFile

CONTENT = bytes(range(256)) * 4
SHA1 = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT, usedforsecurity=False).hexdigest()
FILE = SourceFile("a/b.bin", SHA1, len(CONTENT))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n"
PATIENCE = 1.0
RETRY = RetryPolicy(attempts=3, first_delay=0.01, timeout=5.0, patience=PATIENCE, slowest=1e6)

Send = Callable[[socket.socket], None]


def trickle(connection: socket.socket, data: bytes) -> None:
    for byte in data:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def slow_head(connection: socket.socket) -> None:
    trickle(connection, b"HTTP/1.1 200 OK\r\nX: " + b"a" * 10_000)


def slow_body(connection: socket.socket) -> None:
    connection.sendall(OK)
    trickle(connection, CONTENT)


def continue_for_ever(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.001)


def nothing(connection: socket.socket) -> None:
    time.sleep(4)


def good(connection: socket.socket) -> None:
    connection.sendall(OK + CONTENT)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Send], str]]:
    for name in ("http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    listening = socket.create_server(("127.0.0.1", 0))

    def start(send: Send) -> str:
        def answer(connection: socket.socket) -> None:
            with connection:
                try:
                    connection.recv(65536)
                    send(connection)
                except OSError:
                    pass

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}/"

    yield start
    listening.close()


@pytest.mark.parametrize("send", [slow_head, slow_body, continue_for_ever, nothing])
def test_time_limit(send: Send, serve: Callable[[Send], str], tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(SourceError, match="not complete after 1 seconds") as caught:
        DownloadSource(serve(send), tmp_path, retry=RETRY).fetch(FILE)
    seconds = time.monotonic() - start
    print(f"{send.__name__}: {seconds:.2f} s, {caught.value}")
    assert PATIENCE * 0.9 < seconds < 4  # a socket's own limit is 5 seconds
    assert "run again to resume" in caught.value.hint


def test_what_came_is_kept(serve: Callable[[Send], str], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not complete"):
        DownloadSource(serve(slow_body), tmp_path, retry=RETRY).fetch(FILE)
    kept = (tmp_path / "a" / "b.bin.part").read_bytes()
    assert 0 < len(kept) < len(CONTENT)
    assert CONTENT.startswith(kept)


def test_in_time(serve: Callable[[Send], str], tmp_path: Path) -> None:
    threads = threading.active_count()
    place = DownloadSource(serve(good), tmp_path, retry=RETRY).fetch(FILE)
    assert place.read_bytes() == CONTENT
    assert not [t for t in threading.enumerate() if t.name == "deadline"], threads


def test_the_limit_grows_with_the_file() -> None:
    usual = RetryPolicy()
    assert usual.patience + 100e6 / usual.slowest == pytest.approx(5300)


def huge_range(connection: socket.socket) -> None:
    digits = b"9" * 5000
    head = b"HTTP/1.1 206 P\r\nContent-Range: bytes 10-" + digits + b"/" + digits + b"\r\n\r\n"
    connection.sendall(head + CONTENT[10:])


def test_numbers_of_thousands_of_digits(serve: Callable[[Send], str], tmp_path: Path) -> None:
    """Python's int refuses them with an error of its own."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.bin.part").write_bytes(CONTENT[:10])
    with pytest.raises(SourceError, match="a different range than requested"):
        DownloadSource(serve(huge_range), tmp_path, retry=RETRY).fetch(FILE)
