"""Intervals of all rates, and the rule for unsupported ones, against scipy and known truths."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from mobileface.matching.error_rates import Basis
from mobileface_eval.calibrating import calibrate
from mobileface_eval.datasets.face_sets import FaceImage, FaceSet
from mobileface_eval.datasets.lfw import evaluate_lfw
from mobileface_eval.datasets.megaface import evaluate_megaface
from mobileface_eval.lfw_rates import lfw_rates, people_of_pairs
from mobileface_eval.measured import (
    VerificationRates,
    point_numbers,
    rate_text,
    share_of_images,
    verification_rates,
)
from mobileface_eval.people_scores import People, every_two, listed_scores
from mobileface_eval.rates import collect, verify

Floats = npt.NDArray[np.float64]


def measured(people: People, count: int) -> VerificationRates:
    scores = collect(people)
    return verification_rates(people, count, scores, verify(scores))


def independent(seed: int, genuine: int, impostor: int) -> tuple[People, int]:
    """Pairs that share nobody: normal scores, two standard deviations apart."""
    random = np.random.default_rng(seed)
    scores = np.r_[random.normal(2, 1, genuine), random.normal(0, 1, impostor)]
    first = np.arange(len(scores)) * 2
    second = np.r_[first[:genuine], first[genuine:] + 1]
    return listed_scores(np.stack([first, second], 1), scores.__getitem__), 2 * len(scores)


def test_the_rule_for_unsupported_rates() -> None:
    """Of 5,000 independent pairs, a rate of 0.001 has five false matches: too few."""
    found = measured(*independent(0, 400, 5000)).true_match_at
    assert {rate for rate, point in found.items() if point.true_match is not None} == {0.1, 0.01}
    assert str(found[1e-3]) == "not supported by 5,000 impostor pairs"
    numbers = point_numbers(found)
    assert numbers["true_match_at"]["0.001"] is None
    assert numbers["not_supported"]["0.001"] == str(found[1e-3])
    assert "0.01" not in numbers["not_supported"]
    assert set(numbers["true_match_intervals"]) == {"0.1", "0.01"}
    for errors, supported in ((9, False), (11, True)):
        again = measured(*independent(1, 400, errors * 1000)).true_match_at[1e-3]
        assert (again.true_match is not None) is supported


def test_intervals_of_independent_pairs_are_scipys() -> None:
    """True and false match rates against Clopper and Pearson's exact intervals."""
    people, count = independent(3, 3000, 20_000)
    scores = collect(people)
    found, curve = measured(people, count), verify(scores)
    for rate in (1e-1, 1e-2):
        threshold = curve.threshold_at[rate]
        for values, point in (
            (scores.genuine, found.true_match_at[rate].true_match),
            (scores.impostor, found.true_match_at[rate].false_match),
        ):
            assert point is not None
            seen = int((values >= threshold).sum())
            exact = stats.binomtest(seen, len(values)).proportion_ci(method="exact")
            error = max(abs(point.low - exact.low), abs(point.high - exact.high))
            print(f"{rate_text(point, 3)}, exact {exact.low:.5f} to {exact.high:.5f}")
            assert point.value == pytest.approx(seen / len(values), abs=1e-12)
            assert error <= 0.02 * (exact.high - exact.low)
    assert measured(people, count).eer.low < stats.norm.sf(1) < found.eer.high


def people_scores(random: np.random.Generator, people: int, effect: float) -> People:
    """Two genuine pairs per person and one impostor pair for every two people; normal, 1.5 apart.

    ``effect`` is the share of the variance of impostor pairs that is due to the two people.
    """
    own = random.normal(size=people) * np.sqrt(effect / 2)
    first, second = np.triu_indices(people, 1)
    between = random.normal(size=len(first)) * np.sqrt(1 - effect) + own[first] + own[second]
    within = 1.5 + random.normal(size=2 * people)
    pairs = np.r_[np.stack([first, second], 1), np.repeat(np.arange(people), 2)[:, None][:, [0, 0]]]
    return listed_scores(pairs, np.r_[between, within].__getitem__)


@pytest.mark.slow
@pytest.mark.parametrize("effect", [0.0, pytest.param(0.3, marks=pytest.mark.endurance)])
def test_coverage_of_auc_and_balanced_accuracy(effect: float) -> None:
    """The true values are known: the intervals contain them in about 95 % of 400 trials."""
    random = np.random.default_rng(5)
    auc, eer = stats.norm.cdf(1.5 / np.sqrt(2)), stats.norm.sf(0.75)
    inside = {"auc": 0, "eer": 0, "balanced": 0}
    for _ in range(400):
        found = measured(people_scores(random, 80, effect), 80)
        inside["auc"] += found.auc.low <= auc <= found.auc.high
        inside["eer"] += found.eer.low <= eer <= found.eer.high
        best = found.balanced_accuracy
        inside["balanced"] += best.low <= 1 - eer <= best.high
    print(f"effect {effect}: {inside} of 400")
    assert 0.92 * 400 <= inside["auc"] <= 0.985 * 400
    assert inside["eer"] >= 0.95 * 400  # spans both rates' intervals: on the safe side
    assert inside["balanced"] >= 0.90 * 400  # the threshold is chosen on the same pairs


def test_shares_against_scipy() -> None:
    random = np.random.default_rng(2)
    right = random.random(4000) < 0.9
    found = share_of_images(right, np.arange(4000))
    exact = stats.binomtest(int(right.sum()), 4000).proportion_ci(method="exact")
    assert found.value == pytest.approx(right.mean(), abs=1e-12)
    error = max(abs(found.low - exact.low), abs(found.high - exact.high))
    print(f"{rate_text(found)}, exact {exact.low:.4f} to {exact.high:.4f}")
    assert error <= 0.02 * (exact.high - exact.low)
    # Ten images of each person that are all right or all wrong are worth one.
    blocks = np.repeat(right[:400], 10)
    few = share_of_images(blocks, np.repeat(np.arange(400), 10))
    alone = stats.binomtest(int(right[:400].sum()), 400).proportion_ci(method="exact")
    assert few.high - few.low == pytest.approx(alone.high - alone.low, rel=0.03)


def invented_lfw(pairs: int, seed: int = 4) -> tuple[FaceSet, Floats]:
    """Pairs of images that occur once, and their distances."""
    random = np.random.default_rng(seed)
    same = np.tile(np.repeat([True, False], pairs // 20), 10)
    distances = np.where(same, random.normal(1, 0.3, pairs), random.normal(2, 0.3, pairs))
    images = tuple(FaceImage(str(n), data=str(n).encode()) for n in range(2 * pairs))
    listed = np.arange(2 * pairs).reshape(-1, 2)
    return FaceSet("invented", images, None, listed, same), np.clip(distances, 0, 4)


def test_lfw_intervals_against_scipy() -> None:
    face_set, distances = invented_lfw(6000)
    assert face_set.same is not None
    result = evaluate_lfw(distances, face_set.same, far_target=0.01)
    found = lfw_rates(result, face_set, distances)
    assert found.accuracy.value == pytest.approx(result.right.mean(), abs=1e-12)
    exact = stats.binomtest(int(result.right.sum()), 6000).proportion_ci(method="exact")
    error = max(abs(found.accuracy.low - exact.low), abs(found.accuracy.high - exact.high))
    print(f"{rate_text(found.accuracy, 2)}, exact {exact.low:.4f} to {exact.high:.4f}")
    assert error <= 0.03 * (exact.high - exact.low)
    assert found.val.true_match is not None
    assert found.val.true_match.value == pytest.approx(result.val, abs=1e-12)
    assert found.val.false_match is not None
    assert found.val.false_match.low <= result.far <= found.val.false_match.high
    rare = evaluate_lfw(distances, face_set.same, far_target=1e-3)
    assert str(lfw_rates(rare, face_set, distances).val) == "not supported by 3,000 impostor pairs"


def test_people_of_pairs_without_names() -> None:
    """Equal contents and genuine pairs connect images; contradictions leave pairs independent."""
    contents = [b"a", b"b", b"b", b"c", b"a", b"d", b"e", b"f"]
    images = tuple(FaceImage(str(n), data=data) for n, data in enumerate(contents))
    pairs = np.arange(8).reshape(-1, 2)
    same = np.array([True, True, False, False])
    found = people_of_pairs(FaceSet("s", images, None, pairs, same))
    assert found[0, 0] == found[0, 1] == found[1, 0] == found[1, 1] == found[2, 0]
    assert len(np.unique(found)) == 4
    wrong = people_of_pairs(FaceSet("s", images, None, pairs, np.array([True, True, True, False])))
    assert (wrong[:3, 0] == wrong[:3, 1]).all()
    images = (*images[:5], FaceImage("5", data=b"c"), *images[6:])
    against = people_of_pairs(FaceSet("s", images, None, pairs, same))
    assert against.tolist() == [[0, 0], [2, 2], [4, 5], [6, 7]]


def test_megaface_rates() -> None:
    """Shares by hand; a false accept rate needs ten false accepts of independent people."""
    random = np.random.default_rng(9)
    labels = np.repeat(np.arange(40), 2)
    probes = random.normal(size=(40, 12))[labels] + 0.9 * random.normal(size=(80, 12))
    probes = (probes / np.linalg.norm(probes, axis=1, keepdims=True)).astype(np.float32)
    others = random.normal(size=(2500, 12))
    others = (others / np.linalg.norm(others, axis=1, keepdims=True)).astype(np.float32)
    found = evaluate_megaface(probes, labels, others)
    for rank in (1, 5):
        rate = found.rank_rate(rank)
        assert rate.value == pytest.approx(float((found.ranks <= rank).mean()), abs=1e-12)
        assert rate.low < rate.value < rate.high
    assert found.rank1_rate(10).value == pytest.approx(found.rank1[10], abs=1e-12)
    scores = probes.astype(np.float64) @ others.T
    order = np.argsort(-scores, axis=None)[:100]
    assert found.accepted_from[:100].tolist() == labels[order // 2500].tolist()
    common, rare = found.point(1e-3), found.point(1e-5)
    assert common.true_match is not None
    assert common.false_match is not None
    assert common.true_match.value == pytest.approx(found.true_accept_at(1e-3), abs=1e-12)
    assert common.false_match.value == 1e-3
    assert common.false_match.low < 1e-3 < common.false_match.high
    assert str(rare) == "not supported by 200,000 pairs of probe and distractor"
    # All false accepts with one person are not ten independent ones.
    crowd = np.concatenate([others, np.repeat(probes[:1], 150, axis=0)])
    assert evaluate_megaface(probes, labels, crowd).point(5e-4).true_match is None


def test_calibrations_follow_the_same_rule() -> None:
    """What `calibrate` calls supported is what the other commands print a number for."""
    random = np.random.default_rng(6)
    labels = np.repeat(np.arange(90), 3)
    vectors = random.normal(size=(90, 24))[labels] + 0.8 * random.normal(size=(270, 24))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    people = every_two(vectors, labels)
    basis = Basis("invented", 90, 270, 1, 1, "2026-11-26")
    made = calibrate(people, 90, "net@0", basis)
    found = measured(people, 90).true_match_at
    print(f"lowest {made.lowest_false_match_rate}, {[str(point) for point in found.values()]}")
    for rate, point in found.items():
        assert (point.true_match is not None) is (rate >= made.lowest_false_match_rate)
        if point.true_match is not None:
            again = made.false_non_match_rate(made.threshold(rate))
            assert point.true_match.value == pytest.approx(1 - again.value, abs=0.01)
            assert point.true_match.low == pytest.approx(1 - again.high, abs=0.01)


def test_pairs_of_one_person_are_not_independent() -> None:
    """A face that resembles everybody makes rates unsupported that counting pairs would support."""
    random = np.random.default_rng(1)
    vectors = random.normal(size=(120, 64))
    vectors[0] = vectors.mean(axis=0) * 40
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    people = every_two(np.repeat(vectors, 2, axis=0), np.repeat(np.arange(120), 2))
    scores = collect(people)
    threshold = verify(scores).threshold_at[1e-3]
    assert (scores.impostor >= threshold).sum() >= 10
    assert measured(people, 120).true_match_at[1e-3].true_match is None
