"""Filters on one plane of a picture: edge-preserving smoothing, and integration of gradients."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from ..types import FloatArray

__all__ = ["guided", "integrated"]


def guided(plane: FloatArray, radius: int, edge: float) -> FloatArray:
    """Smooths a plane and keeps its edges: the guided filter, guided by the plane itself.

    He, Sun and Tang, "Guided image filtering", TPAMI 2013, https://doi.org/10.1109/TPAMI.2012.213.

    Args:
        plane: float32 (H, W).
        radius: Half the side of the windows, in pixels, at least 1.
        edge: Contrast that counts as an edge (root of the paper's ε), in units of the plane.

    Returns:
        float32 (H, W).
    """
    side = (2 * radius + 1, 2 * radius + 1)
    mean = cv2.blur(plane, side, borderType=cv2.BORDER_REFLECT)
    centred = plane - np.float32(plane.mean())
    low = cv2.blur(centred, side, borderType=cv2.BORDER_REFLECT)
    variance = cv2.blur(centred * centred, side, borderType=cv2.BORDER_REFLECT) - low * low
    slope = variance / (variance + np.float32(edge * edge))
    kept = cv2.blur(slope, side, borderType=cv2.BORDER_REFLECT)
    rest = cv2.blur((1 - slope) * mean, side, borderType=cv2.BORDER_REFLECT)
    return np.asarray(kept * plane + rest, np.float32)


def integrated(across: FloatArray, down: FloatArray, reach: float) -> FloatArray:
    """The plane whose gradients are nearest to the given ones, and whose values stay near 0.

    It solves the screened Poisson equation Δu − u / reach² = div(across, down) with free borders,
    by cosine transforms: Bhat, Curless, Cohen and Zitnick, "Fourier analysis of the 2D screened
    Poisson equation for gradient domain problems", ECCV 2008,
    https://doi.org/10.1007/978-3-540-88688-4_9.

    Args:
        across: float32 (H, W): wanted difference of each pixel to the next one to the right.
        down: float32 (H, W): the same to the next one below.
        reach: Distance in pixels beyond which differences are forgotten, above 0.

    Returns:
        float32 (H, W).
    """
    height, width = across.shape
    right, below = across.copy(), down.copy()
    right[:, -1] = 0
    below[-1] = 0
    divergence = right.copy()
    divergence[:, 1:] -= right[:, :-1]
    divergence += below
    divergence[1:] -= below[:-1]
    waves, others = _cosines(height), _cosines(width)
    rows, columns = (2 - 2 * np.cos(np.pi * np.arange(side) / side) for side in across.shape)
    steps = (rows[:, None] + columns[None] + 1 / reach**2).astype(np.float32)
    spectrum = waves @ divergence @ others.T
    return np.asarray(waves.T @ (spectrum / -steps) @ others, np.float32)


@lru_cache(maxsize=8)
def _cosines(side: int) -> FloatArray:
    """The orthonormal cosine transform (DCT-II) of a side of any length, float32 (side, side)."""
    place, wave = np.arange(side) + 0.5, np.arange(side)[:, None]
    basis = np.cos(np.pi * wave * place / side) * np.sqrt(2 / side)
    basis[0] = np.sqrt(1 / side)
    return np.asarray(basis, np.float32)
