"""The MegaFace protocol: identification of people among many distractors.

Every ordered pair of images of the same person is a probe and its mate. Identification: the mate is
added to the distractors and ranked by similarity to the probe; the CMC curve is the share of probes
whose mate has at most a given rank. Verification: pairs of probe and mate against pairs of probe
and distractor (I. Kemelmacher-Shlizerman et al., "The MegaFace Benchmark", CVPR 2016).

The search is exact: every probe is compared with every distractor, block by block, so memory does
not grow with the number of distractors. A distractor as similar as the mate is ranked before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mobileface.commands.progress import Progress
from mobileface.errors import InputError
from mobileface.matching.error_rates import Rate

from ..intervals import estimate_genuine
from ..measured import OperatingPoint, not_supported, rate_at, share_of_images

__all__ = ["MegafaceResult", "evaluate_megaface"]

Floats = npt.NDArray[np.float32]
Whole = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int32]

_BLOCK_BYTES = 1 << 26
"""Size of the block of similarities that is computed at once."""

_LARGEST_RATE = 1e-3
"""Largest false accept rate of the curve, which is exact up to there."""

_MOST_KEPT = 1 << 22
"""Maximum number of similarities to distractors that are kept for the curve."""

_SMALLEST_GALLERY = 10


@dataclass(frozen=True, slots=True, eq=False)
class MegafaceResult:
    """Results of the MegaFace protocol.

    Attributes:
        ranks: int64 (M,): rank of the mate among all distractors for each pair of probe and mate;
            1 is best.
        mates: float32 (M,): similarity of each pair of probe and mate.
        rank1: Rank-1 identification rate by number of distractors (10, 100, … and all).
        false_accept: float64 (K,): false accept rates, ascending.
        true_accept: float64 (K,): share of mates accepted at each false accept rate.
        distractors: Number of distractors.
        probes: Number of probe images.
        people: int64 (M,): the person of each mate.
        hits: bool (M,) by number of distractors: whether the mate is ranked first.
        accepted_from: int64 (K,): the person of the probe in the k-th most similar pair of a
            probe and a distractor.
        pairs_of: float64 (I,): number of pairs of a probe of each person and a distractor.
    """

    ranks: Whole
    mates: Floats
    rank1: dict[int, float]
    false_accept: npt.NDArray[np.float64]
    true_accept: npt.NDArray[np.float64]
    distractors: int
    probes: int
    people: Whole
    hits: dict[int, npt.NDArray[np.bool_]]
    accepted_from: Whole
    pairs_of: npt.NDArray[np.float64]

    def cmc(self, ranks: Whole) -> npt.NDArray[np.float64]:
        """Share of mates with at most the given rank, for each rank."""
        ordered = np.sort(self.ranks)
        return np.asarray(np.searchsorted(ordered, ranks, side="right") / len(ordered), np.float64)

    def true_accept_at(self, rate: float) -> float | None:
        """Share of mates accepted at a false accept rate; None: unknown.

        The threshold is the lowest at which no more than this share of distractors is accepted.
        """
        accepted = self._accepted(rate)
        known = 1 <= accepted < len(self.true_accept)
        return float(self.true_accept[accepted]) if known else None

    def _accepted(self, rate: float) -> int:
        """The number of accepted distractors at a false accept rate."""
        return int(rate * self.distractors * self.probes + 1e-9)

    def point(self, rate: float) -> OperatingPoint:
        """True accept rate and false accept rate with their intervals, people resampled.

        The people of the distractors are unknown, so only those of the probes are resampled. The
        true accept rate's interval is that at the threshold found.
        """
        accepted = self._accepted(rate)
        true = self.true_accept_at(rate)
        reason = not_supported(self.distractors * self.probes, "pairs of probe and distractor")
        if true is None:
            return OperatingPoint(None, None, reason)
        errors = np.bincount(self.accepted_from[:accepted], minlength=len(self.pairs_of)) * 1.0
        false = estimate_genuine(errors[:, None], self.pairs_of)
        if not false.supported[0]:
            return OperatingPoint(None, None, reason)
        least = np.sort(self.mates)[::-1][: round(true * len(self.mates))]
        above = self.mates >= (least[-1] if len(least) else np.inf)
        return OperatingPoint(share_of_images(above, self.people), rate_at(false))

    def rank_rate(self, rank: int) -> Rate:
        """Share of mates with at most this rank."""
        return share_of_images(self.ranks <= rank, self.people)

    def rank1_rate(self, distractors: int) -> Rate:
        """Rank-1 identification rate with this many distractors, a key of `rank1`."""
        return share_of_images(self.hits[distractors], self.people)


def evaluate_megaface(
    probes: Floats, labels: Whole, distractors: Floats, *, seed: int = 0
) -> MegafaceResult:
    """Runs the protocol.

    Args:
        probes: float32 (N, D), rows L2-normalised: images of known people.
        labels: int64 (N,): the person of each probe; people with one image are ignored.
        distractors: float32 (M, D), rows L2-normalised: images of other people; may be a
            memory-mapped file.
        seed: Random seed for drawing the smaller galleries.

    Raises:
        InputError: If no person has two images, if there are no distractors, or if vectors have
            different sizes or are not finite.
    """
    if not len(distractors) or distractors.ndim != 2:
        raise InputError("no distractors")
    if probes.ndim != 2 or probes.shape[1] != distractors.shape[1]:
        raise InputError(
            f"probes have shape {probes.shape}, but distractors have shape {distractors.shape}"
        )
    probe, mate = np.nonzero((labels[:, None] == labels) & ~np.eye(len(labels), dtype=bool))
    if not len(probe):
        raise InputError("no two probes are of the same person")
    used, row = np.unique(probe, return_inverse=True)
    mates = np.einsum("md,md->m", probes[probe], probes[mate])
    if not np.isfinite(probes).all():
        raise InputError("a probe is not a finite vector")
    ahead = np.zeros(len(mates), np.int64)
    sizes = _gallery_sizes(len(distractors))
    hits: dict[int, npt.NDArray[np.bool_]] = {}
    most = int(_LARGEST_RATE * len(used) * len(distractors))
    tail = _Tail(min(_MOST_KEPT, most) + 1)
    order = _Columns(row, mates, len(used))
    progress = Progress(len(distractors), "distractors")
    for start, block in _blocks(distractors, len(used), sizes, seed):
        scores = probes[used] @ block.T
        if not np.isfinite(scores).all():
            raise InputError("a distractor is not a finite vector")
        ahead += order.count(scores)
        tail.add(scores)
        progress.advance(len(block))
        if start + len(block) in sizes:
            hits[start + len(block)] = ahead == 0
    progress.end()
    false_accept, true_accept, rows = tail.curve(mates, len(used) * len(distractors))
    return MegafaceResult(
        ahead + 1,
        mates,
        {size: float(first.mean()) for size, first in hits.items()},
        false_accept,
        true_accept,
        len(distractors),
        len(used),
        labels[probe],
        hits,
        labels[used][rows],
        np.bincount(labels[used]) * float(len(distractors)),
    )


def _gallery_sizes(count: int) -> set[int]:
    """Gallery sizes: 10, 100, … and all."""
    sizes = {count}
    size = _SMALLEST_GALLERY
    while size < count:
        sizes.add(size)
        size *= 10
    return sizes


def _blocks(
    distractors: Floats, probes: int, sizes: set[int], seed: int
) -> Iterator[tuple[int, Floats]]:
    """Yields start and content of blocks of distractors; blocks end where a gallery size ends.

    The smaller galleries are drawn at random; the rest, which counts only for the full gallery, is
    read in file order.
    """
    count, width = distractors.shape
    largest = max(sizes - {count}, default=0)
    drawn = np.random.default_rng(seed).choice(count, largest, replace=False)
    first = np.zeros(count, np.bool_)
    first[drawn] = True
    rest = np.flatnonzero(~first)
    rows = max(_BLOCK_BYTES // (4 * max(probes, width)), 1)
    start = 0
    for stop in sorted(sizes):
        while start < stop:
            end = min(start + rows, stop)
            numbers = drawn[start:end] if end <= largest else rest[start - largest : end - largest]
            yield start, np.asarray(distractors[numbers], np.float32)
            start = end


class _Columns:
    """Counts, for each mate, the distractors that are at least as similar to its probe.

    Mates are arranged in columns of one mate per probe, so that one comparison covers a column.
    """

    def __init__(self, rows: Whole, mates: Floats, probes: int) -> None:
        self._rows = rows
        place = np.arange(len(rows)) - np.searchsorted(rows, rows)  # rows are ascending
        self._place = place
        self._mates = np.full((place.max() + 1, probes), np.inf, np.float32)
        self._mates[place, rows] = mates

    def count(self, scores: Floats) -> Whole:
        """int64 (M,): the counts, for similarities of shape (probes, distractors)."""
        found = [np.count_nonzero(scores >= column[:, None], axis=1) for column in self._mates]
        return np.asarray(np.stack(found)[self._place, self._rows], np.int64)


class _Tail:
    """Keeps the highest similarities, and the probe of each.

    Args:
        size: Number of similarities to keep.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._least = -np.inf
        self._kept: list[tuple[Floats, Rows]] = []
        self._count = 0

    def add(self, scores: Floats) -> None:
        """Adds what may be among the highest of a block of similarities (probes, distractors)."""
        chosen = scores > self._least
        rows = np.repeat(np.arange(len(scores), dtype=np.int32), chosen.sum(axis=1))
        self._kept.append((scores[chosen], rows))
        self._count += len(rows)
        if self._count > 2 * self._size:
            self._shrink()

    def _shrink(self) -> None:
        scores, rows = (np.concatenate(part) for part in zip(*self._kept, strict=True))
        if len(scores) > self._size:
            highest = np.argpartition(scores, len(scores) - self._size)[-self._size :]
            scores, rows = scores[highest], rows[highest]
            self._least = float(scores.min())
        self._kept, self._count = [(scores, rows)], len(scores)

    def curve(
        self, mates: Floats, total: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], Rows]:
        """False accept rates, starting at 0, the share of mates accepted at each, and the probes.

        At the rate k / total, the k highest similarities of distractors are accepted, and all mates
        with a similarity above the next one.
        """
        self._shrink()
        scores, rows = self._kept[0]
        order = np.argsort(-scores, kind="stable")
        highest = scores[order]
        accepted = np.arange(len(highest))
        ordered = np.sort(mates)
        above = len(ordered) - np.searchsorted(ordered, highest, side="right")
        return accepted / total, above / len(ordered), rows[order]
