"""From similarities of labelled pairs to a calibration."""

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
"""Steps of 1e-5 from the cosine −1 to 1: similarities are counted in them."""

_POINTS = 60
"""Similarities at each tail of each kind of pairs for which rates are stored."""


@dataclass(frozen=True, slots=True, eq=False)
class PersonScores:
    """The similarities of one person's pictures.

    Attributes:
        person: Their number.
        genuine: float (G,): with each other.
        partners: int (I,): numbers of other people; all pairs of the same two come together.
        impostor: float (I,): with pictures of these.
    """

    person: int
    genuine: Scores
    partners: Whole
    impostor: Scores


People = Callable[[], Iterator[PersonScores]]
"""Gives the scores of everybody, each pair once; called twice."""


def scores_of_people(embedded: Embedded) -> People:
    """The similarities of a set of embeddings: of its pairs, or of every two pictures.

    Raises:
        InputError: The set does not say who is in its pictures.
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
        count: How many people there are; their numbers are below.
        model: `Embedder.identity`.
        basis: What the similarities are from; its numbers of pairs are counted here.

    Raises:
        InputError: A similarity that is no cosine, no pairs of one person or of two, or so few
            people that no false match rate can be told.
    """
    genuine_counts, impostor_counts = _count(people)
    if not genuine_counts.any() or not impostor_counts.any():
        kind = "two people" if genuine_counts.any() else "one person"
        raise InputError(f"no pairs of {kind}", where=basis.data)
    grid = _grid(genuine_counts, impostor_counts)
    missed, matched = _estimate(people, count, grid)
    useful = matched.supported & (matched.value < 0.5)
    if not useful.any():
        raise InputError(
            f"{basis.identities} people with {int(impostor_counts.sum())} pairs of two are too few "
            "to tell a false match rate",
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
    """How many genuine and impostor similarities fall into each step, (_STEPS + 1,) each."""
    genuine, impostor = _Counter(), _Counter()
    for scores in people():
        genuine.add(scores.genuine)
        impostor.add(scores.impostor)
    return genuine.total(), impostor.total()


class _Counter:
    """Counts similarities in steps, many at a time: a count costs as much as there are steps."""

    def __init__(self) -> None:
        self._counts = np.zeros(_STEPS + 1, np.int64)
        self._waiting: list[Whole] = []
        self._size = 0

    def add(self, scores: Scores) -> None:
        """Takes some more."""
        self._waiting.append(_step(scores))
        self._size += len(scores)
        if self._size > 10 * _STEPS:
            self.total()

    def total(self) -> Whole:
        """How many fell into each step, (_STEPS + 1,)."""
        if self._waiting:
            steps = np.concatenate(self._waiting)
            self._counts += np.bincount(steps, minlength=_STEPS + 1)
            self._waiting, self._size = [], 0
        return self._counts


def _step(scores: Scores) -> Whole:
    """The step that each similarity lies in."""
    if not (np.abs(scores) <= 1.001).all():  # false for nan
        raise InputError("a similarity is no cosine from -1 to 1")
    steps = np.floor((scores.astype(np.float64) + 1) * (_STEPS / 2))
    return np.asarray(np.clip(steps, 0, _STEPS), np.int64)


def _grid(genuine: Whole, impostor: Whole) -> Whole:
    """Steps between which rates are interpolated: dense, on a logarithmic scale, at both tails."""
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
    """How many similarities of each group reach each step of a grid, float64 (count, T)."""
    size = len(grid) + 1
    passed = np.searchsorted(grid, _step(scores), side="right")
    counts = np.bincount(groups * size + passed, minlength=count * size).reshape(count, size)
    reached = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(reached[:, 1:], np.float64)


def _curve(estimate: RateEstimate) -> RateCurve:
    columns = (estimate.value, estimate.low, estimate.high)
    return RateCurve(*(tuple(float(value) for value in column) for column in columns))


def _rounded_up(rate: float) -> float:
    """The rate with two digits, not lower than it is."""
    digit = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return min(math.ceil(rate / digit) * digit, 1.0)
