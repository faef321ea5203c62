"""Frontal face detector on grey frames of both videos, one thread: dlib and ours interleaved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest

from benchmarks.faces import read_frames
from benchmarks.replay import OURS, Contest, report
from mobileface.tasks.loading import load_detector
from mobileface.vision.image import Image
from mobileface_convert.build.pipeline import convert
from mobileface_convert.recipes.recipe import load_recipe

dlib = pytest.importorskip("dlib")

SIZES = {"640x360": (640, 360), "1280x720": (1280, 720)}
ROUNDS = 40


@pytest.fixture(scope="module", params=SIZES)
def contest(
    request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory
) -> Contest[Image]:
    folder = tmp_path_factory.mktemp("models")
    convert(load_recipe("detection_hog"), None, folder, verify=False)
    ours = load_detector("detection_hog", models=folder, intra_op_num_threads=1)
    theirs = dlib.get_frontal_face_detector()
    frames = [f for i in (1, 2) for f in read_frames(source / "example" / f"friends{i}.mp4")]
    size = SIZES[request.param]
    grays = [cv2.cvtColor(cv2.resize(frame, size), cv2.COLOR_BGR2GRAY) for frame in frames]
    makers = {OURS: lambda: ours.detect, "dlib": lambda: lambda gray: theirs(gray, 0)}
    extra = {"task": "detection", "model": "detection_hog", "batch": 1, "kind": "end to end"}
    return Contest(f"detection_hog, {request.param}", makers, grays, ROUNDS, extra)


@pytest.mark.parametrize("engine", [OURS, "dlib"])
def test_detection(benchmark: Any, contest: Contest[Image], engine: str) -> None:
    report(benchmark, contest, engine)
