"""Computes a calibration from the similarities of labelled pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mobileface.errors import InputError
from mobileface.matching.calibration import Basis, Calibration, RateCurve

from .embedding import Embedded
from .intervals import RateEstimate, estimate_genuine, estimate_impostor

__all__ = ["PersonScores", "calibrate", "scores_of_people"]

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32] | Floats

_STEPS = 200_000
"""Number of histogram steps, each 1e-5 wide, from cosine −1 to 1."""

_POINTS = 60
"""Number of grid points at each tail of the genuine and of the impostor similarities."""


@dataclass(frozen=True, slots=True, eq=False)
class PersonScores:
    """The similarities of one person's images.

    Attributes:
        person: Index of the person.
        genuine: float (G,): similarities of the person's images with each other.
        partners: int (I,): index of the other person of each impostor pair. All pairs of the same
            two people must be in one `PersonScores`.
        impostor: float (I,): similarities of the person's images with the partners' images.
    """

    person: int
    genuine: Scores
    partners: Whole
    impostor: Scores


People = Callable[[], Iterator[PersonScores]]
"""Returns an iterator over the scores of all people, each pair once; it is called twice."""


def scores_of_people(embedded: Embedded) -> People:
    """The similarities of a set of embeddings: of the listed pairs, or of all pairs of images.

    Raises:
        InputError: If the set has no person labels.
    """
    labels, vectors, pairs = embedded.set.labels, embedded.vectors, embedded.set.pairs
    return _every_two(vectors, labels) if pairs is None else _listed(vectors, labels, pairs)


def _every_two(vectors: npt.NDArray[np.float32], labels: Whole) -> People:
    order = np.argsort(labels, kind="stable")
    ordered, names = vectors[order], labels[order]
    starts = np.flatnonzero(np.diff(names, prepend=-1))
    stops = np.append(starts[1:], len(names))

    def walk() -> Iterator[PersonScores]:
        for start, stop in zip(starts, stops, strict=True):
            scores = ordered[start:stop] @ ordered[start:].T
            size = stop - start
            own = scores[:, :size][np.triu_indices(size, 1)]
            partners = np.tile(names[stop:], size)
            yield PersonScores(int(names[start]), own, partners, scores[:, size:].ravel())

    return walk


def _listed(vectors: npt.NDArray[np.float32], labels: Whole, pairs: Whole) -> People:
    people = np.sort(labels[pairs], axis=1)
    order = np.argsort(people[:, 0], kind="stable")
    people, pairs = people[order], pairs[order]

    def walk() -> Iterator[PersonScores]:
        for person in np.unique(people[:, 0]):
            mine = slice(*np.searchsorted(people[:, 0], [person, person + 1]))
            first, second = vectors[pairs[mine, 0]], vectors[pairs[mine, 1]]
            scores = np.einsum("pd,pd->p", first, second)
            partners = people[mine, 1]
            own = partners == person
            yield PersonScores(int(person), scores[own], partners[~own], scores[~own])

    return walk


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
    missed, matched = _estimate(people, count, grid)
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


def _estimate(people: People, count: int, grid: Whole) -> tuple[RateEstimate, RateEstimate]:
    """The false non-match rate and the false match rate at each step of a grid."""
    size = len(grid)
    missed, own_pairs = np.zeros((count, size)), np.zeros(count)
    matched, shared_pairs = np.zeros((count, size)), np.zeros(count)
    squares, products, pair_squares = np.zeros(size), np.zeros(size), 0.0
    for scores in people():
        person = scores.person
        reached = _reached(np.zeros(len(scores.genuine), np.int64), 1, scores.genuine, grid)[0]
        own_pairs[person] = len(scores.genuine)
        missed[person] = len(scores.genuine) - reached
        others, place = np.unique(scores.partners, return_inverse=True)
        wrong = _reached(place, len(others), scores.impostor, grid)
        pairs = np.bincount(place, minlength=len(others)).astype(np.float64)
        matched[others] += wrong
        matched[person] += wrong.sum(axis=0)
        shared_pairs[others] += pairs
        shared_pairs[person] += pairs.sum()
        squares += np.einsum("jt,jt->t", wrong, wrong)
        products += pairs @ wrong
        pair_squares += float(pairs @ pairs)
    return (
        estimate_genuine(missed, own_pairs),
        estimate_impostor(matched, shared_pairs, (squares, products, pair_squares)),
    )


def _reached(groups: npt.NDArray[np.int64], count: int, scores: Scores, grid: Whole) -> Floats:
    """The number of similarities of each group that reach each grid step, float64 (count, T)."""
    size = len(grid) + 1
    passed = np.searchsorted(grid, _step(scores), side="right")
    counts = np.bincount(groups * size + passed, minlength=count * size).reshape(count, size)
    reached = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(reached[:, 1:], np.float64)


def _curve(estimate: RateEstimate) -> RateCurve:
    columns = (estimate.value, estimate.low, estimate.high)
    return RateCurve(*(tuple(float(value) for value in column) for column in columns))


def _rounded_up(rate: float) -> float:
    """The rate, rounded up to two significant digits."""
    digit = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return min(math.ceil(rate / digit) * digit, 1.0)
