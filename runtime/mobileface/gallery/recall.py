"""How many of the truly nearest faces an engine finds, and how fast, beside the exact one."""

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
"""Length of the random vector that is added to a unit embedding: another picture of the person has
a cosine of about 0.9 then."""


@dataclass(frozen=True, slots=True)
class RecallReport:
    """An engine beside the exact search.

    Attributes:
        engine: Its name.
        top: Faces a probe.
        recall: Share of the exact search's faces that it finds.
        seconds: A probe, by the engine.
        exact_seconds: A probe, exactly.
        probes: How many were searched.
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
    """Searches with an engine and exactly.

    Args:
        gallery: The gallery.
        engine: The engine; its index is made before time is taken.
        probes: float32 (Q, D), unit vectors; see `probes_like`.
        top: Faces a probe.

    Raises:
        InputError: No probes, or an empty gallery.
    """
    if not len(probes) or not len(gallery):
        raise InputError("nothing to search, or nothing to search for", where=str(gallery.path))
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
    """Vectors like other pictures of people who are enrolled, float32 (Q, D)."""
    matrix = gallery.refreshed_matrix()
    random = np.random.default_rng(seed)
    places = random.choice(matrix.rows, min(count, matrix.rows), replace=False)
    vectors = np.asarray(matrix.take(np.sort(places))[0], np.float32)
    noise = random.standard_normal(vectors.shape).astype(np.float32)
    vectors = vectors + _NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
