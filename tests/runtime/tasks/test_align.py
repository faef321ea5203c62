"""Crops against OpenCV and against an independent least-squares solution."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from mobileface.errors import ImageError, InputError
from mobileface.tasks.align import align, crop_matrix
from mobileface.types import Landmarks
from mobileface.vision.crops import CROPS
from mobileface.vision.image import Image

BY_POINTS = [name for name, template in CROPS.items() if template.points]
FIVE = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
FOUR = ("left_eye", "right_eye", "nose", "mouth")
ARCFACE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
"""The published template, in pixels of a crop of 112×112."""
FACES = 200

EYE = np.array([4.0, 0.0])
"""From the middle of an eye to its corners."""

Array = npt.NDArray[np.float64]


def random_face(random: np.random.Generator) -> Array:
    """Five points of a turned, scaled and shifted face, each off its place by a few pixels."""
    angle, scale = random.uniform(-np.pi, np.pi), random.uniform(0.2, 5)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    places = (ARCFACE - 56) @ turn.T + random.uniform(50, 250, 2)
    return np.asarray(places + random.normal(0, 2 * scale, places.shape))


def noise(random: np.random.Generator, shape: tuple[int, ...] = (240, 320, 3)) -> Image:
    """A picture with structure of a few pixels."""
    small = random.integers(0, 256, (shape[0] // 4, shape[1] // 4, *shape[2:]), np.uint8)
    return np.asarray(cv2.resize(small, (shape[1], shape[0])), np.uint8)


def umeyama(source: Array, target: Array) -> Array:
    """The published solution: by singular values, with reflections excluded (equations 38-43)."""
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    covariance = (target - target_mean).T @ (source - source_mean) / len(source)
    left, values, right = np.linalg.svd(covariance)
    signs = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    rotation = left @ np.diag(signs) @ right
    scale = (values * signs).sum() / ((source - source_mean) ** 2).sum() * len(source)
    shift = target_mean - scale * rotation @ source_mean
    return np.hstack([scale * rotation, shift[:, None]])


def face_for(crop: str, points: Any) -> Landmarks:
    """The points that a crop needs, made from the five of ARCFACE."""
    if not crop.startswith("dlib"):
        return face(points)
    left, right, nose = np.asarray(points, np.float64)[:3]
    return face([right + EYE, right - EYE, left - EYE, left + EYE, nose], CROPS["dlib"].points)


def face(points: Any, names: tuple[str, ...] = FIVE) -> Landmarks:
    return Landmarks(names, np.asarray(points, np.float32))


def test_affine_is_opencvs() -> None:
    """Through both eyes and the middle of the mouth, cubic, at any size."""
    random = np.random.default_rng(1)
    image = noise(random)
    template = np.array([(0.236842, 0.318182), (0.763158, 0.318182), (0.5, 0.772727)])
    for number in range(FACES):
        points = random_face(random).astype(np.float32)
        height, width = (96, 96) if number % 2 else random.integers(1, 300, 2).tolist()
        three = np.stack([points[0], points[1], (points[3] + points[4]) / 2])
        target = (template * (width, height)).astype(np.float32)
        matrix = cv2.getAffineTransform(three, target)
        expected = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC)
        size = None if number % 2 else (height, width)
        found = align(image, face(points), size=size)
        assert found.dtype == np.uint8
        assert np.array_equal(found, expected)
        middle = face(three, ("left_eye", "right_eye", "mouth"))
        assert np.array_equal(align(image, middle, size=size), expected)
    print(f"{FACES} crops, equal pixel by pixel")


def test_similarity_is_the_least_squares_one() -> None:
    random = np.random.default_rng(2)
    image = noise(random)
    worst = 0.0
    for number in range(FACES):
        points = random_face(random).astype(np.float32)
        size = 112 if number % 2 else int(random.integers(1, 300))
        target = ARCFACE * (size / 112)
        expected = umeyama(points.astype(np.float64), target)
        found = crop_matrix(face(points), CROPS["arcface"], size, size)
        worst = max(worst, float(np.abs(found - expected).max()))
        a, b = found[0, 0], found[1, 0]
        assert np.array_equal(found[:, :2], [[a, -b], [b, a]])
        assert a * a + b * b > 0
        crop = align(image, face(points), crop="arcface", size=size)
        assert np.array_equal(
            crop, cv2.warpAffine(image, found, (size, size), flags=cv2.INTER_LINEAR)
        )
    print(f"{FACES} matrices, largest difference {worst:.1e}")
    assert worst < 1e-10


def test_exact_similarity_is_found() -> None:
    """Points that are the template, turned, scaled and shifted, all land on their places."""
    random = np.random.default_rng(3)
    worst = 0.0
    for _ in range(FACES):
        angle, scale = random.uniform(-np.pi, np.pi), random.uniform(0.3, 3)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = (ARCFACE @ turn.T + random.uniform(-50, 300, 2)).astype(np.float32)
        found = crop_matrix(face(points), CROPS["arcface"], 112, 112)
        reference, _ = cv2.estimateAffinePartial2D(points, ARCFACE.astype(np.float32))
        mapped = points @ found[:, :2].T + found[:, 2]
        worst = max(worst, float(np.abs(mapped - ARCFACE).max()))
        assert np.allclose(found, reference, atol=2e-2, rtol=0)
    print(f"{FACES} faces, points off by at most {worst:.1e} px")
    assert worst < 2e-4


def test_similarity_never_mirrors() -> None:
    points = ARCFACE * (-1, 1) + (112, 0)
    found = crop_matrix(face(points), CROPS["arcface"], 112, 112)
    assert np.linalg.det(found[:, :2]) > 0
    assert np.allclose(found, umeyama(points, ARCFACE), atol=1e-4)


def test_similarity_with_the_middle_of_the_mouth() -> None:
    """Where its corners are not known, the middle goes to the middle of theirs."""
    random = np.random.default_rng(4)
    target = np.vstack([ARCFACE[:3], ARCFACE[3:].mean(axis=0)])
    for _ in range(FACES):
        points = random_face(random)[:4].astype(np.float32)
        found = crop_matrix(face(points, FOUR), CROPS["arcface"], 112, 112)
        assert np.allclose(found, umeyama(points.astype(np.float64), target), atol=1e-10)
    shuffled = face(points[[3, 1, 0, 2]], ("mouth", "right_eye", "left_eye", "nose"))
    assert np.array_equal(crop_matrix(shuffled, CROPS["arcface"], 112, 112), found)


def test_corners_count_more_than_the_middle() -> None:
    """With both known, the template's own points are used."""
    points = ARCFACE.astype(np.float32)
    both = face([*points, (0, 0)], (*FIVE, "mouth"))
    assert np.allclose(crop_matrix(both, CROPS["arcface"], 112, 112), np.eye(2, 3), atol=1e-5)


@pytest.mark.parametrize("crop", BY_POINTS)
def test_sizes_and_channels(crop: str) -> None:
    random = np.random.default_rng(5)
    image = noise(random)
    points = face_for(crop, ARCFACE * 2)
    side = CROPS[crop].size
    assert align(image, points, crop=crop).shape == (side, side, 3)
    assert align(image, points, crop=crop, size=7).shape == (7, 7, 3)
    if crop.startswith("dlib"):
        with pytest.raises(InputError, match="face chip must be square, not 9×5 pixels"):
            align(image, points, crop=crop, size=(9, 5))
    else:
        assert align(image, points, crop=crop, size=(9, 5)).shape == (9, 5, 3)
    gray = image[:, :, 0]
    expected = align(image, points, crop=crop)[:, :, 0]
    assert np.array_equal(align(gray, points, crop=crop), expected)
    assert np.array_equal(align(gray[:, :, None], points, crop=crop), expected)
    turned = np.asfortranarray(image)
    assert np.array_equal(align(turned, points, crop=crop)[:, :, 0], expected)


@pytest.mark.parametrize("crop", BY_POINTS)
def test_outside_the_picture_is_black(crop: str) -> None:
    image = np.full((50, 50, 3), 255, np.uint8)
    for far in (1e3, -1e3, 1e6):
        assert not align(image, face_for(crop, ARCFACE + far), crop=crop).any()
    assert align(image, face_for(crop, ARCFACE - 30), crop=crop).any()


BAD_POINTS: dict[str, tuple[str, Any]] = {
    "one spot": ("mobileface", [[5, 5]] * 5),
    "one spot, similarity": ("arcface", [[5, 5]] * 5),
    "one spot, chip": ("dlib", [[5, 5]] * 5),
    "nan, chip": ("dlib", [*ARCFACE[:4], [np.nan, 5]]),
    "one spot that float32 cannot tell apart": ("arcface", np.full((5, 2), 1e8) + ARCFACE / 1e3),
    "on a line": ("mobileface", [[1, 1], [2, 2], [3, 3], [4, 4], [5, 5]]),
    "on a slanted line": ("mobileface", [[0, 10], [30, 20], [0, 0], [60, 30], [60, 30]]),
    "both eyes in one place": ("mobileface", [[5, 5], [5, 5], [6, 6], [3, 9], [7, 9]]),
    "nan": ("mobileface", [[np.nan, 5], *ARCFACE[1:]]),
    "infinite": ("mobileface", [*ARCFACE[:4], [5, np.inf]]),
    "nan, similarity": ("arcface", [*ARCFACE[:4], [np.nan, 5]]),
    "infinite, similarity": ("arcface", [[-np.inf, 5], *ARCFACE[1:]]),
}


@pytest.mark.parametrize("name", BAD_POINTS)
def test_points_that_allow_no_crop(name: str) -> None:
    crop, points = BAD_POINTS[name]
    with pytest.raises(InputError, match=r"line|coincide|finite") as caught:
        align(
            np.zeros((20, 20, 3), np.uint8),
            face(points, CROPS[crop].points[:5] if crop == "dlib" else FIVE),
            crop=crop,
        )
    print(caught.value)


@pytest.mark.parametrize("names", [(), ("left_eye",), FIVE[:3], ("left_eye", "nose", "mouth")])
@pytest.mark.parametrize("crop", BY_POINTS)
def test_missing_points_are_named(crop: str, names: tuple[str, ...]) -> None:
    points = face(ARCFACE[: len(names)].reshape(-1, 2), names)
    with pytest.raises(
        InputError, match=f"needs the landmarks {CROPS[crop].points[0]}, {CROPS[crop].points[1]}"
    ):
        align(np.zeros((20, 20, 3), np.uint8), points, crop=crop)


@pytest.mark.parametrize("size", [0, -1, (0, 5), (5, 0), (5, -5), 4097, (5, 10**9)])
def test_impossible_sizes(size: int | tuple[int, int]) -> None:
    with pytest.raises(InputError, match="the sides of a crop must be from 1 to 4096 pixels, not"):
        align(np.zeros((20, 20, 3), np.uint8), face(ARCFACE), size=size)


def test_unknown_crop() -> None:
    with pytest.raises(
        InputError, match="unknown crop 'passport'; available: mobileface, arcface, dlib"
    ):
        align(np.zeros((20, 20, 3), np.uint8), face(ARCFACE), crop="passport")


@pytest.mark.parametrize(
    "image", [np.zeros((20, 20, 4), np.uint8), np.zeros((20, 20, 3)), np.zeros((0, 5), np.uint8)]
)
def test_no_picture(image: Any) -> None:
    with pytest.raises(ImageError):
        align(image, face(ARCFACE))
