"""The plots show what they are meant to show: names, zoomed and logarithmic axes, error bars."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer

from mobileface_eval.datasets.megaface import MegafaceResult, evaluate_megaface
from mobileface_eval.plots import plot_heat_map, plot_megaface, plot_speed


def bars(axes: Axes) -> list[tuple[float, float]]:
    """Both ends of all error bars along their direction."""
    found = []
    for container in axes.containers:
        if isinstance(container, ErrorbarContainer):
            for segments in container[2]:
                for (x1, y1), (x2, y2) in segments.get_segments():
                    found.append((x1, x2) if y1 == y2 else (y1, y2))
    return found


@pytest.mark.parametrize(("count", "every"), [(3, 1), (100, 1), (200, 1), (450, 3)])
def test_heat_maps_name_the_people(count: int, every: int) -> None:
    names = [f"Person {number}" for number in range(count)]
    figure = plot_heat_map(np.eye(count), names, "invented")
    axes = figure.axes[0]
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == names[::every]
    assert ("every 3th" in axes.get_xlabel()) is (every == 3)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
    gaps = [above.y0 - below.y1 for above, below in itertools.pairwise(boxes)]
    print(f"{count} people: names are {min(gaps):.2f} pixels apart at least")
    assert min(gaps) > -2  # of about 10: letters do not overlap
    assert len(axes.texts) == (9 if count == 3 else 0)
    largest = max(figure.get_size_inches())
    assert largest <= 27


def result(people: int, noise: float) -> MegafaceResult:
    random = np.random.default_rng(2)
    labels = np.repeat(np.arange(people), 2)
    probes = random.normal(size=(people, 48))[labels]
    probes = probes + noise * random.normal(size=probes.shape)
    others = random.normal(size=(3000, 48))
    probes, others = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (probes, others))
    return evaluate_megaface(probes.astype(np.float32), labels, others.astype(np.float32))


@pytest.mark.parametrize("noise", [0.2, 0.9])
def test_megaface_shows_the_range_of_its_curves(noise: float) -> None:
    found = result(60, noise)
    figure = plot_megaface(found, "net", "invented")
    figure.draw_without_rendering()
    for axes, curve in zip(
        figure.axes,
        (found.cmc(np.arange(1, 3002)), np.array(list(found.rank1.values())), found.true_accept),
        strict=True,
    ):
        assert axes.get_xscale() == "log"
        low, high = axes.get_ylim()
        ends = np.array(bars(axes))
        least, most = min(curve.min(), ends.min()), max(curve.max(), ends.max())
        print(f"{axes.get_title()}: {low:.3f} to {high:.3f}, drawn {least:.3f} to {most:.3f}")
        assert low <= least <= most <= high
        assert high - low <= 1.12 * (most - least) + 0.02
        legend = axes.get_legend()
        assert legend is not None
        assert "95 % interval" in [text.get_text() for text in legend.get_texts()]
    rates = [(found.rank1_rate(size).low, found.rank1_rate(size).high) for size in found.rank1]
    assert np.allclose(sorted(bars(figure.axes[1])), sorted(rates), atol=1e-12)


def test_megaface_with_few_distractors_says_what_is_not_supported() -> None:
    labels = np.repeat(np.arange(6), 2)
    probes = np.eye(12, dtype=np.float32)
    found = evaluate_megaface(probes, labels, np.eye(12, dtype=np.float32)[:3])
    figure = plot_megaface(found, "net", "invented")
    figure.draw_without_rendering()
    title = figure.axes[2].get_title()
    assert title == "Verification: not supported by 36\npairs of probe and distractor"


def test_speed_shows_the_quartiles() -> None:
    figure = plot_speed([("a", 2.0, 1.5, 3.0), ("b", 4.0, 3.9, 4.2)], "invented")
    errors = [c.errorbar for c in figure.axes[0].containers if hasattr(c, "errorbar")]
    segments = [s for error in errors if error is not None for s in error[2][0].get_segments()]
    assert [(s[0][0], s[1][0]) for s in segments] == [(1.5, 3.0), (3.9, 4.2)]
