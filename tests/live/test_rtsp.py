"""Cameras that speak RTSP, as most do: a real server (GStreamer's), over loopback.

The server's pictures show when they were made, by the same clock as `CapturedFrame.taken`.
"""

from __future__ import annotations

import logging
import random
import socket
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from mobileface.live.backlog import Backlog
from mobileface.live.capture import Capture, CapturedFrame
from mobileface.vision.image import Image
from mobileface.vision.video import VideoReader
from tests.certificates import make_certificate

from .rtsp_camera import RtspCamera, ages, made

RESUME_SECONDS = 3.0
FRAME = 40.0
"""Milliseconds from one picture to the next."""

PASSWORD = "p@s:w/ö#?%&d 1"

pytestmark = pytest.mark.needs_rtsp

Started = Callable[..., Any]


@pytest.fixture
def camera() -> Iterator[Callable[..., RtspCamera]]:
    opened: list[RtspCamera] = []

    def start(**options: Any) -> RtspCamera:
        opened.append(RtspCamera(**options))
        return opened[-1]

    yield start
    for found in opened:
        found.close()


def first_frame(capture: Capture, seconds: float = 10) -> CapturedFrame:
    """The first frame; `Capture.take` gives it up when a thread hangs, so it is asked again."""
    deadline = time.monotonic() + seconds
    while (frame := capture.take(0.5)) is None:
        assert time.monotonic() < deadline, capture.why
    return frame


def current(capture: Capture) -> CapturedFrame:
    """A frame after the backlog of the start was read."""
    deadline = time.monotonic() + 8
    while True:
        frame = first_frame(capture)
        if 1000 * (frame.taken - made(frame.image)) < 10 * FRAME:
            return frame
        assert time.monotonic() < deadline


def some(capture: Capture, count: int) -> list[tuple[float, Image]]:
    found = [first_frame(capture) for _ in range(count)]
    return [(frame.taken, frame.image) for frame in found]


def waits(capture: Capture, seconds: float = 10) -> float:
    """Seconds until the capture notices that the camera is away."""
    start = time.monotonic()
    while capture.state != "waiting":
        capture.take(0.05)
        assert time.monotonic() - start < seconds
    return time.monotonic() - start


def resumes(capture: Capture) -> float:
    """Seconds until frames come again that were made from now on."""
    start = time.monotonic()
    while True:
        frame = capture.take(0.2)
        if frame is not None and made(frame.image) >= start - 0.001:
            return time.monotonic() - start
        assert time.monotonic() - start < 3 * RESUME_SECONDS, capture.why


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"codec": "h264"},
        {"codec": "mjpeg"},
        pytest.param({"codec": "h264", "size": "1280x720"}, marks=pytest.mark.endurance),
        pytest.param({"codec": "h265"}, marks=pytest.mark.endurance),
        pytest.param({"codec": "h264", "sound": True}, marks=pytest.mark.endurance),
        pytest.param({"codec": "h264", "transport": "udp"}, marks=pytest.mark.endurance),
        pytest.param({"codec": "h264", "transport": "tcp"}, marks=pytest.mark.endurance),
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_delay(camera: Started, started: Started, options: dict[str, Any]) -> None:
    """From the making of a picture to `taken`, also after nobody took frames for a second.

    Bounds are on the least delays, which what else the machine does leaves alone: frames that are
    held back would be in all of them.
    """
    place = camera(**options)
    begin = time.monotonic()
    capture = started(place.url())
    size = first_frame(capture).image.shape
    opened = time.monotonic() - begin
    current(capture)
    before = ages(some(capture, 40))
    time.sleep(1)
    after = ages(some(capture, 25))
    print(
        f"{options}: first frame after {opened:.2f} s; delay {np.median(before):.0f} ms (median), "
        f"{before.max():.0f} ms at most; after a second without reading {after[0]:.0f} ms, "
        f"then {np.median(after):.0f} ms; {capture.drops} dropped"
    )
    width, height = map(int, options.get("size", "640x480").split("x"))
    assert size == (height, width, 3)
    assert before.min() > 0
    assert before.min() < 2 * FRAME
    assert after.min() < before.min() + FRAME
    assert capture.drops >= 15
    assert capture.reconnects == 0


@pytest.mark.endurance
def test_more_decoding_threads_would_delay(camera: Started) -> None:
    """Why `Capture` decodes on one thread: each one more holds a frame back."""
    place, least = camera(), []
    for threads in (1, 3):
        with VideoReader(place.url(), threads=threads) as video:
            taken = [(time.monotonic(), frame.image) for frame in islice(video.frames(), 90)]
        least.append(float(np.min(ages(taken)[-40:])))
    print(f"at least {least[0]:.0f} ms with one thread, {least[1]:.0f} ms with three")
    assert least[1] - least[0] == pytest.approx(2 * FRAME, abs=0.75 * FRAME)


@pytest.mark.endurance
def test_a_core_that_is_too_slow(
    camera: Started, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads at half the rate of the camera, and opens it again for all cores."""
    monkeypatch.setattr("mobileface.live.backlog._WINDOW", 1.5)
    put = Capture._put

    def slow(self: Capture, image: Image) -> None:
        put(self, image)
        if self._threads == 1:
            time.sleep(0.08)

    monkeypatch.setattr(Capture, "_put", slow)
    capture = started(camera().url())
    first_frame(capture)
    begin, why = time.monotonic(), ""
    while capture._threads == 1 or capture.reconnects == 0:
        why = capture.why or why
        capture.take(0.05)
        assert time.monotonic() - begin < 15
    print(f"after {time.monotonic() - begin:.1f} s: {why}")
    assert "too slowly" in why
    current(capture)
    time.sleep(2)
    assert capture.reconnects == 1


def test_backlog() -> None:
    """Stamps as fast as the clock, faster, with a pause, and at three quarters of it."""
    for speed, expected in ((1.0, False), (0.95, False), (2.0, False), (0.75, True)):
        backlog = Backlog()
        times = [0.04 * number for number in range(1000) if not 300 < number < 350]
        assert any(backlog.grows(7 + speed * time, time) for time in times) is expected


@pytest.mark.parametrize("kind", ["basic", "digest"])
def test_login(
    camera: Started, started: Started, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A password with all special characters, escaped; and a wrong one."""
    place = camera(login=kind, password=PASSWORD)
    assert f"WWW-Authenticate: {kind.capitalize()}" in described(place)
    capture = started(place.url(f"user:{quote(PASSWORD, safe='')}"))
    assert first_frame(capture).image.shape == (480, 640, 3)
    refused = started(place.url("user:geheim"))
    waits(refused)
    print(refused.why)
    assert "rtsp://user:***@127.0.0.1" in refused.why
    assert "the camera refuses the login; check the user, the password and the path" in refused.why
    assert "geheim" not in refused.why + caplog.text
    nobody = started(place.url())
    waits(nobody)
    print(nobody.why)
    assert "the camera wants a login; put it into the address, rtsp://USER:PASSWORD@" in nobody.why
    unescaped = started(place.url(f"user:{PASSWORD}"))
    waits(unescaped)
    print(unescaped.why)
    assert "in a password write / as %2F" in unescaped.why
    assert "w/" not in unescaped.why + caplog.text


def described(place: RtspCamera) -> str:
    """What the server answers without a login."""
    with socket.create_connection(("127.0.0.1", place.port), 5) as line:
        line.sendall(f"DESCRIBE {place.url()} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
        return line.recv(4096).decode()


def test_a_path_that_is_not_there(
    camera: Started, started: Started, caplog: pytest.LogCaptureFixture
) -> None:
    capture = started(camera().url("user:geheim", path="other"))
    waits(capture)
    time.sleep(1)
    assert "cannot be opened" in capture.why
    assert "geheim" not in capture.why + caplog.text
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1


def cut(camera: Started, started: Started, cuts: int, **options: Any) -> None:
    random_ = random.Random(5)
    place = camera(**options)
    capture = started(place.url())
    current(capture)
    gaps = []
    for _ in range(cuts):
        time.sleep(random_.uniform(0.1, 0.6))
        place.kill()
        time.sleep(random_.uniform(0, 2))
        place.start()
        gaps.append(resumes(capture))
    print(f"{cuts} cuts, resumed after {np.median(gaps):.2f} s (median), {max(gaps):.2f} s at most")
    assert max(gaps) < RESUME_SECONDS
    assert capture.reconnects >= cuts


@pytest.mark.slow
def test_a_camera_that_loses_its_power(camera: Started, started: Started) -> None:
    cut(camera, started, 2)


@pytest.mark.endurance
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_camera_that_loses_its_power_10_times(
    camera: Started, started: Started, transport: str
) -> None:
    cut(camera, started, 10, transport=transport)


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["tcp", pytest.param("udp", marks=pytest.mark.endurance)])
def test_a_camera_that_hangs(camera: Started, started: Started, transport: str) -> None:
    """It keeps the connection, and neither sends nor answers."""
    place = camera(transport=transport)
    capture = started(place.url())
    current(capture)
    place.hang()
    noticed = waits(capture)
    time.sleep(1)
    place.go_on()
    resumed = resumes(capture)
    print(f"noticed after {noticed:.2f} s, resumed after {resumed:.2f} s")
    assert noticed < 5  # the time limit of 3 s, once
    assert resumed < 2 * RESUME_SECONDS


@pytest.mark.slow
def test_a_server_that_never_answers(started: Started) -> None:
    with socket.create_server(("127.0.0.1", 0)) as place:
        capture = started(f"rtsp://user:secret@127.0.0.1:{place.getsockname()[1]}/live")
        noticed = waits(capture)
        print(f"noticed after {noticed:.2f} s: {capture.why}")
        assert noticed < 5
        assert "secret" not in capture.why
        begin = time.monotonic()
        capture.close()
        assert time.monotonic() - begin < 2


@pytest.mark.endurance
def test_a_camera_that_pauses_for_10_seconds(camera: Started, started: Started) -> None:
    place = camera()
    capture = started(place.url())
    current(capture)
    place.pause(10)
    begin = time.monotonic()
    noticed = waits(capture)
    while time.monotonic() < begin + 10:
        capture.take(0.1)
    resumed = resumes(capture)
    print(f"noticed after {noticed:.2f} s, resumed after {resumed:.2f} s")
    assert noticed < 5
    assert resumed < RESUME_SECONDS


@pytest.mark.parametrize(("transport", "sockets"), [("both", 0), ("tcp", 0), ("udp", 2)])
def test_transport(camera: Started, started: Started, transport: str, sockets: int) -> None:
    """TCP if the server offers both; OpenCV 4.11 by itself takes UDP, for RTP and for RTCP."""
    capture = started(camera(transport=transport).url())
    first_frame(capture)
    table = Path("/proc/net/udp").read_text().splitlines()[1:]
    mine = {str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}
    assert sum(f"socket:[{line.split()[9]}]" in mine for line in table) == sockets


def test_rtsp_over_tls(camera: Started, started: Started, tmp_path: Path) -> None:
    """Nobody vouches for a camera's certificate; it is taken all the same, see docs/security.md."""
    place = camera(certificate=make_certificate(tmp_path))
    assert place.url().startswith("rtsps://")
    frame = current(started(place.url()))
    assert frame.image.shape == (480, 640, 3)


@pytest.mark.endurance
def test_two_readers(camera: Started, started: Started) -> None:
    place = camera()
    captures = [started(place.url()) for _ in range(2)]
    for capture in captures:
        current(capture)
    delays = [ages(some(capture, 20)) for capture in captures]
    print("delays", [f"{np.median(each):.0f} ms (median)" for each in delays])
    assert max(each.min() for each in delays) < 2 * FRAME
    assert [capture.reconnects for capture in captures] == [0, 0]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation(camera: Started, started: Started, degrees: int) -> None:
    capture = started(camera().url(), rotate=degrees)
    frame = first_frame(capture)
    upright = np.rot90(frame.image, degrees // 90)
    assert upright.shape == (480, 640, 3)
    assert 0 < frame.taken - made(upright) < 10


def test_another_size_after_a_cut(camera: Started, started: Started) -> None:
    place = camera()
    capture = started(place.url())
    assert current(capture).image.shape == (480, 640, 3)
    place.kill()
    place.options["size"] = "1280x720"
    place.start()
    resumes(capture)
    assert current(capture).image.shape == (720, 1280, 3)
    assert capture.reconnects >= 1
