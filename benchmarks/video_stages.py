"""Tracks the faces of a video on all CPUs: fps, run time by stage, and memory over many frames.

    python benchmarks/video_stages.py VIDEO [--frames N] [--every N|auto] [--memory N]

Prints one JSON object: ``fps`` of the whole, milliseconds per frame of each stage, and with
``--memory`` the slope of the resident memory in bytes per frame while N frames of the looped video
are processed.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from mobileface import FaceAnalyzer, FaceFollower, VideoReader, VideoWriter, draw_faces
from mobileface.commands.track import detect_every

MODELS = Path(__file__).resolve().parents[1] / "models_onnx"
WARM_UP = 400
PAGE = os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    if hasattr(os, "sched_setaffinity"):  # the calling benchmark may be pinned to one CPU
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--every", type=detect_every, default=1)
    parser.add_argument("--memory", type=int, default=0)
    options = parser.parse_args()
    result = stages(options.video, options.frames, options.every)
    if options.memory:
        result["bytes_a_frame"] = memory_slope(options.video, options.memory)
    print(json.dumps(result))


def stages(path: Path, count: int, every: int | str) -> dict[str, object]:
    """Frames per second of the whole, and milliseconds per frame of each stage."""
    seconds: dict[str, float] = defaultdict(float)
    with tempfile.TemporaryDirectory() as folder, VideoReader(path) as video:
        follower = FaceFollower(FaceAnalyzer(MODELS), detect_every=every, fps=video.fps)  # type: ignore[arg-type]
        target = Path(folder) / "out.mp4"
        done, detections = 0, 0
        with VideoWriter(target, video.fps, video.width, video.height) as writer:
            begin = mark = time.perf_counter()
            for _, frame in video:
                seconds["read"] += time.perf_counter() - mark
                found = follower(frame)
                detections += found.detected
                for stage, spent in found.seconds.items():
                    seconds[stage] += spent
                mark = time.perf_counter()
                drawn = draw_faces(frame, [face.face for face in found.faces])
                seconds["draw"] += time.perf_counter() - mark
                mark = time.perf_counter()
                writer.write(drawn)
                seconds["write"] += time.perf_counter() - mark
                done += 1
                if done == count:
                    break
                mark = time.perf_counter()
            whole = time.perf_counter() - begin
    return {
        "size": [video.width, video.height],
        "cpus": os.cpu_count(),
        "frames": done,
        "detections": detections,
        "fps": round(done / whole, 1),
        "ms_a_frame": {stage: round(1e3 * spent / done, 3) for stage, spent in seconds.items()},
    }


def memory_slope(path: Path, count: int) -> float:
    """Growth of resident memory in bytes per frame after a warm-up, at a quarter of the size."""
    with VideoReader(path) as video:
        small = [np.asarray(cv2.resize(frame, None, fx=0.5, fy=0.5)) for _, frame in video][:100]
    follower = FaceFollower(FaceAnalyzer(MODELS), detect_every=5)
    rows = []
    for number in range(count):
        follower(small[number % len(small)])
        if number >= WARM_UP and number % 20 == 0:
            rows.append((number, resident()))
    frames, sizes = np.array(rows, float).T
    return float(np.polyfit(frames, sizes, 1)[0])


def resident() -> int:
    """Resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


if __name__ == "__main__":
    main()
