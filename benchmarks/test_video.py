"""Tracking: the tracker alone on one thread, and complete videos on all CPUs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.replay import OURS, Contest, replay, report
from mobileface import Tracker

SCRIPT = Path(__file__).with_name("video_stages.py")
FRAMES = 330
LARGEST_SLOPE = 1000


@pytest.mark.parametrize("faces", [10, 100])
def test_tracker(benchmark: Any, faces: int) -> None:
    """60-pixel faces moving at random in 1800×1800 pixels, 1 px of noise, 5 % of them missed."""
    random = np.random.RandomState(0)
    place, pace = random.rand(faces, 2) * 1800, random.randn(faces, 2) * 4
    frames = []
    for _ in range(FRAMES):
        place = place + pace
        boxes = np.hstack([place, place + 60]) + random.randn(faces, 4)
        frames.append(boxes[random.rand(faces) > 0.05])
    tracker = Tracker()
    extra = {"task": "tracking", "batch": faces, "kind": "step"}
    makers = {OURS: lambda: tracker.update}
    report(benchmark, Contest(f"tracker, {faces} faces", makers, frames, 300, extra), OURS)


def run(source: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, str(SCRIPT), str(source / "example" / "friends1.mp4"), *options]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("every", ["1", "auto"])
def test_video(benchmark: Any, source: Path, every: str) -> None:
    """1280×720 with drawing and encoding; prints fps and the run time of each stage."""
    found = run(source, "--every", every, "--frames", "100")
    print(f"\nfriends1.mp4, detection every {every}: {json.dumps(found)}")
    benchmark.extra_info.update(found, engine=OURS, kind="video")
    replay(benchmark, f"video, detect every {every}", [1 / found["fps"]])


def test_memory(source: Path) -> None:
    """Memory does not grow over 2,000 frames."""
    found = run(source, "--frames", "1", "--memory", "2000")
    print(f"\n{found['bytes_a_frame']:.0f} bytes per frame")
    assert found["bytes_a_frame"] <= LARGEST_SLOPE
