"""Capture: the newest frame wins, cameras come back, passwords stay secret."""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileface.live.capture import Capture, Playback
from mobileface.live.clock import SimulatedClock
from mobileface.vision.video import VideoWriter
from tests.certificates import make_certificate

from .streaming import drawn_frames, network_camera

RESUME_SECONDS = 3.0


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """25 frames at 25 fps."""
    path = tmp_path / "film.avi"
    with VideoWriter(path, 25, 160, 120) as video:
        for image in drawn_frames():
            video.write(image)
    return path


def test_a_file_is_played_in_real_time_and_again(film: Path, started: Any) -> None:
    capture = started(str(film))
    first = capture.take(5)
    assert first is not None
    taken = [first]
    while taken[-1].number < 30:
        frame = capture.take(5)
        assert frame is not None
        taken.append(frame)
    passed = taken[-1].taken - first.taken
    print(f"29 frame distances of 40 ms took {passed:.3f} s; {capture.drops} dropped")
    assert passed >= 29 * 0.04 - 0.06
    assert [f.number for f in taken] == sorted({f.number for f in taken})
    assert len(taken) + capture.drops >= 30
    assert capture.reconnects == 0
    assert capture.state == "running"


def test_the_newest_frame_wins(film: Path, started: Any) -> None:
    capture = started(str(film))
    assert capture.take(5) is not None
    time.sleep(0.5)
    frame = capture.take(1)
    assert frame is not None
    late = time.monotonic() - frame.taken
    print(f"the frame is {1000 * late:.0f} ms old; {capture.drops} were dropped")
    assert capture.drops == frame.number - 2 >= 5


def test_simulated_time(film: Path, started: Any) -> None:
    """A file of a second in a fraction of it, with all frames at their times."""
    clock = SimulatedClock()
    capture = started(str(film), clock=clock, playback=Playback(loop=False, lossless=True))
    times = []
    while (frame := capture.take(5)) is not None:
        times.append(frame.time)
    assert capture.state == "ended"
    assert np.allclose(np.diff(times), 0.04, atol=1e-3)
    assert len(times) == 25
    assert clock.monotonic() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_clockwise(film: Path, started: Any, degrees: int) -> None:
    plain, turned = started(str(film)).take(5), started(str(film), rotate=degrees).take(5)
    expected = np.rot90(plain.image, -degrees // 90)
    assert turned.image.shape == expected.shape
    assert np.abs(turned.image.astype(int) - expected).mean() < 1


def test_a_camera_that_is_not_there(
    tmp_path: Path, started: Any, caplog: pytest.LogCaptureFixture
) -> None:
    capture = started(str(tmp_path / "none.mp4"))
    deadline = time.monotonic() + 5
    while capture.state != "waiting" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert capture.state == "waiting"
    assert "No such file" in capture.why
    time.sleep(0.6)
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1  # not each time


def test_passwords_stay_secret(started: Any, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
    capture = started(f"http://user:secret@127.0.0.1:{port}/video")
    deadline = time.monotonic() + 8
    while capture.state != "waiting" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "user:***@" in capture.why
    assert "secret" not in capture.why + caplog.text


def cut_and_resume(started: Any, cuts: int) -> None:
    random_ = random.Random(5)
    with network_camera() as camera:
        capture = started(camera.url)
        assert capture.take(10) is not None
        gaps = []
        for _ in range(cuts):
            time.sleep(random_.uniform(0.05, 0.4))
            camera.cut()
            cut = time.monotonic()
            before = capture.reconnects
            while capture.reconnects == before or capture.take(0.5) is None:
                assert time.monotonic() - cut < 2 * RESUME_SECONDS
                time.sleep(0.005)
            gaps.append(time.monotonic() - cut)
    print(f"{cuts} cuts, resumed after {np.median(gaps):.2f} s (median), {max(gaps):.2f} s at most")
    assert max(gaps) < RESUME_SECONDS
    assert capture.reconnects == cuts
    assert "secret" not in capture.why


def test_a_stream_that_is_cut_resumes(started: Any) -> None:
    cut_and_resume(started, 3)


@pytest.mark.endurance
def test_a_stream_that_is_cut_20_times_resumes(started: Any) -> None:
    cut_and_resume(started, 20)


def test_https(started: Any, tmp_path: Path) -> None:
    """Nobody vouches for a camera's certificate; it is taken all the same, see docs/security.md."""
    with network_camera(certificate=make_certificate(tmp_path)) as camera:
        assert camera.url.startswith("https://")
        capture = started(camera.url)
        frame = capture.take(10)
        assert frame is not None, capture.why
        assert frame.image.shape == (120, 160, 3)


@pytest.mark.slow
def test_a_silent_stream_is_opened_again(started: Any) -> None:
    with network_camera() as camera:
        capture = started(camera.url)
        assert capture.take(10) is not None
        camera.silent.set()
        start = time.monotonic()
        while capture.state != "waiting":
            capture.take(0.1)
            assert time.monotonic() - start < 8
        print(f"noticed after {time.monotonic() - start:.2f} s")
        camera.silent.clear()
        deadline = time.monotonic() + 2 * RESUME_SECONDS
        while capture.state != "running":
            assert time.monotonic() < deadline
            capture.take(0.1)


def test_closing_does_not_wait_for_a_driver_that_hangs(
    started: Any, monkeypatch: pytest.MonkeyPatch, film: Path
) -> None:
    hang = threading.Event()
    monkeypatch.setattr(Capture, "_open", lambda self: hang.wait(30))
    capture = started(str(film))
    start = time.monotonic()
    capture.close()
    passed = time.monotonic() - start
    hang.set()
    assert passed < 2
