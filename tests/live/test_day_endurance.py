"""A day of one camera, in simulated time: memory stays flat, and snapshots are rotated."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from mobileface import FaceAnalyzer
from mobileface.live.camera import LiveCamera
from mobileface.live.capture import Playback
from mobileface.live.clock import SimulatedClock
from mobileface.live.event_log import EventLog
from mobileface.live.live_options import CameraOptions, EventOptions
from mobileface.vision.video import VideoWriter
from tests.conftest import ROOT

from .friends import STARTER

FPS, FRAMES, THERE = 0.25, 150, slice(50, 60)
HOURS, WARM_UP = 24, 4
KEEP_BYTES = 1_000_000
MOST_GROWTH = 6.0
"""Megabytes that the process may grow after the first hours, in the twenty that follow."""


@pytest.fixture(scope="module")
def ten_minutes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of ten minutes in which somebody is there for 40 seconds."""
    portrait = cv2.resize(np.asarray(cv2.imread(str(ROOT / "docs/astronaut.jpg"))), (320, 320))
    random = np.random.RandomState(0)
    path = tmp_path_factory.mktemp("day") / "day.avi"
    with VideoWriter(path, FPS, 320, 320) as video:
        for number in range(FRAMES):
            there = THERE.start <= number < THERE.stop
            image = portrait if there else np.full((320, 320, 3), 90, np.uint8)
            noise = random.normal(0, 3, image.shape)
            video.write(np.asarray(np.clip(image + noise, 0, 255), np.uint8))
    return path


def megabytes() -> float:
    """Resident memory of this process."""
    found = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


@pytest.mark.endurance
def test_a_day(ten_minutes: Path, tmp_path: Path) -> None:
    tasks = ("detection", "landmarks", "embedding")
    analyzer = FaceAnalyzer(STARTER, tasks, detector="detection_yunet", intra_op_num_threads=1)
    clock = SimulatedClock()
    start = clock.monotonic()
    options = EventOptions(folder=tmp_path, keep_bytes=KEEP_BYTES, keep_days=0.5, cooldown=0)
    log = EventLog(options, clock=clock)
    camera = LiveCamera(
        CameraOptions("door", str(ten_minutes)),
        analyzer,
        None,
        log,
        playback=Playback(loop=True, lossless=True),
        clock=clock,
    )
    camera.start()
    memory: list[float] = []
    try:
        while len(memory) < HOURS:
            camera._thread.join(0.05)
            assert camera._thread.is_alive()
            if clock.monotonic() - start >= 3600 * (len(memory) + 1):
                memory.append(megabytes())
    finally:
        camera.stop()
        camera.close(5)
    state = camera.state()
    pictures = list(tmp_path.rglob("*.jpg"))
    kept = sum(path.stat().st_size for path in pictures)
    visits = HOURS * 3600 / (FRAMES / FPS)
    events = [event for event in log.recent(limit=10_000) if event.type == "unknown_seen"]
    growth = max(memory[WARM_UP:]) - memory[WARM_UP - 1]
    print(
        f"{state.frames} frames, {state.still} still; {len(events)} of {visits:.0f} visits in the "
        f"log, {len(pictures)} pictures of {kept / 1e6:.2f} MB; memory by the hour "
        f"{[round(value, 1) for value in memory]} MB"
    )
    assert 0 < kept <= KEEP_BYTES
    assert pictures
    assert growth <= MOST_GROWTH
    assert abs(state.frames - HOURS * 3600 * FPS) <= 0.02 * HOURS * 3600 * FPS
    assert len({event.day for event in log.recent(limit=10_000)}) <= 2
    assert abs(len(events) - visits) <= 0.05 * visits
