"""Models and pictures of the tests of meshes."""

from __future__ import annotations

from pathlib import Path

import pytest

import mobileface
from mobileface import FaceAnalyzer, MeshPoseEstimator, MeshPredictor
from mobileface.vision.image import Image
from mobileface.vision.picture_files import read_image
from tests.runtime.tasks.mesh.turned_head import STARTER


@pytest.fixture(autouse=True)
def no_users_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs the tests may have models of his own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "nobody"))


@pytest.fixture(scope="module")
def image(portrait: Path) -> Image:
    return read_image(portrait)


@pytest.fixture(scope="module")
def predictor() -> MeshPredictor:
    found = mobileface.load("landmark_mesh", models=STARTER, intra_op_num_threads=1)
    assert isinstance(found, MeshPredictor)
    return found


@pytest.fixture(scope="module")
def estimator() -> MeshPoseEstimator:
    found = mobileface.load("pose_mesh", models=STARTER)
    assert isinstance(found, MeshPoseEstimator)
    return found


@pytest.fixture(scope="module")
def analyzer() -> FaceAnalyzer:
    return FaceAnalyzer(tasks=("detection", "landmarks", "pose"), intra_op_num_threads=1)
