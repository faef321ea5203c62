"""Landmarks at 1280x700, one thread, rotating boxes of real faces: dlib and ours in turn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.replay import measure_in_turn, report
from mobileface.gray import dlib_gray
from mobileface.image import read_image
from mobileface.session import Session
from mobileface_convert.pipeline import convert
from mobileface_convert.recipe import load_recipe
from mobileface_convert.source import DirectorySource

dlib = pytest.importorskip("dlib")

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "data" / "friends.json"
COUNTS = (1, 6, 32)
MODEL = "landmark_eme"
ROUNDS = 300
WARM_UP = 30

Boxes = npt.NDArray[np.int64]
Times = tuple[int, dict[str, list[float]]]


def box_sets(count: int) -> list[Boxes]:
    """Sets of boxes around the six published faces, each moved by a few pixels."""
    random = np.random.RandomState(0)
    faces = [face["landmark_box"] for face in json.loads(GOLDEN.read_text())["faces"]]
    sets = []
    for start in range(60):
        chosen = np.array([faces[(start + i) % len(faces)] for i in range(count)])
        sets.append((chosen + random.randint(-4, 5, chosen.shape)).astype(np.int64))
    return sets


@pytest.fixture(scope="module", params=COUNTS)
def times(
    request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory
) -> Times:
    recipe = load_recipe(MODEL)
    made = convert(recipe, DirectorySource(source), tmp_path_factory.mktemp("models"), verify=False)
    session = Session(made.path, intra_op_num_threads=1)
    theirs = dlib.shape_predictor(str(source / recipe.files["model"].path))
    gray = dlib_gray(read_image(source / "example" / "friends.jpg"))

    def run_dlib(boxes: Boxes) -> list[Any]:
        return [theirs(gray, dlib.rectangle(*box)) for box in boxes.tolist()]

    def run_ours(boxes: Boxes) -> Any:
        return session.run({"image": gray, "boxes": boxes})

    engines = {"dlib": run_dlib, "onnx": run_ours}
    return request.param, measure_in_turn(engines, box_sets(request.param), ROUNDS, WARM_UP)


@pytest.mark.parametrize("engine", ["dlib", "onnx"])
def test_landmarks(benchmark: Any, times: Times, engine: str) -> None:
    count, measured = times
    benchmark.extra_info["faces"] = count
    report(benchmark, f"{MODEL}, {count} faces", engine, measured[engine])
