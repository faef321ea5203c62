"""The frontal face detector on grey frames of both videos, one thread: dlib and ours in turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.replay import measure_in_turn, report
from mobileface.loading import load_detector
from mobileface_convert.pipeline import convert
from mobileface_convert.recipe import load_recipe

dlib = pytest.importorskip("dlib")

SIZES = {"640x360": (640, 360), "1280x720": (1280, 720)}
ROUNDS = 40
WARM_UP = 4
EVERY = 40

Times = tuple[str, dict[str, list[float]]]


def read_frames(path: Path) -> list[npt.NDArray[np.uint8]]:
    """Every so many-th frame of a video, uint8 (H, W, 3) BGR."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        done, frame = capture.read()
        if not done:
            return frames[::EVERY]
        frames.append(np.asarray(frame, np.uint8))


@pytest.fixture(scope="module", params=SIZES)
def times(
    request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory
) -> Times:
    folder = tmp_path_factory.mktemp("models")
    convert(load_recipe("detection_hog"), None, folder, verify=False)
    ours = load_detector(models=folder, intra_op_num_threads=1)
    theirs = dlib.get_frontal_face_detector()
    frames = [f for i in (1, 2) for f in read_frames(source / "example" / f"friends{i}.mp4")]
    size = SIZES[request.param]
    grays = [cv2.cvtColor(cv2.resize(frame, size), cv2.COLOR_BGR2GRAY) for frame in frames]
    engines = {"dlib": lambda gray: theirs(gray, 0), "onnx": ours.detect}
    return request.param, measure_in_turn(engines, grays, ROUNDS, WARM_UP)


@pytest.mark.parametrize("engine", ["dlib", "onnx"])
def test_detection(benchmark: Any, times: Times, engine: str) -> None:
    size, measured = times
    report(benchmark, f"detection_hog {size}", engine, measured[engine])
