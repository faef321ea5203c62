"""Confidence intervals of error rates whose pairs share people.

A rate is a proportion of pairs, and pairs that share a person are not independent: one face that
resembles many others causes many false matches. Therefore people are resampled, not pairs. The
variance that a bootstrap over people converges to has a closed form for a ratio of sums, which is
used here: it needs no random numbers and covers all thresholds at once.

- Genuine pairs belong to one person each: Σᵢ (kᵢ − p·mᵢ)² / M², with kᵢ errors among the mᵢ pairs
  of person i and M = Σ mᵢ (W. G. Cochran, "Sampling Techniques", 3rd ed. 1977, 6.4, 9A).
- Impostor pairs belong to two people each. Resampling people counts the noise of a pair for both
  people, which overstates the variance up to three times (A. B. Owen, "The pigeonhole bootstrap",
  2007). The variance
  Σᵢ rᵢ² − Σᵢ<ⱼ eᵢⱼ², with the residuals eᵢⱼ = kᵢⱼ − p·mᵢⱼ of two people's pairs and rᵢ = Σⱼ eᵢⱼ,
  is correct with and without person effects (M. Fafchamps and F. Gubert, "The formation of risk
  sharing networks", 2007; T. A. B. Snijders and S. P. Borgatti, "Non-parametric standard errors
  and tests for network statistics", 1999). Its lower bound is Σᵢ<ⱼ eᵢⱼ², the variance of
  independent pairs.

Rate and variance yield an effective number of independent pairs, and this yields an exact binomial
interval (E. L. Korn and B. I. Graubard, "Confidence intervals for proportions with small expected
number of positive counts estimated from survey data", 1998). The variance itself is uncertain if
few people cause most of the errors: its degrees of freedom are computed from the kurtosis of the
contributions of each person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

__all__ = [
    "FEWEST_ERRORS",
    "RateEstimate",
    "estimate_genuine",
    "estimate_impostor",
    "estimate_mean",
]

Floats = npt.NDArray[np.float64]

FEWEST_ERRORS = 10.0
"""Effective numbers of errors and of correct decisions that a supported estimate needs."""


@dataclass(frozen=True, slots=True, eq=False)
class RateEstimate:
    """A rate at each of T thresholds.

    Attributes:
        value: float64 (T,), 0 to 1.
        low: float64 (T,): lower limits of the confidence intervals.
        high: float64 (T,): upper limits.
        supported: bool (T,): whether the rate is based on at least `FEWEST_ERRORS` independent
            errors and as many correct decisions.
        effective: float64 (T,): effective number of independent pairs.
    """

    value: Floats
    low: Floats
    high: Floats
    supported: npt.NDArray[np.bool_]
    effective: Floats


def estimate_genuine(errors: Floats, pairs: Floats, confidence: float = 0.95) -> RateEstimate:
    """Estimates an error rate of genuine pairs.

    Args:
        errors: float64 (I, T): number of errors of each of I people at each threshold.
        pairs: float64 (I,): number of pairs of each person.
        confidence: Confidence level of the intervals.
    """
    errors, pairs = errors[pairs > 0], pairs[pairs > 0]
    people = len(pairs)
    rate = errors.sum(axis=0) / pairs.sum()
    parts = errors - rate * pairs[:, None]
    squares = (parts**2).sum(axis=0)
    variance = squares / pairs.sum() ** 2 * people / max(people - 1, 1)
    freedom = _freedom(squares, (parts**4).sum(axis=0), people)
    return _intervals(rate, variance, freedom, float(pairs.sum()), float(people), confidence)


def estimate_impostor(
    row_errors: Floats,
    row_pairs: Floats,
    squares: tuple[Floats, Floats, float],
    confidence: float = 0.95,
) -> RateEstimate:
    """Estimates an error rate of impostor pairs.

    Args:
        row_errors: float64 (I, T): number of errors in the pairs of each of I people, at each
            threshold.
        row_pairs: float64 (I,): number of pairs of each person.
        squares: Sums over all combinations of two people: Σ k² and Σ k·m, float64 (T,), and Σ m²,
            with k errors among the m pairs of the two.
        confidence: Confidence level of the intervals.
    """
    row_errors, row_pairs = row_errors[row_pairs > 0], row_pairs[row_pairs > 0]
    people, total = len(row_pairs), float(row_pairs.sum()) / 2
    rate = row_errors.sum(axis=0) / (2 * total)
    parts = row_errors - rate * row_pairs[:, None]
    shared = (parts**2).sum(axis=0)
    alone = squares[0] - 2 * rate * squares[1] + rate**2 * squares[2]
    variance = np.maximum((shared - alone) * people / max(people - 1, 1), alone) / total**2
    freedom = _freedom(shared, (parts**4).sum(axis=0), people)
    return _intervals(rate, variance, freedom, total, people / 2, confidence)


def estimate_mean(
    value: float,
    parts: Floats,
    squares: tuple[float, float],
    pairs: float,
    fewest: float,
    needed: float = FEWEST_ERRORS,
    confidence: float = 0.95,
) -> RateEstimate:
    """Estimates one number from 0 to 1 that is linear in means over pairs.

    Args:
        value: The number.
        parts: float64 (I,): how much the pairs of each of I people add to its error; a pair of two
            people counts for both.
        squares: Sum over people of the squared contribution of their genuine pairs, and sum over
            all combinations of two people of that of their impostor pairs.
        pairs: Number of pairs.
        fewest: Number of pairs that certainly share no person.
        needed: Effective number of errors from which the variance is used.
        confidence: Confidence level of the interval.
    """
    people = len(parts)
    shared = float(parts @ parts)
    variance = max((shared - squares[1]) * people / max(people - 1, 1), sum(squares))
    freedom = _freedom(np.array([shared]), np.array([float((parts**4).sum())]), people)
    rate = np.array([value])
    return _intervals(rate, np.array([variance]), freedom, pairs, fewest, confidence, needed)


def _freedom(squares: Floats, fourths: Floats, people: int) -> Floats:
    """Degrees of freedom of Σ e² over people: twice its square over its variance."""
    spread = np.maximum(fourths - squares**2 / people, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 2 * squares**2 / spread
    return np.asarray(np.clip(np.nan_to_num(found, nan=people - 1), 1, max(people - 1, 1)))


def _intervals(
    rate: Floats,
    variance: Floats,
    freedom: Floats,
    total: float,
    fewest: float,
    confidence: float,
    needed: float = FEWEST_ERRORS,
) -> RateEstimate:
    """Korn and Graubard's intervals.

    Where errors (or correct decisions) are too few for a variance, the effective number of pairs is
    that of the nearest supported threshold. Rarer errors depend less on each other, so these
    intervals tend to be too wide. If no threshold is supported, the effective number is ``fewest``,
    the number of pairs that certainly share no person.
    """
    tail = (1 - confidence) / 2
    shrink = (stats.norm.isf(tail) / stats.t.isf(tail, freedom)) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = rate * (1 - rate) / variance * shrink
    effective = np.minimum(np.nan_to_num(effective, nan=0.0, posinf=0.0), total)
    supported = effective * np.minimum(rate, 1 - rate) >= needed
    places = np.arange(len(rate))
    if supported.any():
        known = places[supported]
        nearest = known[np.abs(places[:, None] - known).argmin(axis=1)]
        effective = effective[nearest]
    else:
        effective = np.full(len(rate), fewest)
    errors = rate * effective
    low = stats.beta.ppf(tail, errors, effective - errors + 1)
    high = stats.beta.isf(tail, errors + 1, effective - errors)
    low = np.where(rate <= 0, 0.0, low)
    high = np.where(rate >= 1, 1.0, high)
    # The exact interval contains the rate; rounding must not change that.
    return RateEstimate(rate, np.minimum(low, rate), np.maximum(high, rate), supported, effective)
