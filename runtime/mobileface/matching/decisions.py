"""From similarities to answers: one rule for verification (1:1) and identification (1:N).

A `DecisionRule` is a similarity threshold with its origin and its expected error rates. It comes
from a given threshold, from a requested error rate, or, by default, from the calibration of the
model. Without any of these there is no rule, and nothing is decided.

>>> rule = decision_rule(None, threshold=0.93)
>>> verdict(0.95, rule, None).answer
'same'
>>> verdict(0.95, None, None).answer
'cannot tell'
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..errors import InputError
from ..fields import plain
from .calibration import Calibration
from .error_rates import Basis, Rate

__all__ = [
    "DEFAULT_FMR",
    "DEFAULT_FNMR",
    "SAME",
    "Answer",
    "DecisionRule",
    "Origin",
    "Verdict",
    "decision_rule",
    "no_rule",
    "supported_fmr",
    "verdict",
]

DEFAULT_FMR = 1e-3
"""False match rate of the default threshold, if the calibration supports it."""

DEFAULT_FNMR = 0.05
"""By default, two faces are "different" below the similarity with this false non-match rate."""

Origin = Literal["threshold", "fmr", "fpir", "default"]
Answer = Literal["same", "different", "cannot tell"]

SAME: dict[Answer, bool] = {"same": True, "different": False}
"""Whether an answer says that two faces show the same person; it lacks "cannot tell"."""

_ORIGINS = {
    "threshold": "as given",
    "fmr": "for a false match rate of {:g}",
    "fpir": "for a false positive identification rate of {:g}",
    "default": "default",
}


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """A similarity threshold and its expected error rates.

    Attributes:
        threshold: Cosine similarity at or above which two faces are the same person.
        origin: What determined the threshold: "threshold" (it was given), "fmr" or "fpir" (an error
            rate was requested), or "default" (the calibration of the model).
        different_below: In verification, similarity below which two faces are different people:
            the threshold, or less with the default rule.
        requested: The error rate that determined the threshold, 0 to 1; None if the threshold was
            given.
        comparisons: Number of comparisons per search, 1 for verification.
        false_match_rate: Expected false match rate (FMR) at the threshold; None without a
            calibration.
        false_identification_rate: Expected false positive identification rate (FPIR): how often a
            search for a person who is not enrolled finds anyone; None without a calibration.
        basis: The data that the rates were measured on; None without a calibration.
    """

    threshold: float
    origin: Origin
    different_below: float
    requested: float | None = None
    comparisons: int = 1
    false_match_rate: Rate | None = None
    false_identification_rate: Rate | None = None
    basis: Basis | None = None

    def accepts(self, similarity: float) -> bool:
        """True if a similarity reaches the threshold."""
        return similarity >= self.threshold

    def answer(self, similarity: float) -> Answer:
        """The answer to a verification, without its error rates; see `verdict`."""
        if self.accepts(similarity):
            return "same"
        return "different" if similarity < self.different_below else "cannot tell"

    def to_dict(self, *, basis: bool = True) -> dict[str, Any]:
        """The rule as JSON types.

        Args:
            basis: Include the data that the rates were measured on.
        """
        return {
            "threshold": self.threshold,
            "origin": self.origin,
            "requested": self.requested,
            "comparisons": self.comparisons,
            "false_match_rate": _plain_rate(self.false_match_rate),
            "false_identification_rate": _plain_rate(self.false_identification_rate),
            **({"basis": _plain_basis(self.basis)} if basis else {}),
        }

    def __str__(self) -> str:
        origin = _ORIGINS[self.origin].format(self.requested or 0)
        text = f"threshold {self.threshold:.4f} ({origin}): "
        if self.false_match_rate is None or self.basis is None:
            return text + "error rates unknown, there is no calibration"
        text += f"expected false match rate {self.false_match_rate}"
        if self.comparisons != 1:
            text += (
                f", false identification rate {self.false_identification_rate} "
                f"with {self.comparisons:,} comparisons per search"
            )
        return f"{text} ({_data(self.basis)})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a verification: do two faces belong to the same person?

    Attributes:
        answer: "same", "different" or "cannot tell".
        similarity: Cosine of the two embeddings.
        rule: The rule that was used; None if there was none, then the answer is "cannot tell".
        false_match_rate: Share of impostor pairs (different people) that are called "same"; None
            without a calibration.
        false_non_match_rate: Share of genuine pairs (same person) that are called "different"; None
            without a calibration.
        as_similar: Share of impostor pairs at or above `similarity`; None without a calibration.
    """

    answer: Answer
    similarity: float
    rule: DecisionRule | None = None
    false_match_rate: Rate | None = None
    false_non_match_rate: Rate | None = None
    as_similar: Rate | None = None

    @property
    def same(self) -> bool | None:
        """True for the same person, False for different people, None if it cannot be told."""
        return SAME.get(self.answer)

    @property
    def threshold(self) -> float | None:
        """Similarity at or above which the answer is "same"; None without a rule."""
        return None if self.rule is None else self.rule.threshold

    @property
    def different_below(self) -> float | None:
        """Similarity below which the answer is "different"; None without a rule."""
        return None if self.rule is None else self.rule.different_below

    @property
    def basis(self) -> Basis | None:
        """The data that the rates were measured on; None without a calibration."""
        return None if self.rule is None else self.rule.basis

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON types."""
        return {
            "answer": self.answer,
            "same": self.same,
            "similarity": self.similarity,
            "threshold": self.threshold,
            "different_below": self.different_below,
            "false_match_rate": _plain_rate(self.false_match_rate),
            "false_non_match_rate": _plain_rate(self.false_non_match_rate),
            "as_similar": _plain_rate(self.as_similar),
            "basis": _plain_basis(self.basis),
            "rule": None if self.rule is None else self.rule.to_dict(basis=False),
        }

    def __str__(self) -> str:
        similarity = f"similarity {self.similarity:.4f}"
        if self.rule is None:
            return f"cannot tell: no calibration; {similarity}"
        words = {"same": "same person", "different": "different people"}
        text = f"{words.get(self.answer, self.answer)}: {similarity}, "
        if self.rule.different_below < self.rule.threshold:
            text += f"same from {self.rule.threshold:.4f}, different below "
            text += f"{self.rule.different_below:.4f}"
        else:
            text += f"threshold {self.rule.threshold:.4f}"
        if self.false_match_rate is None or self.basis is None:
            return f"{text}; error rates unknown, there is no calibration"
        return (
            f"{text}; false match rate {self.false_match_rate}, "
            f"false non-match rate {self.false_non_match_rate} ({_data(self.basis)})"
        )


def decision_rule(
    calibration: Calibration | None,
    *,
    threshold: float | None = None,
    fmr: float | None = None,
    fpir: float | None = None,
    comparisons: int = 1,
    model: str = "",
    where: str = "",
) -> DecisionRule | None:
    """Determines the similarity threshold from a cosine, an error rate or the calibration.

    Pass at most one of ``threshold``, ``fmr`` and ``fpir``. Without them, the threshold is that of
    `DEFAULT_FMR`, or of the lowest false match rate that the calibration supports.

    Args:
        calibration: The calibration of the model; None if there is none.
        threshold: Cosine similarity, −1 to 1.
        fmr: Requested false match rate, 0 to 1.
        fpir: Requested false positive identification rate, 0 to 1, for ``comparisons`` comparisons
            per search.
        comparisons: Number of faces (or templates) that each probe is compared with.
        model: `Embedder.identity` of the model, for error messages.
        where: Location for error messages, e.g. the gallery's path.

    Returns:
        The rule; None if nothing is given and there is no usable calibration.

    Raises:
        InputError: If more than one is given, a value is out of range, a rate is given without a
            calibration, or the calibration does not support the rate.
    """
    rates = {name: rate for name, rate in (("fmr", fmr), ("fpir", fpir)) if rate is not None}
    if len(rates) + (threshold is not None) > 1:
        raise InputError("pass only one of threshold, fmr and fpir")
    if threshold is not None:
        if not -1 <= threshold <= 1:  # false for nan
            raise InputError(f"threshold {threshold} is not a cosine between -1 and 1", where=where)
        return _rule(calibration, threshold, "threshold", None, comparisons)
    for name, rate in rates.items():
        if calibration is None:
            raise InputError(
                f"{name} needs a calibration of {model or 'the model'}, and there is none",
                where=where,
                hint="pass a threshold (cosine), or run 'mobileface-eval calibrate'",
            )
        if not 0 < rate < 1:  # false for nan
            raise InputError(f"{name} must be between 0 and 1, not {rate}", where=where)
    if calibration is None:
        return None
    if fmr is not None:
        return _rule(calibration, calibration.threshold(fmr), "fmr", fmr, comparisons)
    if fpir is not None:
        single = float(-np.expm1(np.log1p(-fpir) / max(comparisons, 1)))
        return _rule(calibration, calibration.threshold(single), "fpir", fpir, comparisons)
    lowest = supported_fmr(calibration, DEFAULT_FMR)
    if lowest >= 1:  # measured on so few pairs that no rate is supported
        return None
    return _rule(calibration, calibration.threshold(lowest), "default", lowest, comparisons)


def verdict(
    similarity: float, rule: DecisionRule | None, calibration: Calibration | None
) -> Verdict:
    """Decides whether two faces belong to the same person.

    With a rule that was given (a threshold or a rate), the answer is "same" or "different". With
    the default rule, the answer is "different" only below the similarity with a false non-match
    rate of at most `DEFAULT_FNMR`; between that similarity and the threshold it is "cannot tell".

    Args:
        similarity: Cosine of the two embeddings.
        rule: The rule; None decides nothing.
        calibration: The calibration of the model; None if there is none.

    Raises:
        InputError: If ``similarity`` is not a cosine between −1 and 1.
    """
    if not -1.001 <= similarity <= 1.001:  # false for nan; rounding may exceed 1 slightly
        raise InputError(f"similarity {similarity} is not a cosine between -1 and 1")
    if rule is None:
        return Verdict("cannot tell", similarity)
    answer = rule.answer(similarity)
    if calibration is None:
        return Verdict(answer, similarity, rule)
    return Verdict(
        answer,
        similarity,
        rule,
        calibration.false_match_rate(rule.threshold),
        calibration.false_non_match_rate(rule.different_below),
        calibration.false_match_rate(similarity),
    )


def no_rule(model: str) -> str:
    """The message for users that nothing is decided because there is no rule."""
    return (
        f"no threshold: there is no calibration of {model}; "
        "give --threshold or run 'mobileface-eval calibrate'"
    )


def supported_fmr(calibration: Calibration, fmr: float) -> float:
    """A false match rate, or the lowest rate that the calibration supports if that is higher."""
    lowest = calibration.false_match_curve.value[-1]
    return max(fmr, calibration.lowest_false_match_rate, lowest)


def _rule(
    calibration: Calibration | None,
    threshold: float,
    origin: Origin,
    requested: float | None,
    comparisons: int,
) -> DecisionRule:
    if calibration is None:
        return DecisionRule(threshold, origin, threshold, requested, comparisons)
    below = threshold
    if origin == "default":
        below = min(threshold, _different_below(calibration, DEFAULT_FNMR))
    return DecisionRule(
        threshold,
        origin,
        below,
        requested,
        comparisons,
        calibration.false_match_rate(threshold),
        calibration.false_identification_rate(threshold, comparisons),
        calibration.basis,
    )


def _different_below(calibration: Calibration, fnmr: float) -> float:
    """The highest similarity whose false non-match rate is not above the given rate."""
    # Of equal rates np.interp uses the last, here the highest cosine.
    rates = calibration.false_non_match_curve.value
    return float(np.interp(fnmr, rates, calibration.similarity))


def _plain_rate(rate: Rate | None) -> dict[str, float] | None:
    return None if rate is None else dataclasses.asdict(rate)


def _plain_basis(basis: Basis | None) -> Any:
    return None if basis is None else plain(basis)


def _data(basis: Basis) -> str:
    return f"{basis.data}, {basis.identities:,} people"
