"""The full pipeline on 1280×720 photos, one thread: total run time and run time of each stage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.faces import read_frames
from benchmarks.replay import replay
from mobileface import FaceAnalyzer, align
from mobileface.host.measure import summarise
from mobileface.types import Face
from mobileface.vision.image import Image

MODELS = Path(__file__).resolve().parents[1] / "models_onnx"
ROUNDS = 16
STAGES = ("whole", "detection", "landmarks", "pose", "align", "attributes", "embedding")
SETS = ("starter", "converted")


@pytest.fixture(scope="module")
def photos(source: Path) -> list[Image]:
    """Frames of both example videos, BGR."""
    return [f for n in (1, 2) for f in read_frames(source / "example" / f"friends{n}.mp4")]


@pytest.fixture(scope="module", params=SETS)
def stages(
    request: pytest.FixtureRequest, converted: Path, photos: list[Image]
) -> tuple[str, dict[str, list[float]], float, dict[str, Any]]:
    """Name of the set, seconds per photo by stage, faces per photo, and the models that run."""
    folder = MODELS if request.param == "starter" else converted
    analyzer = FaceAnalyzer(folder, intra_op_num_threads=1)
    seconds: dict[str, list[float]] = {}
    found = 0
    for number in range(ROUNDS + 2):
        photo = photos[number % len(photos)]
        spent, count = _run(analyzer, photo)
        if number >= 2:
            found += count
            for stage, value in spent.items():
                seconds.setdefault(stage, []).append(value)
    return request.param, seconds, found / ROUNDS, analyzer.models


def _run(analyzer: FaceAnalyzer, photo: Image) -> tuple[dict[str, float], int]:
    """Seconds by stage, and the number of faces of one photo."""
    spent: dict[str, float] = {}
    start = time.perf_counter()
    faces: Sequence[Face] = analyzer(photo)
    spent["whole"] = time.perf_counter() - start
    start = time.perf_counter()
    bare = analyzer.detect(photo)
    spent["detection"] = time.perf_counter() - start
    start = time.perf_counter()
    marked = analyzer.describe(photo, bare, ())
    spent["landmarks"] = time.perf_counter() - start
    for task in set(analyzer.tasks) & {"pose", "attributes", "embedding"}:
        start = time.perf_counter()
        analyzer.describe(photo, marked, (task,))
        spent[task] = time.perf_counter() - start
    if analyzer.embedder is not None:
        crop, size = analyzer.embedder.crop, analyzer.embedder.image.height
        start = time.perf_counter()
        for face in marked:
            if face.landmarks is not None:
                align(photo, face.landmarks, crop=crop, size=size)
        spent["align"] = time.perf_counter() - start
        spent["embedding"] -= spent["align"]  # `describe` aligns as well
    return spent, len(faces)


@pytest.mark.parametrize("stage", STAGES)
def test_stage(benchmark: Any, stages: Any, stage: str) -> None:
    name, seconds, faces, models = stages
    if stage not in seconds:
        pytest.skip(f"the {name} set has no model for {stage}")
    times = seconds[stage]
    benchmark.extra_info.update(
        engine=stage, kind="pipeline", batch=1, threads=1, faces=round(faces, 2), models=models
    )
    benchmark.extra_info["p90"] = summarise(times).p90
    replay(benchmark, f"pipeline 1280x720, {name} set", times)
    assert np.isfinite(times).all()
