"""Ranges of ages against numpy's weighted quantiles and by hand."""

from __future__ import annotations

import numpy as np

from mobileface import FaceAnalyzer
from mobileface.tasks.age_range import age_range, class_years


def test_by_hand() -> None:
    shares = np.array([0.05, 0.1, 0.2, 0.4, 0.2, 0.05], np.float32)
    low, high, share = age_range(shares, (10, 20, 30, 40, 50, 60))
    assert (low, high) == (20, 50)
    print(share)
    assert abs(share - 0.9) < 1e-6
    assert age_range(np.array([1.0], np.float32), (7.0,)) == (7.0, 7.0, 1.0)
    low, high, share = age_range(np.array([0, 0, 1], np.float32), (1, 2, 3))
    assert (low, high, share) == (3, 3, 1.0)


def test_the_percentiles_are_numpy_s() -> None:
    random = np.random.default_rng(5)
    years = np.arange(81.0)
    for _ in range(50):
        counts = random.multinomial(997, random.dirichlet(np.full(81, 0.3)))
        low, high, share = age_range((counts / 997).astype(np.float32), list(years))
        people = np.repeat(years, counts)
        wanted = np.quantile(people, (0.1, 0.9), method="inverted_cdf")
        assert (low, high) == tuple(wanted)
        inside = float(np.mean((people >= low) & (people <= high)))
        assert abs(share - inside) < 1e-6
        assert share >= 0.8 - 1e-6


def test_the_years_are_those_of_the_model_s_card() -> None:
    """models_onnx/age.md: 81 classes, 0.25 and 1 to 80 years."""
    years = class_years(FaceAnalyzer(tasks=["attributes"]).sessions["attributes"])
    assert years == (0.25, *map(float, range(1, 81)))
    assert class_years([]) == ()
