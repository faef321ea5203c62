"""Memory use of a process that analyses many images of many sizes, and of each task on its own.

    python benchmarks/memory_growth.py [--images 10000] [--sizes 200] [--largest 300]
    python benchmarks/memory_growth.py --video [--images 4000]
    python benchmarks/memory_growth.py --tasks [--largest 1280]

Prints one JSON object. The first form analyses images of many sizes in random order with the
starter set, on one thread, and fits a line to the resident memory after a warm-up that includes
every size. The second reads a video in a loop, tracks its face and writes an annotated video. The
third runs each task in a fresh process on images of 32 sizes and prints the peak memory of the
process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from mobileface import (
    FaceAnalyzer,
    FaceFollower,
    VideoReader,
    VideoWriter,
    draw_faces,
    enhance,
    makeup,
)
from mobileface.host.measure import peak_memory
from mobileface.vision.image import Image
from mobileface.vision.synthetic_faces import draw_frames

Item = TypeVar("Item")
MODELS = Path(__file__).resolve().parents[1] / "models_onnx"
SMALLEST = 100
WARM_UP = 0.2
EVERY = 10
VIDEO, LOOP = (240, 320), 100
BORDER = cv2.BORDER_REFLECT
PAGE = os.sysconf("SC_PAGE_SIZE")
TASKS = ("import", "detection", "landmarks", "embedding", "enhance", "makeup", "analyze")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--sizes", type=int, default=200)
    parser.add_argument(
        "--largest", type=int, help="largest side in pixels; default: 300, or 1280 with --tasks"
    )
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--video", action="store_true")
    parser.add_argument("--tasks", action="store_true")
    parser.add_argument("--task", choices=TASKS, help="run only this task, in this process")
    options = parser.parse_args()
    if options.task:
        print(json.dumps(run_task(options.task, options.models, options.largest or 1280)))
    elif options.tasks:
        command = [sys.executable, __file__, "--models", options.models]
        command += ["--largest", str(options.largest or 1280), "--task"]
        print(json.dumps({task: json.loads(output([*command, task])) for task in TASKS}))
    elif options.video:
        print(json.dumps(video(options.images, options.models)))
    else:
        largest = options.largest or 300
        print(json.dumps(growth(options.images, options.sizes, largest, options.models)))


def output(command: list[object]) -> str:
    return subprocess.run(
        [str(word) for word in command], check=True, capture_output=True, text=True
    ).stdout


def growth(images: int, sizes: int, largest: int, models: Path) -> dict[str, float]:
    """Measures the growth of resident memory over images of many sizes."""
    random = np.random.RandomState(0)
    sides = random.randint(SMALLEST, largest + 1, (sizes, 2)).tolist()
    frames = [make_frame(height, width, seed) for seed, (height, width) in enumerate(sides)]
    analyzer = FaceAnalyzer(models, intra_op_num_threads=1)
    order = [*range(sizes), *random.randint(0, sizes, max(images - sizes, 0))]
    found = grown(order, lambda index: len(analyzer(frames[index])))
    return {**found, "sizes": sizes}


def video(images: int, models: Path) -> dict[str, float]:
    """Measures the growth of resident memory over the frames of a video read in a loop."""
    analyzer = FaceAnalyzer(models, intra_op_num_threads=1, spinning=False)
    follower = FaceFollower(analyzer, detect_every=5)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.mp4"
        with VideoWriter(source, 25, VIDEO[1], VIDEO[0]) as writer:
            for number in range(LOOP):
                writer.write(np.roll(make_frame(*VIDEO), number, axis=1))
        with VideoWriter(Path(folder) / "out.mp4", 25, VIDEO[1], VIDEO[0]) as writer:

            def work(frame: Image) -> int:
                found = [face.face for face in follower(frame).faces]
                writer.write(draw_faces(frame, found))
                return len(found)

            return grown(loop(source, images), work)


def loop(path: Path, count: int) -> Iterator[Image]:
    """Yields ``count`` frames of a video, which restarts when it ends."""
    done = 0
    while True:
        with VideoReader(path) as reader:
            for _, frame in reader:
                if done == count:
                    return
                done += 1
                yield frame


def grown(items: Iterable[Item], work: Callable[[Item], int]) -> dict[str, float]:
    """Processes all items and fits a line to the resident memory after the warm-up."""
    rows, faces, start = [], 0, time.perf_counter()
    for number, item in enumerate(items):
        faces += work(item)
        if number % EVERY == 0:
            rows.append((number, resident()))
    rows = rows[int(WARM_UP * len(rows)) :]
    numbers, held = np.array(rows, np.float64).T
    return {
        "images": number + 1,
        "faces": faces,
        "bytes_an_image": round(float(np.polyfit(numbers, held, 1)[0]), 2),
        "resident_mb": round(held[-1] / 1e6, 1),
        "peak_mb": round((peak_memory() or 0) / 1e6, 1),
        "ms_an_image": round(1e3 * (time.perf_counter() - start) / (number + 1), 2),
    }


def make_frame(height: int, width: int, seed: int = 0) -> Image:
    """A synthetic face image, padded to the given size; drawing it takes little memory."""
    side = min(height, width)
    face = cv2.resize(draw_frames(1, SMALLEST, SMALLEST, seed)[0], (side, side))
    return np.asarray(cv2.copyMakeBorder(face, 0, height - side, 0, width - side, BORDER), np.uint8)


def run_task(task: str, models: Path, largest: int) -> dict[str, float]:
    """Peak memory of a process that runs only this task."""
    random = np.random.RandomState(0)
    sides = random.randint(largest // 4, largest + 1, (32, 2)).tolist()
    sides = [[largest * 9 // 16, largest], *sides]
    work = work_of(task, models)
    for height, width in sides:
        work(make_frame(min(height, largest * 9 // 16), width))
    return {"peak_mb": round((peak_memory() or 0) / 1e6, 1)}


def work_of(task: str, models: Path) -> Callable[[Image], object]:
    """The function that a task runs on an image."""
    if task == "import":
        return len
    if task == "enhance":
        return enhance
    if task == "makeup":
        return makeup
    if task == "detection":
        return FaceAnalyzer(models, ["detection"], intra_op_num_threads=1)
    tasks = None if task == "analyze" else ["detection", "landmarks", task]
    return FaceAnalyzer(models, tasks, intra_op_num_threads=1)


def resident() -> int:
    """Resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


if __name__ == "__main__":
    main()
