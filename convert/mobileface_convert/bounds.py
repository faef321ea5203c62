"""What a conversion must keep."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Bounds"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a conversion must keep.

    Attributes:
        max_abs_error: Largest difference of any output element.
        min_cosine: Smallest cosine between output rows.
    """

    max_abs_error: float
    min_cosine: float
