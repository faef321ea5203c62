"""The protocol of Labeled Faces in the Wild (image-restricted, with outside training data).

The pairs are split, in order, into ten folds. For each fold, the threshold on the squared Euclidean
distance of unit vectors that is most accurate on the other nine folds is applied to it; the results
are the mean and standard deviation of the accuracy. For VAL@FAR, the threshold at which the nine
folds have the given false accept rate, linearly interpolated between the thresholds tried, is
applied to the tenth (F. Schroff, D. Kalenichenko and J. Philbin, "FaceNet", CVPR 2015; the grid of
thresholds, from 0 to 4 in steps of 0.01, or of 0.001 for VAL, is that of the published evaluation
programs).
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
    """Results of the LFW protocol.

    Attributes:
        accuracies: float64 (F,): accuracy of each fold.
        thresholds: float64 (F,): threshold on the squared distance of each fold.
        false_match: float64 (T,): false match rate at each threshold, mean over the folds.
        true_match: float64 (T,): true match rate at each threshold, mean over the folds.
        auc: Area under the ROC curve of these rates.
        eer: Equal error rate of this curve.
        val: Share of accepted genuine pairs at the false accept rate, mean over the folds.
        val_std: Standard deviation of VAL over the folds.
        far: The measured false accept rate, mean over the folds.
        far_target: The requested false accept rate.
        right: bool (P,): whether each pair is judged right at the threshold of its fold.
        accepted: bool (P,): whether each pair is accepted at the threshold for VAL of its fold.
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
    right: Truths
    accepted: Truths

    @property
    def accuracy(self) -> float:
        """Mean over the folds."""
        return float(self.accuracies.mean())

    @property
    def accuracy_std(self) -> float:
        """Standard deviation over the folds (not of their mean)."""
        return float(self.accuracies.std())


def evaluate_lfw(
    distances: Floats, same: Truths, *, folds: int = 10, far_target: float = 1e-3
) -> LfwResult:
    """Runs the protocol.

    Args:
        distances: float64 (P,): squared Euclidean distances of unit vectors, 0 to 4.
        same: bool (P,): whether a pair shows the same person.
        folds: Number of folds.
        far_target: False accept rate for VAL.

    Raises:
        InputError: If there are fewer pairs than folds, if the training pairs of a fold are all
            genuine or all impostor pairs, or if a distance is negative or not finite.
    """
    if len(distances) != len(same) or len(same) < folds:
        raise InputError(f"{len(same)} pairs are too few for {folds} folds")
    if not np.isfinite(distances).all() or distances.min() < 0:
        raise InputError("a distance is negative or not a finite number")
    rows = [
        _judge_fold(distances, same, train, test, far_target)
        for train, test in KFold(folds).split(distances)
    ]
    right, accepted = (np.concatenate([row[place] for row in rows]) for place in (4, 5))
    accuracies, thresholds, vals, fars = (np.array([row[n] for row in rows]) for n in range(4))
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
        right,
        accepted,
    )


def _judge_fold(
    distances: Floats,
    same: Truths,
    train: npt.NDArray[np.int64],
    test: npt.NDArray[np.int64],
    far_target: float,
) -> tuple[float, float, float, float, Truths, Truths]:
    """Accuracy, its threshold, VAL and FAR of one fold, and which of its pairs are right, accepted.

    Folds are consecutive, so the decisions of all folds are in the order of the pairs.
    """
    known, known_same = distances[train], same[train]
    if known_same.all() or not known_same.any():
        raise InputError("the training pairs of a fold are all genuine or all impostor pairs")
    true_match, false_match = _rates(known, known_same, _COARSE)
    positives = known_same.sum()
    right = true_match * positives + (1 - false_match) * (len(known_same) - positives)
    best = float(_COARSE[right.argmax()])
    right = (distances[test] < best) == same[test]
    _, false_match = _rates(known, known_same, _FINE)
    # np.interp uses the largest threshold with the same rate; if the rate is not reached, no pair
    # is accepted.
    reached = false_match.max() >= far_target
    strict = float(np.interp(far_target, false_match, _FINE)) if reached else 0.0
    val, far = _rates(distances[test], same[test], np.array([strict]))
    accepted = distances[test] < strict
    return float(right.mean()), best, float(val[0]), float(far[0]), right, accepted


def _rates(distances: Floats, same: Truths, thresholds: Floats) -> tuple[Floats, Floats]:
    """True and false match rates, (T,) each; nan if there are no pairs of this kind."""
    found = []
    for group in (np.sort(distances[same]), np.sort(distances[~same])):
        below = np.searchsorted(group, thresholds, side="left").astype(np.float64)
        found.append(below / len(group) if len(group) else np.full(len(thresholds), np.nan))
    return found[0], found[1]
