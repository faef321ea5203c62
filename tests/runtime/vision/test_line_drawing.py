"""Edge flow and lines against known directions, and against SciPy's Gaussians."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from mobileface.vision.line_drawing import edge_flow, flow_lines, soft_threshold

ndimage = pytest.importorskip("scipy.ndimage")


@pytest.mark.parametrize("degrees", [0, 20, 45, 77, 90, 130])
def test_the_flow_follows_edges(degrees: int) -> None:
    """Stripes at a known angle: every pixel's direction, without its sign."""
    y, x = np.mgrid[:120, :140].astype(np.float32)
    angle = math.radians(degrees)
    across = -x * math.sin(angle) + y * math.cos(angle)
    image = (0.5 + 0.4 * np.sin(across / 4)).astype(np.float32)
    right, down = edge_flow(image)
    off = np.abs(right * math.sin(angle) - down * math.cos(angle))[12:-12, 12:-12]
    error = math.degrees(math.asin(float(off.max())))
    print(f"{degrees}°: {error:.2f}° off at most")
    assert error < 1


@pytest.mark.parametrize(("unit", "width"), [(1.0, 1.0), (2.0, 1.0), (1.0, 2.0)])
def test_across_a_straight_edge_it_is_a_difference_of_gaussians(unit: float, width: float) -> None:
    """An edge that does not change along itself: smoothing along it changes nothing."""
    profile = np.zeros(160, np.float32)
    profile[80:] = 1
    profile = ndimage.gaussian_filter1d(profile, 1.0)
    image = np.repeat(profile[None], 120, axis=0)
    sigma = 1.2 * unit * width
    narrow, wide = (ndimage.gaussian_filter1d(profile, s, truncate=8) for s in (sigma, 1.6 * sigma))
    expected = narrow - 0.985 * wide
    found = flow_lines(image, unit, width)[60]
    error = float(np.abs(found - expected)[20:-20].max())
    print(f"{error:.4f} of {np.ptp(expected):.3f}")
    assert error < 0.012  # the tails beyond two sigmas are left out


def test_soft_threshold_is_xdog_s() -> None:
    values = np.array([-1, 0, 0.001, 0.002, 0.5], np.float32)
    found = soft_threshold(values, 0.002, 200)
    expected = [1 + math.tanh(200 * -1.002), 1 + math.tanh(-0.4), 1 + math.tanh(-0.2), 1, 1]
    error = float(np.abs(found - expected).max())
    print(f"{error:.1g}")
    assert error < 1e-5


def test_a_line_with_a_gap_is_closed() -> None:
    """What smoothing along the flow is for: a gap of two pixels in a dark line."""
    image = np.ones((80, 120), np.float32)
    cv2.line(image, (0, 40), (119, 40), (0.0,), 2)
    image[:, 60:62] = 1
    lines = soft_threshold(flow_lines(image), 0.002, 200)
    print(f"in the gap {lines[40, 60]:.2f}, away from the line {lines[20, 60]:.2f}")
    assert lines[40, 60] < 0.2
    assert lines[20, 60] > 0.99
