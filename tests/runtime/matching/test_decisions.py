"""Decisions: one rule from a threshold, a rate or the calibration, and what it answers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mobileface.errors import InputError
from mobileface.matching.calibration import Calibration, Rate, RateCurve, find_calibration
from mobileface.matching.decisions import (
    DEFAULT_FMR,
    DEFAULT_FNMR,
    decision_rule,
    no_rule,
    supported_fmr,
    verdict,
)
from tests.runtime.matching.test_calibration import BASIS, made

SHIPPED = {
    "embedding_dlib@f5235205ac3c": 0.001,
    "identification_v1@575f9cd693e5": 0.0012,
    "identification_v2@cdfe560a954f": 0.001,
    "identification_v3@e87a759d160c": 0.0015,
}
"""The default false match rate: 0.001, or the lowest that LFW-Aligned-100Pair supports."""


@pytest.mark.parametrize("model", SHIPPED)
def test_the_default_of_each_shipped_calibration(model: str) -> None:
    """Its limits are those that a search through the stored points finds."""
    calibration = find_calibration(model)
    rule = decision_rule(calibration, comparisons=13)
    assert rule is not None
    assert (rule.origin, rule.requested) == ("default", SHIPPED[model])
    places = np.linspace(-1, 1, 200_001)
    fmr, fnmr = (
        np.interp(places, calibration.similarity, curve.value)
        for curve in (calibration.false_match_curve, calibration.false_non_match_curve)
    )
    least = places[fmr <= SHIPPED[model]].min()
    below = min(places[fnmr <= DEFAULT_FNMR].max(), least)
    print(f"{rule}; different below {rule.different_below:.4f}")
    assert abs(rule.threshold - least) <= 1e-5
    assert abs(rule.different_below - below) <= 1e-5
    assert rule.false_match_rate is not None
    assert abs(rule.false_match_rate.value - SHIPPED[model]) < 1e-6
    assert rule.false_identification_rate is not None
    expected = 1 - (1 - rule.false_match_rate.value) ** 13
    assert abs(rule.false_identification_rate.value - expected) < 1e-12
    assert rule.basis == calibration.basis


def test_origins() -> None:
    """The invented calibration has FMR 0.01 at 0.5, and 0.5 at 0."""
    calibration = made()
    given = decision_rule(calibration, threshold=0.25)
    assert given is not None
    assert (given.threshold, given.different_below, given.requested) == (0.25, 0.25, None)
    assert given.false_match_rate == calibration.false_match_rate(0.25)
    rate = decision_rule(calibration, fmr=0.01)
    assert rate is not None
    assert (rate.threshold, rate.origin, rate.requested) == (0.5, "fmr", 0.01)
    search = decision_rule(calibration, fpir=1 - 0.99**20, comparisons=20)
    assert search is not None
    assert abs(search.threshold - 0.5) < 1e-9
    assert search.false_identification_rate is not None
    assert abs(search.false_identification_rate.value - (1 - 0.99**20)) < 1e-9
    bare = decision_rule(None, threshold=0.25)
    assert bare is not None
    assert (bare.false_match_rate, bare.basis) == (None, None)
    assert "error rates unknown" in str(bare)
    assert decision_rule(None) is None
    assert decision_rule(calibration, comparisons=0) is not None  # an empty gallery
    for rule in (given, rate, search, bare):
        json.dumps(rule.to_dict(), allow_nan=False)
        print(rule)


def test_a_calibration_that_supports_nothing_decides_nothing() -> None:
    assert decision_rule(made(lowest_false_match_rate=1.0)) is None
    assert supported_fmr(made(), DEFAULT_FMR) == 0.005
    assert supported_fmr(made(), 0.2) == 0.2


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "two": ({"threshold": 0.5, "fmr": 0.01}, "only one of threshold, fmr and fpir"),
    "two rates": ({"fpir": 0.5, "fmr": 0.01}, "only one of"),
    "nan": ({"threshold": float("nan")}, "not a cosine"),
    "above 1": ({"threshold": 1.5}, "threshold 1.5 is not a cosine"),
    "zero": ({"fmr": 0.0}, "fmr must be between 0 and 1, not 0.0"),
    "one": ({"fpir": 1.0}, "fpir must be between 0 and 1, not 1.0"),
    "nan rate": ({"fmr": float("nan")}, "fmr must be between 0 and 1, not nan"),
    "too low": ({"fmr": 1e-6}, r"the lowest it supports is 0\.005"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_out_of_range(case: str) -> None:
    options, message = BAD[case]
    with pytest.raises(InputError, match=message):
        decision_rule(made(), **options)


def test_a_rate_without_a_calibration() -> None:
    for rate in ("fmr", "fpir"):
        with pytest.raises(InputError, match=f"{rate} needs a calibration of net@1, and there"):
            decision_rule(None, model="net@1", **{rate: 0.01})  # type: ignore[arg-type]
    assert no_rule("net@1") == (
        "no threshold: there is no calibration of net@1; give --threshold or run "
        "'mobileface-eval calibrate'"
    )


def wide() -> Calibration:
    """FMR 0.001 at 0.6; FNMR 0.05 at 0.3."""
    fmr = (1.0, 0.5, 0.001, 0.0)
    fnmr = (0.0, 0.05, 0.4, 1.0)
    return Calibration(
        "net@0123456789ab",
        BASIS,
        (-1.0, 0.3, 0.6, 1.0),
        RateCurve(fmr, fmr, (1.0, 0.6, 0.003, 0.001)),
        RateCurve(fnmr, (0.0, 0.01, 0.3, 1.0), (0.01, 0.1, 0.5, 1.0)),
        0.0005,
    )


@pytest.mark.parametrize(
    ("similarity", "by_default", "given"),
    [
        (1.0000002, "same", "same"),  # rounding of float32
        (0.6, "same", "same"),
        (0.5999999, "cannot tell", "different"),
        (0.3, "cannot tell", "different"),
        (0.2999999, "different", "different"),
        (-1.0, "different", "different"),
    ],
)
def test_verdicts(similarity: float, by_default: str, given: str) -> None:
    calibration = wide()
    found = verdict(similarity, decision_rule(calibration), calibration)
    assert found.answer == by_default
    assert found.same == {"same": True, "different": False, "cannot tell": None}[by_default]
    assert found.false_match_rate == Rate(0.001, 0.001, 0.003)
    assert found.false_non_match_rate == Rate(0.05, 0.01, 0.1)
    for options in ({"threshold": 0.6}, {"fmr": 0.001}):
        strict = verdict(similarity, decision_rule(calibration, **options), calibration)  # type: ignore[arg-type]
        assert strict.answer == given
        assert strict.false_non_match_rate == Rate(0.4, 0.3, 0.5)
    assert verdict(similarity, None, None).answer == "cannot tell"
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["answer"] == by_default
    assert document["rule"]["origin"] == "default"
    assert document["basis"]["identities"] == 100
    print(found)


def test_what_people_read() -> None:
    calibration = wide()
    default = decision_rule(calibration)
    rates = (
        "false match rate 0.001 (0.001 to 0.003), false non-match rate 0.05 (0.01 to 0.1) "
        "(invented, 100 people)"
    )
    assert str(verdict(0.4, default, calibration)) == (
        f"cannot tell: similarity 0.4000, same from 0.6000, different below 0.3000; {rates}"
    )
    assert str(verdict(0.7, default, calibration)).startswith("same person: similarity 0.7000, ")
    assert str(verdict(0.1, decision_rule(None, threshold=0.5), None)) == (
        "different people: similarity 0.1000, threshold 0.5000; error rates unknown, there is no "
        "calibration"
    )
    assert str(verdict(0.1, None, None)) == "cannot tell: no calibration; similarity 0.1000"


def test_a_model_without_a_gap() -> None:
    """Where the false non-match rate is low at the threshold already, no answer is missing."""
    zero = (0.0,) * 5
    calibration = made(false_non_match_curve=RateCurve(zero, zero, zero))
    rule = decision_rule(calibration)
    assert rule is not None
    assert rule.different_below == rule.threshold


@pytest.mark.parametrize("similarity", [float("nan"), 1.1, -2.0])
def test_no_cosine(similarity: float) -> None:
    for rule in (None, decision_rule(made())):
        with pytest.raises(InputError, match="not a cosine"):
            verdict(similarity, rule, made())
