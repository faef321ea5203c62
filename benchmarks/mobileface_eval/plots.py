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

from .datasets.lfw import LfwResult
from .datasets.megaface import MegafaceResult
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
_MOST_TICKS = 40
_MOST_NAMED = 20
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


def plot_roc(results: Mapping[str, tuple[PairScores, Verification]], data: str) -> Figure:
    """ROC curves, next to histograms of the similarities of each model."""
    figure = _figure(9.5, max(4.2, 1.5 * len(results)))
    grid = figure.add_gridspec(len(results), 2, width_ratios=(1.1, 1))
    roc = figure.add_subplot(grid[:, 0])
    fewest = min(len(scores.impostor) for scores, _ in results.values())
    _rate_axes(roc, f"ROC, {data}", 1 / fewest)
    first: Axes | None = None
    for number, (name, (scores, found)) in enumerate(results.items()):
        label = f"{name} (AUC {found.auc:.4f})"
        roc.step(found.false_match, found.true_match, where="post", label=label, **_style(number))
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


def plot_lfw(results: Mapping[str, LfwResult], data: str) -> Figure:
    """Mean ROC curves over the folds, and the accuracy of each fold."""
    figure = _figure(9.5, 4.2)
    roc, folds = figure.subplots(1, 2, width_ratios=(1.1, 1))
    _rate_axes(roc, f"ROC, mean of the folds, {data}", 1e-4)
    _axes(folds, "Fold", "Accuracy", f"Accuracy of each fold, {data}")
    for number, (name, found) in enumerate(results.items()):
        style = _style(number)
        label = f"{name} (AUC {found.auc:.4f})"
        roc.step(found.false_match, found.true_match, where="post", label=label, **style)
        places = np.arange(1, len(found.accuracies) + 1)
        text = f"{name}: {found.accuracy:.2%} ± {found.accuracy_std:.2%}"
        folds.plot(places, found.accuracies, marker="o", markersize=4, label=text, **style)
    roc.axvline(found.far_target, color="0.6", linewidth=0.8)
    folds.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    folds.set_xticks(places)
    for axes in (roc, folds):
        axes.legend(loc="lower right", fontsize="small")
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
    figure = _figure(7.2, 6.2)
    axes = figure.subplots()
    image = axes.imshow(similarity, cmap="cividis", interpolation="nearest")
    image.cmap.set_bad("0.85")
    axes.set_title(title, fontsize="medium")
    if len(names) <= _MOST_TICKS:
        places = np.arange(len(names))
        axes.set_xticks(places, names, rotation=90, fontsize="x-small")
        axes.set_yticks(places, names, fontsize="x-small")
    axes.set_xlabel("Person")
    axes.set_ylabel("Person")
    figure.colorbar(image, ax=axes, label="Mean similarity (cosine)", shrink=0.9)
    return figure


def plot_megaface(found: MegafaceResult, title: str) -> Figure:
    """CMC curve, rank-1 rate by gallery size, and true accept rate by false accept rate."""
    figure = _figure(11, 3.8)
    cmc, sizes, roc = figure.subplots(1, 3)
    ranks = np.unique(np.geomspace(1, found.distractors + 1, 200).astype(np.int64))
    _axes(cmc, "Rank", "Identification rate", f"CMC, {found.distractors:,} distractors")
    cmc.semilogx(ranks, found.cmc(ranks), **_style(0))
    _axes(sizes, "Distractors", "Rank-1 identification rate", title)
    sizes.semilogx(list(found.rank1), list(found.rank1.values()), marker="o", **_style(0))
    _axes(roc, "False accept rate", "True accept rate", "Verification")
    roc.semilogx(found.false_accept[1:], found.true_accept[1:], **_style(0))
    for axes in (cmc, sizes, roc):
        axes.set_ylim(0, 1.02)
    return figure


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
