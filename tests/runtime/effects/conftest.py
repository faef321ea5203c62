"""Pictures and models of the tests of effects that work on a mesh."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobileface import Face, FaceAnalyzer
from mobileface.vision.image import Image
from mobileface.vision.picture_files import read_image
from tests.conftest import ROOT

STARTER = ROOT / "models_onnx"


@pytest.fixture(scope="session")
def mesh_analyzer() -> FaceAnalyzer:
    """Detects faces and finds their meshes, with the starter set's models."""
    return FaceAnalyzer(
        STARTER,
        ("detection", "landmarks"),
        detector=str(STARTER / "detection_yunet.onnx"),
        landmarks=str(STARTER / "landmark_mesh.onnx"),
        intra_op_num_threads=1,
    )


@pytest.fixture(scope="session")
def astronaut(portrait: Path) -> Image:
    return read_image(portrait)


@pytest.fixture(scope="session")
def astronauts_face(astronaut: Image, mesh_analyzer: FaceAnalyzer) -> Face:
    (face,) = mesh_analyzer(astronaut)
    assert face.mesh is not None
    return face
