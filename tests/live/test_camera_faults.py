"""Cameras on the network that break in other ways than by a cut."""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import cv2
import pytest

from mobileface.live import capture as capture_module
from mobileface.live.capture import Capture
from mobileface.live.live_options import CameraOptions
from mobileface.live.pauses import Pauses

from .streaming import drawn_frames

RESUME_SECONDS = 3.0
START = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
DATA = [cv2.imencode(".jpg", image)[1].tobytes() for image in drawn_frames()]
HEAD = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"


def part(number: int) -> bytes:
    data = DATA[number % len(DATA)]
    return HEAD % len(data) + data + b"\r\n"


def half(place: socket.socket, broken: threading.Event) -> None:
    place.sendall(START + part(0)[:-900])


def half_and_stall(place: socket.socket, broken: threading.Event) -> None:
    half(place, broken)
    while broken.is_set():
        time.sleep(0.02)


def garbage(place: socket.socket, broken: threading.Event) -> None:
    while broken.is_set():
        place.sendall(START + bytes(range(256)) * 20)
        time.sleep(0.02)


def no_pictures(place: socket.socket, broken: threading.Event) -> None:
    place.sendall(START)
    while broken.is_set():
        place.sendall(HEAD % 2560 + bytes(range(256)) * 10 + b"\r\n")
        time.sleep(0.02)


def endless_head(place: socket.socket, broken: threading.Event) -> None:
    place.sendall(b"HTTP/1.1 200 OK\r\n")
    while broken.is_set():
        place.sendall(b"X-A: " + b"a" * 1000 + b"\r\n")
        time.sleep(0.01)


def no_login(place: socket.socket, broken: threading.Event) -> None:
    ask = b'WWW-Authenticate: Basic realm="camera"\r\n'
    place.sendall(b"HTTP/1.1 401 Unauthorized\r\n" + ask + b"Content-Length: 0\r\n\r\n")


def reset(place: socket.socket, broken: threading.Event) -> None:
    place.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Fault = Callable[[socket.socket, threading.Event], None]
FAULTS: list[Fault] = [half, half_and_stall, garbage, no_pictures, endless_head, reset]


class Camera:
    """Sends frames, or while `broken` is set, what a fault does."""

    def __init__(self, fault: Fault) -> None:
        self.broken = threading.Event()
        self.requests: list[bytes] = []
        self._fault = fault
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://user:secret@127.0.0.1:{self._server.getsockname()[1]}/video"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                place, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(place,), daemon=True).start()

    def _answer(self, place: socket.socket) -> None:
        try:
            with place:
                self.requests.append(place.recv(4096))
                if self.broken.is_set():
                    self._fault(place, self.broken)
                    return
                place.sendall(START)
                number = 0
                while not self.broken.is_set():
                    place.sendall(part(number))
                    number += 1
                    time.sleep(0.04)
        except OSError:
            pass

    def close(self) -> None:
        self.broken.clear()
        self._server.close()


@pytest.fixture(params=FAULTS, ids=lambda fault: fault.__name__)
def camera(request: pytest.FixtureRequest) -> Iterator[Camera]:
    found = Camera(request.param)
    yield found
    found.close()


@pytest.mark.slow
def test_it_resumes_once_the_camera_is_whole(camera: Camera) -> None:
    capture = Capture(CameraOptions("c", camera.url))
    capture.start()
    try:
        assert capture.take(10) is not None
        camera.broken.set()
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            capture.take(0.1)
        camera.broken.clear()
        capture.take(0)
        start = time.monotonic()
        while capture.take(0.1) is None or capture.state != "running":
            assert time.monotonic() - start < 2 * RESUME_SECONDS
        passed = time.monotonic() - start
        print(f"resumed after {passed:.2f} s, {capture.reconnects} times open again")
        assert passed < RESUME_SECONDS
        assert "secret" not in capture.why
    finally:
        capture.close()


@pytest.mark.slow
def test_a_login_that_is_refused_is_not_sent_again_and_again() -> None:
    """Many cameras lock an account after five wrong passwords: the fourth waits for a minute."""
    place = Camera(no_login)
    place.broken.set()
    capture = Capture(CameraOptions("c", place.url))
    capture.start()
    try:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            assert capture.take(0.1) is None
        logins = sum(b"Authorization: " in request for request in place.requests)
        print(f"{logins} of {len(place.requests)} requests with a login; {capture.why}")
        assert 1 <= logins <= 3
        assert (
            "the camera refuses the login; check the user, the password and the path" in capture.why
        )
        assert "secret" not in capture.why
    finally:
        capture.close()
        place.close()


@pytest.mark.slow
def test_a_password_in_the_query_is_not_sent_to_ask_for_the_reason() -> None:
    """Only the attempts themselves send it."""
    place = Camera(no_login)
    place.broken.set()
    url = place.url.replace("user:secret@", "") + "?channel=1&password=secret"
    capture = Capture(CameraOptions("c", url))
    capture.start()
    try:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            assert capture.take(0.1) is None
        asked = [request for request in place.requests if b"secret" not in request]
        print(f"{len(asked)} of {len(place.requests)} requests without; {capture.why}")
        assert len(asked) == 3
        assert all(request.startswith(b"GET /video?channel=1& HTTP/1.1") for request in asked)
        assert "refuses the login" in capture.why
        assert "secret" not in capture.why
    finally:
        capture.close()
        place.close()


def test_pauses() -> None:
    """They double, from a quarter of a second to one; refused logins, from one minute to ten."""
    pauses = Pauses()
    found = [pauses.next() for _ in range(6)]
    for pause, middle in zip(found, (0.25, 0.5, 1, 1, 1, 1), strict=True):
        assert 0.75 * middle <= pause <= min(1.25 * middle, 1)
    pauses.sent()
    assert pauses.next() <= 0.32
    refused = [pauses.next(refused=True) for _ in range(8)]
    assert max(refused[:2]) <= 1
    assert refused[2:] == [60, 120, 240, 480, 600, 600]
    assert pauses.next() <= 1
    pauses.opened()
    assert pauses.next(refused=True) <= 1


@pytest.mark.slow
def test_a_camera_that_is_away_does_not_hang(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It was taken for a driver that hangs: a new thread and two lines in the log every 6 s."""
    monkeypatch.setattr(capture_module, "_HANGING_SECONDS", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
    capture = Capture(CameraOptions("c", f"http://127.0.0.1:{port}/video"))
    capture.start()
    thread = capture._thread
    end = time.monotonic() + 5
    while time.monotonic() < end:
        capture.take(0.1)
    assert capture._thread is thread
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1
    capture.close()
