"""The results of the LFW protocol with their intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mobileface.matching.error_rates import Rate

from .datasets.face_sets import FaceSet
from .datasets.lfw import LfwResult
from .measured import (
    OperatingPoint,
    VerificationRates,
    around,
    not_supported,
    rate_at,
    verification_rates,
)
from .people_scores import People, error_rates, listed_scores, mean_over_pairs
from .rates import PairScores, verify

__all__ = ["LfwRates", "lfw_rates", "people_of_pairs"]

Floats = npt.NDArray[np.float64]
Truths = npt.NDArray[np.bool_]
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LfwRates:
    """Results with their intervals.

    Attributes:
        accuracy: Mean accuracy of the folds.
        val: VAL and the measured FAR, or the reason why the pairs do not support them.
        all: AUC and equal error rate of all pairs together.
    """

    accuracy: Rate
    val: OperatingPoint
    all: VerificationRates


def lfw_rates(result: LfwResult, face_set: FaceSet, distances: Floats) -> LfwRates:
    """The intervals of a result.

    Args:
        result: The result.
        face_set: The pairs that were judged.
        distances: float64 (P,): their squared distances.
    """
    people, same = people_of_pairs(face_set), face_set.same
    assert same is not None
    count = int(people.max()) + 1

    def walk(values: Floats) -> People:
        return listed_scores(people, values.__getitem__)

    def numbers(values: npt.NDArray[np.float32] | Floats) -> Floats:
        return np.asarray(values, np.float64)

    share = float(same.mean())
    right = mean_over_pairs(walk(result.right * 1.0), count, numbers, numbers, (share, 1 - share))
    missed, matched = error_rates(walk(result.accepted * 1.0), count, np.array([0.5]))
    if matched.supported[0]:
        val = OperatingPoint(
            around(result.val, rate_at(missed, rest=True)), around(result.far, rate_at(matched))
        )
    else:
        val = OperatingPoint(None, None, not_supported(int((~same).sum())))
    cosines = 1 - distances / 2
    scores = PairScores(cosines[same], cosines[~same])
    every = verification_rates(walk(cosines), count, scores, verify(scores))
    return LfwRates(around(result.accuracy, rate_at(right)), val, every)


def people_of_pairs(face_set: FaceSet) -> Whole:
    """int64 (P, 2): the two people of each pair, as far as the set tells them.

    Without names, images with the same content and those of a genuine pair are of one person, which
    is all that a file such as lfw.bin tells. If names or genuine pairs contradict the flags of the
    pairs, every pair counts as if it shared no person with another one.
    """
    pairs, same = face_set.pairs, face_set.same
    assert pairs is not None
    assert same is not None
    if face_set.people is not None:
        labels = face_set.labels
    else:
        contents = [image.content() for image in face_set.images]
        first: dict[bytes, int] = {}
        copies = [(first.setdefault(c, n), n) for n, c in enumerate(contents)]
        edges = np.concatenate([pairs[same], np.array(copies)])
        size = len(contents)
        graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(size, size))
        labels = connected_components(graph, directed=False)[1]
    found = np.asarray(labels[pairs], np.int64)
    if ((found[:, 0] == found[:, 1]) != same).any():
        numbers = np.arange(len(pairs))
        found = np.stack([2 * numbers, 2 * numbers + ~same], axis=1)
    return found
