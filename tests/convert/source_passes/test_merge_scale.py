"""Scalings fold into layers, in MXNet equal but for one rounding of the weights; others stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mobileface_convert.source_passes import merge_scale
from tests.convert.ops.op_check import (
    FloatArray,
    Network,
    Symbol,
    conv,
    data,
    dense,
    flat,
    relu,
    scalar,
    sym,
)

pytestmark = pytest.mark.needs_mxnet

EXACT = 0.0078125  # a power of two changes no digit of a weight
TOLERANCE = 1e-6


def each(x: Symbol, *shape: int, op: str = "mul") -> Symbol:
    """By an array."""
    values = sym().Variable("scale_values", shape=shape)
    return getattr(sym(), f"broadcast_{op}")(x, values, name="scale")


def channels(count: int, rank: int = 4) -> dict[str, FloatArray]:
    values = np.random.RandomState(3).uniform(0.5, 2, (1, count, *(1,) * (rank - 2)))
    return {"scale_values": values.astype(np.float32)}


Case = tuple[Callable[[], Symbol], dict[str, FloatArray]]

FOLDED: dict[str, Case] = {
    "before a padded convolution": (
        lambda: conv(scalar("mul", data(), 0.3, "scale"), pad=(1, 1)),
        {},
    ),
    "divided": (lambda: conv(scalar("div", data(), 57.1, "scale"), no_bias=True), {}),
    "each channel": (lambda: conv(each(data(), 1, 4, 1, 1), pad=(2, 1)), channels(4)),
    "each channel, divided": (lambda: conv(each(data(), 1, 4, 1, 1, op="div")), channels(4)),
    "each channel of groups": (lambda: conv(each(data(), 1, 4, 1, 1), num_group=2), channels(4)),
    "one number as an array": (lambda: conv(each(data(), 1, 1, 1, 1)), channels(1)),
    "after a convolution": (lambda: scalar("mul", conv(data()), -1.7, "scale"), {}),
    "after, each channel": (lambda: each(conv(data(), num_group=2), 1, 8, 1, 1), channels(8)),
    "after, no bias": (
        lambda: relu(each(conv(data(), no_bias=True), 1, 8, 1, 1, op="div")),
        channels(8),
    ),
    "fully connected": (lambda: dense(scalar("mul", flat(data()), 0.3, "scale")), {}),
    "fully connected, each": (lambda: dense(each(flat(data()), 1, 168)), channels(168, 2)),
    "after fully connected": (lambda: each(dense(data(), no_bias=True), 1, 5), channels(5, 2)),
    "deconvolution": (
        lambda: sym().Deconvolution(
            scalar("mul", data(), 0.3, "scale"), kernel=(2, 2), num_filter=4, num_group=2, name="c"
        ),
        {},
    ),
    "after a deconvolution": (
        lambda: each(
            sym().Deconvolution(data(), kernel=(2, 2), num_filter=4, num_group=2, name="c"),
            *(1, 4, 1, 1),
        ),
        channels(4),
    ),
    "behind a sum": (
        lambda: conv(scalar("mul", scalar("minus", data(), 127.5, "m"), 0.3, "scale"), pad=(1, 1)),
        {},
    ),
}


@pytest.mark.parametrize("case", FOLDED)
def test_scalings_fold(case: str, tmp_path: Path) -> None:
    build, arrays = FOLDED[case]
    network = Network(build(), arrays=arrays)
    result = merge_scale(network.graph)
    assert len(result.changed) == 1
    assert result.changed[0].startswith("scale into ")
    assert "scale" not in [node.name for node in result.graph.operators]
    assert "scale_values" not in result.graph.params
    network.assert_same_outputs(result.graph, tmp_path, tolerance=TOLERANCE)


def test_a_power_of_two_changes_nothing(tmp_path: Path) -> None:
    network = Network(conv(scalar("mul", data(), EXACT, "scale"), pad=(1, 1)))
    result = merge_scale(network.graph)
    assert len(result.changed) == 1
    network.assert_same_outputs(result.graph, tmp_path, tolerance=0)


def test_several_in_a_row(tmp_path: Path) -> None:
    first = scalar("mul", scalar("div", data(), 3.0, "one"), 0.7, "two")
    network = Network(scalar("mul", conv(first), 5.0, "three"))
    result = merge_scale(network.graph)
    assert [node.op for node in result.graph.operators] == ["Convolution"]
    assert sorted(line.split()[0] for line in result.changed) == ["one", "three", "two"]
    network.assert_same_outputs(result.graph, tmp_path, tolerance=TOLERANCE)


def both() -> Symbol:
    scaled = scalar("mul", data(), 0.3, "scale")
    return sym().Group([conv(scaled), relu(scaled)])


LEFT: dict[str, Case] = {
    "read twice": (both, {}),
    "an output": (lambda: scalar("mul", relu(data()), 0.3, "scale"), {}),
    "between activations": (lambda: relu(scalar("mul", relu(data(), "a"), 0.3, "scale")), {}),
    "a layer read twice": (
        lambda: (lambda c: sym().Group([scalar("mul", c, 0.3, "scale"), relu(c)]))(conv(data())),
        {},
    ),
    "columns": (
        lambda: conv(each(data(), 1, 1, 1, 7)),
        {"scale_values": np.random.RandomState(1).rand(1, 1, 1, 7).astype(np.float32)},
    ),
    "divided by zero": (lambda: conv(scalar("div", data(), 0.0, "scale")), {}),
    "a sum": (lambda: conv(scalar("plus", data(), 0.3, "scale"), pad=(1, 1)), {}),
}


@pytest.mark.parametrize("case", LEFT)
def test_others_stay(case: str) -> None:
    build, arrays = LEFT[case]
    network = Network(build(), arrays=arrays)
    result = merge_scale(network.graph)
    assert result.graph is network.graph
    assert result.changed == ()
    for refusal in result.refused:
        assert refusal.node == "scale"
        print(refusal.reason)
