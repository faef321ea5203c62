"""With the published weights: the boxes, scores and attributes that upstream printed.

The files are too large for every source; without them these tests are listed as not run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobileface
from mobileface.types import Landmarks
from mobileface.vision.image import Image
from mobileface.vision.picture_files import read_image
from mobileface_convert.build.pipeline import convert
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.files import DirectorySource

pytestmark = pytest.mark.needs_source

GOLDEN: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "data" / "friends.json").read_text()
)["faces"]
V1_SYMBOL = "MobileFace_Detection/model/mobilefacedet_v1_mxnet-symbol.json"
V1_PARAMS = "MobileFace_Detection/model/mobilefacedet_v1_mxnet-0000.params"
V2 = "MobileFace_Detection/model/mobilefacedet_v2_gluoncv.params"
ATTRIBUTE = "MobileFace_Attribute/model/mobileface_attr_v1_gluoncv.params"
LANDMARK = "MobileFace_Landmark/mobileface_landmark_emnme_v1.dat"
POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
MOST_BOX, MOST_SCORE, MOST_BOX_OF_LANDMARKS = 3.0, 0.01, 3.0


@pytest.fixture
def photo(source: Path) -> Image:
    return read_image(source / "example" / "friends.jpg")


def published(name: str) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    boxes = np.array([face[name]["box"] for face in GOLDEN], np.float64)
    return boxes, np.array([face[name]["score"] for face in GOLDEN])


def test_landmark_boxes_of_the_published_boxes(tmp_path: Path) -> None:
    """No weights needed: the squares that upstream drew, from the boxes that it drew."""
    tiny = Path(__file__).parents[2] / "models" / "yolo" / "tiny_yolo.onnx"
    detector = mobileface.load_detector(tiny, intra_op_num_threads=1)
    boxes, _ = published("detection_v1")
    found = detector.landmark_boxes(boxes)
    expected = np.array([face["landmark_box"] for face in GOLDEN])
    error = float(np.abs(found - expected).max())
    print(f"largest difference {error:.0f} px; the boxes are read off a picture")
    assert error <= MOST_BOX_OF_LANDMARKS


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("detection_v1", marks=pytest.mark.needs_weights(V1_SYMBOL, V1_PARAMS)),
        pytest.param("detection_v2", marks=pytest.mark.needs_weights(V2)),
    ],
)
def test_six_faces(source: Path, photo: Image, tmp_path: Path, name: str) -> None:
    convert(load_recipe(name), DirectorySource(source), tmp_path, verify=False)
    found = mobileface.load_detector(name, models=tmp_path).detect(photo)
    boxes, scores = published(name)
    assert len(found) == len(GOLDEN)
    for box, score in zip(boxes, scores, strict=True):
        nearest = int(np.abs(found.boxes - box).max(axis=1).argmin())
        error = float(np.abs(found.boxes[nearest] - box).max())
        print(f"{box.tolist()}: off by {error:.2f} px, score {found.scores[nearest]:.3f}")
        assert error <= MOST_BOX
        assert abs(found.scores[nearest] - score) <= MOST_SCORE


@pytest.mark.needs_weights(ATTRIBUTE)
@pytest.mark.parametrize("face", GOLDEN, ids=lambda face: face["id"])
def test_published_attributes(
    source: Path, photo: Image, tmp_path: Path, face: dict[str, Any]
) -> None:
    convert(load_recipe("attribute_v1"), DirectorySource(source), tmp_path, verify=False)
    points = Landmarks(POINTS, np.array(face["landmarks_emnme"], np.float32))
    crop = mobileface.align(photo, points)
    (found,) = mobileface.load_attributes(models=tmp_path).predict(crop)
    wanted = face["attributes"]
    assert found.gender == wanted["gender"]
    assert found.age_published == wanted["age"]
    assert list(found.expressions) == wanted["expressions"]


@pytest.mark.needs_weights(V1_SYMBOL, V1_PARAMS, LANDMARK)
def test_published_pose_from_the_photo(source: Path, photo: Image, tmp_path: Path) -> None:
    names = ("detection_v1", "landmark_emnme", "pose_emnme")
    for name in names:
        convert(load_recipe(name), DirectorySource(source), tmp_path, verify=False)
    faces = mobileface.FaceAnalyzer(tmp_path, ("detection", "landmarks", "pose"))(photo)
    assert len(faces) == len(GOLDEN)
    for golden in GOLDEN:
        box = np.array(golden["detection_v1"]["box"])
        face = min(faces, key=lambda each: np.abs(each.bbox - box).max())
        assert face.pose is not None
        given = golden["pose"]
        for angle in ("pitch", "roll", "yaw"):
            value = getattr(face.pose.published, angle)
            print(golden["id"], angle, value, given[angle])
            assert abs(value - given[angle]) <= 10
