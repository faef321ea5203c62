"""Error rates with confidence intervals, and checks for reading them from JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import fields
from ..errors import SpecError

__all__ = [
    "Basis",
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
        value: The estimate, 0 to 1; 0 means that no error occurred in the data, see `high`.
        low: Lower limit of the interval.
        high: Upper limit of the interval.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2g} ({self.low:.2g} to {self.high:.2g})"


@dataclass(frozen=True, slots=True)
class Basis:
    """The data that a calibration was measured on.

    Attributes:
        data: Name of the data set.
        identities: Number of people.
        faces: Number of face images.
        genuine_pairs: Number of genuine pairs (two images of one person).
        impostor_pairs: Number of impostor pairs (images of two people).
        date: Date of the measurement, as YYYY-MM-DD.
        note: Further information, e.g. the kind of images.
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
    """Checks a number from 0 to 1.

    Raises:
        SpecError: If ``value`` is not such a number.
    """
    share = fields.number(value, where)
    if not 0 <= share <= 1:
        raise SpecError(f"{value!r} is not between 0 and 1", where=where)
    return share


def check_curve(value: Any, where: str) -> RateCurve:
    """Checks a curve whose confidence limits enclose its values.

    Raises:
        SpecError: If the lists differ in length, or a limit does not enclose its value.
    """
    rows = dict.fromkeys(("value", "low", "high"), fields.list_of(check_share))
    curve = fields.build(RateCurve, value, where, rows)
    arrays: list[npt.NDArray[np.float64]] = [
        np.array(row) for row in (curve.low, curve.value, curve.high)
    ]
    if len({len(row) for row in arrays}) != 1:
        raise SpecError("value, low and high differ in length", where=where)
    if (np.diff(arrays, axis=0) < 0).any():
        raise SpecError("must satisfy low ≤ value ≤ high", where=where)
    return curve


def check_basis(value: Any, where: str) -> Basis:
    """Checks the description of a calibration's data.

    Raises:
        SpecError: If a field is missing, unknown or invalid.
    """
    return fields.build(Basis, value, where, _BASIS)
