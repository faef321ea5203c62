"""Heads turned in the image: roll, landmarks and embeddings follow them, at every angle."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from mobileface import FaceAnalyzer, read_image
from mobileface.types import Face
from mobileface.vision.image import Image

ANGLES = tuple(range(0, 360, 15))
SAME_DETECTOR_POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")


def turned(image: Image, degrees: float) -> tuple[Image, np.ndarray]:  # type: ignore[type-arg]
    """The image turned clockwise on a larger canvas, and the 2×3 matrix that did it."""
    height, width = image.shape[:2]
    side = int(math.hypot(height, width)) + 2
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1)
    matrix[:, 2] += np.array([side - width, side - height]) / 2
    return np.asarray(cv2.warpAffine(image, matrix, (side, side)), np.uint8), matrix


def wrapped(degrees: float) -> float:
    return (degrees + 180) % 360 - 180


@pytest.fixture(scope="module")
def image(portrait: Path) -> Image:
    return read_image(portrait)


@pytest.fixture(scope="module")
def analyzer() -> FaceAnalyzer:
    return FaceAnalyzer(
        tasks=("detection", "landmarks", "embedding"),
        embedder="embedding_dlib",
        intra_op_num_threads=1,
    )


@pytest.fixture(scope="module")
def upright(analyzer: FaceAnalyzer, image: Image) -> Face:
    (face,) = analyzer(image)
    return face


@pytest.mark.parametrize("angle", ANGLES)
def test_the_portrait_at_every_angle(
    angle: int, analyzer: FaceAnalyzer, image: Image, upright: Face
) -> None:
    """Against what is known: the matrix that turned it."""
    picture, matrix = turned(image, angle)
    (face,) = analyzer(picture)
    assert upright.roll is not None
    assert face.roll is not None
    assert face.kps is not None
    assert upright.kps is not None
    error = wrapped(face.roll - upright.roll - angle)
    expected = upright.kps.astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]
    farthest = float(np.linalg.norm(face.kps - expected, axis=1).max())
    similarity = face.similarity(upright)
    print(f"{angle}°: roll off by {error:.2f}°, points by {farthest:.1f} px, {similarity:.4f}")
    assert abs(error) <= 1.5
    assert farthest <= 7  # of a face of 113 pixels
    assert similarity >= 0.99


def test_points_of_the_detector_alone_do_not_turn(analyzer: FaceAnalyzer, image: Image) -> None:
    """What the second looks are for; if this fails, they can go."""
    picture, _ = turned(image, 90)
    (found,) = analyzer.detect(picture)
    assert found.landmarks is not None
    assert found.landmarks.names == SAME_DETECTOR_POINTS
    across, down = found.landmarks.points[1] - found.landmarks.points[0]
    tilt = math.degrees(math.atan2(float(down), float(across)))
    print(f"turned by 90°, eyes tilted by {tilt:.1f}°")
    assert abs(tilt - 90) > 30


@pytest.mark.parametrize("angle", [60, 90, 135, 180, 225, 300])
def test_faces_that_were_found_in_turned_copies(
    angle: int, analyzer: FaceAnalyzer, image: Image, upright: Face
) -> None:
    """Their points turn with the head: that is no sign of how far it is turned from there."""
    turning = FaceAnalyzer(tasks=analyzer.tasks, turns=4, intra_op_num_threads=1)
    picture, _ = turned(image, angle)
    (found,) = turning.detect(picture)
    (face,) = turning.describe(picture, [found])
    assert face.roll is not None
    assert upright.roll is not None
    error = wrapped(face.roll - upright.roll - angle)
    similarity = face.similarity(upright)
    print(f"{angle}°: score {found.det_score:.2f}, roll off by {error:.2f}°, {similarity:.4f}")
    assert found.det_score >= 0.87
    assert abs(error) <= 1.5
    assert similarity >= 0.99
