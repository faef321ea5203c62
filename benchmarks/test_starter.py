"""The starter set on real faces, one thread: dlib and ours interleaved, each step and the whole."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.engines import UnavailableError
from benchmarks.faces import read_frames
from benchmarks.replay import OURS, Contest, report
from mobileface import FaceAnalyzer, align, load_embedder
from mobileface.errors import ModelNotFoundError
from mobileface.types import Landmarks
from mobileface.vision.crops import CROPS
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.packages import PackageSource

dlib = pytest.importorskip("dlib")

MODELS = Path(__file__).resolve().parents[1] / "models_onnx"
SIZE, PADDING = 150, 0.25

Rgb = npt.NDArray[np.uint8]


class Dlib:
    """dlib's full pipeline with dlib's model files."""

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
    """Pairs of a photo and the landmarks of one of its faces."""
    return [(p, theirs.predict(p, box)) for p in photos for box in theirs.detect(p, 0)]


@pytest.fixture(scope="module")
def embedding(theirs: Dlib, faces: list[tuple[Rgb, Any]]) -> Contest[Any]:
    chips = [theirs.chip(photo, shape) for photo, shape in faces]
    makers = {OURS: partial(ours_embeds, None), "dlib": lambda: theirs.embed}
    makers["mobileface int8"] = partial(ours_embeds, "int8")
    extra = {"task": "embedding", "model": "embedding_dlib", "batch": 1, "kind": "end to end"}
    return Contest("starter, embedding", makers, chips, 60, extra)


def ours_embeds(precision: str | None) -> Any:
    """Our embedder on one thread, for RGB face chips."""
    try:
        ours = load_embedder(
            "embedding_dlib", models=MODELS, precision=precision, intra_op_num_threads=1
        )
    except ModelNotFoundError as error:
        raise UnavailableError(error.what) from error
    return lambda chip: ours.embed(chip, color="rgb")


@pytest.fixture(scope="module")
def chip(theirs: Dlib, faces: list[tuple[Rgb, Any]]) -> Contest[Any]:
    names = CROPS["dlib"].points
    cases = [
        (photo, shape, Landmarks(names, np.array([(p.x, p.y) for p in shape.parts()], np.float32)))
        for photo, shape in faces
    ]
    makers = {
        OURS: lambda: lambda case: align(case[0], case[2], crop="dlib"),
        "dlib": lambda: lambda case: theirs.chip(case[0], case[1]),
    }
    extra = {"task": "align", "batch": 1, "kind": "step"}
    return Contest("starter, chip", makers, cases, 100, extra)


@pytest.fixture(scope="module")
def whole(theirs: Dlib, photos: list[Rgb]) -> Contest[Any]:
    tasks = ("detection", "landmarks", "embedding")
    analyzer = FaceAnalyzer(MODELS, tasks, intra_op_num_threads=1)
    hog = FaceAnalyzer(MODELS, tasks, detector="detection_hog", intra_op_num_threads=1)
    makers = {
        OURS: lambda: lambda photo: analyzer(photo, color="rgb"),
        "mobileface detection_hog": lambda: lambda photo: hog(photo, color="rgb"),
        "dlib": lambda: theirs.analyze,
    }
    extra = {"task": "pipeline", "batch": 1, "kind": "pipeline"}
    return Contest("starter, photo 1280x720", makers, photos, 12, extra)


@pytest.mark.parametrize(
    ("step", "engine"),
    [
        *((step, engine) for step in ("embedding", "chip", "whole") for engine in (OURS, "dlib")),
        ("embedding", "mobileface int8"),
        ("whole", "mobileface detection_hog"),
    ],
)
def test_starter(
    benchmark: Any,
    request: pytest.FixtureRequest,
    step: str,
    engine: str,
    facts: list[dict[str, Any]],
) -> None:
    report(benchmark, request.getfixturevalue(step), engine, facts)
