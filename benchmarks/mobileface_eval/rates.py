"""Verification: how well a similarity tells pairs of one person from pairs of two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn import metrics

from mobileface.errors import InputError

__all__ = ["PairScores", "Verification", "all_pairs", "listed_pairs", "verify"]

Floats = npt.NDArray[np.float64]

_BLOCK = 512
_MOST_PAIRS = 10**8
"""Pairs whose similarities are sorted at once: four gigabytes of memory."""

_FALSE_MATCH_RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


@dataclass(frozen=True, slots=True, eq=False)
class PairScores:
    """Similarities of pairs.

    Attributes:
        genuine: float64 (G,): of pairs of one person.
        impostor: float64 (I,): of pairs of two people.
    """

    genuine: Floats
    impostor: Floats

    def __post_init__(self) -> None:
        for name, scores in (("one person", self.genuine), ("two people", self.impostor)):
            if not len(scores):
                raise InputError(f"no pairs of {name}", hint="nothing can be told apart")
            if not np.isfinite(scores).all():
                raise InputError(f"a similarity of {name} is not a finite number")


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """What similarities tell.

    Attributes:
        false_match: float64 (T,): the ROC curve's rates of accepted pairs of two people.
        true_match: float64 (T,): and of one person.
        auc: Area under the curve; the probability that a pair of one person is more similar than
            one of two.
        eer: Rate at which both errors are equal.
        balanced_accuracy: The best mean of both rates of right answers over all thresholds.
        threshold: The similarity that gives it.
        true_match_at: By false match rate, the share of pairs of one person that are accepted;
            only rates of which the pairs could show one match at least.
        genuine_mean: Mean similarity of pairs of one person.
        impostor_mean: Of two.
    """

    false_match: Floats
    true_match: Floats
    auc: float
    eer: float
    balanced_accuracy: float
    threshold: float
    true_match_at: dict[float, float]
    genuine_mean: float
    impostor_mean: float


def all_pairs(vectors: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> PairScores:
    """Cosines of every two pictures.

    Args:
        vectors: float32 (N, D), each row of unit length.
        labels: (N,) the person of each.

    Raises:
        InputError: No two pictures of one person, or of two.
    """
    count = len(vectors)
    if count * (count - 1) // 2 > _MOST_PAIRS:
        raise InputError(
            f"{count:,} pictures make {count * (count - 1) // 2:,} pairs",
            hint="take fewer people with --people",
        )
    genuine, impostor = [], []
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        scores = vectors[start:stop] @ vectors[start:].T
        later = np.arange(start, count) > np.arange(start, stop)[:, None]
        same = labels[start:stop, None] == labels[start:]
        genuine.append(scores[later & same])
        impostor.append(scores[later & ~same])
    both = (np.concatenate(parts).astype(np.float64) for parts in (genuine, impostor))
    return PairScores(*both)


def listed_pairs(
    vectors: npt.NDArray[np.float32],
    pairs: npt.NDArray[np.int64],
    same: npt.NDArray[np.bool_],
) -> PairScores:
    """Cosines of the pairs of a list.

    Args:
        vectors: float32 (N, D), each row of unit length.
        pairs: (P, 2) rows of ``vectors``.
        same: (P,) whether a pair is of one person.

    Raises:
        InputError: No pairs of one person, or of two.
    """
    scores = np.einsum("pd,pd->p", vectors[pairs[:, 0]], vectors[pairs[:, 1]]).astype(np.float64)
    return PairScores(scores[same], scores[~same])


def verify(scores: PairScores) -> Verification:
    """The figures of a set of pairs; the curve and its area are scikit-learn's."""
    values = np.concatenate([scores.genuine, scores.impostor])
    truth = np.concatenate([np.ones(len(scores.genuine)), np.zeros(len(scores.impostor))])
    false_match, true_match, thresholds = metrics.roc_curve(truth, values, drop_intermediate=False)
    balanced = (true_match + 1 - false_match) / 2
    best = int(balanced.argmax())
    return Verification(
        false_match,
        true_match,
        float(metrics.auc(false_match, true_match)),
        equal_error_rate(false_match, true_match),
        float(balanced[best]),
        float(thresholds[best]),
        {
            rate: float(true_match[np.searchsorted(false_match, rate, side="right") - 1])
            for rate in _FALSE_MATCH_RATES
            if rate * len(scores.impostor) >= 1
        },
        float(scores.genuine.mean()),
        float(scores.impostor.mean()),
    )


def equal_error_rate(false_match: Floats, true_match: Floats) -> float:
    """Where a ROC curve, its points joined by straight lines, meets false match = false non-match.

    Args:
        false_match: float64 (T,), ascending from 0 to 1.
        true_match: float64 (T,), ascending from 0 to 1.
    """
    gap = false_match - (1 - true_match)  # ascends from -1 to 1
    after = int(np.argmax(gap >= 0))
    if after == 0:
        return float(false_match[0])
    before = after - 1
    share = -gap[before] / (gap[after] - gap[before])
    return float(false_match[before] + share * (false_match[after] - false_match[before]))
