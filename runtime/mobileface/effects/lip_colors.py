"""Colours of lips, put on other lips by luminance remapping (Guo and Sim 2009, section 2.5)."""

from __future__ import annotations

import cv2
import numpy as np

from ..types import FloatArray

__all__ = ["LipColors"]

_LEVELS = 256
"""Entries of the table of colours."""

_SMOOTHED = 8
"""Colours are means over an eighth of the pixels on each side in the order of lightness."""

_FEWEST = 8
"""Fewer pixels that are surely of the lips are taken together with those that partly are."""


class LipColors:
    """The Lab colours of a pair of lips, in the order of their lightness.

    Args:
        lab: float32 (H, W, 3): Lab of an image, L 0 to 100.
        mask: float32 (H, W): where its lips are, 0 to 1. Without any the colours are unknown.
    """

    def __init__(self, lab: FloatArray, mask: FloatArray) -> None:
        found = _pixels(lab, mask)
        self._table = np.zeros((0, 3), np.float32)
        if not len(found):
            return
        ordered = found[np.argsort(found[:, 0], kind="stable")]
        side = len(ordered) // _SMOOTHED
        padded = np.pad(ordered[:, 1:], ((side, side), (0, 0)), mode="symmetric")
        smooth = np.asarray(cv2.blur(padded, (1, 2 * side + 1)))[side : side + len(ordered)]
        at, share = np.linspace(0, 1, _LEVELS), np.linspace(0, 1, len(ordered))
        planes = (ordered[:, 0], smooth[:, 0], smooth[:, 1])
        self._table = np.stack([np.interp(at, share, p) for p in planes], 1).astype(np.float32)

    def __call__(self, lab: FloatArray, mask: FloatArray) -> FloatArray:
        """Other lips in these colours: each pixel takes the one of the same rank in lightness.

        Args:
            lab: float32 (H, W, 3): Lab of the other image.
            mask: float32 (H, W): where its lips are, 0 to 1.

        Returns:
            float32 (H, W, 3): a copy, changed wherever the mask is above 0; unchanged if either
            pair of lips has no pixels.
        """
        result, inside = lab.copy(), mask > 0
        lightness = np.sort(_pixels(lab, mask)[:, 0])
        if len(self._table) and len(lightness):
            rank = np.interp(lab[inside][:, 0], lightness, np.linspace(0, 1, len(lightness)))
            at = np.linspace(0, 1, _LEVELS)
            found = [np.interp(rank, at, self._table[:, plane]) for plane in range(3)]
            result[inside] = np.stack(found, axis=1)
        return result


def _pixels(lab: FloatArray, mask: FloatArray) -> FloatArray:
    """The pixels that are surely of the lips, or else those that partly are, (N, 3)."""
    for least in (0.99, 0.5, 0.01):
        found = lab[mask >= least]
        if len(found) >= _FEWEST:
            break
    return np.asarray(found, np.float32)
