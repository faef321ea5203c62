"""The whole analysis, on random models that need nothing but the runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mobileface import Face, FaceAnalyzer
from mobileface.errors import ImageError, InputError, ModelNotFoundError
from mobileface.models.probes import make_probes

MODELS = Path(__file__).parents[1] / "models"
ANALYZER = MODELS / "analyzer"
THRESHOLD = 0.73


@pytest.fixture(scope="module")
def image() -> npt.NDArray[np.uint8]:
    return make_probes(2, 120, 160, 3, 7)[1]


@pytest.fixture(scope="module")
def faces(image: npt.NDArray[np.uint8]) -> list[Face]:
    tasks = ("detection", "landmarks", "pose", "embedding")
    return FaceAnalyzer(ANALYZER, tasks, score_threshold=THRESHOLD)(image)


def test_every_step_gives_what_was_recorded(faces: list[Face]) -> None:
    """Landmarks come from an independent evaluator, the rest from another machine's run."""
    with np.load(ANALYZER / "expected.npz", allow_pickle=False) as expected:
        assert len(faces) == len(expected["scores"]) >= 3
        boxes = np.array([face.bbox for face in faces])
        np.testing.assert_array_equal(boxes, expected["boxes"])
        scores = np.array([face.det_score for face in faces])
        np.testing.assert_allclose(scores, expected["scores"], atol=1e-4)
        points = np.array([face.kps for face in faces])
        np.testing.assert_array_equal(points, expected["points"])
        own = [face.pose.published for face in faces if face.pose is not None]
        poses = [(pose.pitch, pose.roll, pose.yaw) for pose in own if pose is not None]
        np.testing.assert_allclose(poses, expected["poses"], atol=1e-9)
        vectors = np.array([face.embedding for face in faces])
        error = float(np.abs(vectors - expected["vectors"]).max())
        print(f"{len(faces)} boxes, largest difference of an embedding {error:.2g}")
        assert error <= 1e-2  # OpenCV 4 and 5 warp with a difference of a grey level


def test_faces_are_sorted_and_complete(faces: list[Face]) -> None:
    scores = [face.det_score for face in faces]
    assert scores == sorted(scores, reverse=True)
    for face in faces:
        assert face.landmarks is not None
        assert face.landmarks.names[:3] == ("left_eye", "right_eye", "nose")
        assert face.embedding is not None
        assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-6)


def test_tasks_by_name(image: npt.NDArray[np.uint8]) -> None:
    analyzer = FaceAnalyzer(ANALYZER, ("detection",), score_threshold=THRESHOLD)
    assert analyzer.tasks == ("detection",)
    face = analyzer(image)[0]
    assert (face.landmarks, face.pose, face.embedding) == (None, None, None)
    with pytest.raises(InputError, match="unknown task 'age'"):
        FaceAnalyzer(ANALYZER, ("age",))


@pytest.mark.usefixtures("no_other_models")
def test_absent_models_are_named() -> None:
    with pytest.raises(ModelNotFoundError, match="no model for task 'detection'"):
        FaceAnalyzer(MODELS)
    with pytest.raises(ModelNotFoundError, match="no model 'absent'"):
        FaceAnalyzer(ANALYZER, embedder="absent")


def test_gray_and_swapped_colors(image: npt.NDArray[np.uint8], faces: list[Face]) -> None:
    analyzer = FaceAnalyzer(ANALYZER, score_threshold=THRESHOLD)
    swapped = analyzer(np.ascontiguousarray(image[:, :, ::-1]), color="rgb")
    np.testing.assert_array_equal([f.bbox for f in swapped], [f.bbox for f in faces])
    np.testing.assert_allclose(swapped[0].embedding, faces[0].embedding, atol=1e-6)
    assert len(analyzer(image[:, :, 0])) > 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (5, 400, 3)])
def test_pictures_without_room_for_a_face(shape: tuple[int, ...]) -> None:
    assert FaceAnalyzer(ANALYZER, score_threshold=50)(np.zeros(shape, np.uint8)) == []


@pytest.mark.parametrize("bad", [np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3)), None])
def test_what_is_no_picture(bad: object) -> None:
    with pytest.raises(ImageError):
        FaceAnalyzer(ANALYZER)(bad)  # type: ignore[arg-type]
