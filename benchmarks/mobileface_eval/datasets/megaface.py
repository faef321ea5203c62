"""The protocol of MegaFace: faces of known people found again among many strangers.

Each two pictures of one person are a probe and its mate. Identification: the mate is put among the
distractors, and its rank among them by similarity to the probe counts; the CMC curve is the share
of probes whose mate has at most that rank. Verification: pairs of probe and mate against pairs of
probe and distractor (I. Kemelmacher-Shlizerman et al., "The MegaFace Benchmark", CVPR 2016).

The search is exact: every probe is compared with every distractor, block by block, so memory does
not grow with their number. A distractor as similar as the mate stands before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mobileface.commands.progress import Progress
from mobileface.errors import InputError

__all__ = ["MegafaceResult", "evaluate_megaface"]

Floats = npt.NDArray[np.float32]
Whole = npt.NDArray[np.int64]

_BLOCK_BYTES = 1 << 26
"""Of similarities that are computed at once."""

_LARGEST_RATE = 1e-3
"""Of the curve of false accept rates; less is exact, more is not computed."""

_MOST_KEPT = 1 << 22
"""Similarities to distractors that are kept for the curve."""

_SMALLEST_GALLERY = 10


@dataclass(frozen=True, slots=True, eq=False)
class MegafaceResult:
    """What the protocol gives.

    Attributes:
        ranks: int64 (M,): of the mate among all distractors for each pair of probe and mate; 1 is
            best.
        mates: float32 (M,): similarity of each such pair.
        rank1: By number of distractors (10, 100, … and all), the share of mates of rank 1.
        false_accept: float64 (K,): false accept rates, ascending.
        true_accept: float64 (K,): share of mates accepted at each.
        distractors: Their number.
        probes: Pictures of known people.
    """

    ranks: Whole
    mates: Floats
    rank1: dict[int, float]
    false_accept: npt.NDArray[np.float64]
    true_accept: npt.NDArray[np.float64]
    distractors: int
    probes: int

    def cmc(self, ranks: Whole) -> npt.NDArray[np.float64]:
        """Share of mates that have at most each rank."""
        ordered = np.sort(self.ranks)
        return np.asarray(np.searchsorted(ordered, ranks, side="right") / len(ordered), np.float64)

    def true_accept_at(self, rate: float) -> float | None:
        """Share of mates that are accepted where strangers are at this rate; None: not known.

        The threshold is the lowest at which no more than this share of strangers is accepted.
        """
        accepted = int(rate * self.distractors * self.probes + 1e-9)
        known = 1 <= accepted < len(self.true_accept)
        return float(self.true_accept[accepted]) if known else None


def evaluate_megaface(
    probes: Floats, labels: Whole, distractors: Floats, *, seed: int = 0
) -> MegafaceResult:
    """Runs the protocol.

    Args:
        probes: float32 (N, D), unit rows: pictures of known people.
        labels: (N,) who they are; people with one picture are left out.
        distractors: float32 (M, D), unit rows: strangers; may be mapped from a file.
        seed: Of the order in which the distractors count for the smaller galleries.

    Raises:
        InputError: No two pictures of one person, no distractors, or vectors that do not fit or
            are not finite.
    """
    if not len(distractors) or distractors.ndim != 2:
        raise InputError("no distractors")
    if probes.ndim != 2 or probes.shape[1] != distractors.shape[1]:
        raise InputError(
            f"probes of {probes.shape[1:]} and distractors of {distractors.shape[1:]} numbers"
        )
    probe, mate = np.nonzero((labels[:, None] == labels) & ~np.eye(len(labels), dtype=bool))
    if not len(probe):
        raise InputError("no two probes are of one person")
    used, row = np.unique(probe, return_inverse=True)
    mates = np.einsum("md,md->m", probes[probe], probes[mate])
    if not np.isfinite(probes).all():
        raise InputError("a probe is not a finite vector")
    ahead = np.zeros(len(mates), np.int64)
    sizes = _gallery_sizes(len(distractors))
    rank1: dict[int, float] = {}
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
            rank1[start + len(block)] = float((ahead == 0).mean())
    progress.end()
    false_accept, true_accept = tail.curve(mates, len(used) * len(distractors))
    return MegafaceResult(
        ahead + 1, mates, rank1, false_accept, true_accept, len(distractors), len(used)
    )


def _gallery_sizes(count: int) -> set[int]:
    """10, 100, … and all."""
    sizes = {count}
    size = _SMALLEST_GALLERY
    while size < count:
        sizes.add(size)
        size *= 10
    return sizes


def _blocks(
    distractors: Floats, probes: int, sizes: set[int], seed: int
) -> Iterator[tuple[int, Floats]]:
    """Blocks of the distractors that end wherever a gallery does.

    The smaller galleries are drawn at random; the rest, which only counts as a whole, is read in
    the order of the file.
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

    Mates are laid out in columns of one mate a probe, so that each is one comparison of the block.
    """

    def __init__(self, rows: Whole, mates: Floats, probes: int) -> None:
        self._rows = rows
        place = np.arange(len(rows)) - np.searchsorted(rows, rows)  # rows are ascending
        self._place = place
        self._mates = np.full((place.max() + 1, probes), np.inf, np.float32)
        self._mates[place, rows] = mates

    def count(self, scores: Floats) -> Whole:
        """int64 (M,) for similarities (probes, distractors)."""
        found = [np.count_nonzero(scores >= column[:, None], axis=1) for column in self._mates]
        return np.asarray(np.stack(found)[self._place, self._rows], np.int64)


class _Tail:
    """Keeps the highest similarities of all.

    Args:
        size: How many.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._least = -np.inf
        self._kept: list[Floats] = []
        self._count = 0

    def add(self, scores: Floats) -> None:
        """Takes those of a block that may be among the highest."""
        chosen = scores[scores > self._least]
        self._kept.append(chosen)
        self._count += len(chosen)
        if self._count > 2 * self._size:
            self._cut()

    def _cut(self) -> None:
        kept = np.concatenate(self._kept) if self._kept else np.empty(0, np.float32)
        if len(kept) > self._size:
            kept = np.partition(kept, len(kept) - self._size)[-self._size :]
            self._least = float(kept.min())
        self._kept, self._count = [kept], len(kept)

    def curve(
        self, mates: Floats, total: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """False accept rates from 0 on, and the share of mates accepted at each.

        At the rate k / total the k highest similarities of strangers are accepted, and mates that
        are more similar than the next one.
        """
        self._cut()
        highest = np.sort(self._kept[0])[::-1]
        accepted = np.arange(len(highest))
        ordered = np.sort(mates)
        above = len(ordered) - np.searchsorted(ordered, highest, side="right")
        return accepted / total, above / len(ordered)
