"""Costs and benefits of threads: wall time and CPU time of the full analysis of an image.

    python benchmarks/thread_costs.py [--cpus N] [--rate 10] [--rounds 12] [--models DIR]

Compares several thread settings of ONNX Runtime in one process, runs interleaved, at full speed and
at the frame rate of a camera. Prints one JSON object: for each setting the milliseconds and CPU
milliseconds per image (medians of the rounds) and the number of threads that its sessions started.
``--cpus`` restricts the process to this many CPUs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import onnxruntime

from mobileface import FaceAnalyzer
from mobileface.host.threads import available_cpus
from mobileface.vision.synthetic_faces import draw_frames

STARTER = Path(__file__).resolve().parents[1] / "models_onnx"
FRAMES = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpus", type=int)
    parser.add_argument("--rate", type=float, default=10, help="frame rate of the camera")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--models", type=Path, default=STARTER)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    options = parser.parse_args()
    if options.cpus:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cpus])
    cv2.setNumThreads(available_cpus())
    frames = draw_frames(FRAMES, 240, 320)
    analyzers, started = {}, {}
    for way in options.ways:
        before = count_threads()
        analyzers[way] = WAYS[way](options.models)
        for frame in frames:
            analyzers[way](frame)
        started[way] = count_threads() - before
    result = {"cpus": available_cpus(), "threads": started}
    for name, pause in (("full_speed", 0.0), ("camera", 1 / options.rate)):
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in analyzers}
        for _ in range(options.rounds):
            for way, analyzer in analyzers.items():
                found[way].append(measure(analyzer, frames, pause))
        result[name] = {
            way: {
                "ms": round(statistics.median(wall for wall, _ in pairs), 2),
                "cpu_ms": round(statistics.median(cpu for _, cpu in pairs), 2),
            }
            for way, pairs in found.items()
        }
    print(json.dumps(result))


def measure(analyzer: FaceAnalyzer, frames: list, pause: float) -> tuple[float, float]:
    """Wall and CPU milliseconds per image, for images that arrive every ``pause`` seconds."""
    analyzer(frames[0])  # threads of the previous setting have stopped spinning after this
    cpu, busy = time.process_time(), 0.0
    for frame in frames:
        start = time.perf_counter()
        analyzer(frame)
        spent = time.perf_counter() - start
        busy += spent
        time.sleep(max(pause - spent, 0))
    count = len(frames)
    return 1e3 * busy / count, 1e3 * (time.process_time() - cpu) / count


def plain(models: Path) -> FaceAnalyzer:
    """ONNX Runtime's default settings, with one thread per CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cpus()
    options.log_severity_level = 3
    return FaceAnalyzer(models, sess_options=options)


WAYS: dict[str, Callable[[Path], FaceAnalyzer]] = {
    "default": lambda models: FaceAnalyzer(models),
    "one thread": lambda models: FaceAnalyzer(models, intra_op_num_threads=1),
    "sleeping": lambda models: FaceAnalyzer(models, spinning=False),
    "spinning": lambda models: FaceAnalyzer(models, spinning=True),
    "onnxruntime": plain,
}


def count_threads() -> int:
    return sum(1 for _ in Path("/proc/self/task").iterdir())


if __name__ == "__main__":
    main()
