"""The protocol of Labeled Faces in the Wild as its users run it (image-restricted, outside data).

Ten folds of the pairs in their order. In each, the threshold on the squared Euclidean distance of
unit vectors that is most often right on the other nine is used on the tenth: accuracy, its mean and
standard deviation. VAL@FAR: the threshold at which the nine falsely accept the given share of pairs
of two people, interpolated linearly between the thresholds tried, is used on the tenth (F. Schroff,
D. Kalenichenko and J. Philbin, "FaceNet", CVPR 2015; the grid of thresholds, from 0 to 4 in steps
of 0.01 and for VAL of 0.001, is that of the published evaluation programs).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn import metrics
from sklearn.model_selection import KFold

from mobileface.errors import InputError

from ..rates import equal_error_rate

__all__ = ["LfwResult", "evaluate_lfw"]

Floats = npt.NDArray[np.float64]
Truths = npt.NDArray[np.bool_]
_COARSE = np.arange(0, 4, 0.01)
_FINE = np.arange(0, 4, 0.001)


@dataclass(frozen=True, slots=True, eq=False)
class LfwResult:
    """What the protocol gives.

    Attributes:
        accuracies: float64 (F,): of each fold.
        thresholds: float64 (F,): the squared distance that each fold was judged by.
        false_match: float64 (T,): mean over the folds at each threshold.
        true_match: float64 (T,): likewise.
        auc: Area under that curve.
        eer: Where both errors are equal on it.
        val: Mean share of accepted pairs of one person at the false accept rate.
        val_std: Its standard deviation over the folds.
        far: The false accept rate that really came out.
        far_target: The one that was asked for.
    """

    accuracies: Floats
    thresholds: Floats
    false_match: Floats
    true_match: Floats
    auc: float
    eer: float
    val: float
    val_std: float
    far: float
    far_target: float

    @property
    def accuracy(self) -> float:
        """Mean over the folds."""
        return float(self.accuracies.mean())

    @property
    def accuracy_std(self) -> float:
        """Standard deviation over the folds (of the ten, not of their mean)."""
        return float(self.accuracies.std())


def evaluate_lfw(
    distances: Floats, same: Truths, *, folds: int = 10, far_target: float = 1e-3
) -> LfwResult:
    """Runs the protocol.

    Args:
        distances: float64 (P,): squared Euclidean distances of unit vectors, 0 to 4.
        same: bool (P,): whether a pair shows one person.
        folds: How many.
        far_target: False accept rate for VAL.

    Raises:
        InputError: Fewer pairs than folds, pairs of one kind only in a fold's training part, or a
            distance that is none.
    """
    if len(distances) != len(same) or len(same) < folds:
        raise InputError(f"{len(same)} pairs are too few for {folds} folds")
    if not np.isfinite(distances).all() or distances.min() < 0:
        raise InputError("a distance is not a finite number from 0 on")
    rows = [
        _judge_fold(distances, same, train, test, far_target)
        for train, test in KFold(folds).split(distances)
    ]
    accuracies, thresholds, vals, fars = (np.array(column) for column in zip(*rows, strict=True))
    curves = [_rates(distances[test], same[test], _COARSE) for _, test in KFold(folds).split(same)]
    true_match, false_match = np.nanmean(curves, axis=0)
    return LfwResult(
        accuracies,
        thresholds,
        false_match,
        true_match,
        float(metrics.auc(false_match, true_match)),
        equal_error_rate(np.append(false_match, 1.0), np.append(true_match, 1.0)),
        float(np.nanmean(vals)),
        float(np.nanstd(vals)),
        float(np.nanmean(fars)),
        far_target,
    )


def _judge_fold(
    distances: Floats,
    same: Truths,
    train: npt.NDArray[np.int64],
    test: npt.NDArray[np.int64],
    far_target: float,
) -> tuple[float, float, float, float]:
    """Accuracy, its threshold, VAL and FAR of one fold."""
    known, known_same = distances[train], same[train]
    if known_same.all() or not known_same.any():
        raise InputError("the pairs of nine folds are all of one kind")
    true_match, false_match = _rates(known, known_same, _COARSE)
    positives = known_same.sum()
    right = true_match * positives + (1 - false_match) * (len(known_same) - positives)
    best = float(_COARSE[right.argmax()])
    accuracy = float(((distances[test] < best) == same[test]).mean())
    _, false_match = _rates(known, known_same, _FINE)
    # Of thresholds with the same rate np.interp takes the largest; beyond the curve nothing passes.
    reached = false_match.max() >= far_target
    strict = float(np.interp(far_target, false_match, _FINE)) if reached else 0.0
    val, far = _rates(distances[test], same[test], np.array([strict]))
    return accuracy, best, float(val[0]), float(far[0])


def _rates(distances: Floats, same: Truths, thresholds: Floats) -> tuple[Floats, Floats]:
    """Shares of accepted pairs of one person and of two, (T,) each; nan where there are none."""
    found = []
    for group in (np.sort(distances[same]), np.sort(distances[~same])):
        below = np.searchsorted(group, thresholds, side="left").astype(np.float64)
        found.append(below / len(group) if len(group) else np.full(len(thresholds), np.nan))
    return found[0], found[1]
