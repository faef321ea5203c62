"""The report of a synthetic benchmark run; its statistics against scipy."""

from __future__ import annotations

import copy
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.faces import auc, auc_interval
from matplotlib.figure import Figure
from scipy import stats

from benchmarks import plots, report, results

RESULTS = Path(report.__file__).with_name("results")

MACHINE = {
    "machine": "x86_64",
    "cpu": "Some CPU <2>",
    "features": ["avx2"],
    "cpus": 4,
    "cpus_usable": 1,
    "threads": 1,
    "system": "Linux 6",
    "python": "3.11.7",
    "mobileface": "0.1.0",
    "numpy": "1.23.5",
    "onnxruntime": "1.32.0",
    "opencv-python-headless": "4.11",
    "peers": {"ncnn": "1.0"},
}
TIMES = {
    "identification_v3, batch 1": {"mobileface": 0.25, "onnxruntime": 0.625, "ncnn": 0.25},
    "identification_v3, batch 4": {"mobileface": 0.9, "onnxruntime": 2.4},
    "identification_v3, inputs": {"mobileface, faces": 0.25, "mobileface, black": 0.3},
    "identification_v3, end to end": {"mobileface": 0.3},
    "pipeline 1280x720, starter set": {"whole": 150.0, "detection": 130.0, "embedding": 18.0},
    "start-up, identification_v2": {"mobileface": 100.0, "mxnet": 1000.0},
}


@pytest.fixture
def document() -> dict[str, Any]:
    benchmarks = [
        {
            "group": group,
            "extra_info": {"engine": engine, "p90": 1.1e-3 * value},
            "stats": {"median": 1e-3 * value},
        }
        for group, engines in TIMES.items()
        for engine, value in engines.items()
    ]
    variant = {"fact": "accuracy", "model": "identification_v1", "min_cosine": 0.98}
    facts = [
        {"fact": "error", "model": "identification_v3", "engine": "mobileface", "to mxnet": 2e-5},
        {"fact": "absent", "group": "a", "engine": "opencv", "reason": "no | such <layer>"},
        {
            **variant,
            "variant": "fp32",
            "precision": "fp32",
            "bytes": 4_000_000,
            "auc": 0.95,
            "mean_cosine": 1.0,
        },
        {
            **variant,
            "variant": "int8",
            "precision": "int8",
            "bytes": 1_000_000,
            "auc": 0.94,
            "mean_cosine": 0.993,
        },
        {
            "fact": "start",
            "what": "start-up, identification_v2",
            "engine": "mobileface",
            "peak_bytes": 70 << 20,
        },
        {
            "fact": "start",
            "what": "start-up, identification_v2",
            "engine": "mxnet",
            "peak_bytes": None,
        },
        {
            "fact": "memory",
            "step": "numpy",
            "bytes": 20 << 20,
            "private": 10 << 20,
            "peak": 21 << 20,
        },
    ]
    return {
        "machine_info": MACHINE,
        "datetime": "2026-01-02T03:04:05",
        "benchmarks": benchmarks,
        "facts": facts,
    }


def test_ratios(document: dict[str, Any]) -> None:
    found = {(row["group"], row["engine"]): row["ratio"] for row in results.ratios(document)}
    assert found["identification_v3, batch 1", "onnxruntime"] == pytest.approx(2.5)
    assert found["identification_v3, batch 1", "mobileface"] == 1
    assert found["identification_v3, inputs", "mobileface, black"] is None


def test_figures(document: dict[str, Any]) -> None:
    found = {figure.what: figure for figure in results.figures(document)}
    assert found["identification_v3, batch 1: mobileface over onnxruntime"].value == 0.4
    assert found["identification_v3, batch 1: mobileface over onnxruntime"].met
    assert not found["identification_v3, batch 1: mobileface over ncnn"].met
    assert found["identification_v3: slowest over fastest kind of input"].value == (
        pytest.approx(1.2)
    )
    assert found["start-up, identification_v2: mobileface over mxnet"].value == pytest.approx(0.1)
    assert found["start-up, identification_v2: peak memory in MiB"].value == 70
    assert found["identification_v1 int8: size over fp32"].value == 0.25
    assert found["identification_v1 int8: mean cosine to fp32"].met
    loss = found["identification_v1 int8: loss of pair AUC"]
    assert loss.value == pytest.approx(0.01)
    assert not loss.met
    assert "MISSED" in str(loss)


def test_markdown(document: dict[str, Any]) -> None:
    text = report.markdown(document)
    assert "| missed | 1 | ≤ 0.8 | identification_v3, batch 1: mobileface over ncnn |" in text
    assert "| identification_v3 (identification_v3, end to end) | 3 | 0.3 | 0.33 |" in text
    assert "no / such <layer>" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)


@pytest.mark.slow
def test_page_is_one_file(document: dict[str, Any]) -> None:
    """The page is well-formed, has plots, and refers to no other resource."""
    text = report.page(document)
    root = ElementTree.fromstring(
        text.replace("<!DOCTYPE html>", "")
        .replace('<meta charset="utf-8">', "")
        .replace('<meta name="viewport" content="width=device-width, initial-scale=1">', "")
    )
    plots = root.findall(".//{http://www.w3.org/2000/svg}svg")
    assert len(plots) >= 6
    assert all(plot.get("aria-label") for plot in plots)
    fetching = {"src", "href", "{http://www.w3.org/1999/xlink}href"}
    for element in root.iter():
        for name in fetching & set(element.attrib):
            assert element.attrib[name].startswith("#")
    assert "@import" not in text
    assert "Some CPU &lt;2&gt;" in text
    assert report.page(copy.deepcopy(document)) == text


def test_error_bars_are_the_quartiles(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of pytest-benchmark for latencies, those of the report's interval for areas."""
    for number, benchmark in enumerate(document["benchmarks"]):
        median = benchmark["stats"]["median"]
        benchmark["stats"] |= {"q1": median * 0.9, "q3": median * (1.2 + number / 100)}
    for fact in document["facts"]:
        if fact["fact"] == "accuracy":
            fact["auc_interval"] = [fact["auc"] - 0.03, fact["auc"] + 0.02]
    drawn: list[Figure] = []
    monkeypatch.setattr(plots, "_svg", lambda figure, title: drawn.append(figure) or title)
    group = "identification_v3, batch 1"
    plots.latencies(document, {group: "V3"})
    plots.sizes(document)
    spread = results.quartiles(document)[group]
    wanted = sorted((1e3 * low, 1e3 * high) for low, high in spread.values())
    lines = [s for c in drawn[0].axes[0].collections for s in c.get_segments()]  # type: ignore[attr-defined]
    assert np.allclose(sorted((a[0], b[0]) for a, b in lines), wanted, rtol=1e-12)
    assert len(wanted) == 3
    areas = [
        s
        for c in drawn[1].axes[0].collections
        if hasattr(c, "get_segments")
        for s in c.get_segments()
    ]
    ends = sorted((round(a[1], 9), round(b[1], 9)) for a, b in areas)
    assert ends == [(0.91, 0.96), (0.92, 0.97)]
    assert "0.9400 (0.9100 to 0.9600)" in report.markdown(document)


def test_a_partial_run(document: dict[str, Any]) -> None:
    """A run of only some suites still produces a report."""
    document["facts"] = []
    document["benchmarks"] = document["benchmarks"][:1]
    assert "## All timings" in report.markdown(document)
    assert "<h2>All timings</h2>" in report.page(document)


@pytest.mark.parametrize("seed", range(4))
def test_auc_is_the_u_statistic(seed: int) -> None:
    random = np.random.RandomState(seed)
    people = np.repeat(np.arange(12), 2)
    vectors = random.standard_normal((24, 8)) + 0.5 * random.standard_normal((12, 8))[people]
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    rows, columns = np.triu_indices(24, 1)
    scores = (unit @ unit.T)[rows, columns]
    same = people[rows] == people[columns]
    statistic = stats.mannwhitneyu(scores[same], scores[~same]).statistic
    expected = statistic / (same.sum() * (~same).sum())
    print(abs(auc(unit, people) - expected))
    assert auc(unit, people) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_of_the_area_contains_it(seed: int) -> None:
    """Independent pairs: as wide as DeLong's normal interval, computed here from its definition."""
    random = np.random.default_rng(seed)
    people = np.repeat(np.arange(150), 2)
    vectors = 1.2 * random.standard_normal((150, 12))[people] + random.standard_normal((300, 12))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    low, high = auc_interval(unit, people)
    rows, columns = np.triu_indices(300, 1)
    scores, same = (unit @ unit.T)[rows, columns], people[rows] == people[columns]
    placed = np.array([(scores[~same] < value).mean() for value in scores[same]])
    width = 2 * 1.96 * placed.std(ddof=1) / np.sqrt(same.sum())  # the genuine pairs dominate
    print(f"{low:.4f} to {high:.4f}: {high - low:.4f}, DeLong {width:.4f}")
    assert low < auc(unit, people) < high
    assert 0.95 * width < high - low < 1.6 * width


def test_the_committed_report_has_own_crops_and_one_set() -> None:
    document = json.loads((RESULTS / "reference.json").read_text(encoding="utf-8"))
    facts = [fact for fact in document["facts"] if fact["fact"] == "accuracy"]
    crops = {fact["model"]: fact["crop"] for fact in facts}
    assert crops == {
        "identification_v1": "mobileface",
        "identification_v2": "arcface",
        "identification_v3": "arcface",
    }
    assert len({fact["faces"] for fact in facts}) == 1
    assert all(fact["auc_interval"][0] < fact["auc"] < fact["auc_interval"][1] for fact in facts)


def test_the_committed_report_matches_its_numbers() -> None:
    document = json.loads((RESULTS / "reference.json").read_text(encoding="utf-8"))
    written = (RESULTS / "reference.md").read_text(encoding="utf-8")
    assert written == report.markdown(document), "python -m benchmarks.report …/reference.json"


def test_the_committed_report_contains_no_paths() -> None:
    for suffix in (".json", ".md", ".html"):
        text = (RESULTS / f"reference{suffix}").read_text(encoding="utf-8")
        for place in ("/home/", "/root/", "/tmp/", "/work", "/usr/", "C:\\"):
            assert place not in text
