"""Verification: how well similarities separate genuine from impostor pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn import metrics

from mobileface.errors import InputError

from .people_scores import People, every_two

__all__ = ["PairScores", "Verification", "all_pairs", "collect", "verify"]

Floats = npt.NDArray[np.float64]

_MOST_PAIRS = 10**8
"""Maximum number of pairs, whose similarities are sorted at once in 4 GB of memory."""

FALSE_MATCH_RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""The false match rates at which commands state true match rates."""


@dataclass(frozen=True, slots=True, eq=False)
class PairScores:
    """Similarities of pairs.

    Attributes:
        genuine: float64 (G,): of pairs of the same person.
        impostor: float64 (I,): of pairs of different people.

    Raises:
        InputError: If there are no genuine or no impostor pairs, or a similarity is not finite.
    """

    genuine: Floats
    impostor: Floats

    def __post_init__(self) -> None:
        for name, scores in (("genuine", self.genuine), ("impostor", self.impostor)):
            if not len(scores):
                raise InputError(
                    f"no {name} pairs",
                    hint="use several images per person, of at least two people",
                )
            if not np.isfinite(scores).all():
                raise InputError(f"a similarity of {name} pairs is not a finite number")


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """Verification metrics of a set of pairs.

    Attributes:
        false_match: float64 (T,): false match rates of the ROC curve.
        true_match: float64 (T,): true match rates of the ROC curve.
        thresholds: float64 (T,): similarity thresholds of the ROC curve; the first is infinite.
        auc: Area under the ROC curve: the probability that a genuine pair is more similar than an
            impostor pair.
        eer: Equal error rate.
        balanced_accuracy: Maximum over all thresholds of the mean of true match rate and true
            non-match rate.
        threshold: The similarity threshold at this maximum.
        threshold_at: Lowest similarity threshold by the false match rate that it may have at most.
        genuine_mean: Mean similarity of genuine pairs.
        impostor_mean: Mean similarity of impostor pairs.
    """

    false_match: Floats
    true_match: Floats
    thresholds: Floats
    auc: float
    eer: float
    balanced_accuracy: float
    threshold: float
    threshold_at: dict[float, float]
    genuine_mean: float
    impostor_mean: float


def all_pairs(vectors: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> PairScores:
    """Cosines of all pairs of images.

    Args:
        vectors: float32 (N, D), rows L2-normalised.
        labels: int64 (N,): the person of each image.

    Raises:
        InputError: If there are no genuine or no impostor pairs, or more than 10**8 pairs.
    """
    count = len(vectors)
    if count * (count - 1) // 2 > _MOST_PAIRS:
        raise InputError(
            f"{count:,} images form {count * (count - 1) // 2:,} pairs, more than {_MOST_PAIRS:,}",
            hint="use fewer people with --people",
        )
    return collect(every_two(vectors, labels))


def collect(people: People) -> PairScores:
    """All similarities of a walk over people.

    Raises:
        InputError: If there are no genuine or no impostor pairs.
    """
    genuine, impostor = [np.empty(0)], [np.empty(0)]
    for scores in people():
        genuine.append(np.asarray(scores.genuine, np.float64))
        impostor.append(np.asarray(scores.impostor, np.float64))
    return PairScores(np.concatenate(genuine), np.concatenate(impostor))


def verify(scores: PairScores) -> Verification:
    """Computes the metrics of a set of pairs; ROC curve and AUC come from scikit-learn."""
    values = np.concatenate([scores.genuine, scores.impostor])
    truth = np.concatenate([np.ones(len(scores.genuine)), np.zeros(len(scores.impostor))])
    false_match, true_match, thresholds = metrics.roc_curve(truth, values, drop_intermediate=False)
    balanced = (true_match + 1 - false_match) / 2
    best = int(balanced.argmax())
    return Verification(
        false_match,
        true_match,
        thresholds,
        float(metrics.auc(false_match, true_match)),
        equal_error_rate(false_match, true_match),
        float(balanced[best]),
        float(thresholds[best]),
        {
            rate: float(thresholds[np.searchsorted(false_match, rate, side="right") - 1])
            for rate in FALSE_MATCH_RATES
        },
        float(scores.genuine.mean()),
        float(scores.impostor.mean()),
    )


def equal_error_rate(false_match: Floats, true_match: Floats) -> float:
    """Equal error rate of a ROC curve, linearly interpolated between its points.

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
