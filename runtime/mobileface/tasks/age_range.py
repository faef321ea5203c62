"""The range of ages that the probabilities of a network's classes stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..models.kinds import AttributeSpec, HeadsSpec
from ..models.session import Session
from ..types import FloatArray

__all__ = ["age_range", "class_years"]

_TAIL = 0.1
"""Probability below the range, and above it."""


def class_years(sessions: Iterable[Session]) -> tuple[float, ...]:
    """The years that the classes of age stand for, of the first network that has any."""
    for session in sessions:
        heads = session.spec.get(HeadsSpec)
        told = session.spec.get(AttributeSpec)
        years = [head.years for head in heads.heads if head.years] if heads else []
        if told is not None:
            years = [tuple(map(float, told.ages))]
        if years:
            return years[0]
    return ()


def age_range(shares: FloatArray, years: Sequence[float]) -> tuple[float, float, float]:
    """The middle 80 % of an age's probabilities.

    Args:
        shares: float32 (A,): the probability of each class, as `Attributes.age_probs`.
        years: The years of each class, ascending.

    Returns:
        The years of the classes that hold the 10th and the 90th percentile, and the probability of
        both and of those between, 0.8 to 1.
    """
    total = np.cumsum(shares, dtype=np.float64)
    total /= total[-1]
    low, high = (int(np.searchsorted(total, share)) for share in (_TAIL, 1 - _TAIL))
    below = float(total[low - 1]) if low else 0.0
    return years[low], years[high], float(total[high]) - below
