"""The plots of the benchmark report, as SVG elements to embed in a page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, ScalarFormatter

from benchmarks.results import OURS, medians, quartiles

__all__ = ["batches", "latencies", "memory", "pipeline", "sizes", "starts"]

OURS_COLOR, OTHER_COLOR, INK = "#0b6e4f", "#b8c0c8", "#24292f"
SHADES = {OURS: OURS_COLOR, "mobileface fp16": "#3f9b7c", "mobileface int8": "#7cc4a8"}
STAGES = {
    "detection": "#0b6e4f",
    "landmarks": "#4d9de0",
    "pose": "#e15554",
    "align": "#f3a712",
    "attributes": "#7768ae",
    "embedding": "#1f3b4d",
}
MARKERS = {"identification_v1": "o", "identification_v2": "s", "identification_v3": "^"}
PRECISION_COLORS = {"fp32": OURS_COLOR, "fp16": "#4d9de0", "int8": "#e15554"}

Document = Mapping[str, Any]

mpl.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "mobileface",
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.edgecolor": "#8c959f",
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
    }
)


def latencies(document: Document, groups: Mapping[str, str]) -> str:
    """Bar charts of each engine's median, one panel per group; error bars are the quartiles.

    Args:
        document: The JSON document of a benchmark run.
        groups: Titles by group; groups that were not measured are omitted.

    Returns:
        The SVG element; empty if none of the groups was measured.
    """
    times = medians(document)
    spread = quartiles(document)
    found = [(title, times[g], spread.get(g, {})) for g, title in groups.items() if g in times]
    if not found:
        return ""
    rows = max(len(engines) for _, engines, _ in found)
    figure = Figure(figsize=(4.2 * len(found), 0.34 * rows + 1.1), layout="constrained")
    for axes, (title, engines, ends) in zip(_row(figure, len(found)), found, strict=True):
        ordered = sorted(engines.items(), key=lambda pair: -pair[1])
        names = [name for name, _ in ordered]
        values = [1e3 * value for _, value in ordered]
        colors = [SHADES.get(name, OTHER_COLOR) for name in names]
        limits = [
            tuple(1e3 * end for end in ends.get(name, (engines[name],) * 2)) for name in names
        ]
        _bars(axes, names, values, colors, engines.get(OURS), limits)
        # The same limits in all panels, so that all bars have the same thickness.
        axes.set_ylim(-0.6 - (rows - len(names)), len(names) - 0.4)
        axes.set_title(title, loc="left", fontweight="bold")
        axes.set_xlabel("ms")
    return _svg(figure, "Latency by engine")


def batches(document: Document, models: Sequence[str], sizes: Sequence[int]) -> str:
    """Milliseconds per face against batch size, one panel per model."""
    times = medians(document)
    engines = (OURS, "mobileface int8", "onnxruntime", "openvino", "ncnn", "mxnet")
    colors = (OURS_COLOR, "#7cc4a8", "#e15554", "#4d9de0", "#f3a712", "#7768ae")
    shown = [model for model in models if f"{model}, batch 1" in times]
    if not shown:
        return ""
    figure = Figure(figsize=(4.2 * len(shown), 3.0), layout="constrained")
    panels = _row(figure, len(shown))
    for axes, model in zip(panels, shown, strict=True):
        for engine, color in zip(engines, colors, strict=True):
            points = [
                (size, 1e3 * times[f"{model}, batch {size}"][engine] / size)
                for size in sizes
                if engine in times.get(f"{model}, batch {size}", {})
            ]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", color=color, label=engine)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(FormatStrFormatter("%g"))
        axes.tick_params(axis="y", which="minor", labelsize=7)
        axes.set_title(model, loc="left", fontweight="bold")
        axes.set_xlabel("batch size (faces)")
        axes.grid(axis="y", color="#d8dee4", linewidth=0.6, which="both")
    panels[0].set_ylabel("ms per face")
    panels[-1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _svg(figure, "Milliseconds per face against batch size")


def sizes(document: Document) -> str:
    """Pair AUC on each model's own crop against file size, one point per variant.

    Error bars are the 95 % confidence intervals, people resampled.
    """
    facts = [fact for fact in document["facts"] if fact["fact"] == "accuracy"]
    if not facts:
        return ""
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    left, right = _row(figure, 2)
    for fact in facts:
        look = {
            "marker": MARKERS.get(fact["model"], "D"),
            "color": PRECISION_COLORS[fact["precision"]],
            "s": 55,
            "alpha": 0.85,
        }
        left.scatter(fact["bytes"] / 1e6, fact["auc"], **look)
        low, high = fact.get("auc_interval", (fact["auc"], fact["auc"]))
        bars = {"color": look["color"], "linewidth": 1, "capsize": 2.5, "alpha": 0.6}
        away = [[fact["auc"] - low], [high - fact["auc"]]]
        left.errorbar(fact["bytes"] / 1e6, fact["auc"], yerr=away, **bars)
        right.scatter(fact["bytes"] / 1e6, max(1 - fact["mean_cosine"], 1e-8), **look)
    left.set_ylabel("pair AUC, own crop")
    right.set_ylabel("1 − mean cosine to fp32")
    right.set_yscale("log")
    for axes in (left, right):
        axes.set_xlabel("MB")
        axes.set_xlim(left=0)
        axes.grid(color="#d8dee4", linewidth=0.6)
    for model, marker in MARKERS.items():
        right.scatter([], [], marker=marker, color="#57606a", label=model)
    for precision, color in PRECISION_COLORS.items():
        right.scatter([], [], marker="s", color=color, label=precision)
    right.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _svg(figure, "Size against accuracy")


def pipeline(document: Document) -> str:
    """Stacked bars of the pipeline stages."""
    prefix = "pipeline "
    found = {g: e for g, e in medians(document).items() if g.startswith(prefix)}
    if not found:
        return ""
    figure = Figure(figsize=(8.4, 0.55 * len(found) + 1.3), layout="constrained")
    (axes,) = _row(figure, 1)
    for row, engines in enumerate(found.values()):
        left = 0.0
        for stage, color in STAGES.items():
            value = 1e3 * engines.get(stage, 0.0)
            axes.barh(row, value, left=left, color=color, height=0.6)
            if value > 4:
                axes.text(
                    left + value / 2,
                    row,
                    f"{value:.1f}",
                    ha="center",
                    va="center",
                    color="white",
                    fontsize=8,
                )
            left += value
        axes.text(left, row, f"  {1e3 * engines['whole']:.0f} ms", va="center")
    for stage, color in STAGES.items():
        if any(stage in engines for engines in found.values()):
            axes.barh(0, 0, color=color, label=stage)
    axes.set_yticks(range(len(found)), [g.removeprefix(prefix) for g in found])
    axes.set_xlabel("ms per photo")
    axes.margins(x=0.12)
    axes.legend(frameon=False, fontsize=8, ncols=6, loc="lower left", bbox_to_anchor=(0, 1))
    return _svg(figure, "Stages of the pipeline")


def starts(document: Document, group: str) -> str:
    """Start-up time and peak memory of each engine."""
    engines = medians(document).get(group, {})
    facts = [f for f in document["facts"] if f["fact"] == "start" and f["what"] == group]
    peaks = {f["engine"]: f["peak_bytes"] / 2**20 for f in facts if f["peak_bytes"]}
    if not engines:
        return ""
    figure = Figure(figsize=(8.4, 0.34 * len(engines) + 1.1), layout="constrained")
    left, right = _row(figure, 2)
    for axes, values, unit in (
        (left, {name: 1e3 * value for name, value in engines.items()}, "ms to the first embedding"),
        (right, peaks, "peak MiB"),
    ):
        ordered = sorted(values.items(), key=lambda pair: -pair[1])
        names = [name for name, _ in ordered]
        colors = [SHADES.get(name, OTHER_COLOR) for name in names]
        _bars(axes, names, [value for _, value in ordered], colors, None)
        axes.set_xlabel(unit)
    return _svg(figure, "Start-up time and peak memory")


def memory(document: Document) -> str:
    """Memory that each step adds to a small process."""
    facts = [fact for fact in document["facts"] if fact["fact"] == "memory"]
    if not facts:
        return ""
    figure = Figure(figsize=(8.4, 1.9), layout="constrained")
    (axes,) = _row(figure, 1)
    before = 0.0
    colors = ("#57606a", "#4d9de0", "#e15554", OURS_COLOR, "#7768ae", "#f3a712")
    for fact, color in zip(facts, colors, strict=False):
        held = fact["bytes"] / 2**20
        label = f"{fact['step']}: {held - before:.1f}"
        axes.barh(0, held - before, left=before, color=color, height=0.5, label=label)
        before = held
    axes.axvline(facts[-1]["peak"] / 2**20, color=INK, linewidth=1, linestyle="--", label="peak")
    axes.set_yticks([])
    axes.set_xlabel("resident memory (MiB)")
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    return _svg(figure, "Memory, step by step")


def _row(figure: Figure, count: int) -> list[Axes]:
    """Axes side by side in one row."""
    return [figure.add_subplot(1, count, number + 1) for number in range(count)]


def _bars(
    axes: Axes,
    names: Sequence[str],
    values: Sequence[float],
    colors: Sequence[str],
    ours: float | None,
    limits: Sequence[tuple[float, float]] | None = None,
) -> None:
    """Draws horizontal bars, labelled with their values and ratios to ours, and error bars."""
    axes.barh(range(len(names)), values, color=list(colors), height=0.7)
    ends = limits or [(value, value) for value in values]
    if limits:
        below = [value - low for value, (low, _) in zip(values, ends, strict=True)]
        above = [high - value for value, (_, high) in zip(values, ends, strict=True)]
        bars = {"fmt": "none", "ecolor": INK, "elinewidth": 1, "capsize": 2.5}
        axes.errorbar(values, range(len(names)), xerr=[below, above], **bars)
    for row, value in enumerate(values):
        digits = 0 if value >= 100 else 1 if value >= 10 else 3 if value < 1 else 2
        text = f" {value:.{digits}f}"
        if ours:
            text += f"  ({value / (1e3 * ours):.2f}×)"
        axes.text(max(value, ends[row][1]), row, text, va="center", fontsize=8)
    axes.set_yticks(range(len(names)), list(names))
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.3)
    axes.set_xlim(left=0)


def _svg(figure: Figure, title: str) -> str:
    """The figure as an SVG element with a label for screen readers."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Title": title})
    text = stream.getvalue()
    element = text[text.index("<svg") :]
    return element.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
