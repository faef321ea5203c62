"""Similarities of pairs, person by person, and the error rates that follow from them.

Similarities are visited person by person, so that intervals can resample people and no table of
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
    "PersonScores",
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

    def walk() -> Iterator[PersonScores]:
        for start, stop in zip(starts, stops, strict=True):
            scores = ordered[start:stop] @ ordered[start:].T
            size = stop - start
            own = scores[:, :size][np.triu_indices(size, 1)]
            partners = np.tile(names[stop:], size)
            yield PersonScores(int(names[start]), own, partners, scores[:, size:].ravel())

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
    persons = np.unique(people[:, 0])
    starts = np.searchsorted(people[:, 0], persons)
    stops = np.append(starts[1:], len(people))

    def walk() -> Iterator[PersonScores]:
        for person, start, stop in zip(persons, starts, stops, strict=True):
            found, partners = scores(order[start:stop]), people[start:stop, 1]
            own = partners == person
            yield PersonScores(int(person), found[own], partners[~own], found[~own])

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
        person = scores.person
        reached = _reached(np.zeros(len(scores.genuine), np.int64), 1, scale(scores.genuine), grid)[
            0
        ]
        own_pairs[person] = len(scores.genuine)
        missed[person] = len(scores.genuine) - reached
        others, place = np.unique(scores.partners, return_inverse=True)
        wrong = _reached(place, len(others), scale(scores.impostor), grid)
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
        alone = float((genuine(scores.genuine) - means[0]).sum()) * shares[0]
        partners, place = np.unique(scores.partners, return_inverse=True)
        left = (impostor(scores.impostor) - means[1]) * shares[1]
        both = np.bincount(place, left, minlength=len(partners))
        parts[scores.person] += alone + both.sum()
        parts[partners] += both
        seen[scores.person] = True
        seen[partners] = True
        own += alone**2
        shared += float(both @ both)
    found = float(np.array(weights) @ means) if value is None else value
    # Impostor pairs belong to two people each.
    fewest = float(seen.sum()) / (2 if weights[1] else 1)
    total = float(pairs[np.array(weights) != 0].sum())
    return estimate_mean(found, parts[seen], (own, shared), total, max(fewest, 1), needed)
