"""Evaluates a benchmark run: ratios of medians, and figures compared with this project's targets.

The document is pytest-benchmark's JSON, with ``facts``, ``ratios`` and ``figures`` in addition to
``benchmarks`` and ``machine_info``, and ``engine``, ``task``, ``model``, ``batch``, ``kind`` and
``p90`` (seconds) in each benchmark's ``extra_info``.
"""

from __future__ import annotations

import importlib.metadata
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Figure", "figures", "medians", "peer_versions", "quartiles", "ratios"]

OURS = "mobileface"

_PEERS = ("mxnet", "dlib-bin", "ncnn", "pnnx", "openvino", "onnx", "pytest-benchmark")

_RATIOS: tuple[tuple[str, str, str, float], ...] = (
    ("identification_v3, batch 1", OURS, "onnxruntime", 0.45),
    ("identification_v3, batch 1", OURS, "ncnn", 0.80),
    ("identification_v3, batch 1", OURS, "openvino", 0.85),
    ("identification_v3, batch 1", OURS, "mxnet", 0.25),
    *(
        (f"identification_v{version}, batch 1", OURS, engine, most)
        for version in (1, 2)
        for engine, most in (("onnxruntime", 1.0), ("ncnn", 0.95), ("mxnet", 0.25))
    ),
    ("identification_v1, batch 1", "mobileface int8", OURS, 0.58),
    ("identification_v2, batch 1", "mobileface int8", OURS, 0.60),
    ("identification_v1, batch 1", "mobileface fp16", OURS, 1.02),
    ("identification_v2, batch 1", "mobileface fp16", OURS, 1.02),
    ("detection_v1, 256x468", OURS, "mxnet export", 0.80),
    ("detection_v2, 256x468", OURS, "mxnet export", 0.80),
    ("attribute_v1, batch 1", OURS, "mxnet export", 0.80),
    ("start-up, identification_v2", OURS, "mxnet", 0.15),
    ("start-up, identification_v2", OURS, "openvino", 0.50),
)
"""Group, engine, other engine, and the largest allowed ratio of their medians."""

_LARGEST_ERROR = 5e-5
_LARGEST_SPREAD = 1.1
_LARGEST_PEAK = 70.0
_LARGEST_LOSS = 0.005
_LARGEST_SIZE = {"int8": 0.30, "fp16": 0.52}
_LEAST_COSINE = {
    ("identification_v1", "int8"): 0.99,
    ("identification_v2", "int8"): 0.995,
    ("identification_v1", "fp16"): 0.9999,
    ("identification_v2", "fp16"): 0.9999,
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value and its target.

    Attributes:
        what: Description.
        value: The measured value.
        bound: The target.
        at_least: Whether the bound is a minimum; otherwise it is a maximum.
    """

    what: str
    value: float
    bound: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the value meets its target."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def record(self) -> dict[str, Any]:
        """The figure as a JSON object."""
        return {
            "what": self.what,
            "value": self.value,
            "bound": self.bound,
            "at_least": self.at_least,
            "met": self.met,
        }

    def __str__(self) -> str:
        sign, state = "≥" if self.at_least else "≤", "met" if self.met else "MISSED"
        return f"{state:<6} {self.value:10.5g} {sign} {self.bound:<8g} {self.what}"


def medians(document: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Median seconds by group and engine."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for benchmark in document["benchmarks"]:
        engine = benchmark["extra_info"].get("engine", OURS)
        found[benchmark["group"]][engine] = benchmark["stats"]["median"]
    return dict(found)


def quartiles(document: Mapping[str, Any]) -> dict[str, dict[str, tuple[float, float]]]:
    """Lower and upper quartile in seconds by group and engine, where they were recorded."""
    found: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
    for benchmark in document["benchmarks"]:
        stats = benchmark["stats"]
        if "q1" in stats and "q3" in stats:
            engine = benchmark["extra_info"].get("engine", OURS)
            found[benchmark["group"]][engine] = (stats["q1"], stats["q3"])
    return dict(found)


def ratios(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Ratio of each engine's median to ours by group; None if the group has no timing of ours."""
    rows = []
    for group, engines in medians(document).items():
        ours = engines.get(OURS)
        for engine, median in engines.items():
            ratio = median / ours if ours else None
            rows.append({"group": group, "engine": engine, "median": median, "ratio": ratio})
    return rows


def figures(document: Mapping[str, Any]) -> list[Figure]:
    """All figures that were measured in a run."""
    times = medians(document)
    found = []
    for group, engine, other, most in _RATIOS:
        pair = times.get(group, {})
        if engine in pair and other in pair:
            value = pair[engine] / pair[other]
            found.append(Figure(f"{group}: {engine} over {other}", value, most))
    found += _spreads(times)
    found += [figure for fact in document["facts"] for figure in _of_fact(fact)]
    return found + _of_variants([f for f in document["facts"] if f["fact"] == "accuracy"])


def _spreads(times: Mapping[str, Mapping[str, float]]) -> list[Figure]:
    """How much the run time depends on the content of the image."""
    prefix = f"{OURS}, "
    values = [
        time
        for engine, time in times.get("identification_v3, inputs", {}).items()
        if engine.startswith(prefix)
    ]
    if not values:
        return []
    what = "identification_v3: slowest over fastest kind of input"
    return [Figure(what, max(values) / min(values), _LARGEST_SPREAD)]


def _of_fact(fact: Mapping[str, Any]) -> list[Figure]:
    if fact["fact"] == "error" and fact["engine"] == OURS and fact["model"] != "identification_v1":
        what = f"{fact['model']}: largest difference from mxnet"
        return [Figure(what, fact["to mxnet"], _LARGEST_ERROR)]
    if fact["fact"] == "start" and fact["engine"] == OURS and fact["peak_bytes"]:
        what = f"{fact['what']}: peak memory in MiB"
        return [Figure(what, fact["peak_bytes"] / 2**20, _LARGEST_PEAK)]
    return []


def _of_variants(facts: list[Mapping[str, Any]]) -> list[Figure]:
    """Sizes, cosines and losses of the variants relative to the fp32 model."""
    found = []
    for fact in facts:
        key = (fact["model"], fact["precision"])
        if key not in _LEAST_COSINE:
            continue
        own = next(f for f in facts if f["model"] == key[0] and f["variant"] == "fp32")
        what = f"{key[0]} {fact['variant']}"
        size, loss = fact["bytes"] / own["bytes"], own["auc"] - fact["auc"]
        found.append(Figure(f"{what}: size over fp32", size, _LARGEST_SIZE[key[1]]))
        cosine = fact["mean_cosine"]
        found.append(Figure(f"{what}: mean cosine to fp32", cosine, _LEAST_COSINE[key], True))
        if key[1] == "int8":
            found.append(Figure(f"{what}: loss of pair AUC", loss, _LARGEST_LOSS))
    return found


def peer_versions() -> dict[str, str]:
    """Versions of the installed packages that this project is compared with."""
    found = {}
    for name in _PEERS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
