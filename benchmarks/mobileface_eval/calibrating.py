"""Computes a calibration from the similarities of labelled pairs."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mobileface.errors import InputError
from mobileface.matching.calibration import Basis, Calibration, RateCurve

from .intervals import RateEstimate
from .people_scores import People, error_rates, scores_of_people

__all__ = ["calibrate", "scores_of_people"]

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32] | Floats

_STEPS = 200_000
"""Number of histogram steps, each 1e-5 wide, from cosine −1 to 1."""

_POINTS = 60
"""Number of grid points at each tail of the genuine and of the impostor similarities."""


def calibrate(people: People, count: int, model: str, basis: Basis) -> Calibration:
    """Measures the error rates of a model at each similarity.

    Args:
        people: The similarities.
        count: Number of people; all person indices are below it.
        model: `Embedder.identity`.
        basis: Description of the data; its numbers of pairs are replaced by the counted ones.

    Raises:
        InputError: If a similarity is not a cosine, if there are no genuine or no impostor pairs,
            or if there are too few people to estimate any false match rate.
    """
    genuine_counts, impostor_counts = _count(people)
    if not genuine_counts.any() or not impostor_counts.any():
        kind = "impostor" if genuine_counts.any() else "genuine"
        raise InputError(f"no {kind} pairs", where=basis.data)
    grid = _grid(genuine_counts, impostor_counts)
    missed, matched = error_rates(people, count, grid, _step)
    useful = matched.supported & (matched.value < 0.5)
    if not useful.any():
        raise InputError(
            f"{basis.identities} people with {int(impostor_counts.sum())} impostor pairs are too "
            "few to estimate a false match rate",
            where=basis.data,
        )
    lowest = float(matched.value[useful].min())
    similarity = grid / (_STEPS / 2) - 1
    return Calibration(
        model,
        Basis(
            basis.data,
            basis.identities,
            basis.faces,
            int(genuine_counts.sum()),
            int(impostor_counts.sum()),
            basis.date,
            basis.note,
        ),
        tuple(float(value) for value in similarity),
        _curve(matched),
        _curve(missed),
        _rounded_up(lowest),
    )


def _count(people: People) -> tuple[Whole, Whole]:
    """Histograms of the genuine and the impostor similarities, int64 (_STEPS + 1,) each."""
    genuine, impostor = _Counter(), _Counter()
    for scores in people():
        genuine.add(scores.genuine)
        impostor.add(scores.impostor)
    return genuine.total(), impostor.total()


class _Counter:
    """Builds a histogram of similarities in large batches, because each update visits all steps."""

    def __init__(self) -> None:
        self._counts = np.zeros(_STEPS + 1, np.int64)
        self._waiting: list[Whole] = []
        self._size = 0

    def add(self, scores: Scores) -> None:
        """Adds similarities."""
        self._waiting.append(_step(scores))
        self._size += len(scores)
        if self._size > 10 * _STEPS:
            self.total()

    def total(self) -> Whole:
        """The histogram, int64 (_STEPS + 1,)."""
        if self._waiting:
            steps = np.concatenate(self._waiting)
            self._counts += np.bincount(steps, minlength=_STEPS + 1)
            self._waiting, self._size = [], 0
        return self._counts


def _step(scores: Scores) -> Whole:
    """The step that each similarity falls into."""
    if not (np.abs(scores) <= 1.001).all():  # also False for nan
        raise InputError("a similarity is not a cosine between -1 and 1")
    steps = np.floor((scores.astype(np.float64) + 1) * (_STEPS / 2))
    return np.asarray(np.clip(steps, 0, _STEPS), np.int64)


def _grid(genuine: Whole, impostor: Whole) -> Whole:
    """Grid steps for interpolating rates: logarithmically spaced and dense at both tails."""
    chosen: list[Whole] = [np.array([0, _STEPS])]
    for counts in (genuine, impostor):
        total = int(counts.sum())
        ranks = np.unique(np.geomspace(1, total, _POINTS).astype(np.int64))
        below = np.cumsum(counts)
        low = np.searchsorted(below, ranks, side="left")  # the step of the r-th lowest
        high = np.searchsorted(below, total - ranks, side="right")  # and of the r-th highest
        chosen += [low, low + 1, high, high + 1]
    return np.asarray(np.unique(np.clip(np.concatenate(chosen), 0, _STEPS)), np.int64)


def _curve(estimate: RateEstimate) -> RateCurve:
    columns = (estimate.value, estimate.low, estimate.high)
    return RateCurve(*(tuple(float(value) for value in column) for column in columns))


def _rounded_up(rate: float) -> float:
    """The rate, rounded up to two significant digits."""
    digit = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return min(math.ceil(rate / digit) * digit, 1.0)
