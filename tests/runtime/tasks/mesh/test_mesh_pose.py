"""Head pose from the mesh of a face, in the analyzer and in commands."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from mobileface import FaceAnalyzer, Landmarks, MeshPoseEstimator
from mobileface.commands.main import main
from mobileface.errors import InputError, ModelNotFoundError
from mobileface.models.kinds import RigidPoseSpec
from mobileface.models.sealed import sealed
from mobileface.tasks.drawing import draw_faces
from mobileface.types import Face, Pose
from mobileface.vision.head_rotation import best_rotation, pose_of, rotation_of
from mobileface.vision.image import Image
from mobileface.vision.picture_files import read_image
from tests.runtime.tasks.mesh.turned_head import STARTER, turned

Output = pytest.CaptureFixture[str]


@pytest.mark.parametrize("degrees", range(0, 360, 15))
def test_roll_follows_the_picture(degrees: int, image: Image, analyzer: FaceAnalyzer) -> None:
    """The portrait itself is tilted by 3.0 degrees: dlib's outer eye corners say 2.9."""
    face = analyzer(turned(image, degrees))[0]
    assert face.pose is not None
    assert face.pose.degrees
    own = math.degrees(math.atan2(104 - 101, 255 - 195))
    off = (face.pose.roll - degrees - own + 180) % 360 - 180
    print(f"{degrees}: roll {face.pose.roll:.1f}, {off:+.1f} off; pitch {face.pose.pitch:.1f}")
    assert abs(off) < 0.7
    assert abs(face.pose.yaw) < 3
    assert face.pose.pitch == pytest.approx(9, abs=4)


def test_a_mirrored_face_has_mirrored_angles(image: Image, analyzer: FaceAnalyzer) -> None:
    poses = [analyzer(picture)[0].pose for picture in (image, mirrored(image))]
    one, other = (p for p in poses if p is not None)
    print(one, other)
    assert one.yaw == pytest.approx(-other.yaw, abs=2)
    assert one.roll == pytest.approx(-other.roll, abs=1.5)
    assert one.pitch == pytest.approx(other.pitch, abs=3)


def mirrored(image: Image) -> Image:
    return np.ascontiguousarray(image[:, ::-1])


def test_a_detector_without_points(image: Image) -> None:
    """No roll is known; the mesh itself is looked at again if its eyes are not level."""
    analyzer = FaceAnalyzer(
        tasks=("detection", "landmarks", "pose"),
        detector="detection_hog",
        landmarks="landmark_mesh",
        intra_op_num_threads=1,
    )
    for degrees in (0, 20):
        face = analyzer(turned(image, degrees))[0]
        assert face.landmarks is None
        assert face.roll is None
        assert face.pose is not None
        print(f"{degrees}: {face.pose}")
        assert face.pose.roll == pytest.approx(degrees + 3, abs=2)


# angles


def test_angles_there_and_back() -> None:
    """Rotations composed by OpenCV's Rodrigues formula, measured on a seeded cloud of points."""
    random = np.random.RandomState(7)
    cloud, worst = random.standard_normal((30, 3)), 0.0
    for _ in range(200):
        pitch, roll, yaw = random.uniform((-85, -180, -85), (85, 180, 85))
        axes = [np.eye(3)[axis] * math.radians(v) for axis, v in ((2, roll), (1, yaw), (0, pitch))]
        about = [np.asarray(cv2.Rodrigues(axis)[0], np.float64) for axis in axes]
        expected = about[0] @ about[1] @ about[2]
        scale, shift = random.uniform(0.1, 300), random.uniform(-500, 500, 3)
        found = best_rotation(cloud, scale * cloud @ expected.T + shift)
        assert found is not None
        pose = pose_of(found)
        pairs = zip((pose.pitch, pose.roll, pose.yaw), (pitch, roll, yaw), strict=True)
        worst = max(worst, *(abs(one - other) for one, other in pairs))
        worst = max(worst, float(np.abs(rotation_of(pose) - expected).max()))
    print(f"largest error {worst:.1e}")
    assert worst < 1e-9


def test_the_sign_of_each_angle(estimator: MeshPoseEstimator) -> None:
    """Where the tip of the nose and the chin of a head go, as the types say."""
    nose, chin = np.array([0, 0, -1.0]), np.array([0, 1.0, 0])
    assert (rotation_of(Pose(0, 0, 30, degrees=True)) @ nose)[0] < -0.4  # looks to the left
    assert (rotation_of(Pose(30, 0, 0, degrees=True)) @ nose)[1] > 0.4  # looks down
    assert (rotation_of(Pose(0, 30, 0, degrees=True)) @ chin)[0] < -0.4  # turned clockwise
    level = estimator(estimator.sample())
    print(level)
    assert max(abs(level.yaw), abs(level.pitch), abs(level.roll)) < 1e-4


def cloud(points: npt.ArrayLike) -> Landmarks:
    rows = np.asarray(points, np.float32)
    names = tuple(f"mesh_{number}" for number in range(len(rows)))
    return Landmarks(names, rows[:, :2], rows[:, 2])


def test_points_without_a_pose(estimator: MeshPoseEstimator) -> None:
    good = estimator.sample()
    line = np.outer(np.arange(468), [1.0, 2.0, 3.0])
    nan = np.column_stack([good.points, good.z])  # type: ignore[arg-type]
    nan[estimator.spec.require(RigidPoseSpec).points[0]] = np.nan
    cases = {
        "with z": Landmarks(good.names, good.points),
        "got 5 points": cloud(np.ones((5, 3))),
        "line": cloud(line),
        "not finite": cloud(nan),
    }
    for message, marks in cases.items():
        with pytest.raises(InputError, match=message):
            estimator(marks)
        face = Face(np.zeros(4, np.float32), 1.0, mesh=marks)
        assert estimator.of(face) is None
    with pytest.raises(InputError, match="line"):
        estimator(cloud(np.ones((468, 3))))
    assert estimator.of(Face(np.zeros(4, np.float32), 1.0)) is None


# in the analyzer and in commands


def test_nothing_changes_unless_it_is_asked_for(image: Image) -> None:
    """The default analyzer has neither mesh nor pose; a mesh brings pose along."""
    plain = FaceAnalyzer(intra_op_num_threads=1)
    assert plain.models["landmarks"] == ("landmark_dlib5",)
    assert "pose" not in plain.tasks
    assert "asked for" in plain.missing["pose"]
    asked = FaceAnalyzer(landmarks="landmark_mesh", intra_op_num_threads=1)
    assert asked.models["landmarks"] == ("landmark_mesh", "landmark_dlib5")
    assert asked.models["pose"] == ("pose_mesh",)
    (one,), (other,) = plain(image), asked(image)
    assert (one.mesh, one.pose) == (None, None)
    assert other.mesh is not None
    assert other.pose is not None
    assert one.kps is not None
    assert other.kps is not None
    assert np.array_equal(one.kps, other.kps)
    assert one.similarity(other) == pytest.approx(1, abs=1e-6)
    assert "mesh=468 points" in repr(other)
    only = FaceAnalyzer(tasks=("detection", "pose"), intra_op_num_threads=1)
    assert only.models["landmarks"] == ("landmark_mesh",)


def test_a_pose_needs_its_mesh(image: Image, tmp_path: Path, estimator: MeshPoseEstimator) -> None:
    """A ready estimator loads it; another model of meshes is refused by name."""
    (face,) = FaceAnalyzer(pose=estimator, intra_op_num_threads=1)(image)
    assert face.pose is not None
    section = dataclasses.replace(estimator.spec.section, mesh="other_mesh")
    other = MeshPoseEstimator(dataclasses.replace(estimator.spec, section=section))
    with pytest.raises(ModelNotFoundError, match="other_mesh"):
        FaceAnalyzer(pose=other)
    with pytest.raises(ModelNotFoundError, match="other_mesh"):
        FaceAnalyzer(pose=other, landmarks="landmark_mesh")


def test_a_users_folder_without_landmarks_of_its_own(tmp_path: Path) -> None:
    """A folder with nothing but the mesh: the other landmarks come from the starter set."""
    index = json.loads((STARTER / "index.json").read_text())
    index["models"] = {"landmark_mesh": index["models"]["landmark_mesh"]}
    (tmp_path / "index.json").write_text(json.dumps(sealed(index)))
    for path in STARTER.glob("landmark_mesh.*"):
        shutil.copy(path, tmp_path)
    analyzer = FaceAnalyzer(tmp_path, detector="detection_hog", intra_op_num_threads=1)
    assert analyzer.models["landmarks"] == ("landmark_dlib5",)


def test_commands(portrait: Path, image: Image, tmp_path: Path, capsys: Output) -> None:
    assert main(["pose", str(portrait)]) == 0
    out = capsys.readouterr().out
    assert float(out.partition("roll ")[2].split("°")[0]) == pytest.approx(2.9, abs=1)
    target = tmp_path / "drawn.png"
    arguments = ["landmarks", str(portrait), "--landmarks", "landmark_mesh", "--json"]
    assert main([*arguments, "--draw", str(target)]) == 0
    text = capsys.readouterr().out
    (face,) = json.loads(text)["faces"]
    assert len(text) < 12_000
    assert np.array(face["mesh"]).shape == (468, 3)
    assert face["mesh_score"] == pytest.approx(1, abs=1e-3)
    assert "pose" not in face
    assert (read_image(target) != image).any()
    assert main(["pose", str(portrait), "--json"]) == 0
    (face,) = json.loads(capsys.readouterr().out)["faces"]
    assert face["pose"]["unit"] == "degrees"
    assert main(["pose", str(portrait), "--landmarks", "landmark_dlib5", "--pose", "no_such"]) == 2
    assert "no_such" in capsys.readouterr().err


def test_three_axes_are_drawn() -> None:
    """Of a head that looks left: red to the right, green down, blue to the left."""
    face = Face(np.array([50, 50, 150, 150], np.float32), 1.0, pose=Pose(0, 0, 40, degrees=True))
    picture = draw_faces(np.full((200, 200, 3), 128, np.uint8), [face])
    around = picture[60:140, 60:140].astype(int)
    blue, green, red = (around[..., k] - np.delete(around, k, 2).max(axis=2) for k in range(3))
    middle = 40
    places = {name: np.argwhere(channel > 60).mean(axis=0) - middle
              for name, channel in (("red", red), ("green", green), ("blue", blue))}  # fmt: skip
    print(places)
    assert places["red"][1] > 10
    assert places["green"][0] > 10
    assert places["blue"][1] < -5
    scaled = draw_faces(
        np.zeros((200, 200, 3), np.uint8), [dataclasses.replace(face, pose=Pose(0, 0, 40))]
    )
    assert not (scaled[80:145, 60:140]).any()  # MobileFace's scale has no axes
