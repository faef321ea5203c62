"""Steps without a network, one thread, rotating inputs: pose, crops, enhancement, makeup, swap."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.faces import read_frames
from benchmarks.replay import OURS, Contest, report
from mobileface import (
    FaceAnalyzer,
    FaceSwapper,
    MakeupTransfer,
    align,
    enhance,
    load_pose,
    makeup,
    read_image,
)
from mobileface.effects.mesh_faces import MOST_TURNED, turned_by
from mobileface.types import Face, Landmarks
from mobileface.vision.image import Image

MODELS = Path(__file__).resolve().parents[1] / "models_onnx"
MESH, GIRL = "landmark_mesh", "makeup_result/girl_makeup.png"
FIVE = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
PLACES = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
STEPS = {
    "pose": 500,
    "align, mobileface": 300,
    "align, arcface": 300,
    "align, dlib": 300,
    "enhance 1280x720": 60,
    "makeup of faces 1280x720": 12,
    "makeup, whole 1280x720": 6,
    "makeup, like a photo 1280x720": 12,
    "swap of a face 1280x720": 60,
}

Step = Callable[[int], Any]


def sides(face: Face) -> tuple[float, float]:
    """Width and height of a face's box in pixels."""
    x1, y1, x2, y2 = (float(value) for value in face.bbox)
    return x2 - x1, y2 - y1


@pytest.fixture(scope="module")
def steps(source: Path, converted: Path) -> dict[str, Step]:
    """Every step, applied to the faces of the example videos."""
    frames = [f for n in (1, 2) for f in read_frames(source / "example" / f"friends{n}.mp4")]
    analyzer = FaceAnalyzer(MODELS, ("detection", "landmarks"), intra_op_num_threads=1)
    found = [(frame, analyzer(frame)) for frame in frames]
    faces = [(frame, face) for frame, those in found for face in those]
    pose = load_pose(models=converted)
    meshed = FaceAnalyzer(
        MODELS,
        ("detection", "landmarks", "pose"),
        landmarks="landmark_mesh",
        pose="pose_mesh",
        intra_op_num_threads=1,
    )
    swapped = [
        (frame, face)
        for frame in frames
        for face in meshed(frame)
        if face.mesh is not None and turned_by(face) < MOST_TURNED and min(sides(face)) > 64
    ]
    swapper = FaceSwapper(*swapped[0])

    def five(number: int) -> tuple[Image, Landmarks]:
        frame, face = faces[number % len(faces)]
        x1, y1, x2, y2 = face.bbox
        points = np.array(PLACES) * [x2 - x1, y2 - y1] + [x1, y1]
        return frame, Landmarks(FIVE, points.astype(np.float32))

    def dlib_chip(number: int) -> Any:
        frame, face = faces[number % len(faces)]
        assert face.landmarks is not None
        return align(frame, face.landmarks, crop="dlib")

    meshed = FaceAnalyzer(MODELS, ("detection", "landmarks"), landmarks=MESH)
    group, portrait = (read_image(source / "example" / name) for name in ("friends.jpg", GIRL))
    transfer = MakeupTransfer(group, meshed(group)[0])
    portrait = np.ascontiguousarray(portrait[:720])
    girl = meshed(portrait)

    return {
        "pose": lambda number: pose.estimate(five(number)[1]),
        "align, mobileface": lambda number: align(*five(number), crop="mobileface"),
        "align, arcface": lambda number: align(*five(number), crop="arcface"),
        "align, dlib": dlib_chip,
        "enhance 1280x720": lambda number: enhance(frames[number % len(frames)]),
        "makeup of faces 1280x720": lambda number: makeup(*found[number % len(found)]),
        "makeup, whole 1280x720": lambda number: makeup(frames[number % len(frames)]),
        "makeup, like a photo 1280x720": lambda _: transfer(portrait, girl),
        "swap of a face 1280x720": lambda number: swapper(*swapped[number % len(swapped)]),
    }


@pytest.mark.parametrize("step", STEPS)
def test_step(benchmark: Any, steps: dict[str, Step], step: str) -> None:
    rounds, extra = STEPS[step], {"task": step.split()[0].strip(","), "batch": 1, "kind": "step"}
    contest = Contest(step, {OURS: lambda: steps[step]}, range(min(rounds, 40)), rounds, extra)
    report(benchmark, contest, OURS)
