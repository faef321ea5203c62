"""Each identification model needs its own crop: measured on people in the two example videos."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from mobileface.tasks.align import align
from mobileface.tasks.landmarks import merge_landmarks
from mobileface.tasks.loading import load_embedder, load_landmarks
from mobileface.types import Landmarks
from mobileface_convert.build.pipeline import convert
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.files import DirectorySource

pytestmark = pytest.mark.needs_source

LABELS = Path(__file__).parents[2] / "data" / "video_faces.json"
NAMES = ("identification_v1", "identification_v2", "identification_v3")
OWN = {
    "identification_v1": "mobileface",
    "identification_v2": "arcface",
    "identification_v3": "arcface",
}
OTHER = {"mobileface": "arcface", "arcface": "mobileface"}
LEAST_AUC = {"identification_v1": 0.90, "identification_v2": 0.965, "identification_v3": 0.925}

Vectors = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def models(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in (*NAMES, "landmark_eme", "landmark_ene"):
        convert(load_recipe(name), DirectorySource(source), folder, verify=False)
    return folder


@lru_cache(maxsize=2)
def frames(video: Path) -> list[npt.NDArray[np.uint8]]:
    """All frames of a video."""
    capture = cv2.VideoCapture(str(video))
    found = []
    while True:
        done, frame = capture.read()
        if not done:
            return found
        found.append(np.asarray(frame, np.uint8))


@pytest.fixture(scope="module")
def faces(
    source: Path, models: Path
) -> tuple[list[tuple[npt.NDArray[np.uint8], Landmarks]], npt.NDArray[np.int64]]:
    """Frame and landmarks of each labelled face, and who it is."""
    labels = json.loads(LABELS.read_text())["faces"]
    predictors = load_landmarks(models=models)
    found = []
    for video, number, *box, _ in labels:
        frame = frames(source / "example" / f"friends{video}.mp4")[number]
        parts = [predictor.predict(frame, [box])[0] for predictor in predictors]
        found.append((frame, merge_landmarks(parts)))
    return found, np.array([label[-1] for label in labels])


def auc(vectors: Vectors, people: npt.NDArray[np.int64]) -> float:
    """Probability that a same-person pair is more similar than a pair of two people."""
    first, second = np.triu_indices(len(vectors), 1)
    similarity = (vectors @ vectors.T)[first, second]
    same = people[first] == people[second]
    order = np.searchsorted(np.sort(similarity[~same]), similarity[same])
    return float(order.mean() / (~same).sum())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_own_crop_tells_people_apart(
    name: str,
    models: Path,
    faces: tuple[list[tuple[npt.NDArray[np.uint8], Landmarks]], npt.NDArray[np.int64]],
) -> None:
    found, people = faces
    embedder = load_embedder(name, models=models)
    assert embedder.crop == OWN[name]
    size = (embedder.image.height, embedder.image.width)
    result = {}
    for crop in (embedder.crop, OTHER[embedder.crop]):
        crops = [align(frame, marks, crop=crop, size=size) for frame, marks in found]
        result[crop] = auc(embedder.embed(crops), people)
    own, other = result[embedder.crop], result[OTHER[embedder.crop]]
    print(f"{name}: AUC {own:.4f} with its own crop, {other:.4f} with the other")
    assert own >= LEAST_AUC[name]
    assert own > other
