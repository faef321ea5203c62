"""How the numbers of two machines are compared, and within which bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["BOUNDS", "Deviation", "compare"]

BOUNDS = {
    "box": 1.0,
    "point": 1.0,
    "score": 1e-4,
    "probability": 1e-5,
    "pose": 1e-9,
    "level": 1.0,
    "embedding": 1e-5,
    "photo-embedding": 2e-2,
    "integer-embedding": 1e-7,
}
"""The largest difference allowed, by measure: pixels of boxes and points, grey levels of pictures,
1 − cosine of embeddings; the other differences are absolute. Embeddings that are computed in whole
numbers are equal, but for the last bit of a length that is computed in float32 at the end. Those
from photos include OpenCV's scaling, which rounds otherwise on ARM."""


@dataclass(frozen=True)
class Deviation:
    """How far one model's numbers are apart, over all pictures.

    Attributes:
        measure: One of `BOUNDS`.
        largest: The largest difference; infinite if there are more or fewer numbers.
        numbers: How many were compared.
    """

    measure: str
    largest: float
    numbers: int

    @property
    def broken(self) -> bool:
        """True if it is more than allowed."""
        return not self.largest <= BOUNDS[self.measure]

    def to_json(self) -> dict[str, object]:
        """As JSON types; the largest difference is null if it is infinite."""
        largest = self.largest if np.isfinite(self.largest) else None
        return {"largest": largest, "bound": BOUNDS[self.measure], "numbers": self.numbers}


def compare(here: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Deviation]:
    """Deviations by what was compared, e.g. ``embedding/identification_v2.fp32``.

    Args:
        here: Arrays by ``measure/model/picture``, from the one machine.
        there: The same from the other.
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
    """The largest difference by a measure; NaN counts as infinite."""
    first, second = a.astype(np.float64), b.astype(np.float64)
    if measure in ("embedding", "photo-embedding"):
        lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        difference = 1 - (first * second).sum(axis=1) / lengths
    else:
        difference = np.abs(first - second)
    return float(np.nan_to_num(difference, nan=np.inf).max(initial=0))
