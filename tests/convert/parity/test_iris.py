"""landmark_iris, converted here: against LiteRT on real eyes, mirrored, and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

import mobileface
from mobileface import Eye, FaceAnalyzer, IrisPredictor, Landmarks
from mobileface.commands.main import main
from mobileface.errors import InputError, SpecError
from mobileface.models.kinds import IrisSpec
from mobileface.models.kinds.iris import IRIS
from mobileface.vision.image import Image
from mobileface.vision.picture_files import read_image
from mobileface_convert.commands.main import main as convert_main
from mobileface_convert.oracles.litert_oracle import LiteRTReference
from tests.conftest import ROOT, packaged
from tests.convert.parity.test_mesh import pictures

pytestmark = [pytest.mark.needs_mediapipe, pytest.mark.needs_litert]

NAME, SIDE, AROUND = "landmark_iris", 64, 2.3
PUBLISHED = packaged("mediapipe/modules/iris_landmark/iris_landmark.tflite")
CORNERS = ((33, 133), (263, 362))
LEFT = (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173)
RIGHT = (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398)
"""The points of the mesh that the first 16 of a contour stand for, as MediaPipe maps them."""

Seen = list[tuple[Image, Landmarks]]
Doubles = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, as the command makes it."""
    made = tmp_path_factory.mktemp("models")
    assert convert_main(["all", "--only", NAME, "--output", str(made)]) == 0
    return made


@pytest.fixture(scope="module")
def predictor(folder: Path) -> IrisPredictor:
    found = mobileface.load(NAME, models=folder, intra_op_num_threads=1)
    assert isinstance(found, IrisPredictor)
    return found


@pytest.fixture(scope="module")
def analyzer() -> FaceAnalyzer:
    tasks, mesh = ("detection", "landmarks"), "landmark_mesh"
    return FaceAnalyzer(ROOT / "models_onnx", tasks, landmarks=mesh, intra_op_num_threads=1)


@pytest.fixture(scope="module")
def seen(source: Path, analyzer: FaceAnalyzer) -> Seen:
    """Pictures with the meshes of their faces: LFW, and frames of two videos."""
    found = [(image, face.mesh) for image in pictures(source) for face in analyzer(image)]
    return [(image, mesh) for image, mesh in found if mesh is not None]


@pytest.fixture(scope="module")
def face(portrait: Path, analyzer: FaceAnalyzer) -> tuple[Image, Landmarks]:
    image = read_image(portrait)
    (found,) = analyzer(image)
    assert found.mesh is not None
    return image, found.mesh


def published(
    oracle: LiteRTReference, image: Image, mesh: Landmarks, right: bool
) -> tuple[Image, Doubles, Doubles]:
    """The square that OpenCV cuts out, uint8 (64, 64, 3) RGB, and what LiteRT finds there.

    Returns:
        The square, 76 points in its pixels, and in pixels of the image.
    """
    outer, inner = (mesh.points[number].astype(np.float64) for number in CORNERS[right])
    middle, along = (outer + inner) / 2, (inner - outer) * AROUND / 2
    down = np.array([-along[1], along[0]]) * (-1 if right else 1)
    corners = np.array([middle - along - down, middle + along - down, middle - along + down])
    # The array of the right eye is turned over: column c becomes column 63 - c.
    across = (SIDE, 0) if right else (0, SIDE)
    square = np.array([[across[0], 0], [across[1], 0], [across[0], SIDE]], np.float32)
    matrix = cv2.getAffineTransform(corners.astype(np.float32), square)
    crop = cv2.warpAffine(image, matrix, (SIDE, SIDE))
    crop = crop[:, ::-1] if right else crop
    crop = np.ascontiguousarray(crop[..., ::-1])
    found = oracle.run({"input_1": crop[None].astype(np.float32) / 255})
    names = ("output_eyes_contours_and_brows", "output_iris")
    points = np.concatenate([found[name].reshape(-1, 3) for name in names]).astype(np.float64)
    places = points[:, :2] * (-1, 1) + (SIDE - 1, 0) if right else points[:, :2]
    back = cv2.transform(places[None], cv2.invertAffineTransform(matrix))[0]
    return np.asarray(crop, np.uint8), points, np.asarray(back, np.float64)


@pytest.mark.slow
@pytest.mark.needs_source
def test_real_eyes_as_litert_has_them(predictor: IrisPredictor, seen: Seen) -> None:
    """In parts of the square's side: the network on the same squares, and the whole way.

    On the whole way a pixel may be rounded otherwise where OpenCV makes its matrix from float32.
    """
    oracle = LiteRTReference(PUBLISHED.read_bytes(), str(PUBLISHED))
    alone, errors = [], []
    for image, mesh in seen:
        ((left, right),) = predictor.predict(image, [mesh])  # type: ignore[misc]
        for mirrored, eye in ((False, left), (True, right)):
            square, points, expected = published(oracle, image, mesh, mirrored)
            output = predictor.session.run({"image": square[None]})
            found = np.concatenate([output["contour"][0], output["iris"][0]])
            alone.append(float(np.abs(found - points).max()) / SIDE)
            outer, inner = (mesh.points[number] for number in CORNERS[mirrored])
            side = AROUND * float(np.linalg.norm(outer - inner))
            places = np.concatenate([eye.contour, eye.iris])
            errors.append(float(np.abs(places - expected).max()) / side)
    middle = float(np.median(errors))
    print(f"{len(errors)} eyes: largest error {max(alone):.2g} of the square's side")
    print(f"the whole way: {middle:.2g} in the median, largest {max(errors):.2g}")
    assert len(errors) >= 100
    assert max(alone) <= 1e-5
    assert middle <= 1e-5
    assert max(errors) <= 2e-3


@pytest.mark.needs_source
def test_contours_lie_where_the_mesh_has_them(predictor: IrisPredictor, seen: Seen) -> None:
    """So the right eye is the one to mirror; on these small and dark faces as well."""
    parts: list[list[float]] = [[], []]
    for image, mesh in seen:
        ((left, right),) = predictor.predict(image, [mesh])  # type: ignore[misc]
        for number, (eye, chosen) in enumerate(((left, LEFT), (right, RIGHT))):
            points = mesh.points[list(chosen)]
            width = np.linalg.norm(points[8] - points[0])
            away = np.linalg.norm(eye.contour[:16] - points, axis=1).mean()
            parts[number].append(float(away / width))
    medians = [float(np.median(part)) for part in parts]
    print(f"{len(seen)} faces: {medians[0]:.3f} and {medians[1]:.3f} of an eye's width")
    assert max(medians) < 0.15  # mirrored the other way 0.58


def test_the_portrait(predictor: IrisPredictor, face: tuple[Image, Landmarks]) -> None:
    """Irises are round, lie in the eyes, and look past the camera to the viewer's left."""
    image, mesh = face
    ((left, right),) = predictor.predict(image, [mesh])  # type: ignore[misc]
    for eye, corners in ((left, CORNERS[0]), (right, CORNERS[1])):
        ends = mesh.points[list(corners)]
        assert ends[:, 0].min() < eye.iris[0, 0] < ends[:, 0].max()
        radii = np.linalg.norm(eye.iris[1:] - eye.iris[0], axis=1)
        width = float(np.linalg.norm(ends[1] - ends[0]))
        print(f"gaze {eye.gaze[0]:.2f}, {eye.gaze[1]:.2f}; radii {radii.round(2)} of {width:.1f}")
        assert radii.max() / radii.min() < 1.25
        assert 0.15 < radii.mean() / width < 0.3
        assert max(abs(value) for value in eye.gaze) < 0.35


def test_a_mirrored_face(predictor: IrisPredictor, face: tuple[Image, Landmarks]) -> None:
    """Left and right change places, and the offset across changes its sign."""
    image, mesh = face
    turned = np.ascontiguousarray(image[:, ::-1])
    last = image.shape[1] - 1
    points = mesh.points * (-1, 1) + (last, 0)
    swap = {33: 263, 133: 362, 263: 33, 362: 133}
    order = [swap.get(number, number) for number in range(len(points))]
    other = Landmarks(mesh.names, points[order].astype(np.float32))
    (before,) = predictor.predict(image, [mesh])
    (after,) = predictor.predict(turned, [other])
    assert before is not None
    assert after is not None
    error = 0.0
    for one, two in zip(before, after[::-1], strict=True):
        error = max(error, float(np.abs(two.iris - (one.iris * (-1, 1) + (last, 0))).max()))
        assert two.gaze[0] == pytest.approx(-one.gaze[0], abs=0.05)
        assert two.gaze[1] == pytest.approx(one.gaze[1], abs=0.05)
    print(f"largest difference {error:.2g} pixels")
    assert error < 0.5


def test_gaze_by_hand(predictor: IrisPredictor, face: tuple[Image, Landmarks]) -> None:
    """The offset from the middle of the corners, along and across the line through them."""
    image, mesh = face
    (eyes,) = predictor.predict(image, [mesh])
    assert eyes is not None
    for eye, (first, second) in zip(eyes, ((33, 133), (362, 263)), strict=True):
        ends = mesh.points[[first, second]].astype(np.float64)
        along = ends[1] - ends[0]
        angle = -np.degrees(np.arctan2(along[1], along[0]))
        turn = cv2.getRotationMatrix2D((0, 0), -angle, 2 / float(np.linalg.norm(along)))[:, :2]
        expected = turn @ (eye.iris[0] - ends.mean(axis=0))
        assert eye.gaze == pytest.approx(tuple(expected), abs=1e-4)


def test_faces_without_eyes(predictor: IrisPredictor, face: tuple[Image, Landmarks]) -> None:
    image, mesh = face
    flat = Landmarks(mesh.names, np.zeros_like(mesh.points))
    found = predictor.predict(image, [None, mesh, flat])
    assert [eyes is None for eyes in found] == [True, False, True]
    assert predictor.predict(image, []) == []
    nan = Landmarks(mesh.names, np.full_like(mesh.points, np.nan))
    for bad in (nan, Landmarks(("left_eye",), np.zeros((1, 2), np.float32))):
        with pytest.raises(InputError, match="mesh 1: no mesh with the corners of the eyes"):
            predictor.predict(image, [mesh, bad])
    with pytest.raises(InputError, match="color"):
        predictor.predict(image, [mesh], color="hsv")  # type: ignore[arg-type]
    eye = predictor(image)
    assert isinstance(eye, Eye)
    assert eye.contour.shape == (71, 2)


@pytest.mark.parametrize(
    ("field", "value"), [("side", 0.0), ("left", (33,)), ("right", (3, 3)), ("left", (1, 2, 3))]
)
def test_bad_specs(field: str, value: object) -> None:
    facts = {"left": (33, 133), "right": (263, 362), "side": 2.3, field: value}
    section = IrisSpec("contour", "iris", 71, **facts)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=field):
        IRIS.check(section, "spec, iris")


def test_commands(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is certified and measured like all others, and an analyzer does not load it."""
    assert main(["certify", "--models", str(folder)]) == 0
    assert main(["bench", "--models", str(folder), "--model", NAME, "--seconds", "1"]) == 0
    assert NAME in capsys.readouterr().out
    assert "iris" not in FaceAnalyzer(folder).models
