"""Filters, lips and warps of the effects, against direct evaluation and affine maps."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mobileface.effects.face_warp import clockwise, map_face
from mobileface.effects.gradients import guided, integrated
from mobileface.effects.lip_colors import LipColors
from mobileface.effects.mesh_regions import contour
from mobileface.effects.mesh_shape import MEAN_SHAPE
from mobileface.effects.mesh_triangles import load_triangles
from mobileface.types import FloatArray, Landmarks, Pose
from mobileface.vision.head_rotation import rotation_of


def noise(seed: int, *shape: int) -> FloatArray:
    found = np.random.RandomState(seed).rand(*shape).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(found, (0, 0), 1.5) * 100, np.float32)


def test_guided_filter_is_the_regression_in_each_window() -> None:
    """He, Sun and Tang, equations 5, 6 and 8, window by window in float64."""
    plane, radius, edge = noise(1, 24, 31), 2, 6.0
    padded = np.pad(plane.astype(np.float64), 2 * radius, mode="symmetric")
    side = 2 * radius + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side))
    mean, variance = windows.mean(axis=(2, 3)), windows.var(axis=(2, 3))
    slope = variance / (variance + edge**2)
    shift = (1 - slope) * mean
    slopes, shifts = (
        np.lib.stride_tricks.sliding_window_view(values, (side, side)).mean(axis=(2, 3))
        for values in (slope, shift)
    )
    error = np.abs(guided(plane, radius, edge) - (slopes * plane + shifts))
    inner = error[radius:-radius, radius:-radius].max()
    print(f"at most {inner:.1e} from the windows, at the border {error.max():.1e}")
    assert inner < 1e-3
    assert guided(np.full((9, 9), 40, np.float32), 3, 6.0) == pytest.approx(40, abs=1e-4)


@pytest.mark.parametrize("shape", [(40, 52), (41, 53), (2, 7)])
def test_integrated_solves_its_equation(shape: tuple[int, int]) -> None:
    """The normal equations of Σ|∇u − g|² + Σu² / reach², by a dense solver in float64."""
    random, reach = np.random.RandomState(2), 6.0
    height, width = shape
    across, down = (random.randn(*shape).astype(np.float32) for _ in range(2))
    count = height * width
    number = np.arange(count).reshape(shape)
    pairs = np.concatenate([
        np.stack([number[:, :-1].ravel(), number[:, 1:].ravel()], axis=1),
        np.stack([number[:-1].ravel(), number[1:].ravel()], axis=1),
    ])  # fmt: skip
    wanted = np.concatenate([across[:, :-1].ravel(), down[:-1].ravel()])
    matrix = np.zeros((len(pairs), count))
    matrix[np.arange(len(pairs)), pairs[:, 1]] = 1
    matrix[np.arange(len(pairs)), pairs[:, 0]] = -1
    normal = matrix.T @ matrix + np.eye(count) / reach**2
    expected = np.linalg.solve(normal, matrix.T @ wanted).reshape(shape)
    error = np.abs(integrated(across, down, reach) - expected).max()
    print(f"{shape}: at most {error:.1e} of {np.abs(expected).max():.1f}")
    assert error < 1e-4


def test_lips_take_the_colors_of_their_rank() -> None:
    """With as many pixels on both sides: exactly the other's lightness; the mean colour too."""
    one, other = np.dstack([noise(seed, 40, 40) for seed in (3, 4, 5)]), noise(6, 40, 40)
    mask = np.ones((40, 40), np.float32)
    found = LipColors(np.asarray(one), mask)(np.dstack([other, other, other]), mask)
    error = np.abs(np.sort(found[..., 0].ravel()) - np.sort(one[..., 0].ravel()))
    shift = np.abs(found.mean(axis=(0, 1)) - one.mean(axis=(0, 1)))
    order = np.argsort(found[..., 0].ravel()) == np.argsort(other.ravel())
    print(f"lightness {error.mean():.3f} in the mean, mean colour {shift.max():.3f}")
    assert error.mean() < 0.1
    assert shift.max() < 0.2
    assert order.mean() > 0.9
    nothing = np.zeros((40, 40), np.float32)
    assert np.array_equal(LipColors(np.asarray(one), nothing)(np.asarray(one), mask), one)
    assert np.array_equal(LipColors(np.asarray(one), mask)(np.asarray(one), nothing), one)


def mean_head(yaw: float = 0) -> Landmarks:
    """The mean shape, turned, in an image of 300×300 pixels."""
    rows = MEAN_SHAPE @ rotation_of(Pose(0, 0, yaw, degrees=True)).T * 80
    names = tuple(f"mesh_{number}" for number in range(len(rows)))
    return Landmarks(
        names, (rows[:, :2] + 150).astype(np.float32), rows[:, 2].astype(np.float32), 1.0
    )


def test_an_affine_map_comes_back() -> None:
    """Points moved by one affine map: each pixel of the oval is sent there by it."""
    target, triangles = mean_head(), load_triangles()
    matrix = np.array([[1.3, 0.2, -30], [-0.1, 0.8, 45]])
    source = (target.points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    found = map_face(target, source, clockwise(target.points, triangles), triangles, (300, 300))
    assert found is not None
    rows, columns = np.nonzero(found.drawn)
    place = np.column_stack([columns + found.place[1].start, rows + found.place[0].start])
    expected = place @ matrix[:, :2].T + matrix[:, 2]
    error = np.abs(np.dstack([found.x, found.y])[rows, columns] - expected).max()
    oval = cv2.contourArea(target.points[list(contour("oval"))])
    print(f"{len(rows)} pixels, oval {oval:.0f}; at most {error:.1e} px off")
    assert error < 2e-2
    assert len(rows) == pytest.approx(oval, rel=0.05)


def test_what_looks_away_is_not_clockwise() -> None:
    """A head turned by 60°: its far cheek is hidden; of the mean shape all but noise is seen."""
    triangles = load_triangles()
    frontal, turned = mean_head(), mean_head(60)
    found = map_face(
        frontal, turned.points, np.ones(len(triangles.corners), bool), triangles, (300, 300)
    )
    assert found is not None
    seen = clockwise(turned.points, triangles)[found.number] & found.drawn
    half = seen.shape[1] // 2
    left, right = (
        seen[:, part].sum() / found.drawn[:, part].sum()
        for part in (slice(half), slice(half, None))
    )
    print(f"seen of the viewer's left half {left:.2f}, of the right {right:.2f}")
    assert min(left, right) < 0.6 < 0.85 < max(left, right)
    assert triangles.corners.shape == (898, 3)
    skin = clockwise(frontal.points, triangles)[: triangles.skin]
    print(f"{(~skin).sum()} of {len(skin)} triangles of the mean shape look away")
    assert skin.mean() > 0.97
