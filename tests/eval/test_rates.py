"""Verification metrics and the LFW protocol against scikit-learn, scipy and plain loops."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn import metrics
from sklearn.model_selection import KFold

from mobileface.errors import InputError
from mobileface_eval.datasets.lfw import evaluate_lfw
from mobileface_eval.people_scores import listed_scores
from mobileface_eval.rates import PairScores, all_pairs, collect, equal_error_rate, verify

Floats = npt.NDArray[np.float64]


def scores(seed: int, genuine: int = 300, impostor: int = 5000) -> PairScores:
    random = np.random.default_rng(seed)
    return PairScores(random.normal(0.6, 0.2, genuine), random.normal(0.2, 0.15, impostor))


@pytest.mark.parametrize("seed", range(5))
def test_figures_against_scikit_learn(seed: int) -> None:
    given = scores(seed)
    found = verify(given)
    truth = np.r_[np.ones(300), np.zeros(5000)]
    values = np.r_[given.genuine, given.impostor]
    assert abs(found.auc - metrics.roc_auc_score(truth, values)) <= 1e-12
    wins = (given.genuine[:, None] > given.impostor).mean()
    assert abs(found.auc - wins) <= 1e-12
    best = max(
        metrics.balanced_accuracy_score(truth, values >= threshold) for threshold in values[::53]
    )
    assert found.balanced_accuracy >= best
    at = metrics.balanced_accuracy_score(truth, values >= found.threshold)
    assert abs(found.balanced_accuracy - at) <= 1e-12
    for rate, threshold in found.threshold_at.items():
        strict = np.sort(given.impostor)[::-1][int(rate * 5000)]  # one more would be too many
        accepted = (given.genuine >= threshold).mean()
        assert abs(accepted - (given.genuine > strict).mean()) <= 1e-12
        assert (given.impostor >= threshold).mean() <= rate
    assert list(found.threshold_at) == [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6]


@pytest.mark.parametrize("seed", range(5))
def test_equal_error_rate_against_scipy(seed: int) -> None:
    given = scores(seed)
    found = verify(given)
    curve = interp1d(found.false_match, found.true_match)
    expected = brentq(lambda x: 1 - x - curve(x), 0, 1, xtol=1e-12)
    assert abs(found.eer - expected) <= 1e-9


def test_equal_error_rate_at_the_ends() -> None:
    assert equal_error_rate(np.array([0.0, 0, 1]), np.array([0.0, 1, 1])) == 0
    assert equal_error_rate(np.array([0.0, 1]), np.array([0.0, 1])) == 0.5
    assert equal_error_rate(np.array([0.0, 1, 1]), np.array([0.0, 0, 1])) == 1


def test_all_pairs_against_a_loop() -> None:
    random = np.random.default_rng(4)
    vectors = random.normal(size=(23, 5)).astype(np.float32)
    labels = random.integers(0, 6, 23)
    found = all_pairs(vectors, labels)
    pairs = [(i, j) for i in range(23) for j in range(i + 1, 23)]
    for same, values in ((True, found.genuine), (False, found.impostor)):
        expected = [vectors[i] @ vectors[j] for i, j in pairs if (labels[i] == labels[j]) == same]
        assert np.abs(np.sort(values) - np.sort(expected)).max() <= 1e-6
    both = np.array(pairs)
    cosines = np.einsum("pd,pd->p", vectors[both[:, 0]], vectors[both[:, 1]])
    listed = collect(listed_scores(labels[both], cosines.__getitem__))
    assert np.abs(np.sort(listed.genuine) - np.sort(found.genuine)).max() <= 1e-6
    assert np.abs(np.sort(listed.impostor) - np.sort(found.impostor)).max() <= 1e-6


def test_invalid_pairs() -> None:
    with pytest.raises(InputError, match="no genuine pairs"):
        all_pairs(np.eye(3, dtype=np.float32), np.arange(3))
    with pytest.raises(InputError, match="no impostor pairs"):
        all_pairs(np.eye(3, dtype=np.float32), np.zeros(3, int))
    with pytest.raises(InputError, match="not a finite number"):
        PairScores(np.array([np.nan]), np.array([0.1]))
    with pytest.raises(InputError, match=r"use fewer people"):
        all_pairs(np.zeros((20_000, 1), np.float32), np.zeros(20_000, int))


# LFW


@functools.cache
def published_accuracy() -> tuple[Floats, Floats]:
    """Accuracy and threshold of each fold, computed by brute force with scikit-learn."""
    distances, same = lfw_pairs()
    rows = []
    coarse = np.arange(0, 4, 0.01)
    for train, test in KFold(n_splits=10, shuffle=False).split(distances):
        accuracy = [metrics.accuracy_score(same[train], distances[train] < t) for t in coarse]
        best = coarse[int(np.argmax(accuracy))]
        rows.append((metrics.accuracy_score(same[test], distances[test] < best), best))
    accuracies, thresholds = zip(*rows, strict=True)
    return np.array(accuracies), np.array(thresholds)


def published_val(far_target: float) -> tuple[Floats, Floats]:
    """VAL and FAR of each fold, with scipy's interpolation."""
    distances, same = lfw_pairs()
    rows = []
    fine = np.arange(0, 4, 0.001)
    for train, test in KFold(n_splits=10, shuffle=False).split(distances):
        far = np.array([(distances[train][~same[train]] < t).mean() for t in fine])
        strict = 0.0
        if far.max() >= far_target:
            strict = float(interp1d(far, fine, kind="linear")(far_target))
        val = metrics.recall_score(same[test], distances[test] < strict, zero_division=0)
        rows.append((val, (distances[test][~same[test]] < strict).mean()))
    vals, fars = zip(*rows, strict=True)
    return np.array(vals), np.array(fars)


def lfw_pairs(seed: int = 7, count: int = 6000) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Distances in the order of LFW: ten sets of 300 genuine and 300 impostor pairs."""
    random = np.random.default_rng(seed)
    same = np.tile(np.repeat([True, False], count // 20), 10)
    distances = np.where(same, random.gamma(8, 0.09, count), random.normal(1.9, 0.22, count))
    return np.clip(distances, 0, 4), same


@pytest.mark.parametrize("far_target", [1e-3, 1e-2, 0.02345])
def test_lfw_against_an_independent_computation(far_target: float) -> None:
    distances, same = lfw_pairs()
    accuracies, thresholds = published_accuracy()
    vals, fars = published_val(far_target)
    found = evaluate_lfw(distances, same, far_target=far_target)
    assert np.array_equal(found.accuracies, accuracies)
    assert np.array_equal(found.thresholds, thresholds)
    assert found.accuracy == pytest.approx(accuracies.mean(), abs=1e-12)
    assert found.accuracy_std == pytest.approx(accuracies.std(), abs=1e-12)
    assert abs(found.val - vals.mean()) <= 1e-9
    assert abs(found.val_std - vals.std()) <= 1e-9
    assert abs(found.far - fars.mean()) <= 1e-9
    print(f"accuracy {found.accuracy:.4f}, VAL {found.val:.4f}, FAR {found.far:.5f}")
    truth_auc = metrics.roc_auc_score(same, -distances)
    assert abs(found.auc - truth_auc) <= 2e-4  # a curve of 400 points instead of 6,000
    assert 0.9 < found.accuracy < 0.999


def test_lfw_with_a_known_answer() -> None:
    """Two separate groups, except for exactly six pairs on the wrong side in fold 3."""
    same = np.tile(np.repeat([True, False], 30), 10)
    distances = np.where(same, 0.505, 2.005)
    wrong = 120 + np.array([0, 1, 2, 30, 31, 32])
    distances[wrong] = np.where(same[wrong], 2.005, 0.505)
    found = evaluate_lfw(distances, same, far_target=1e-3)
    expected = np.ones(10)
    expected[2] = 0.9
    assert np.array_equal(found.accuracies, expected)
    assert found.accuracy == pytest.approx(0.99, abs=1e-12)
    assert found.accuracy_std == pytest.approx(0.03, abs=1e-12)
    assert np.allclose(found.thresholds, 0.51, atol=1e-12)  # the first of the best


def test_val_with_a_known_answer() -> None:
    """The false accept rate is linear in the threshold, so the expected threshold is known."""
    count = 2000
    same = np.tile(np.repeat([True, False], 100), 10)
    distances = np.empty(count)
    distances[~same] = 1 + np.tile((np.arange(100) + 0.5) / 100, 10)  # uniform from 1 to 2
    distances[same] = np.tile((np.arange(100) + 0.5) / 50, 10)  # uniform from 0 to 2
    found = evaluate_lfw(distances, same, far_target=0.25)
    assert found.far == pytest.approx(0.25, abs=1e-12)
    assert found.val == pytest.approx(0.625, abs=0.0051)


def test_val_that_is_not_reached() -> None:
    same = np.tile(np.repeat([True, False], 30), 10)
    found = evaluate_lfw(np.where(same, 0.5, 4.0), same)  # no pair is falsely accepted
    assert found.val == 0
    assert found.far == 0


@pytest.mark.parametrize(
    ("distances", "same", "message"),
    [
        (np.ones(9), np.ones(9, bool), "9 pairs are too few for 10 folds"),
        (np.ones(20), np.ones(20, bool), "all genuine or all impostor"),
        (np.full(20, np.nan), np.arange(20) % 2 == 0, "negative or not a finite number"),
        (np.full(20, -1.0), np.arange(20) % 2 == 0, "negative or not a finite number"),
        (np.empty(0), np.empty(0, bool), "0 pairs are too few"),
    ],
)
def test_invalid_distances(distances: Floats, same: npt.NDArray[np.bool_], message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate_lfw(distances, same)
