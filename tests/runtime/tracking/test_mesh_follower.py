"""PointSmoother by its published formulas; MeshFollower on a portrait that moves."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from mobileface import FaceAnalyzer, MobileFaceError, read_image
from mobileface.tracking.mesh_follower import MeshFollower
from mobileface.tracking.smoothing import PointSmoother
from mobileface.vision.image import Image
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)


def test_a_step_is_what_the_formula_gives() -> None:
    """By hand: two points 2 apart (spread 1), both moved by 1 in 0.1 s."""
    smoother = PointSmoother(cutoff=1.0, speed_factor=0.5)
    start = np.array([[0.0, 0.0], [2.0, 0.0]])
    np.testing.assert_array_equal(smoother(start, 5.0), start)
    found = smoother(start + np.array([1.0, 0.0]), 5.1)
    share = 1 / (1 + 1 / (2 * math.pi * 1.0 * 0.1))  # 0.3859
    speed = share * 10.0  # 1 / 0.1 s, filtered
    share = 1 / (1 + 1 / (2 * math.pi * (1.0 + 0.5 * speed) * 0.1))
    print(f"moved by {found[0, 0]:.4f}, expected {share:.4f}")
    np.testing.assert_allclose(found, start + np.array([share, 0.0]), atol=1e-12)


def test_noise_at_rest_is_damped_as_a_filter_of_first_order_does() -> None:
    """White noise of variance 1 leaves a/(2 − a)."""
    random = np.random.default_rng(2)
    smoother, kept = PointSmoother(cutoff=2.0, speed_factor=0.0), []
    grid = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0)), axis=-1).reshape(-1, 2) * 100
    for number in range(400):
        kept.append(smoother(grid + random.normal(0, 1, grid.shape), number / 25) - grid)
    share = 1 / (1 + 25 / (2 * math.pi * 2.0))
    variance = float(np.var(kept[100:]))
    print(f"variance {variance:.4f}, expected {share / (2 - share):.4f}")
    assert variance == pytest.approx(share / (2 - share), rel=0.03)


@pytest.fixture(scope="module")
def analyzer() -> FaceAnalyzer:
    return FaceAnalyzer(
        tasks=("detection", "landmarks", "pose"),
        landmarks="landmark_mesh",
        pose="pose_mesh",
        intra_op_num_threads=1,
    )


def moved(image: Image, number: int) -> Image:
    """The portrait, which moves by 3 pixels and turns by a degree each frame."""
    matrix = cv2.getRotationMatrix2D((225, 120), -number, 1.0)
    matrix[:, 2] += [3 * number, 2 * number]
    return np.asarray(cv2.warpAffine(image, matrix, (512, 512)), np.uint8)


def test_a_face_is_followed_between_detections(portrait: Path, analyzer: FaceAnalyzer) -> None:
    """Within 4 % of the eyes' distance of where it is without following; the smoothing lags."""
    image = read_image(portrait)
    follow, worst, tracks = MeshFollower(analyzer, detect_every=100), 0.0, set()
    for number in range(25):
        frame = moved(image, number)
        found = follow(frame, number / 25)
        tracks |= set(found)
        (face,) = found.values()
        alone = analyzer(frame)[0].mesh
        assert face.mesh is not None
        assert alone is not None
        eyes = float(np.linalg.norm(alone.points[33] - alone.points[263]))
        away = np.linalg.norm(face.mesh.points - alone.points, axis=1).mean() / eyes
        worst = max(worst, float(away))
    print(f"worst mean distance {worst:.3f} of the eyes' distance, tracks {tracks}")
    assert len(tracks) == 1
    assert worst < 0.04


def test_a_face_that_leaves_is_not_invented(portrait: Path, analyzer: FaceAnalyzer) -> None:
    image = read_image(portrait)
    empty = np.full_like(image, 90)
    follow = MeshFollower(analyzer, detect_every=5)
    frames = [image, image, empty, empty, image, image, image, image]
    counts = [len(follow(frame, number / 25)) for number, frame in enumerate(frames)]
    print(counts)
    assert counts == [1, 1, 0, 0, 0, 1, 1, 1]  # found again in the next detection, frame 5
    with pytest.raises(MobileFaceError, match="detect_every must be at least 1"):
        MeshFollower(analyzer, detect_every=0)
