"""Measures the recall and speed of a search engine compared with the exact search."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..types import FloatArray
from .engine import ExactEngine, SearchEngine
from .gallery import Gallery

__all__ = ["RecallReport", "measure_recall", "probes_like"]

_NOISE = 0.5
"""Norm of the random vector that is added to a unit embedding. The resulting cosine of about 0.9
is typical of two images of one person."""


@dataclass(frozen=True, slots=True)
class RecallReport:
    """An engine compared with the exact search.

    Attributes:
        engine: Name of the engine.
        top: Number of faces per probe.
        recall: Share of the exact search's faces that the engine finds, 0 to 1.
        seconds: Mean time per probe of the engine.
        exact_seconds: Mean time per probe of the exact search.
        probes: Number of probes.
    """

    engine: str
    top: int
    recall: float
    seconds: float
    exact_seconds: float
    probes: int


def measure_recall(
    gallery: Gallery, engine: SearchEngine, probes: FloatArray, *, top: int = 5
) -> RecallReport:
    """Runs the same searches with an engine and with the exact search, and compares them.

    Args:
        gallery: The gallery.
        engine: The engine; building its index is not timed.
        probes: float32 (Q, D), unit vectors; see `probes_like`.
        top: Number of faces per probe.

    Raises:
        InputError: If there are no probes or the gallery is empty.
    """
    if not len(probes) or not len(gallery):
        raise InputError("the gallery or the set of probes is empty", where=str(gallery.path))
    matrix = gallery.refreshed_matrix()
    results, seconds = [], []
    for each in (engine, ExactEngine()):
        each.candidates(matrix, probes[:1], top)
        start = time.perf_counter()
        results.append(each.candidates(matrix, probes, top))
        seconds.append((time.perf_counter() - start) / len(probes))
    pairs = zip(*results, strict=True)
    shares = [len(np.intersect1d(found, exact)) / len(exact) for found, exact in pairs]
    recall = float(np.mean(shares))
    return RecallReport(engine.name, top, recall, seconds[0], seconds[1], len(probes))


def probes_like(gallery: Gallery, count: int, seed: int = 0) -> FloatArray:
    """Simulated embeddings of other images of enrolled people, float32 (Q, D).

    Args:
        gallery: The gallery.
        count: Maximum number of probes Q; the gallery's number of faces limits it too.
        seed: Seed of the random choice and noise.
    """
    matrix = gallery.refreshed_matrix()
    random = np.random.default_rng(seed)
    places = random.choice(matrix.rows, min(count, matrix.rows), replace=False)
    vectors = np.asarray(matrix.take(np.sort(places))[0], np.float32)
    noise = random.standard_normal(vectors.shape).astype(np.float32)
    vectors = vectors + _NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
