"""Pairs detections whose scores are equal but for rounding, so that their order says nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

TIE = 1e-6
"""Scores that differ by no more are in no order."""

Array = npt.NDArray[np.floating]


def untied(scores: Array, boxes: Array, expected: Array, wanted: Array, tie: float = TIE) -> Array:
    """The found boxes (N, 4), each at the place of the nearest expected one of the same score.

    Args:
        scores: Scores of the found boxes, (N,).
        boxes: The found boxes, (N, 4).
        expected: Scores of the expected boxes, (N,).
        wanted: The expected boxes, (N, 4).
        tie: See `TIE`.
    """
    left = list(range(len(scores)))
    order = []
    for score, box in zip(expected, wanted, strict=True):
        tied = [row for row in left if abs(float(scores[row]) - float(score)) <= tie] or left[:1]
        nearest = min(tied, key=lambda row: float(np.abs(boxes[row] - box).max()))
        left.remove(nearest)
        order.append(nearest)
    return boxes[order]
