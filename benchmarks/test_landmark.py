"""Landmarks at 1280x700, one thread, rotating boxes of real faces: dlib and ours interleaved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.replay import OURS, Contest, report
from mobileface.models.session import Session
from mobileface.vision.gray import dlib_gray
from mobileface.vision.picture_files import read_image
from mobileface_convert.build.pipeline import convert
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.files import DirectorySource

dlib = pytest.importorskip("dlib")

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "data" / "friends.json"
COUNTS = (1, 6, 32)
MODEL = "landmark_eme"
ROUNDS = 200

Boxes = npt.NDArray[np.int64]


def box_sets(count: int) -> list[Boxes]:
    """Sets of boxes around the six published faces, each shifted by a few pixels."""
    random = np.random.RandomState(0)
    faces = [face["landmark_box"] for face in json.loads(GOLDEN.read_text())["faces"]]
    sets = []
    for start in range(60):
        chosen = np.array([faces[(start + i) % len(faces)] for i in range(count)])
        sets.append((chosen + random.randint(-4, 5, chosen.shape)).astype(np.int64))
    return sets


@pytest.fixture(scope="module", params=COUNTS)
def contest(
    request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory
) -> Contest[Boxes]:
    recipe = load_recipe(MODEL)
    made = convert(recipe, DirectorySource(source), tmp_path_factory.mktemp("models"), verify=False)
    session = Session(made.path, intra_op_num_threads=1)
    theirs = dlib.shape_predictor(str(source / recipe.files["model"].path))
    gray = dlib_gray(read_image(source / "example" / "friends.jpg"))

    def run_dlib(boxes: Boxes) -> list[Any]:
        return [theirs(gray, dlib.rectangle(*box)) for box in boxes.tolist()]

    def run_ours(boxes: Boxes) -> Any:
        return session.run({"image": gray, "boxes": boxes})

    count = request.param
    makers = {OURS: lambda: run_ours, "dlib": lambda: run_dlib}
    extra = {"task": "landmarks", "model": MODEL, "batch": count, "kind": "network"}
    return Contest(f"{MODEL}, {count} faces", makers, box_sets(count), ROUNDS, extra, turn=4)


@pytest.mark.parametrize("engine", [OURS, "dlib"])
def test_landmarks(benchmark: Any, contest: Contest[Boxes], engine: str) -> None:
    report(benchmark, contest, engine)
