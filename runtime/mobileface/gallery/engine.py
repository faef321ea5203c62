"""Search engines: they find candidates for a match, exactly or with an external index."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..types import FloatArray
from .exact import best_rows
from .matrix import FaceMatrix

__all__ = ["ExactEngine", "SearchEngine"]


class SearchEngine(Protocol):
    """Finds candidates, whose similarities are then computed exactly.

    Attributes:
        name: Name of the engine in reports.
    """

    name: str

    def candidates(
        self, matrix: FaceMatrix, probes: FloatArray, count: int
    ) -> list[npt.NDArray[np.int64]]:
        """Row indices of the nearest faces, for each probe: ``count`` or more, or all faces.

        Args:
            matrix: All embeddings, refreshed.
            probes: float32 (Q, D), unit vectors.
            count: Number of faces per probe.
        """


class ExactEngine:
    """Exact search: compares each probe with every face."""

    name = "exact"

    def candidates(
        self, matrix: FaceMatrix, probes: FloatArray, count: int
    ) -> list[npt.NDArray[np.int64]]:
        """See `SearchEngine.candidates`."""
        parts = [part[0] for part in matrix.parts()]
        return [rows for rows, _ in best_rows(parts, probes, count)]
