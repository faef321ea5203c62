"""Similarities of pairs with their people, and the error rates that follow from them.

Similarities are visited in blocks of people, so that intervals can resample people and no table of
all pairs with their people is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .embedding import Embedded
from .intervals import (
    FEWEST_ERRORS,
    RateEstimate,
    estimate_genuine,
    estimate_impostor,
    estimate_mean,
)

__all__ = [
    "People",
    "PeopleScores",
    "error_rates",
    "every_two",
    "listed_scores",
    "mean_over_pairs",
    "scores_of_people",
]

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32] | Floats
Grid = Whole | Floats
Scale = Callable[[Scores], Grid]


def _unchanged(scores: Scores) -> Floats:
    return np.asarray(scores, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class PeopleScores:
    """The similarities of the images of some people.

    Attributes:
        own: int (G,): index of the person of each genuine pair.
        genuine: float (G,): similarities of two images of one person.
        people: int (I, 2): indices of the two people of each impostor pair. All pairs of the same
            two people must be in one `PeopleScores`, in the same order.
        impostor: float (I,): similarities of their images.
    """

    own: Whole
    genuine: Scores
    people: Whole
    impostor: Scores


People = Callable[[], Iterator[PeopleScores]]
"""Returns an iterator over the scores of all people, each pair once; it is called twice."""

_BLOCK = 4096
"""Most listed pairs in a block, unless one person has more: each takes a row of thresholds."""


def scores_of_people(embedded: Embedded) -> People:
    """The similarities of a set of embeddings: of the listed pairs, or of all pairs of images.

    Raises:
        InputError: If the set has no person labels.
    """
    labels, vectors, pairs = embedded.set.labels, embedded.vectors, embedded.set.pairs
    if pairs is None:
        return every_two(vectors, labels)

    def cosines(numbers: Whole) -> Scores:
        chosen = pairs[numbers]
        found = np.einsum("pd,pd->p", vectors[chosen[:, 0]], vectors[chosen[:, 1]])
        return np.asarray(found, np.float32)

    return listed_scores(labels[pairs], cosines)


def every_two(vectors: npt.NDArray[np.float32], labels: Whole) -> People:
    """Cosines of all pairs of images.

    Args:
        vectors: float32 (N, D), rows L2-normalised.
        labels: int64 (N,): the person of each image.
    """
    order = np.argsort(labels, kind="stable")
    ordered, names = vectors[order], labels[order]
    starts = np.flatnonzero(np.diff(names, prepend=-1))
    stops = np.append(starts[1:], len(names))

    def walk() -> Iterator[PeopleScores]:
        for start, stop in zip(starts, stops, strict=True):
            scores = ordered[start:stop] @ ordered[start:].T
            size = stop - start
            genuine = scores[:, :size][np.triu_indices(size, 1)]
            both = np.full((size * (len(names) - stop), 2), names[start])
            both[:, 1] = np.tile(names[stop:], size)
            own = np.full(len(genuine), names[start])
            yield PeopleScores(own, genuine, both, scores[:, size:].ravel())

    return walk


def listed_scores(people: Whole, scores: Callable[[Whole], Scores]) -> People:
    """The similarities of listed pairs.

    Args:
        people: int64 (P, 2): the two people of each pair; equal in a genuine pair.
        scores: Returns the similarities (N,) of the pairs with the given numbers, int64 (N,).
    """
    people = np.sort(people, axis=1)
    order = np.argsort(people[:, 0], kind="stable")
    people = people[order]
    ends = np.append(np.flatnonzero(np.diff(people[:, 0])) + 1, len(people))  # of each person

    def walk() -> Iterator[PeopleScores]:
        start = 0
        while start < len(people):
            place = int(np.searchsorted(ends, start + _BLOCK, side="right")) - 1
            first = int(np.searchsorted(ends, start, side="right"))
            stop = int(ends[max(place, first)])
            both, found = people[start:stop], scores(order[start:stop])
            own = both[:, 0] == both[:, 1]
            yield PeopleScores(both[own, 0], found[own], both[~own], found[~own])
            start = stop

    return walk


def error_rates(
    people: People, count: int, grid: Grid, scale: Scale = _unchanged
) -> tuple[RateEstimate, RateEstimate]:
    """The false non-match rate and the false match rate at each threshold.

    Args:
        people: The similarities.
        count: Number of people; all person indices are below it.
        grid: (T,) thresholds, ascending; a similarity that equals a threshold reaches it.
        scale: Converts similarities to the scale of the thresholds.

    Returns:
        Both rates with their intervals. A false match rate is supported if at least
        `intervals.FEWEST_ERRORS` independent false matches were seen.
    """
    size = len(grid)
    missed, own_pairs = np.zeros((count, size)), np.zeros(count)
    matched, shared_pairs = np.zeros((count, size)), np.zeros(count)
    squares, products, pair_squares = np.zeros(size), np.zeros(size), 0.0
    for scores in people():
        persons, place = np.unique(scores.own, return_inverse=True)
        pairs = np.bincount(place, minlength=len(persons)).astype(np.float64)
        reached = _reached(place, len(persons), scale(scores.genuine), grid)
        own_pairs[persons] += pairs
        missed[persons] += pairs[:, None] - reached
        twos, place = _twos(scores.people)
        wrong = _reached(place, len(twos), scale(scores.impostor), grid)
        pairs = np.bincount(place, minlength=len(twos)).astype(np.float64)
        for column in twos.T:
            _add_rows(matched, column, wrong)
            _add_rows(shared_pairs, column, pairs)
        squares += np.einsum("jt,jt->t", wrong, wrong)
        products += pairs @ wrong
        pair_squares += float(pairs @ pairs)
    return (
        estimate_genuine(missed, own_pairs),
        estimate_impostor(matched, shared_pairs, (squares, products, pair_squares)),
    )


def _twos(people: Whole) -> tuple[Whole, Whole]:
    """Every two people once, int64 (K, 2), and the row (I,) of each pair's two among them."""
    base = int(people.max(initial=0)) + 1
    keys, place = np.unique(people[:, 0] * base + people[:, 1], return_inverse=True)
    return np.stack(np.divmod(keys, base), axis=1), place


def _add_rows(totals: Floats, rows: Whole, values: Grid) -> None:
    """Adds each value to the row of its number; numbers may occur several times."""
    if not len(rows):
        return
    if (np.diff(rows) < 0).any():
        order = np.argsort(rows, kind="stable")
        rows, values = rows[order], values[order]
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    if len(starts) < len(rows):
        values = np.add.reduceat(values, starts, axis=0)
    totals[rows[starts]] += values


def _reached(groups: Whole, count: int, values: Grid, grid: Grid) -> Floats:
    """The number of values of each group that reach each threshold, float64 (count, T)."""
    size = len(grid) + 1
    passed = np.searchsorted(grid, values, side="right")
    counts = np.bincount(groups * size + passed, minlength=count * size).reshape(count, size)
    reached = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(reached[:, 1:], np.float64)


def mean_over_pairs(
    people: People,
    count: int,
    genuine: Callable[[Scores], Floats],
    impostor: Callable[[Scores], Floats],
    weights: tuple[float, float],
    value: float | None = None,
    needed: float = FEWEST_ERRORS,
) -> RateEstimate:
    """A weighted sum of a mean over genuine and a mean over impostor pairs, with its interval.

    Args:
        people: The similarities.
        count: Number of people; all person indices are below it.
        genuine: Converts similarities of genuine pairs to the numbers (N,) that are averaged.
        impostor: The same for impostor pairs.
        weights: Weight of the mean over genuine pairs and of that over impostor pairs.
        value: The statistic, if these means are only its linear part (the area under the ROC curve
            depends on each of the two groups with weight 1, and is not their sum).
        needed: Effective number of errors from which the variance is used.
    """
    sums, pairs = np.zeros(2), np.zeros(2)
    for scores in people():
        sums += genuine(scores.genuine).sum(), impostor(scores.impostor).sum()
        pairs += len(scores.genuine), len(scores.impostor)
    means = sums / np.maximum(pairs, 1)
    shares = np.array(weights) / np.maximum(pairs, 1)
    parts, seen = np.zeros(count), np.zeros(count, np.bool_)
    own = shared = 0.0
    for scores in people():
        persons, place = np.unique(scores.own, return_inverse=True)
        left = (genuine(scores.genuine) - means[0]) * shares[0]
        alone = np.bincount(place, left, minlength=len(persons))
        parts[persons] += alone
        own += float(alone @ alone)
        twos, place = _twos(scores.people)
        left = (impostor(scores.impostor) - means[1]) * shares[1]
        both = np.bincount(place, left, minlength=len(twos))
        for column in twos.T:
            _add_rows(parts, column, both)
        shared += float(both @ both)
        seen[persons] = True
        seen[twos] = True
    found = float(np.array(weights) @ means) if value is None else value
    # Impostor pairs belong to two people each.
    fewest = float(seen.sum()) / (2 if weights[1] else 1)
    total = float(pairs[np.array(weights) != 0].sum())
    return estimate_mean(found, parts[seen], (own, shared), total, max(fewest, 1), needed)
