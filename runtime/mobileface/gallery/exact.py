"""Exact nearest-neighbour search in a large matrix: in blocks, on all CPUs, with bounded memory.

Blocks are small enough to stay in a core's cache. A float16 block is widened to float32 there: this
reads half the memory, so for few probes it is faster than a float32 matrix. With few probes the
matrix is split into one strip per thread, because BLAS would wait for memory on a single thread;
with more probes BLAS uses its own threads. Slightly too many rows are selected and their products
are recomputed in float64, so that the result does not depend on the number of probes, threads or
rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ..host.threads import default_threads
from ..types import FloatArray

__all__ = ["best_rows", "similarities"]

_BLOCK = 1 << 20
"""Elements per block: 4 MB as float32."""

_SMALL = 1 << 21
"""Number of matrix elements up to which one thread is faster than starting a second one."""

_FEW_PROBES = 4
"""Up to this many probes, each probe is multiplied separately."""

_SCORES = 1 << 16
"""Number of scores collected before the best ones are selected."""

_SPARE = 1024
"""Number of additional candidates per probe collected before the worst are dropped."""

Rows = npt.NDArray[np.int64]


def best_rows(
    parts: Sequence[npt.NDArray[Any]], probes: FloatArray, count: int, threads: int | None = None
) -> list[tuple[Rows, npt.NDArray[np.float64]]]:
    """Finds the rows with the largest dot products, for each probe.

    Args:
        parts: Matrices (N, D) of unit vectors, float32 or float16; row indices continue from one
            matrix to the next.
        probes: float32 (Q, D), unit vectors.
        count: Number of rows per probe; fewer if the matrices have fewer rows.
        threads: Number of threads; None uses `default_threads`.

    Returns:
        For each probe, the rows sorted by dot product, highest first (ties by row index), and
        their dot products in float64.
    """
    few = len(probes) <= _FEW_PROBES
    strips = _strips([len(part) for part in parts], probes.shape[1], threads if few else 1)
    # Bounds the rounding error of a float32 dot product of two unit vectors: D·2⁻²⁴ each way.
    slack = 2 * probes.shape[1] * 2.0**-24

    def search(strip: list[tuple[int, int, int, int]]) -> _Best:
        best = _Best(len(probes), count, slack)
        for number, start, end, offset in strip:
            _scan(parts[number], start, end, probes, offset, best)
        return best

    if len(strips) == 1:
        found = [search(strips[0])]
    else:
        with ThreadPoolExecutor(len(strips)) as pool:
            found = list(pool.map(search, strips))
    results = []
    for probe in range(len(probes)):
        rows = np.concatenate([best.rows(probe) for best in found] or [np.empty(0, np.int64)])
        rows.sort()
        products = similarities(parts, rows, probes[probe])
        order = np.argsort(-products, kind="stable")[:count]
        results.append((rows[order], products[order]))
    return results


def similarities(
    parts: Sequence[npt.NDArray[Any]], rows: Rows, probe: FloatArray
) -> npt.NDArray[np.float64]:
    """Dot products of a probe, (D,), with the given rows, in float64."""
    wide = probe.astype(np.float64)
    products = np.empty(len(rows), np.float64)
    offset = 0
    for part in parts:
        inside = np.flatnonzero((rows >= offset) & (rows < offset + len(part)))
        for start in range(0, len(inside), 4096):
            some = inside[start : start + 4096]
            block = np.asarray(part[rows[some] - offset], np.float64)
            products[some] = np.einsum("ij,j->i", block, wide)
        offset += len(part)
    return np.asarray(np.clip(products, -1, 1), np.float64)


def _strips(
    lengths: Sequence[int], width: int, threads: int | None
) -> list[list[tuple[int, int, int, int]]]:
    """The ranges that each thread searches: (part, start, end, number of rows before the part)."""
    total = sum(lengths)
    count = (threads or default_threads()) if total * width > _SMALL else 1
    limits = [total * number // count for number in range(count + 1)]
    strips: list[list[tuple[int, int, int, int]]] = []
    for low, high in itertools.pairwise(limits):
        strip, offset = [], 0
        for number, length in enumerate(lengths):
            start, end = max(low - offset, 0), min(high - offset, length)
            if start < end:
                strip.append((number, start, end, offset))
            offset += length
        strips.append(strip)
    return strips


def _scan(
    matrix: npt.NDArray[Any], start: int, end: int, probes: FloatArray, offset: int, best: _Best
) -> None:
    """Scores rows ``start`` to ``end`` of a matrix whose first row has index ``offset``."""
    rows = max(_BLOCK // matrix.shape[1], 16)
    at_once = max(_SCORES // len(probes) // rows, 1) * rows
    scores = np.empty((len(probes), min(at_once, end - start)), np.float32)
    buffer = np.empty((rows, matrix.shape[1]), np.float32)
    for first in range(start, end, at_once):
        last = min(first + at_once, end)
        for place in range(first, last, rows):
            block = matrix[place : min(place + rows, last)]
            if block.dtype != np.float32:
                block = _widened(block, buffer[: len(block)])
            target = scores[:, place - first : place - first + len(block)]
            if len(probes) <= _FEW_PROBES:
                for probe, row in zip(probes, target, strict=True):
                    # Not BLAS: its threads would compete for CPUs with the ones that widen.
                    np.einsum("ij,j->i", block, probe, out=row)
            else:
                np.matmul(probes, block.T, out=target)
        best.add(scores[:, : last - first], offset + first)


def _widened(block: npt.NDArray[Any], target: FloatArray) -> FloatArray:
    """Converts float16 to float32, with OpenCV if possible: NumPy is ten times slower."""
    if hasattr(cv2, "convertFp16"):
        cv2.convertFp16(block.view(np.int16), target)
    else:
        target[...] = block
    return target


class _Best:
    """Collects the best rows of each probe, and all rows that might be as good.

    Args:
        probes: Number of probes.
        count: Number of rows requested per probe.
        slack: Maximum difference of scores whose order is uncertain.
    """

    def __init__(self, probes: int, count: int, slack: float) -> None:
        self._count, self._slack = count, slack
        self._floor = np.full(probes, -np.inf, np.float32)
        self._scores: list[list[FloatArray]] = [[] for _ in range(probes)]
        self._rows: list[list[Rows]] = [[] for _ in range(probes)]
        self._held, self._limit = [0] * probes, [0] * probes

    def add(self, scores: FloatArray, offset: int) -> None:
        """Adds scores, (Q, B), of the B rows that start at ``offset``."""
        for probe in np.flatnonzero(scores.max(axis=1) >= self._floor):
            row = scores[probe]
            chosen = np.flatnonzero(row >= self._floor[probe])
            self._scores[probe].append(row[chosen])
            self._rows[probe].append(chosen + offset)
            self._held[probe] += len(chosen)
            if self._held[probe] > self._limit[probe]:
                self._prune(probe)

    def rows(self, probe: int) -> Rows:
        """All rows of a probe that may be among the best."""
        self._prune(probe)
        return self._rows[probe][0] if self._rows[probe] else np.empty(0, np.int64)

    def _prune(self, probe: int) -> None:
        """Drops rows that are certainly not among the best ``count``."""
        if not self._rows[probe]:
            return
        scores, rows = np.concatenate(self._scores[probe]), np.concatenate(self._rows[probe])
        if len(scores) > self._count:
            worst = np.partition(scores, len(scores) - self._count)[-self._count]
            self._floor[probe] = worst - self._slack
            kept = scores >= self._floor[probe]
            scores, rows = scores[kept], rows[kept]
        self._scores[probe], self._rows[probe] = [scores], [rows]
        self._held[probe] = len(rows)
        self._limit[probe] = 2 * len(rows) + _SPARE
