"""How candidates for a match are found: exactly, or by an index that is not part of the package."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..types import FloatArray
from .exact import best_rows
from .matrix import FaceMatrix

__all__ = ["ExactEngine", "SearchEngine"]


class SearchEngine(Protocol):
    """Finds faces that are probably the most similar; their similarity is then computed exactly.

    Attributes:
        name: What it is called in reports.
    """

    name: str

    def candidates(
        self, matrix: FaceMatrix, probes: FloatArray, count: int
    ) -> list[npt.NDArray[np.int64]]:
        """Places of faces in the matrix, for each probe; at least as many as asked for, or all.

        Args:
            matrix: All embeddings, as they are now.
            probes: float32 (Q, D), unit vectors.
            count: How many faces.
        """


class ExactEngine:
    """Compares with every face; no other can find more."""

    name = "exact"

    def candidates(
        self, matrix: FaceMatrix, probes: FloatArray, count: int
    ) -> list[npt.NDArray[np.int64]]:
        """As `SearchEngine.candidates`."""
        parts = [part[0] for part in matrix.parts()]
        return [rows for rows, _ in best_rows(parts, probes, count)]
