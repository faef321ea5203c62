"""The face mesh of the starter set beside LiteRT on real faces, and the pose from it."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import pytest

import mobileface
from mobileface import FaceAnalyzer, MeshPredictor
from mobileface.errors import ConversionError, ModelError, SourceIntegrityError
from mobileface.models.kinds import RigidPoseSpec
from mobileface.tasks.upright import turned_patch
from mobileface.vision.image import Image
from mobileface.vision.picture_files import read_image
from mobileface_convert.build.collection import open_upstream
from mobileface_convert.build.pipeline import fetch_all
from mobileface_convert.frontends.tflite import read_tflite
from mobileface_convert.makers.tflite import MAKER, published_outputs
from mobileface_convert.oracles.litert_oracle import LiteRTReference
from mobileface_convert.recipes.recipe import Recipe, load_recipe
from tests.conftest import ROOT, packaged
from tests.record_mesh_shape import LFW, derive, meshes

STARTER = ROOT / "models_onnx"
FILE = "mediapipe/modules/face_landmark/face_landmark.tflite"
Squares = npt.NDArray[np.uint8]

FRIENDS = {
    "right_woman": ((1092, 291), (14.6, 7.4, -3.0)),
    "man_red_shirt": ((775, 353), (22.5, 22.4, 3.9)),
    "man_dark_shirt": ((543, 295), (8.0, 25.3, 15.4)),
    "left_woman": ((206, 285), (-3.6, -2.7, -23.5)),
    "standing_man": ((909, 116), (38.6, 21.1, -8.0)),
    "standing_woman": ((375, 189), (21.9, 21.6, -17.9)),
}
"""By person: the middle of the face in example/friends.jpg, and yaw, pitch and roll by the axes
234–454 and 10–152 of the mesh that LiteRT gave for squares cut out by a prototype."""

BENT = ("standing_woman", 1)
"""Her pitch is 14 degrees off: it goes from −18 to 21 when the square is turned or moved."""


@pytest.fixture(scope="module")
def predictor() -> MeshPredictor:
    found = mobileface.load("landmark_mesh", models=STARTER, intra_op_num_threads=1)
    assert isinstance(found, MeshPredictor)
    return found


@pytest.fixture(scope="module")
def squares(source: Path) -> Squares:
    """Upright squares with faces, uint8 (N, 192, 192, 3) RGB: LFW, and frames of both videos."""
    analyzer = FaceAnalyzer(tasks=("detection", "landmarks"), intra_op_num_threads=1)
    found = []
    for picture in pictures(source):
        for face in analyzer(picture):
            center = (face.bbox[:2] + face.bbox[2:]) / 2
            scale = 192 / (1.5 * float(max(face.bbox[2:] - face.bbox[:2])))
            found.append(turned_patch(picture, center, face.roll or 0.0, scale, 192)[0])
    return np.ascontiguousarray(np.array(found)[..., ::-1])


def pictures(source: Path) -> Iterator[Image]:
    for path in sorted((source / LFW).rglob("*.jpg"))[::3]:
        yield read_image(path)
    for video in (1, 2):
        capture = cv2.VideoCapture(str(source / "example" / f"friends{video}.mp4"))
        while capture.grab():
            if int(capture.get(cv2.CAP_PROP_POS_FRAMES)) % 20 == 0:
                yield np.asarray(capture.retrieve()[1], np.uint8)


@pytest.mark.needs_source
@pytest.mark.needs_mediapipe
@pytest.mark.needs_litert
def test_real_faces_as_litert_has_them(predictor: MeshPredictor, squares: Squares) -> None:
    assert len(squares) >= 100
    recipe, path = load_recipe("landmark_mesh"), packaged(FILE)
    oracle = LiteRTReference(path.read_bytes(), FILE)
    tensor = squares.transpose(0, 3, 1, 2).astype(np.float32) / 255
    expected = published_outputs(recipe, read_tflite(path), oracle, tensor)
    for batch in (1, 8):
        parts = [
            predictor.session.run({"image": squares[start : start + batch]})
            for start in range(0, len(squares), batch)
        ]
        errors = {
            name: float(
                np.abs(
                    np.concatenate([part[name] for part in parts]).reshape(len(squares), -1) - rows
                ).max()
            )
            for name, rows in expected.items()
        }
        print(f"{len(squares)} squares, batches of {batch}: {errors} (pixels of 192; presence)")
        assert errors["points"] < 1e-3
        assert errors["presence"] < 1e-4
    faces = expected["presence"] > 0.5
    print(f"{int(faces.sum())} of them with a presence above 0.5")
    assert faces.mean() > 0.7


@pytest.mark.needs_source
@pytest.mark.needs_mediapipe
@pytest.mark.needs_litert
def test_time_beside_litert(predictor: MeshPredictor, squares: Squares) -> None:
    """One square, one thread, in turns; printed, not required."""
    oracle = LiteRTReference(packaged(FILE).read_bytes(), FILE)
    image, pixels = squares[:1], squares[:1].astype(np.float32) / 255
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(100):
        for times, run in (
            (ours, lambda: predictor.session.run({"image": image})),
            (theirs, lambda: oracle.run_whole({"input_1": pixels})),
        ):
            start = time.perf_counter()
            run()
            times.append(1e3 * time.perf_counter() - 1e3 * start)
    one, other = float(np.median(ours)), float(np.median(theirs))
    print(f"ours {one:.2f} ms, LiteRT {other:.2f} ms, ratio {one / other:.2f}")
    assert min(one, other) > 0


@pytest.mark.needs_source
def test_heads_of_a_photo(source: Path) -> None:
    """Signs and sizes of all angles beside those of another way through the mesh."""
    analyzer = FaceAnalyzer(tasks=("detection", "landmarks", "pose"), intra_op_num_threads=1)
    faces = analyzer(read_image(source / "example" / "friends.jpg"))
    assert len(faces) == len(FRIENDS)
    for name, (middle, expected) in FRIENDS.items():
        face = min(faces, key=lambda f: float(np.abs(f.bbox[:2] + f.bbox[2:] - 2 * np.array(middle)).sum()))  # noqa: E501 # fmt: skip
        assert face.pose is not None
        found = (face.pose.yaw, face.pose.pitch, face.pose.roll)
        off = [one - other for one, other in zip(found, expected, strict=True)]
        print(f"{name}: {[round(v, 1) for v in found]}, off {[round(v, 1) for v in off]}")
        for number, value in enumerate(off):
            assert abs(value) < (16 if (name, number) == BENT else 8)


@pytest.mark.needs_source
def test_the_shape_is_derived_as_its_recipe_says(source: Path) -> None:
    """Again from the portraits, whose meshes another machine rounds a little differently."""
    found = meshes(source / LFW)
    numbers, rows = derive(found)
    section = load_recipe("pose_mesh").spec.require(RigidPoseSpec)
    common = set(numbers) & set(section.points)
    theirs = dict(zip(section.points, section.reference, strict=True))
    ours = dict(zip(numbers, rows, strict=True))
    error = max(float(np.abs(np.array(theirs[n]) - ours[n]).max()) for n in common)
    print(f"{len(found)} meshes, {len(common)} of {len(numbers)} points, largest error {error:.1e}")
    assert len(found) >= 195
    assert len(common) >= len(section.points) - 2
    assert error < 1e-3
    sides = np.array(section.reference)
    assert np.abs(np.sort(sides[:, 0]) + np.sort(-sides[:, 0])[::-1]).max() < 1e-9
    assert np.abs(np.sort(sides[:, 0]) - np.sort(-sides[:, 0])).max() < 2e-4  # symmetric


# what is refused


def changed(**options: Any) -> Recipe:
    recipe = load_recipe("landmark_mesh")
    return dataclasses.replace(recipe, options={**recipe.options, **options})


SWAPPED = {"points": "conv2d_31", "presence": "conv2d_21"}


@pytest.mark.needs_mediapipe
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": SWAPPED}, r"'conv2d_31' of shape \[1, 1, 1, 1\], the spec says 'points'"),
        ({"outputs": {"points": "conv2d_21"}}, "'outputs' must name a published output for each"),
        ({"outputs": {"points": "a", "presence": "b"}}, "no output 'a'"),
        ({"outputs": "conv2d_21"}, "'outputs' must name"),
    ],
)
def test_wrong_outputs(options: dict[str, Any], message: str) -> None:
    files = {"model": packaged(FILE)}
    with pytest.raises((ConversionError, mobileface.MobileFaceError), match=message) as caught:
        MAKER.build(changed(**options), files)
    print(caught.value)


@pytest.mark.needs_mediapipe
def test_another_file(tmp_path: Path) -> None:
    """A network for other images is refused by its shape, a changed file by its hash."""
    iris = packaged("mediapipe/modules/iris_landmark/iris_landmark.tflite")
    with pytest.raises(ConversionError, match=r"inputs \(1, 64, 64, 3\), the spec says \(1, 192"):
        MAKER.build(load_recipe("landmark_mesh"), {"model": iris})
    recipe = load_recipe("landmark_mesh")
    file = dataclasses.replace(recipe.files["model"], sha256="0" * 64)
    wrong = dataclasses.replace(recipe, files={"model": file})
    with pytest.raises(SourceIntegrityError, match=r"SHA-256 is 1055cb9d.*, but 0000") as caught:
        fetch_all(wrong, open_upstream(recipe.upstream, None))
    assert "mediapipe==0.10.21" in caught.value.hint


def test_a_network_with_other_outputs(tmp_path: Path) -> None:
    """478 points where the spec says 468: refused when it is opened, by name."""
    model = onnx.load(STARTER / "landmark_mesh.onnx")
    (entry,) = [item for item in model.metadata_props if item.key == "mobileface.spec"]
    spec = json.loads(entry.value)
    spec["mesh"]["count"] = 478
    entry.value = json.dumps(spec)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match=r"points.*478") as caught:
        mobileface.load(tmp_path / "other.onnx")
    print(caught.value)
