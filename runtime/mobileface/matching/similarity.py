"""Similarity of embeddings."""

from __future__ import annotations

import numpy as np

from ..arrays import FloatArray
from ..errors import InputError

__all__ = ["cosine_similarity"]


def cosine_similarity(a: FloatArray, b: FloatArray) -> FloatArray:
    """Cosine similarity between each row of ``a`` and each row of ``b``.

    Args:
        a: (N, D) unit vectors.
        b: (M, D) unit vectors.

    Returns:
        float32 (N, M), −1 to 1.

    Raises:
        InputError: If an array is not two-dimensional or the vectors differ in length.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise InputError(f"embeddings of shapes {a.shape} and {b.shape} cannot be compared")
    return np.clip(a @ b.T, -1, 1)
