"""Confidence intervals: against resampling, scipy's exact intervals, and known true rates."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from mobileface.matching.calibration import Basis
from mobileface_eval.calibrating import calibrate
from mobileface_eval.intervals import RateEstimate, _intervals, estimate_genuine, estimate_impostor
from mobileface_eval.people_scores import PeopleScores

Floats = npt.NDArray[np.float64]

TRIALS = 1000
LOW, HIGH = 0.93, 0.97


def impostor_scores(random: np.random.Generator, people: int, effect: float) -> Floats:
    """Symmetric, standard normal similarities of people; ``effect`` is the share of the variance
    that is due to the two people, the rest is due to the pair."""
    own = random.normal(size=people) * np.sqrt(effect / 2)
    pair = np.triu(random.normal(size=(people, people)), 1) * np.sqrt(1 - effect)
    return own[:, None] + own + pair + pair.T


def impostor_estimate(scores: Floats, thresholds: Floats) -> RateEstimate:
    people = len(scores)
    wrong = (scores[..., None] >= thresholds) & ~np.eye(people, dtype=bool)[..., None]
    rows = wrong.sum(axis=1).astype(float)
    once = rows.sum(axis=0) / 2
    squares = (once, once, people * (people - 1) / 2)  # with one pair k² is k
    return estimate_impostor(rows, np.full(people, people - 1.0), squares)


def interval_of(rate: float, variance: float, freedom: float, total: float) -> RateEstimate:
    many = np.array([rate])
    return _intervals(many, np.array([variance]), np.array([freedom]), total, total, 0.95)


def test_independent_pairs_give_the_exact_interval() -> None:
    """With a known, binomial variance, the interval is that of Clopper and Pearson."""
    for errors, total in ((20, 100), (50, 1000), (12, 4000)):
        rate = errors / total
        found = interval_of(rate, rate * (1 - rate) / total, 1e12, total)
        exact = stats.binomtest(errors, total).proportion_ci(method="exact")
        assert found.low[0] == pytest.approx(exact.low, rel=1e-6)
        assert found.high[0] == pytest.approx(exact.high, rel=1e-6)
        assert found.supported[0]


def test_genuine_variance_is_that_of_resampled_people() -> None:
    random = np.random.default_rng(1)
    pairs = random.integers(1, 8, 200).astype(float)
    errors = random.binomial(pairs.astype(int), random.beta(1, 4, 200)).astype(float)
    rate = errors.sum() / pairs.sum()
    chosen = random.integers(0, 200, (20_000, 200))
    rates = errors[chosen].sum(axis=1) / pairs[chosen].sum(axis=1)
    found = estimate_genuine(errors[:, None], pairs)
    # The width shows which variance was used.
    parts = errors - rate * pairs
    freedom = 2 * (parts**2).sum() ** 2 / ((parts**4).sum() - (parts**2).sum() ** 2 / 200)
    expected = interval_of(rate, rates.var() * 200 / 199, min(freedom, 199), pairs.sum())
    print(f"{found.low[0]:.4f} to {found.high[0]:.4f}, resampled {expected.low[0]:.4f} to "
          f"{expected.high[0]:.4f}")  # fmt: skip
    assert found.value[0] == rate
    assert found.low[0] == pytest.approx(expected.low[0], rel=0.01)
    assert found.high[0] == pytest.approx(expected.high[0], rel=0.01)


@pytest.mark.parametrize("effect", [0.0, 0.3])
def test_impostor_variance_is_correct_and_resampling_overstates_it(effect: float) -> None:
    """The variance matches the observed spread of rates; resampling people overstates it."""
    random = np.random.default_rng(2)
    threshold = stats.norm.isf([0.1])
    rates, claimed, resampled = [], [], []
    for _ in range(300):
        scores = impostor_scores(random, 60, effect)
        found = impostor_estimate(scores, threshold)
        rates.append(found.value[0])
        claimed.append(found.value[0] * (1 - found.value[0]) / found.effective[0])
        weights = random.multinomial(60, np.full(60, 1 / 60), 40).astype(float)
        wrong = np.triu(scores >= threshold[0], 1)
        both = np.einsum("bi,ij,bj->b", weights, wrong, weights)
        pairs = np.einsum("bi,ij,bj->b", weights, np.triu(np.ones((60, 60)), 1), weights)
        resampled.append((both / pairs).var())
    ratio = np.mean(claimed) / np.var(rates)
    alone = np.mean(resampled) / np.var(rates)
    print(f"variance relative to the truth: ours {ratio:.2f}, people resampled {alone:.2f}")
    assert 0.85 < ratio < 1.35
    assert alone > 2 if effect == 0 else alone > ratio


def test_no_errors_and_only_errors() -> None:
    people = 50
    none = estimate_genuine(np.zeros((people, 1)), np.full(people, 3.0))
    assert (none.value[0], none.low[0]) == (0, 0)
    assert none.high[0] == pytest.approx(1 - 0.025 ** (1 / people), rel=1e-9)  # as if one pair each
    assert not none.supported[0]
    every = estimate_genuine(np.full((people, 1), 3.0), np.full(people, 3.0))
    assert (every.value[0], every.high[0]) == (1, 1)
    assert every.low[0] == pytest.approx(0.025 ** (1 / people), rel=1e-9)


@pytest.mark.parametrize("effect", [0.0, 0.1, 0.3])
def test_coverage_of_false_match_rates(effect: float) -> None:
    """In 1,000 trials, 93 to 97 % of the intervals of supported rates contain the true rate."""
    random = np.random.default_rng(11)
    truth = np.array([0.3, 0.1, 0.03])
    thresholds = stats.norm.isf(truth)
    found = [
        impostor_estimate(impostor_scores(random, 100, effect), thresholds) for _ in range(TRIALS)
    ]
    inside = np.mean([(e.low <= truth) & (truth <= e.high) for e in found], axis=0)
    print(f"effect of people {effect}: covered {inside}")
    assert np.mean([e.supported for e in found], axis=0).min() > 0.95
    assert (inside >= LOW).all()
    assert (inside <= HIGH + 0.005).all()  # the sampling error of 1,000 trials is 0.007


@pytest.mark.parametrize(("people", "effect"), [(200, 0.5), (300, 0.2)])
def test_coverage_of_false_non_match_rates(people: int, effect: float) -> None:
    random = np.random.default_rng(12)
    truth = np.array([0.5, 0.3, 0.1])
    thresholds = stats.norm.ppf(truth)
    inside = []
    for _ in range(TRIALS):
        pairs = random.integers(1, 6, people)
        scores = random.normal(size=(people, 1)) * np.sqrt(effect)
        scores = scores + random.normal(size=(people, 5)) * np.sqrt(1 - effect)
        counted = np.arange(5) < pairs[:, None]
        errors = ((scores[..., None] < thresholds) & counted[..., None]).sum(axis=1)
        found = estimate_genuine(errors.astype(float), pairs.astype(float))
        inside.append((found.low <= truth) & (truth <= found.high))
    covered = np.mean(inside, axis=0)
    print(f"{people} people, effect {effect}: covered {covered}")
    assert (covered >= LOW).all()
    assert (covered <= HIGH + 0.005).all()


@pytest.mark.endurance
def test_coverage_of_whole_calibrations() -> None:
    """1,000 calibrations of 100 synthetic people with 3 images each, read through the public API.

    Similarities are a monotone function of normal scores with effects of one person, of two people
    and of the image pair, so the true rate at every similarity is known.
    """
    random = np.random.default_rng(13)
    people, images = 100, 3
    basis = Basis("invented", people, people * images, 1, 1, "2026-11-26")
    matched = {0.1: 0, 0.01: 0, 0.003: 0}
    missed = {0.3: 0, 0.15: 0}
    for _ in range(TRIALS):
        own = random.normal(size=people) * np.sqrt(0.1)
        both = random.normal(size=(people, people, 1)) * np.sqrt(0.1)
        noise = random.normal(size=(people, people, images**2)) * np.sqrt(0.7)
        between = np.tanh((own[:, None, None] + own[:, None] + both + noise) / 4)
        within = random.normal(size=(people, 1)) * np.sqrt(0.3)
        within = np.tanh((2 + within + random.normal(size=(people, 3)) * np.sqrt(0.7)) / 4)

        def walk(between: Floats = between, within: Floats = within):  # type: ignore[no-untyped-def]
            for person in range(people):
                rest = between[person, person + 1 :]
                both = np.full((rest.size, 2), person)
                both[:, 1] = np.repeat(np.arange(person + 1, people), images**2)
                own = np.full(len(within[person]), person)
                yield PeopleScores(own, within[person], both, rest.ravel())

        made = calibrate(walk, people, "net@0", basis)
        for rate in matched:
            found = made.false_match_rate(float(np.tanh(stats.norm.isf(rate) / 4)))
            matched[rate] += found.low <= rate <= found.high
        for rate in missed:
            found = made.false_non_match_rate(float(np.tanh((2 + stats.norm.ppf(rate)) / 4)))
            missed[rate] += found.low <= rate <= found.high
    print(f"false match {matched}, false non-match {missed} of {TRIALS}")
    for count in (*matched.values(), *missed.values()):
        assert LOW * TRIALS <= count <= HIGH * TRIALS
