"""The numbers, points and crops that upstream publishes for its example photo, reproduced.

tests/data/friends.json says how they were read from the published pictures, and how exactly.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mobileface
from mobileface.errors import ModelNotFoundError
from mobileface.types import Landmarks
from mobileface.vision.crops import CROPS
from mobileface.vision.image import Image
from mobileface.vision.picture_files import read_image
from mobileface_convert.build.pipeline import convert
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.files import DirectorySource

pytestmark = pytest.mark.needs_source

GOLDEN: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "data" / "friends.json").read_text(encoding="utf-8")
)["faces"]
NAMES = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
CROP_ORDER = (
    "man_dark_shirt",
    "standing_man",
    "left_woman",
    "man_red_shirt",
    "right_woman",
    "standing_woman",
)
"""Of align_result/0.jpg to 5.jpg: by the score of detection_v1, best first."""
MOST_CROP_DIFFERENCE = 1.6
"""Mean of the absolute difference; of the JPEG's compression, since another face differs by 31."""
MOST_POINT_ERROR = 2.25
"""Pixels, in boxes that were read off a drawing to within 2 pixels."""
MOST_POINT_ERROR_IN_BEST_BOX = 0.25
"""Pixels, in one of the boxes that look the same in the drawing."""
MOST_FACE_ERROR = 0.25
"""Of the height of the face, when our own detector finds the box."""

Points = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def models(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Landmarks, pose and one identification model, converted without verification."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("landmark_eme", "landmark_ene", "pose_emnme", "identification_v3"):
        convert(load_recipe(name), DirectorySource(source), folder, verify=False)
    return folder


@pytest.fixture(scope="module")
def models_with_detector(models: Path) -> Path:
    """The same folder with the detector, whose weights come out of dlib."""
    convert(load_recipe("detection_hog"), None, models, verify=False)
    return models


@pytest.fixture(scope="module")
def photo(source: Path) -> Image:
    """The example photo."""
    return read_image(source / "example" / "friends.jpg")


def golden_landmarks(face: dict[str, Any]) -> Landmarks:
    return Landmarks(NAMES, np.array(face["landmarks_emnme"], np.float32))


def test_six_faces() -> None:
    assert len(GOLDEN) == 6
    scores = {face["id"]: face["detection_v1"]["score"] for face in GOLDEN}
    ranked = [scores[name] for name in CROP_ORDER]
    assert ranked == sorted(scores.values(), reverse=True)


@pytest.mark.parametrize("face", GOLDEN, ids=lambda face: face["id"])
def test_published_pose(models: Path, face: dict[str, Any]) -> None:
    pose = mobileface.load_pose(models=models).estimate(golden_landmarks(face)).published
    assert pose is not None
    found = {"pitch": pose.pitch, "roll": pose.roll, "yaw": pose.yaw}
    print(f"{face['id']}: {found}, published {face['pose']}")
    assert {name: f"{value:.2f}" for name, value in found.items()} == {
        name: f"{value:.2f}" for name, value in face["pose"].items()
    }


def test_published_crops(source: Path, photo: Image) -> None:
    """Each crop is the published one; those of all other faces are far from it."""
    faces = {face["id"]: face for face in GOLDEN}
    paths = [source / "example" / "align_result" / f"{number}.jpg" for number in range(6)]
    published = np.stack([read_image(path) for path in paths]).astype(np.int64)
    crops = np.stack(
        [mobileface.align(photo, golden_landmarks(faces[name])) for name in CROP_ORDER]
    )
    assert crops.shape == published.shape == (6, 96, 96, 3)
    differences = np.abs(crops[:, None] - published[None]).mean(axis=(2, 3, 4))
    same = np.diag(differences)
    others = differences[~np.eye(6, dtype=bool)]
    print(f"same face {np.round(same, 2).tolist()}, another face at least {others.min():.1f}")
    assert same.max() < MOST_CROP_DIFFERENCE
    assert others.min() > 10 * same.max()


def test_published_template(source: Path) -> None:
    published = np.load(source / "MobileFace_Align" / "mobileface_align_v1.npy")
    template = CROPS["mobileface"]
    assert template.points == ("left_eye", "right_eye", "mouth")
    assert published.dtype == np.float32
    assert np.array_equal(np.asarray(template.template, np.float32), published)


@pytest.mark.parametrize("model", ["landmark_eme", "landmark_ene"])
def test_published_landmarks(models: Path, photo: Image, model: str) -> None:
    """In the boxes read off the drawing, and in the boxes within 2 pixels of these."""
    predictor = mobileface.load(model, models=models)
    assert isinstance(predictor, mobileface.LandmarkPredictor)
    key = model.replace("landmark_", "landmarks_")
    moves = np.array(list(itertools.product(range(-2, 3), repeat=4)))
    middle = len(moves) // 2
    assert not moves[middle].any()
    for face in GOLDEN:
        expected = np.array(face[key]["points"])
        found = predictor.predict(photo, np.array(face[key]["box"]) + moves)
        errors = np.array([np.abs(marks.points - expected).max() for marks in found])
        print(f"{face['id']}: {errors[middle]:.2f} px, in the best box {errors.min():.2f} px")
        assert errors[middle] < MOST_POINT_ERROR
        assert errors.min() < MOST_POINT_ERROR_IN_BEST_BOX


@pytest.mark.needs_dlib
def test_analyzer_finds_the_six_faces(models_with_detector: Path, photo: Image) -> None:
    analyzer = mobileface.FaceAnalyzer(models_with_detector)
    found = analyzer(photo)
    assert len(found) == len(GOLDEN)
    assert [face.det_score for face in found] == sorted((f.det_score for f in found), reverse=True)
    left = list(found)
    for golden in GOLDEN:
        box = np.array(golden["landmark_box"], np.float64)
        center = (box[:2] + box[2:]) / 2
        inside = [f for f in left if (f.bbox[:2] <= center).all() and (center <= f.bbox[2:]).all()]
        assert len(inside) == 1, golden["id"]
        face = inside[0]
        left = [other for other in left if other is not face]
        assert face.landmarks is not None
        assert face.embedding is not None
        assert face.pose is None
        points = face.landmarks.select(NAMES[:3])
        assert points is not None
        errors = np.linalg.norm(points - np.array(golden["landmarks_emnme"])[:3], axis=1)
        errors /= box[3] - box[1]
        print(f"{golden['id']}: off by {np.round(errors, 3).tolist()} face heights")
        assert errors.max() < MOST_FACE_ERROR
        assert abs(np.linalg.norm(face.embedding) - 1) < 1e-6
    assert not left


@pytest.mark.needs_dlib
def test_pose_without_the_corners_of_the_mouth(models_with_detector: Path, photo: Image) -> None:
    """The folder has no model that gives them: said once, and an error if pose is asked for."""
    analyzer = mobileface.FaceAnalyzer(models_with_detector)
    assert analyzer.tasks == ("detection", "landmarks", "attributes", "embedding")
    assert analyzer.point_names[:4] == ("left_eye", "right_eye", "nose", "mouth")
    assert not any("mouth_" in name or "_mouth" in name for name in analyzer.point_names)
    print(analyzer.missing)
    assert set(analyzer.missing) == {"pose"}
    for name in ("left_mouth", "right_mouth", "available: left_eye"):
        assert name in analyzer.missing["pose"]
    with pytest.raises(ModelNotFoundError, match="left_mouth, right_mouth"):
        mobileface.FaceAnalyzer(models_with_detector, tasks=("pose",))


@pytest.mark.needs_dlib
def test_only_what_was_asked_for(models_with_detector: Path, photo: Image) -> None:
    everything = mobileface.FaceAnalyzer(models_with_detector)(photo)
    detection = mobileface.FaceAnalyzer(models_with_detector, tasks=("detection",))(photo)
    landmarks = mobileface.FaceAnalyzer(models_with_detector, tasks=("landmarks",))(photo)
    for whole, box, points in zip(everything, detection, landmarks, strict=True):
        assert np.array_equal(whole.bbox, box.bbox)
        assert (box.landmarks, box.kps, box.pose, box.embedding) == (None, None, None, None)
        assert whole.kps is not None
        assert points.kps is not None
        assert np.array_equal(whole.kps[: len(points.kps)], points.kps)
        assert points.embedding is None


def test_landmarks_without_a_detector(models: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ModelNotFoundError, match=r"index\.json"):
            mobileface.FaceAnalyzer(folder)
    with pytest.raises(mobileface.MobileFaceError, match="unknown task 'age'"):
        mobileface.FaceAnalyzer(models, tasks=("age",))
