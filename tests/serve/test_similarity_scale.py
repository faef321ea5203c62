"""The scale of similarities for clients of other services: its two anchors, and its order."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

import mobileface
from mobileface.errors import ModelNotFoundError
from mobileface.matching.calibration import Calibration
from mobileface.matching.decisions import decision_rule
from mobileface.serve.similarity_scale import SimilarityScale

FOLDER = Path(mobileface.__file__).parent / "matching" / "calibrations"
FILES = sorted(FOLDER.glob("*.json"))
WEAK = {"identification_v1", "identification_v3"}
"""Models that miss half of the genuine pairs at their threshold, or nearly so."""


@pytest.fixture(params=FILES, ids=lambda path: path.name.partition(".")[0])
def calibration(request: pytest.FixtureRequest) -> Calibration:
    return Calibration.load(request.param)


def test_the_threshold_is_one_half(calibration: Calibration) -> None:
    scale = SimilarityScale.of(calibration, calibration.model)
    rule = decision_rule(calibration)
    assert rule is not None
    assert scale(rule.threshold) == 0.5
    assert scale(rule.threshold - 1e-9) < 0.5
    rate = calibration.false_match_rate(rule.threshold).value
    print(f"{calibration.model}: threshold {rule.threshold:.4f}, FMR {rate:.2g}")
    assert rate <= 1.001 * max(1e-3, calibration.lowest_false_match_rate)


def test_half_of_the_genuine_pairs_reach_97_percent(calibration: Calibration) -> None:
    """By the calibration's own curve, read the other way round."""
    scale = SimilarityScale.of(calibration, calibration.model)
    cosines = np.linspace(-1, 1, 200_001)
    reached = np.array([scale(float(cosine)) for cosine in cosines]) >= 0.97
    first = float(cosines[reached.argmax()])
    rate = calibration.false_non_match_rate(first).value
    print(f"{calibration.model}: 0.97 at {first:.4f}, FNMR {rate:.3f}")
    if calibration.model.partition("@")[0] in WEAK:
        tenth = scale.threshold + (1 - scale.threshold) / 10
        assert abs(first - tenth) < 2e-5
        assert rate > 0.5
    else:
        assert abs(rate - 0.5) < 0.015


def test_it_rises_strictly_where_it_matters(calibration: Calibration) -> None:
    scale = SimilarityScale.of(calibration, calibration.model)
    spread = 4 / scale.steepness
    cosines = np.linspace(scale.threshold - spread, scale.threshold + spread, 1001)
    values = [scale(float(cosine)) for cosine in cosines]
    assert (np.diff(values) > 0).all()
    assert 0 <= scale(-1.0) < 1e-3
    assert 0.97 < scale(1.0) <= 1


def test_without_a_calibration_there_is_no_scale() -> None:
    with pytest.raises(ModelNotFoundError, match=r"no calibration of other@0123"):
        SimilarityScale.of(None, "other@0123")


def test_the_table_of_the_document_is_that_of_the_calibration() -> None:
    text = (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text(encoding="utf-8")
    calibration = Calibration.load(FOLDER / "embedding_dlib.calibration.json")
    scale = SimilarityScale.of(calibration, calibration.model)
    rows = re.findall(r"^\| (0\.\d+) \| (0\.\d+) \| ([^|]+) \| (\d+) % \|$", text, re.MULTILINE)
    assert len(rows) == 6
    for similarity, cosine, accepted, missed in rows:
        exact = scale.threshold + math.atanh(2 * float(similarity) - 1) / scale.steepness
        false = 100 * calibration.false_match_rate(exact).value
        lost = 100 * calibration.false_non_match_rate(exact).value
        print(similarity, exact, false, lost)
        assert abs(exact - float(cosine)) <= 0.00051
        assert abs(lost - int(missed)) <= 0.51
        if accepted.startswith("none of 19,800"):
            assert false == 0
            assert calibration.basis.impostor_pairs == 19_800
        else:
            assert abs(false - float(accepted.partition(" ")[0])) <= 0.0051
