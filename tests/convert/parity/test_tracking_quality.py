"""How well faces are followed: against scipy, by CLEAR MOT on invented and on real videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from mobileface import FaceAnalyzer
from mobileface.tracking.assignment import assign
from tests.convert.parity.tracking_scores import (
    SAME_PERSON,
    Remembering,
    crossings,
    follow,
    score,
)


def test_assignment_is_scipys() -> None:
    random, worst, largest = np.random.RandomState(0), 0.0, 0
    for number in range(3000):
        rows, columns = random.randint(0, 40 if number % 50 == 0 else 12, 2)
        weights = random.rand(rows, columns) * (random.rand(rows, columns) < random.rand())
        if number % 3 == 0:
            weights = np.round(weights, 1)
        pairs = assign(weights)
        best = linear_sum_assignment(weights, maximize=True)
        error = abs(weights[pairs[:, 0], pairs[:, 1]].sum() - weights[best].sum())
        worst, largest = max(worst, float(error)), max(largest, rows)
    print(f"largest difference of a sum {worst:.1e}, up to {largest} rows")
    assert worst < 1e-9


@pytest.mark.parametrize(
    ("people", "least", "most"), [(4, 0.94, 0), (10, 0.94, 1)], ids=["four", "ten"]
)
def test_invented_crossings(people: int, least: float, most: int) -> None:
    """With the parameters that are the default."""
    results = [score(rows) for rows in crossings(people, max_age=10, min_hits=3)]
    motas = [result["mota"] for result in results]
    switches = [result["num_switches"] for result in results]
    print(f"{people} people: MOTA {min(motas):.3f} to {max(motas):.3f}, switches {switches}")
    assert min(motas) >= least
    assert max(switches) <= most


@pytest.fixture(
    scope="module",
    params=[pytest.param("detection_hog", marks=pytest.mark.endurance), "detection_yunet"],
)
def detector(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def analyzer(detector: str) -> FaceAnalyzer:
    return Remembering(detector)


EXPECTED = {
    ("detection_hog", 1, "plain"): (6, 2, 0.52),
    ("detection_hog", 1, "embeddings"): (4, 0, 0.56),
    ("detection_hog", 2, "plain"): (5, 1, 0.17),
    ("detection_hog", 2, "embeddings"): (4, 0, 0.18),
    ("detection_yunet", 1, "plain"): (9, 0, 0.91),
    ("detection_yunet", 1, "embeddings"): (8, 0, 0.91),
    ("detection_yunet", 2, "plain"): (16, 1, 0.85),
    ("detection_yunet", 2, "embeddings"): (10, 1, 0.85),
}
"""Most identities, most switches and least MOTA of each video.

Of the people labelled in a video, detection_hog never finds some: it has fewer identities.
"""


@pytest.mark.slow
@pytest.mark.needs_source
@pytest.mark.parametrize("video", [1, 2])
def test_real_videos(video: int, source: Path, detector: str, analyzer: FaceAnalyzer) -> None:
    """Every frame detected in; with embeddings fewer people are counted twice."""
    path, results = source / "example" / f"friends{video}.mp4", {}
    for mode, same_person in (("plain", None), ("embeddings", SAME_PERSON)):
        identities, rows = follow(path, analyzer, same_person=same_person)
        result = score(rows)
        print(
            f"friends{video}, {detector}, {mode}: {identities} identities, "
            f"{result['num_switches']:.0f} switches, MOTA {result['mota']:.3f}, "
            f"IDF1 {result['idf1']:.3f}, {result['num_misses']:.0f} misses and "
            f"{result['num_false_positives']:.0f} false of {result['num_objects']:.0f}"
        )
        most, switches, least = EXPECTED[detector, video, mode]
        assert identities <= most
        assert result["num_switches"] <= switches
        assert result["mota"] >= least
        results[mode] = (identities, result["num_switches"])
    assert results["embeddings"][0] < results["plain"][0]


AUTOMATIC = {"detection_hog": (4, 0, 0.53), "detection_yunet": (8, 0, 0.9)}


@pytest.mark.slow
@pytest.mark.needs_source
def test_detecting_when_needed(source: Path, detector: str, analyzer: FaceAnalyzer) -> None:
    """Automatic intervals keep the identities of the first video."""
    path = source / "example" / "friends1.mp4"
    identities, rows = follow(path, analyzer, detect_every="auto", same_person=SAME_PERSON)
    result = score(rows)
    print(f"{detector}, auto: {identities} identities, {result}")
    most, switches, least = AUTOMATIC[detector]
    assert identities <= most
    assert result["num_switches"] <= switches
    assert result["mota"] >= least
