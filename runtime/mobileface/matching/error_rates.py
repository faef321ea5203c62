"""Error rates with what is known of their uncertainty, and how they are read from JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import fields
from ..errors import SpecError

__all__ = [
    "Basis",
    "Decision",
    "Rate",
    "RateCurve",
    "check_basis",
    "check_curve",
    "check_share",
]


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate with its 95 % confidence interval.

    Attributes:
        value: The estimate, 0 to 1; 0: not seen in the data, see `high`.
        low: Lower limit.
        high: Upper limit.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2g} ({self.low:.2g} to {self.high:.2g})"


@dataclass(frozen=True, slots=True)
class Basis:
    """What a calibration rests on.

    Attributes:
        data: Name of the data set.
        identities: People in it.
        faces: Pictures of them.
        genuine_pairs: Pairs of pictures of one person.
        impostor_pairs: Pairs of pictures of two people.
        date: When it was measured, as YYYY-MM-DD.
        note: What else is to be known, e.g. what kind of pictures.
    """

    data: str
    identities: int
    faces: int
    genuine_pairs: int
    impostor_pairs: int
    date: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class RateCurve:
    """A rate at each similarity of a calibration.

    Attributes:
        value: The estimates.
        low: Lower limits of the confidence intervals.
        high: Upper limits.
    """

    value: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether two faces are one person's, and how often such answers are wrong.

    Attributes:
        same: They are taken for one person: `similarity` reaches `threshold`.
        similarity: Cosine of their embeddings.
        threshold: The lowest similarity whose false match rate is no more than was asked for.
        false_match_rate: How often two people reach the threshold.
        false_non_match_rate: How often two pictures of one person do not.
        as_similar: How often two people are as similar as these two faces.
        basis: What these rates rest on.
    """

    same: bool
    similarity: float
    threshold: float
    false_match_rate: Rate
    false_non_match_rate: Rate
    as_similar: Rate
    basis: Basis

    def __str__(self) -> str:
        return (
            f"{'same person' if self.same else 'different people'}: similarity "
            f"{self.similarity:.4f}, threshold {self.threshold:.4f}; two people reach the "
            f"threshold in {self.false_match_rate} of cases, one person's pictures miss it in "
            f"{self.false_non_match_rate} ({self.basis.data}, {self.basis.identities:,} people)"
        )


_BASIS: dict[str, fields.Check] = {
    "data": fields.text,
    "identities": fields.integer(2),
    "faces": fields.integer(2),
    "genuine_pairs": fields.integer(1),
    "impostor_pairs": fields.integer(1),
    "date": fields.text,
    "note": fields.text,
}


def check_share(value: Any, where: str) -> float:
    """A number from 0 to 1."""
    share = fields.number(value, where)
    if not 0 <= share <= 1:
        raise SpecError(f"{value!r} is not between 0 and 1", where=where)
    return share


def check_curve(value: Any, where: str) -> RateCurve:
    """A curve whose limits enclose its values."""
    rows = dict.fromkeys(("value", "low", "high"), fields.list_of(check_share))
    curve = fields.build(RateCurve, value, where, rows)
    arrays: list[npt.NDArray[np.float64]] = [
        np.array(row) for row in (curve.low, curve.value, curve.high)
    ]
    if len({len(row) for row in arrays}) != 1:
        raise SpecError("value, low and high differ in length", where=where)
    if (np.diff(arrays, axis=0) < 0).any():
        raise SpecError("low ≤ value ≤ high does not hold", where=where)
    return curve


def check_basis(value: Any, where: str) -> Basis:
    """What a calibration rests on."""
    return fields.build(Basis, value, where, _BASIS)
