"""The mesh of a face and head pose from it, with the starter set's own models."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import mobileface
from mobileface import FaceAnalyzer, MeshPoseEstimator, MeshPredictor
from mobileface.errors import ImageError, InputError, ModelError, SpecError
from mobileface.models.kinds import MeshSpec
from mobileface.models.spec import ModelSpec
from mobileface.vision.image import Image
from tests.runtime.tasks.mesh.turned_head import STARTER, turned

Output = pytest.CaptureFixture[str]


# what is found


def test_the_mesh_lies_on_the_face(image: Image, predictor: MeshPredictor) -> None:
    """Corners of the eyes and the base of the nose where dlib 20.0.1 finds them."""
    (face,) = FaceAnalyzer(tasks=("detection",), intra_op_num_threads=1)(image)
    (mesh,) = predictor(image, face.bbox[None])
    assert mesh is not None
    assert mesh.z is not None
    assert (mesh.points.shape, mesh.z.shape) == ((468, 2), (468,))
    assert (mesh.points.dtype, mesh.z.dtype) == (np.float32, np.float32)
    assert mesh.names[::467] == ("mesh_0", "mesh_467")
    dlib = np.array([[255, 104], [237, 105], [195, 101], [212, 103], [224, 135]])
    error = np.linalg.norm(mesh.points[[263, 362, 33, 133, 2]] - dlib, axis=1)
    print(f"score {mesh.score:.6f}, {error.round(1).tolist()} px of a face of 90")
    assert mesh.score == pytest.approx(1, abs=1e-3)
    assert error.max() < 5
    assert mesh.z[1] < mesh.z[[33, 263, 234, 454]].min()  # the tip of the nose is nearest


def test_a_second_look_levels_the_eyes(image: Image, predictor: MeshPredictor) -> None:
    """A square that is wrong by 40 degrees gives the same points as the right one."""
    box = [[252, 240, 348, 350]]
    picture = turned(image, 0)
    meshes = [predictor(picture, box, [roll])[0] for roll in (3.0, 43.0, -37.0)]
    first, *others = (mesh.points for mesh in meshes if mesh is not None)
    for other in others:
        error = np.linalg.norm(first - other, axis=1)
        print(f"mean {error.mean():.2f}, largest {error.max():.2f} px of a face of 110")
        assert error.mean() < 2


def test_a_batch_is_its_faces(image: Image, predictor: MeshPredictor) -> None:
    """More boxes than one run takes; also colour orders and grey pictures."""
    random = np.random.RandomState(3)
    boxes = np.array([178, 63, 268, 176]) + random.randint(-6, 7, (11, 4))
    alone = [predictor(image, box[None])[0] for box in boxes]
    worst = 0.0
    for one, other in zip(predictor(image, boxes), alone, strict=True):
        assert one is not None
        assert other is not None
        worst = max(worst, float(np.abs(one.points - other.points).max()))
    (bgr,), (rgb,) = (
        predictor(image, boxes[:1]),
        predictor(np.ascontiguousarray(image[..., ::-1]), boxes[:1], color="rgb"),
    )
    assert bgr is not None
    assert rgb is not None
    assert np.array_equal(bgr.points, rgb.points)
    print(f"batch against single {worst:.1e} px")
    assert worst < 1e-3
    (gray,) = predictor(image.mean(axis=2).astype(np.uint8), boxes[:1])
    assert gray is not None
    assert np.abs(gray.points - bgr.points).mean() < 3


# what is no face


def test_presence(image: Image, predictor: MeshPredictor) -> None:
    """Noise, a pixel, nothing and a flat box have no mesh; a lower threshold gives one."""
    noise = np.random.RandomState(5).randint(0, 256, (240, 320, 3)).astype(np.uint8)
    single = np.full((1, 1, 3), 128, np.uint8)
    assert predictor(noise, [[100, 60, 200, 180]]) == [None]
    assert predictor(single, [[0, 0, 1, 1]]) == [None]
    assert predictor(single, [[-5e8, 0, 5e8, 1]]) == [None]
    assert predictor(image, [[400, 400, 500, 500]]) == [None]
    assert predictor(image, [[100, 100, 100, 100], [120, 90, 100, 80]]) == [None, None]
    assert predictor(image, np.zeros((0, 4))) == []
    eager = mobileface.load("landmark_mesh", models=STARTER, presence_threshold=0.0)
    (mesh,) = eager(noise, [[100, 60, 200, 180]])
    print(f"noise has presence {mesh.score:.2g}")
    assert mesh.score < 0.1


def test_a_face_half_outside(image: Image, predictor: MeshPredictor) -> None:
    """Cut at the middle: no mesh, or one whose visible half is where it was."""
    (whole,) = predictor(image, [[178, 63, 268, 176]])
    assert whole is not None
    for cut in (200, 215, 224):
        part = np.ascontiguousarray(image[:, cut:])
        (mesh,) = predictor(part, [[178 - cut, 63, 268 - cut, 176]])
        if mesh is None:
            print(f"cut at {cut}: none")
            continue
        seen = whole.points[:, 0] > cut + 5
        error = np.linalg.norm(mesh.points + np.array([cut, 0]) - whole.points, axis=1)[seen]
        print(f"cut at {cut}: score {mesh.score:.2f}, {error.mean():.1f} px")
        assert error.mean() < 6


BOXES: dict[str, Any] = {
    "nan": [[0, 0, math.nan, 5]],
    "infinite": [[0, 0, math.inf, 5]],
    "huge": [[0, 0, 1e300, 5]],
    "three numbers": [[0, 0, 5]],
    "text": [["a", 0, 5, 5]],
}


@pytest.mark.parametrize("name", BOXES)
def test_bad_boxes(name: str, image: Image, predictor: MeshPredictor) -> None:
    with pytest.raises(InputError, match="box"):
        predictor(image, BOXES[name])


@pytest.mark.parametrize("rolls", [[math.inf], [1, 2], "x", [[0]], [1e9]])
def test_bad_rolls(rolls: Any, image: Image, predictor: MeshPredictor) -> None:
    with pytest.raises(InputError, match="roll"):
        predictor(image, [[178, 63, 268, 176]], rolls)


def test_bad_pictures_and_options(image: Image, predictor: MeshPredictor) -> None:
    with pytest.raises(ImageError):
        predictor(image.astype(np.float32), [[178, 63, 268, 176]])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="color"):
        predictor(image, [[178, 63, 268, 176]], color="hsv")  # type: ignore[arg-type]
    for value in (-0.1, 1.1, math.nan):
        with pytest.raises(InputError, match="presence_threshold"):
            mobileface.load("landmark_mesh", models=STARTER, presence_threshold=value)
    with pytest.raises(ModelError, match="mesh"):
        mobileface.load_landmarks("landmark_mesh", models=STARTER)


MESHES: dict[str, dict[str, Any]] = {
    "eyes": {"eyes": [33, 468]},
    "one eye": {"eyes": [33]},
    "side": {"side": 0},
    "threshold": {"presence_threshold": 1.5},
    "count": {"count": 0},
}


@pytest.mark.parametrize("name", MESHES)
def test_bad_specs(name: str, predictor: MeshPredictor, estimator: MeshPoseEstimator) -> None:
    data = predictor.spec.to_dict()
    data["mesh"] = {**data["mesh"], **MESHES[name]}
    with pytest.raises(SpecError, match="mesh"):
        ModelSpec.from_dict(data)
    with pytest.raises(ModelError, match=r"not 'rigid_pose'|not 'pose'"):
        MeshPoseEstimator(predictor.spec)
    shape = estimator.spec.to_dict()
    shape["rigid_pose"]["reference"] = shape["rigid_pose"]["reference"][:-1]
    with pytest.raises(SpecError, match="rows of 3"):
        ModelSpec.from_dict(shape)


def test_the_spec_states_its_facts(predictor: MeshPredictor) -> None:
    section = predictor.spec.require(MeshSpec)
    assert (section.count, section.side, section.presence_threshold) == (468, 1.5, 0.5)
    assert predictor.spec.source.files[0].sha256 is not None
