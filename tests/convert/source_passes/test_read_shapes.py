"""A shape is taken from the earliest value that has it; in MXNet the result is the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mobileface_convert.source_passes import read_shapes
from tests.convert.ops.op_check import Network, Symbol, conv, data, relu, scalar, sym

pytestmark = pytest.mark.needs_mxnet


def like(x: Symbol, y: Symbol) -> Symbol:
    return sym().slice_like(x, y, axes=(2, 3), name="like")


def small() -> Symbol:
    return conv(data(), "small", stride=(2, 2))


def wide() -> Symbol:
    return conv(data(), "wide")


EARLIER: dict[str, tuple[Callable[[], Symbol], str]] = {
    "times zero": (lambda: like(wide(), scalar("mul", small(), 0, "none")), "small"),
    "several": (lambda: like(wide(), relu(scalar("plus", small(), 1, "n"))), "small"),
    "to the input": (lambda: sym().zeros_like(relu(data()), name="like"), "data"),
    "crop": (lambda: sym().Crop(wide(), relu(small()), name="like"), "small"),
}


@pytest.mark.parametrize("case", EARLIER)
def test_the_earliest_value_of_the_shape_is_read(case: str, tmp_path: Path) -> None:
    build, source = EARLIER[case]
    network = Network(build())
    result = read_shapes(network.graph)
    assert result.changed == (f"like reads {source}",)
    assert len(result.graph.operators) < len(network.graph.operators)
    network.assert_same_outputs(result.graph, tmp_path, tolerance=0)


def test_what_is_used_elsewhere_stays(tmp_path: Path) -> None:
    active = relu(small())
    network = Network(sym().Group([like(wide(), active), active]))
    result = read_shapes(network.graph)
    assert result.changed == ("like reads small",)
    assert len(result.graph.operators) == len(network.graph.operators)
    network.assert_same_outputs(result.graph, tmp_path, tolerance=0)


LEFT: dict[str, Callable[[], Symbol]] = {
    "the value counts": lambda: like(relu(wide()), small()),
    "another shape": lambda: like(wide(), sym().Pooling(small(), kernel=(2, 2), name="p")),
    "a sum": lambda: relu(data()) + scalar("mul", data(), 0, "none"),
}


@pytest.mark.parametrize("case", LEFT)
def test_other_values_are_read_where_they_are(case: str, tmp_path: Path) -> None:
    network = Network(LEFT[case]())
    result = read_shapes(network.graph)
    assert result.graph is network.graph
    assert result.changed == ()
    network.assert_same_outputs(result.graph, tmp_path, tolerance=0)
