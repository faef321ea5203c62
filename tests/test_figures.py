"""Figures in documents are those of the committed benchmark report and certificates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.figures import DOCUMENTS, refreshed

from tests.conftest import ROOT

MODELS = ROOT / "models_onnx"


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    text = (ROOT / "benchmarks" / "results" / "reference.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_are_up_to_date(name: str, report: dict[str, Any]) -> None:
    """If not: python -m benchmarks.figures."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "<!--/-->" in text
    assert refreshed(text, report, MODELS) == text


def test_values_follow_the_report(report: dict[str, Any]) -> None:
    """Medians by hand from pytest-benchmark's own document."""
    medians = {
        benchmark["extra_info"]["engine"]: benchmark["stats"]["median"]
        for benchmark in report["benchmarks"]
        if benchmark["group"] == "starter, embedding"
    }
    text = (
        'A <!--ms "starter, embedding" dlib-->1<!--/--> '
        'B <!--ratio "starter, embedding" dlib mobileface-->old<!--/-->'
    )
    found = refreshed(text, report, MODELS)
    assert f"dlib-->{1e3 * medians['dlib']:.0f}<!--/-->" in found
    assert f"mobileface-->{medians['dlib'] / medians['mobileface']:.2f}<!--/-->" in found


def test_tables_follow_their_sources(report: dict[str, Any]) -> None:
    """Variants from the report's facts, calibrations from the package's files."""
    verbs = ("variants", "calibrations", "mb identification_v3")
    text = "".join(f"<!--{verb}-->old<!--/-->" for verb in verbs)
    found = refreshed(text, report, MODELS)
    facts = {(f["model"], f["variant"]): f for f in report["facts"] if f["fact"] == "accuracy"}
    fact = facts["identification_v2", "int8"]
    low, high = fact["auc_interval"]
    row = f"| {fact['mean_cosine']:.6f} | {fact['min_cosine']:.6f} | {fact['auc']:.4f} ({low:.3f}"
    share = fact["bytes"] / facts["identification_v2", "fp32"]["bytes"]
    assert f"| V2 int8 | {share:.2f} {row} to {high:.3f}) |" in found
    assert f"v3-->{facts['identification_v3', 'fp32']['bytes'] / 1e6:.2f}<!--/-->" in found
    place = ROOT / "runtime/mobileface/matching/calibrations/identification_v1.calibration.json"
    stored = json.loads(place.read_text())
    basis = stored["basis"]
    assert (
        f"| identification_v1 | {basis['identities']} | {basis['genuine_pairs']}, "
        f"{basis['impostor_pairs']:,} | {stored['lowest_false_match_rate']:.2g} |"
    ) in found


def test_unknown_figures_are_refused(report: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="nothing"):
        refreshed('<!--ms "starter, embedding" nothing-->1<!--/-->', report, MODELS)
