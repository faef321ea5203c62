"""The converted detector finds what dlib's own finds, in photos, videos and small pictures."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

import mobileface
from mobileface.tasks.hog_detector import HogDetector
from mobileface.types import Detections
from mobileface.vision.image import Image
from mobileface.vision.picture_files import read_image
from mobileface_convert.build.pipeline import convert
from mobileface_convert.recipes.recipe import load_recipe

pytestmark = [pytest.mark.needs_source, pytest.mark.needs_dlib]

STEP = 5
"""Every so many frames of a video are compared."""
COLOR_FRAMES = 40
"""And every so many in colour."""
SAME_FACE = 0.5
LEAST_IDENTICAL = 0.99
MOST_EXTRA = 0.01
MOST_SCORE_DIFFERENCE = 2e-4
"""Of boxes that are equal."""
MOST_SCORE_DIFFERENCE_IN_CROPS = 1e-2
"""The same in the LFW crops; 4.9e-3 was seen."""

Boxes = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> mobileface.Detector:
    """The detector, converted without verification."""
    folder = tmp_path_factory.mktemp("models")
    convert(load_recipe("detection_hog"), None, folder, verify=False)
    return mobileface.load_detector(models=folder)


@pytest.fixture(scope="module")
def reference() -> Any:
    """dlib's own."""
    return importlib.import_module("dlib").get_frontal_face_detector()


def run_reference(
    reference: Any, image: Image, upsample: int = 0, threshold: float = 0.0
) -> tuple[Boxes, Scores]:
    """What dlib finds in a gray or BGR picture: boxes (N, 4) and scores, best first."""
    pixels = image if image.ndim == 2 else image[:, :, ::-1]
    boxes, scores, _ = reference.run(np.ascontiguousarray(pixels), upsample, threshold)
    edges = [(box.left(), box.top(), box.right(), box.bottom()) for box in boxes]
    return np.array(edges, np.float64).reshape(-1, 4), np.array(scores, np.float64)


def overlaps(a: Boxes, b: Boxes) -> Boxes:
    """Intersection over union of each box of one list with each of the other."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.maximum(high - low + 1, 0), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1) for boxes in (a, b)]
    return np.asarray(shared / (areas[0][:, None] + areas[1][None] - shared))


@dataclass
class Tally:
    """Counts over many pictures."""

    pictures: int = 0
    expected: int = 0
    identical: int = 0
    missed: int = 0
    extra: int = 0
    score: float = 0.0

    def add(self, expected: Boxes, scores: Scores, found: Detections) -> None:
        self.pictures += 1
        self.expected += len(expected)
        boxes = found.boxes.astype(np.float64)
        shared = overlaps(expected, boxes)
        self.missed += int((shared.max(axis=1, initial=0) <= SAME_FACE).sum())
        self.extra += int((shared.max(axis=0, initial=0) <= SAME_FACE).sum())
        for row, column in np.argwhere(shared == 1):
            assert np.array_equal(expected[row], boxes[column])
            self.identical += 1
            self.score = max(self.score, abs(float(scores[row] - found.scores[column])))

    def check(self, name: str, most_score: float) -> None:
        print(
            f"{name}: {self.pictures} pictures, dlib {self.expected} boxes, {self.identical} "
            f"identical, {self.missed} missed, {self.extra} extra, scores within {self.score:.1e}"
        )
        assert self.missed == 0
        assert self.identical >= LEAST_IDENTICAL * self.expected
        assert self.extra <= MOST_EXTRA * self.expected
        assert self.score < most_score


def frames(path: Path, step: int) -> Iterator[Image]:
    """Every so many frames of a video, BGR."""
    video = cv2.VideoCapture(str(path))
    number = 0
    while video.grab():
        if number % step == 0:
            yield np.asarray(video.retrieve()[1], np.uint8)
        number += 1
    video.release()


def gray(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def crops(source: Path, factor: int) -> Iterator[Image]:
    """The 200 aligned faces, gray, made larger."""
    for path in sorted((source / "data" / "LFW-Aligned-100Pair").glob("*/*.jpg")):
        image = gray(read_image(path))
        size = (image.shape[1] * factor, image.shape[0] * factor)
        yield np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def video(name: str) -> Callable[[Path], Iterator[Image]]:
    return lambda source: map(gray, frames(source / "example" / name, STEP))


GRAY: dict[str, tuple[Callable[[Path], Iterator[Image]], int, float]] = {
    "friends.jpg": (lambda source: iter([gray(photo(source))]), 6, MOST_SCORE_DIFFERENCE),
    "friends1.mp4": (video("friends1.mp4"), 100, MOST_SCORE_DIFFERENCE),
    "friends2.mp4": (video("friends2.mp4"), 40, MOST_SCORE_DIFFERENCE),
    "LFW crops": (lambda source: crops(source, 1), 180, MOST_SCORE_DIFFERENCE_IN_CROPS),
    "LFW crops, 3 times as large": (
        lambda source: crops(source, 3),
        180,
        MOST_SCORE_DIFFERENCE_IN_CROPS,
    ),
}
"""Pictures, how many faces dlib finds in them at least (else the test would show little), and how
far scores may differ."""


def photo(source: Path) -> Image:
    return read_image(source / "example" / "friends.jpg")


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAY)
def test_gray_pictures(
    name: str, source: Path, detector: mobileface.Detector, reference: Any
) -> None:
    pictures, least, most_score = GRAY[name]
    tally = Tally()
    for image in pictures(source):
        tally.add(*run_reference(reference, image), detector.detect(image))
    tally.check(name, most_score)
    assert tally.expected >= least


@pytest.mark.slow
def test_color_pictures(source: Path, detector: mobileface.Detector, reference: Any) -> None:
    tally = Tally()
    images = [photo(source)]
    for name in ("friends1.mp4", "friends2.mp4"):
        images += frames(source / "example" / name, COLOR_FRAMES)
    for image in images:
        found = detector.detect(image)
        tally.add(*run_reference(reference, image), found)
        mirrored = np.ascontiguousarray(image[:, :, ::-1])
        assert np.array_equal(detector.detect(mirrored, color="rgb").boxes, found.boxes)
    tally.check("colour", MOST_SCORE_DIFFERENCE)


def test_doubled_pictures(source: Path, detector: mobileface.Detector, reference: Any) -> None:
    """Faces half as large are found, at the same places as by dlib."""
    tally = Tally()
    small = np.asarray(
        cv2.resize(gray(photo(source)), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    )
    assert len(detector.detect(small)) < 6
    for image in (small, next(crops(source, 2))):
        tally.add(
            *run_reference(reference, image, 1),
            HogDetector(detector.session, upsample=1).detect(image),
        )
    tally.check("doubled", MOST_SCORE_DIFFERENCE)
    assert tally.expected >= 6


@pytest.mark.parametrize("threshold", [-0.6, -0.3, 0.7, 1.5, 5.0])
def test_threshold(
    threshold: float, source: Path, detector: mobileface.Detector, reference: Any
) -> None:
    """The same number means the same as dlib's adjust_threshold."""
    image = gray(photo(source))
    tally = Tally()
    found = HogDetector(detector.session, score_threshold=threshold).detect(image)
    tally.add(*run_reference(reference, image, threshold=threshold), found)
    tally.check(f"threshold {threshold}", MOST_SCORE_DIFFERENCE)
    assert (found.scores >= threshold).all()
    assert (len(found) == 0) == (threshold == 5)


@pytest.mark.parametrize("size", [0, 80, 100, 160, 100_000])
def test_min_face_size(size: float, source: Path, detector: mobileface.Detector) -> None:
    """Boxes that are large enough stay exactly; a box is 0.9 of the window that is searched with.

    Only a large box that a better, smaller one had suppressed may come in addition.
    """
    for image in (gray(photo(source)), next(frames(source / "example" / "friends1.mp4", 1))):
        everything = detector.detect(image)
        found = HogDetector(detector.session, min_face_size=size).detect(image)
        sides = everything.boxes[:, 2] - everything.boxes[:, 0]
        expected = {tuple(box) for box in everything.boxes[sides >= 0.9 * size - 1]}
        boxes = {tuple(box) for box in found.boxes}
        print(f"from {size} px: {len(found)} of {len(everything)}")
        assert expected <= boxes
        assert all(box[2] - box[0] >= 0.9 * size - 1 for box in boxes)
        others = np.array(sorted(boxes - expected)).reshape(-1, 4)
        assert (overlaps(others, everything.boxes.astype(np.float64)) > 0).any(axis=1).all()
        assert (size > 80) or boxes == expected
