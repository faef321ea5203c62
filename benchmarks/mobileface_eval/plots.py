"""Plots for papers: labelled axes with units, one style, and never distinguished by colour only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from mobileface.matching.calibration import Calibration
from mobileface.matching.error_rates import Rate

from .datasets.lfw import LfwResult
from .datasets.megaface import MegafaceResult
from .lfw_rates import LfwRates
from .measured import VerificationRates
from .rates import PairScores, Verification

__all__ = [
    "plot_calibration",
    "plot_heat_map",
    "plot_lfw",
    "plot_megaface",
    "plot_roc",
    "plot_speed",
    "plot_tsne",
]

Floats = npt.NDArray[np.float64]

# Okabe and Ito's palette, which is safe for colour-blind readers.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", ":")
_MOST_NAMED = 20
_MOST_NUMBERED = 14
_NAME_INCHES, _LARGEST_INCHES = 0.12, 26.0
"""Height of a name in a heat map, and the largest side of one, which holds 200 names."""

_SMALLEST_RATE = 1e-6


def _figure(width: float, height: float) -> Figure:
    """An empty figure; width and height are in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def _style(number: int) -> dict[str, Any]:
    """Colour and dashes of the n-th line."""
    return {
        "color": _COLORS[number % len(_COLORS)],
        "linestyle": _DASHES[number % len(_DASHES)],
        "linewidth": 1.5,
    }


def _axes(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, fontsize="medium")
    axes.grid(visible=True, color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)


def _rate_axes(axes: Axes, title: str, smallest: float) -> None:
    """A ROC curve's axes: false match rate on a logarithmic scale."""
    _axes(axes, "False match rate", "True match rate", title)
    axes.set_xscale("log")
    axes.set_xlim(max(smallest, _SMALLEST_RATE), 1)
    axes.set_ylim(0, 1.01)


def plot_roc(
    results: Mapping[str, tuple[PairScores, Verification]],
    rates: Mapping[str, VerificationRates],
    data: str,
) -> Figure:
    """ROC curves, next to histograms of the similarities of each model.

    Error bars are the intervals of the false match rates that the pairs support.
    """
    figure = _figure(9.5, max(4.2, 1.5 * len(results)))
    grid = figure.add_gridspec(len(results), 2, width_ratios=(1.1, 1))
    roc = figure.add_subplot(grid[:, 0])
    fewest = min(len(scores.impostor) for scores, _ in results.values())
    _rate_axes(roc, f"ROC, {data}", 1 / fewest)
    first: Axes | None = None
    for number, (name, (scores, found)) in enumerate(results.items()):
        label = f"{name}, AUC {_area(rates[name].auc)}"
        roc.step(found.false_match, found.true_match, where="post", label=label, **_style(number))
        _error_bars(roc, rates[name], number)
        axes = figure.add_subplot(grid[number, 1], sharex=first)
        first = first or axes
        _histograms(axes, scores, found, name)
        if number + 1 < len(results):
            axes.set_xlabel("")
            axes.tick_params(labelbottom=False)
        if number + 1 == len(results):
            handles = axes.get_legend_handles_labels()
            figure.legend(*handles, loc="outside lower right", ncols=3, fontsize="small")
    roc.legend(loc="lower right", fontsize="small")
    return figure


def _area(rate: Rate) -> str:
    """An area with its interval."""
    return f"{rate.value:.4f} ({rate.low:.3f} to {rate.high:.3f})"


def _error_bars(axes: Axes, rates: VerificationRates, number: int) -> None:
    """The intervals at the false match rates that are supported."""
    for point in rates.true_match_at.values():
        if point.true_match is None or point.false_match is None:
            continue
        y, x = point.true_match, point.false_match
        axes.errorbar(
            x.value,
            y.value,
            xerr=[[x.value - x.low], [x.high - x.value]],
            yerr=[[y.value - y.low], [y.high - y.value]],
            color=_style(number)["color"],
            linewidth=1,
            capsize=2.5,
        )


def _histograms(axes: Axes, scores: PairScores, found: Verification, name: str) -> None:
    """Densities of the similarities of both kinds of pairs, and the best threshold."""
    low = min(scores.impostor.min(), scores.genuine.min())
    edges = np.linspace(low, max(scores.genuine.max(), scores.impostor.max()) + 1e-9, 61)
    for values, color, label in (
        (scores.impostor, _COLORS[1], "impostor"),
        (scores.genuine, _COLORS[0], "genuine"),
    ):
        axes.hist(
            values,
            edges,
            density=True,
            histtype="stepfilled",
            alpha=0.45,
            color=color,
            label=f"{label}, {len(values):,} pairs",
        )
    axes.axvline(found.threshold, color="0.2", linewidth=1, linestyle="--", label="best threshold")
    _axes(axes, "Similarity (cosine)", "Density", name)


def plot_lfw(results: Mapping[str, LfwResult], rates: Mapping[str, LfwRates], data: str) -> Figure:
    """Mean ROC curves over the folds, and the accuracy of each fold with the mean's interval."""
    figure = _figure(9.5, 4.2)
    roc, folds = figure.subplots(1, 2, width_ratios=(1.1, 1))
    impostors = min(len(found.right) for found in results.values()) / 2  # about
    _rate_axes(roc, f"ROC, mean of the folds, {data}", max(1e-4, 1 / impostors))
    _axes(folds, "Fold", "Accuracy", f"Accuracy of each fold, {data}")
    for number, (name, found) in enumerate(results.items()):
        style = _style(number)
        label = f"{name}, AUC of all pairs {_area(rates[name].all.auc)}"
        roc.step(found.false_match, found.true_match, where="post", label=label, **style)
        places = np.arange(1, len(found.accuracies) + 1)
        mean = rates[name].accuracy
        text = f"{name}: {mean.value:.2%} ({mean.low:.2%} to {mean.high:.2%})"
        folds.plot(places, found.accuracies, marker="o", markersize=4, label=text, **style)
        folds.axhspan(mean.low, mean.high, color=style["color"], alpha=0.12, linewidth=0)
    if any(found.val.true_match for found in rates.values()):
        roc.axvline(found.far_target, color="0.6", linewidth=0.8, label="FAR of VAL")
    folds.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    folds.set_xticks(places)
    roc.legend(loc="lower right", fontsize="small")
    folds.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize="small")
    return figure


def plot_tsne(
    points: Floats, labels: npt.NDArray[np.int64], names: Sequence[str], title: str, axis: str
) -> Figure:
    """A map of embeddings; lines connect the images of a person to their mean.

    Args:
        points: float64 (N, 2): coordinates of N images.
        labels: int64 (N,): the person of each image.
        names: The people, in the order of their labels.
        title: Title of the plot.
        axis: Name of the axes, e.g. "t-SNE".
    """
    figure = _figure(7, 6)
    axes = figure.subplots()
    _axes(axes, f"{axis} 1", f"{axis} 2", title)
    few = len(names) <= _MOST_NAMED
    markers = "osD^v<>PX*"
    for person, name in enumerate(names):
        mine = points[labels == person]
        color = _COLORS[person % len(_COLORS)]
        middle = mine.mean(axis=0)
        for point in mine:
            axes.plot(*zip(middle, point, strict=True), color=color, linewidth=0.8, alpha=0.7)
        axes.scatter(
            mine[:, 0],
            mine[:, 1],
            s=22,
            color=color,
            edgecolors="white",
            linewidths=0.4,
            marker=markers[person // len(_COLORS) % len(markers)],
            label=name if few else None,
            zorder=3,
        )
    if few:
        axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    else:
        note = f"{len(names)} people, {len(points)} images; lines join images of one person"
        axes.set_xlabel(f"{axis} 1\n({note})")
    axes.set_xticks([])
    axes.set_yticks([])
    return figure


def plot_heat_map(similarity: Floats, names: Sequence[str], title: str) -> Figure:
    """Mean similarity between every two people.

    Args:
        similarity: float64 (I, I); the diagonal is the mean between different images of a person,
            or nan for people with one image.
        names: Names of the I people.
        title: Title of the plot.
    """
    side = min(max(6.2, _NAME_INCHES * len(names) + 2), _LARGEST_INCHES)
    figure = _figure(side + 1, side)
    axes = figure.subplots()
    image = axes.imshow(similarity, cmap="cividis", interpolation="nearest")
    image.cmap.set_bad("0.85")
    axes.set_title(title, fontsize="medium")
    every = -(-len(names) // int((_LARGEST_INCHES - 2) / _NAME_INCHES))
    places = np.arange(0, len(names), every)
    shown = [names[place] for place in places]
    axes.set_xticks(places, shown, rotation=90, fontsize="x-small")
    axes.set_yticks(places, shown, fontsize="x-small")
    which = "Person" if every == 1 else f"Person (every {every}th of {len(names)} is named)"
    axes.set_xlabel(which)
    axes.set_ylabel(which)
    if len(names) <= _MOST_NUMBERED:
        _write_cells(axes, similarity)
    figure.colorbar(image, ax=axes, label="Mean similarity (cosine)", shrink=0.9)
    return figure


def _write_cells(axes: Axes, similarity: Floats) -> None:
    """The number in each cell, light on dark cells."""
    middle = (np.nanmin(similarity) + np.nanmax(similarity)) / 2
    for (row, column), value in np.ndenumerate(similarity):
        if np.isfinite(value):
            color = "white" if value < middle else "black"
            look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": "x-small"}
            axes.text(column, row, f"{round(value, 2) + 0.0:.2f}", color=color, **look)


def plot_megaface(found: MegafaceResult, model: str, data: str) -> Figure:
    """CMC curve, rank-1 rate by gallery size, and true accept rate by false accept rate.

    The rank, the number of distractors and the false accept rate are on logarithmic scales; the
    rates' axes show the range of the curves and of their intervals.
    """
    figure = _figure(12, 4.2)
    cmc, sizes, roc = figure.subplots(1, 3)
    ranks = np.unique(np.geomspace(1, found.distractors + 1, 200).astype(np.int64))
    _axes(cmc, "Rank (log)", "Identification rate", f"CMC, {found.distractors:,} distractors")
    cmc.semilogx(ranks, found.cmc(ranks), label=f"{model}, {len(found.ranks):,} mates", **_style(0))
    marks = np.unique(np.geomspace(1, found.distractors + 1, 8).astype(np.int64))
    _points(cmc, {int(rank): found.rank_rate(int(rank)) for rank in marks})
    _axes(sizes, "Distractors (log)", "Rank-1 identification rate", f"Rank 1 by gallery, {data}")
    sizes.semilogx(list(found.rank1), list(found.rank1.values()), label=model, **_style(0))
    _points(sizes, {size: found.rank1_rate(size) for size in found.rank1})
    _axes(roc, "False accept rate (log)", "True accept rate", "Verification")
    roc.semilogx(found.false_accept[1:], found.true_accept[1:], label=model, **_style(0))
    points = {rate: found.point(rate) for rate in (1e-3, 1e-4, 1e-5, 1e-6)}
    supported = {rate: p.true_match for rate, p in points.items() if p.true_match is not None}
    _points(roc, supported)
    if not supported:
        reason = str(points[1e-3]).replace(" pairs", "\npairs", 1)
        roc.set_title(f"Verification: {reason}", fontsize="small")
    for axes in (cmc, sizes, roc):
        axes.legend(fontsize="small", loc="best")
        _zoom(axes)
    return figure


def _points(axes: Axes, rates: Mapping[float, Rate]) -> None:
    """Marks with error bars at some places of a curve."""
    if not rates:
        return
    values = np.array([(rate.value, rate.low, rate.high) for rate in rates.values()]).T
    axes.errorbar(
        list(rates),
        values[0],
        yerr=[values[0] - values[1], values[2] - values[0]],
        fmt="o",
        markersize=4,
        color=_COLORS[0],
        elinewidth=0.9,
        capsize=2.5,
        label="95 % interval",
    )


def _zoom(axes: Axes) -> None:
    """Limits both axes to what is drawn, with a margin, the rates within 0 to 1."""
    drawn = [np.asarray(line.get_xdata(), np.float64) for line in axes.get_lines()]
    places = np.concatenate(drawn)
    places = places[places > 0]
    if not len(places):
        return
    axes.set_xlim(places.min() / 1.3, places.max() * 1.3)
    low, high = axes.dataLim.intervaly
    margin = max(0.05 * (high - low), 0.005)
    axes.set_ylim(max(low - margin, -0.01), min(high + margin, 1.01))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1 if high - low < 0.1 else 0))


def plot_calibration(calibration: Calibration) -> Figure:
    """Both error rates by similarity threshold, with their confidence intervals."""
    figure = _figure(6.5, 4.5)
    axes = figure.subplots()
    basis = calibration.basis
    _axes(axes, "Similarity (cosine)", "Rate", f"{calibration.model}\n{basis.data}")
    places = np.array(calibration.similarity)
    lowest = calibration.lowest_false_match_rate
    percent = f"{calibration.confidence:.0%} interval"
    for number, (curve, name) in enumerate(
        (
            (calibration.false_match_curve, f"False match, {basis.impostor_pairs:,} pairs"),
            (calibration.false_non_match_curve, f"False non-match, {basis.genuine_pairs:,} pairs"),
        )
    ):
        value, low, high = (np.array(row) for row in (curve.value, curve.low, curve.high))
        seen = value > 0
        style = _style(number)
        axes.plot(places[seen], value[seen], label=name, **style)
        axes.fill_between(
            places,
            np.maximum(low, 1e-9),
            high,
            color=style["color"],
            alpha=0.2,
            linewidth=0,
            label=percent,
        )
    axes.axhline(
        lowest,
        color="0.4",
        linewidth=0.8,
        linestyle=":",
        label=f"lowest supported false match rate, {lowest:.2g}",
    )
    axes.set_yscale("log")
    axes.set_ylim(lowest / 20, 1.3)
    inner = (np.array(calibration.false_match_curve.value) < 0.999) | (
        np.array(calibration.false_non_match_curve.value) > 0
    )
    axes.set_xlim(places[inner].min(), 1)
    axes.legend(fontsize="small", loc="lower left")
    return figure


def plot_speed(rows: Sequence[tuple[str, float, float, float]], title: str) -> Figure:
    """Median run time per crop, with error bars from the lower to the upper quartile.

    Args:
        rows: Name, median, and lower and upper quartile, in milliseconds.
        title: Title of the plot.
    """
    figure = _figure(6.5, 1.2 + 0.45 * len(rows))
    axes = figure.subplots()
    _axes(axes, "Run time per crop (ms)", "", title)
    places = np.arange(len(rows))[::-1]
    middle, low, high = (np.array([row[column] for row in rows]) for column in (1, 2, 3))
    axes.barh(
        places,
        middle,
        color=_COLORS[0],
        height=0.6,
        xerr=np.stack([middle - low, high - middle]),
        ecolor="0.2",
        capsize=3,
    )
    axes.set_yticks(places, [row[0] for row in rows])
    axes.grid(visible=False, axis="y")
    return figure
