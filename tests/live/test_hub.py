"""Cameras from frames to events: delays, motion, people who come and go, clean ends."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mobileface import FaceAnalyzer
from mobileface.live.camera import LiveCamera
from mobileface.live.capture import Capture, Playback
from mobileface.live.clock import SimulatedClock
from mobileface.live.event_log import EventLog
from mobileface.live.hub import Hub
from mobileface.live.live_options import CameraOptions, EventOptions
from mobileface.live.motion_gate import MotionGate
from mobileface.vision.video import VideoWriter
from tests.conftest import ROOT

from .friends import STARTER
from .streaming import drawn_frames


@pytest.fixture(scope="module")
def analyzer() -> FaceAnalyzer:
    tasks = ("detection", "landmarks", "embedding")
    return FaceAnalyzer(STARTER, tasks, detector="detection_yunet", intra_op_num_threads=1)


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody is there from second 4 to 8 of 14, at 5 fps."""
    portrait = cv2.resize(np.asarray(cv2.imread(str(ROOT / "docs/astronaut.jpg"))), (320, 320))
    empty = np.full((320, 320, 3), 90, np.uint8)
    path = tmp_path_factory.mktemp("visit") / "visit.avi"
    with VideoWriter(path, 5, 320, 320) as video:
        for number in range(70):
            video.write(np.asarray(portrait, np.uint8) if 20 <= number < 40 else empty)
    return path


def play(path: Path, analyzer: FaceAnalyzer, **options: Any) -> tuple[LiveCamera, EventLog]:
    """A film in simulated time, from its start to its end."""
    log = EventLog(EventOptions(), clock=SimulatedClock())
    playback = Playback(loop=False, lossless=True)
    given = CameraOptions("c", str(path), **options)
    camera = LiveCamera(given, analyzer, None, log, playback=playback, clock=log.clock)
    camera.start()
    camera._thread.join(60)
    assert camera.state().state == "ended"
    return camera, log


@pytest.mark.parametrize("every", [1, 3])
def test_a_visit(visit: Path, analyzer: FaceAnalyzer, every: int) -> None:
    """One event when somebody comes and one when they have left; empty frames are not analysed."""
    camera, log = play(visit, analyzer, detect_every=every)
    left, seen = log.recent()
    assert (seen.type, left.type) == ("unknown_seen", "left")
    assert seen.since == left.since
    assert abs(left.seconds - 4) < 0.6 * (every + 0.5)
    assert seen.snapshot
    face = log.face(seen.id)
    assert face is not None
    image = np.asarray(cv2.imdecode(np.frombuffer(face, np.uint8), 1), np.uint8)
    assert len(analyzer.detect(image)) == 1  # it can be enrolled
    state = camera.state()
    print(f"{state.still} of {state.frames} frames still, {seen.faces_used} faces voted")
    assert state.still >= (20 if every == 1 else 10)
    assert state.people == ()


def test_a_slow_machine(tmp_path: Path, analyzer: FaceAnalyzer) -> None:
    """Frames 1.4 s apart: who is not found in one of them has not left."""
    portrait = cv2.resize(np.asarray(cv2.imread(str(ROOT / "docs/astronaut.jpg"))), (320, 320))
    empty = np.full((320, 320, 3), 90, np.uint8)
    with VideoWriter(tmp_path / "slow.avi", 0.7, 320, 320) as video:
        for number in range(20):
            there = 2 <= number <= 12 and number != 7
            video.write(np.asarray(portrait, np.uint8) if there else empty)
    _, log = play(tmp_path / "slow.avi", analyzer, motion=False)
    left, seen = log.recent()
    assert (seen.type, left.type) == ("unknown_seen", "left")
    print(f"stayed {left.seconds:.2f} s of {10 / 0.7:.2f}")
    assert abs(left.seconds - 10 / 0.7) < 0.1


def test_without_the_gate_all_frames_are_analysed(visit: Path, analyzer: FaceAnalyzer) -> None:
    camera, log = play(visit, analyzer, motion=False)
    assert camera.state().still == 0
    assert len(log.recent()) == 2


def test_at_most_so_many_frames_a_second(visit: Path, analyzer: FaceAnalyzer) -> None:
    camera, _ = play(visit, analyzer, motion=False, max_fps=1)
    assert camera.state().dropped == 56


def test_the_gate() -> None:
    """Noise is still; a square of a twentieth of the width is not; and a look every two seconds."""
    random = np.random.RandomState(0)
    gate = MotionGate()
    still = np.full((720, 1280, 3), 120, np.uint8)

    def noisy(image: Any) -> Any:
        return np.clip(image + random.normal(0, 4, image.shape), 0, 255).astype(np.uint8)

    assert gate(noisy(still), 0.0, False)
    gate.detected(0.0)
    assert [gate(noisy(still), 1.0 + 0.1 * n, False) for n in range(9)] == [False] * 9
    assert gate(noisy(still), 2.0, False)
    gate.detected(2.0)
    assert not gate(noisy(still), 2.1, False)
    assert gate(noisy(still), 2.2, True)
    square = still.copy()
    square[300:364, 600:664] = 180
    assert gate(noisy(square), 2.3, False)
    costs = []
    for _ in range(50):
        start = time.perf_counter()
        gate(square, 3.0, False)
        costs.append(time.perf_counter() - start)
    print(f"the gate takes {1000 * float(np.median(costs)):.2f} ms for a frame of 1280×720")


@pytest.mark.needs_source
@pytest.mark.slow
def test_delay_from_capture_to_event(source: Path, analyzer: FaceAnalyzer) -> None:
    """In real time, every frame detected in, six people at once. Figures, and no growing queue."""
    camera = CameraOptions("c", str(source / "example" / "friends1.mp4"))
    hub = Hub([camera], EventOptions(cooldown=0), None, analyzer, None)
    hub.start()
    time.sleep(11)  # nearly twice the length of the video
    state = hub.cameras["c"].state()
    hub.close()
    # An event of two faces is made when the track has ended, and says how long that took.
    seen = [e for e in hub.events.recent(limit=1000) if e.type == "unknown_seen"]
    delays = [e.delay_ms for e in seen if e.faces_used >= 3]
    first, last = delays[: len(delays) // 2], delays[len(delays) // 2 :]
    print(
        f"{len(delays)} events, p50 {np.median(delays):.0f} ms, at most {max(delays):.0f} ms; "
        f"{state.dropped} of {state.frames} frames dropped; halves {first} {last}"
    )
    assert len(delays) >= 6
    assert max(delays) < 3000


def test_closing_is_quick_also_when_a_camera_hangs(
    analyzer: FaceAnalyzer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hang = threading.Event()
    monkeypatch.setattr(Capture, "_open", lambda self: hang.wait(30))
    cameras = [CameraOptions(f"c{n}", str(tmp_path / "none.mp4")) for n in range(4)]
    hub = Hub(cameras, EventOptions(), None, analyzer, None)
    hub.start()
    start = time.monotonic()
    hub.close()
    passed = time.monotonic() - start
    hang.set()
    print(f"closed after {passed:.2f} s")
    assert passed < 3


def test_a_failing_frame_does_not_end_the_camera(
    analyzer: FaceAnalyzer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: Any
) -> None:
    path = tmp_path / "film.avi"
    with VideoWriter(path, 25, 160, 120) as video:
        for image in drawn_frames():
            video.write(image)
    calls = []

    def failing(*_: Any, **__: Any) -> list[Any]:
        calls.append(1)
        raise RuntimeError("no memory")

    monkeypatch.setattr(analyzer, "detect", failing)
    play(path, analyzer)
    assert len(calls) == 25
    assert len(caplog.records) == 1
