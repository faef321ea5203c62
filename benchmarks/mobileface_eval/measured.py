"""Rates with their confidence intervals, and rates that the data cannot support.

One rule holds for calibrations and for all commands: a result at a false match rate is stated only
if at least `intervals.FEWEST_ERRORS` independent false matches were seen there (see `intervals`).
Else there is no number, only a reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mobileface.matching.error_rates import Rate

from .intervals import FEWEST_ERRORS, RateEstimate, estimate_genuine
from .people_scores import People, error_rates, mean_over_pairs
from .rates import PairScores, Verification

__all__ = [
    "RULE",
    "OperatingPoint",
    "VerificationRates",
    "around",
    "interval",
    "not_supported",
    "point_numbers",
    "rate_at",
    "rate_text",
    "share_of_images",
    "unsupported_line",
    "verification_rates",
]

Floats = npt.NDArray[np.float64]

RULE = (
    f"95 % confidence intervals, people resampled; a false match rate is supported by at least "
    f"{FEWEST_ERRORS:g} independent false matches"
)
"""The sentence that accompanies all tables."""


_ERRORS_OF_AREA = 1.0
"""Placements of an area are not right or wrong, so fewer of them give a variance."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a threshold gives that was chosen for a false match rate.

    Attributes:
        true_match: Share of the genuine pairs above the threshold; None: not supported.
        false_match: Share of the impostor pairs above it; None: not supported.
        reason: Why the rate is not supported; None if it is.
    """

    true_match: Rate | None
    false_match: Rate | None
    reason: str | None = None

    def __str__(self) -> str:
        return str(self.reason) if self.true_match is None else rate_text(self.true_match)


@dataclass(frozen=True, slots=True)
class VerificationRates:
    """The metrics of `rates.Verification` with their intervals.

    Attributes:
        auc: Area under the ROC curve.
        eer: Equal error rate; its interval spans those of both error rates at its threshold, which
            contain it whatever the densities there are.
        balanced_accuracy: At the best threshold, which was chosen on the same pairs.
        true_match_at: What each false match rate gives.
    """

    auc: Rate
    eer: Rate
    balanced_accuracy: Rate
    true_match_at: dict[float, OperatingPoint]


def not_supported(pairs: int, kind: str = "impostor pairs") -> str:
    """The reason why a rate is not stated."""
    return f"not supported by {pairs:,} {kind}"


def rate_text(rate: Rate, digits: int = 1) -> str:
    """A rate with its interval in per cent, e.g. ``87.2% (80.1% to 93.0%)``."""
    return f"{rate.value:.{digits}%} ({rate.low:.{digits}%} to {rate.high:.{digits}%})"


def interval(rate: Rate | None) -> list[float] | None:
    """Both limits for JSON."""
    return None if rate is None else [rate.low, rate.high]


def rate_at(estimate: RateEstimate, place: int = 0, *, rest: bool = False) -> Rate:
    """One threshold of an estimate; with ``rest``, the share that the rate leaves."""
    value, low, high = (
        float(column[place]) for column in (estimate.value, estimate.low, estimate.high)
    )
    return Rate(1 - value, 1 - high, 1 - low) if rest else Rate(value, low, high)


def share_of_images(
    right: npt.NDArray[np.bool_], labels: npt.NDArray[np.int64], value: float | None = None
) -> Rate:
    """The share of images, or of pairs of images of one person, with a property.

    Args:
        right: bool (N,): whether an image has it.
        labels: int64 (N,): its person; people are resampled, not images.
        value: Replaces the mean, if the share is counted in another way.
    """
    people = np.unique(labels, return_inverse=True)[1]
    errors = np.bincount(people, ~right).astype(np.float64)
    found = rate_at(estimate_genuine(errors[:, None], np.bincount(people) * 1.0), rest=True)
    return found if value is None else around(value, found)


def around(value: float, found: Rate) -> Rate:
    """A rate counted in a slightly different way, with the interval widened to contain it."""
    return Rate(value, min(found.low, value), max(found.high, value))


def verification_rates(
    people: People, count: int, scores: PairScores, found: Verification
) -> VerificationRates:
    """The intervals of all metrics.

    Args:
        people: The similarities by person.
        count: Number of people.
        scores: The same similarities.
        found: The metrics, from `rates.verify`.
    """
    crossing = int(np.argmax(found.false_match + found.true_match >= 1))
    crossing_threshold = float(found.thresholds[crossing])
    grid = np.unique([*found.threshold_at.values(), crossing_threshold])
    missed, matched = error_rates(people, count, grid)
    reason = not_supported(len(scores.impostor))
    points: dict[float, OperatingPoint] = {}
    for rate, threshold in found.threshold_at.items():
        place = int(np.searchsorted(grid, threshold))
        if matched.supported[place]:
            both = rate_at(missed, place, rest=True), rate_at(matched, place)
            points[rate] = OperatingPoint(*both)
        else:
            points[rate] = OperatingPoint(None, None, reason)
    place = int(np.searchsorted(grid, crossing_threshold))
    ends = [rate_at(missed, place), rate_at(matched, place)]
    eer = Rate(found.eer, min(e.low for e in ends), max(e.high for e in ends))
    best = mean_over_pairs(
        people,
        count,
        lambda values: np.asarray(values >= found.threshold, np.float64),
        lambda values: np.asarray(values < found.threshold, np.float64),
        (0.5, 0.5),
    )
    return VerificationRates(
        _auc(people, count, scores, found.auc),
        around(found.eer, eer),
        around(found.balanced_accuracy, rate_at(best)),
        points,
    )


def _auc(people: People, count: int, scores: PairScores, value: float) -> Rate:
    """The area with its interval, from the placements of each pair among those of the other kind.

    E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, "Comparing the areas under two or more
    correlated receiver operating characteristic curves", 1988, with people instead of pairs.
    """
    genuine, impostor = np.sort(scores.genuine), np.sort(scores.impostor)

    def below(values: npt.NDArray[Any], others: Floats) -> Floats:
        exact = np.asarray(values, np.float64)
        sides = [np.searchsorted(others, exact, side=side) for side in ("left", "right")]
        return np.asarray((sides[0] + sides[1]) / (2 * len(others)), np.float64)

    found = mean_over_pairs(
        people,
        count,
        lambda values: below(values, impostor),
        lambda values: 1 - below(values, genuine),
        (1.0, 1.0),
        value,
        _ERRORS_OF_AREA,
    )
    return rate_at(found)


def point_numbers(points: dict[float, OperatingPoint]) -> dict[str, Any]:
    """JSON entries: the rates or null, their intervals, and the reasons of those that are null."""
    named = {f"{rate:g}": point for rate, point in points.items()}
    supported = {name: p for name, p in named.items() if p.true_match is not None}
    return {
        "true_match_at": {
            name: None if p.true_match is None else p.true_match.value for name, p in named.items()
        },
        "true_match_intervals": {name: interval(p.true_match) for name, p in supported.items()},
        "false_match_intervals": {name: interval(p.false_match) for name, p in supported.items()},
        "not_supported": {name: p.reason for name, p in named.items() if p.reason is not None},
    }


def unsupported_line(rates: list[float], reasons: list[str]) -> list[str]:
    """Summary lines on rates that no model's pairs support."""
    if not rates:
        return []
    named = ", ".join(f"{rate:g}" for rate in sorted(rates, reverse=True))
    return ["", f"False match rates of {named}: {'; '.join(dict.fromkeys(reasons))}."]
