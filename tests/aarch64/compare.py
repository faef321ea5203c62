"""Compares the results of two machines and checks them against tolerances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["BOUNDS", "Deviation", "compare"]

BOUNDS = {
    "box": 1.0,
    "point": 1.0,
    "photo-point": 1.0,
    "score": 1e-4,
    "mask": 5e-4,
    "probability": 1e-5,
    "pose": 1e-9,
    "level": 1.0,
    "embedding": 1e-5,
    "photo-embedding": 2e-2,
    "integer-embedding": 1e-7,
}
"""Largest allowed difference by measure: pixels for boxes and points, grey levels for images,
1 − cosine for embeddings; the other differences are absolute. Embeddings of int8 variants are
equal except for the last bit of the norm, which is computed in float32 at the end. Embeddings
from photos include OpenCV's scaling, which rounds differently on ARM. So do points from photos,
of which the median difference counts: the regression trees compare pixels, and one grey level moves
single points by several pixels, on one machine as well. Masks, from 0 to 1, are so steep that
LiteRT's own kernels differ by 1.7e-4 on one machine."""


@dataclass(frozen=True)
class Deviation:
    """Deviation of one model's results between two machines, over all images.

    Attributes:
        measure: One of `BOUNDS`.
        largest: The largest difference (of points from photos: the largest median of an image);
            infinite if the results have different shapes.
        numbers: Number of values that were compared.
    """

    measure: str
    largest: float
    numbers: int

    @property
    def broken(self) -> bool:
        """Whether the deviation is outside the tolerance."""
        return not self.largest <= BOUNDS[self.measure]

    def to_json(self) -> dict[str, object]:
        """A JSON object; the largest difference is null if it is infinite."""
        largest = self.largest if np.isfinite(self.largest) else None
        return {"largest": largest, "bound": BOUNDS[self.measure], "numbers": self.numbers}


def compare(here: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Deviation]:
    """Deviations by measure and model, e.g. ``embedding/identification_v2.fp32``.

    Args:
        here: Arrays by ``measure/model/image`` from one machine.
        there: Same as ``here``, from the other machine.
    """
    found: dict[str, Deviation] = {}
    for name in sorted({*here, *there}):
        measure, model, _ = name.split("/", 2)
        key = f"{measure}/{model}"
        before = found.get(key, Deviation(measure, 0.0, 0))
        difference, count = float("inf"), 0
        if name in here and name in there and here[name].shape == there[name].shape:
            difference, count = _difference(measure, here[name], there[name]), here[name].size
        found[key] = Deviation(measure, max(before.largest, difference), before.numbers + count)
    return found


def _difference(measure: str, a: Any, b: Any) -> float:
    """The largest difference of two arrays; NaN counts as infinite."""
    first, second = a.astype(np.float64), b.astype(np.float64)
    if measure == "photo-point":
        distances = np.linalg.norm(first - second, axis=-1)
        return float(np.nan_to_num(np.median(distances), nan=np.inf)) if distances.size else 0.0
    if measure in ("embedding", "photo-embedding"):
        norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        difference = 1 - (first * second).sum(axis=1) / norms
    else:
        difference = np.abs(first - second)
    return float(np.nan_to_num(difference, nan=np.inf).max(initial=0))
