"""Repeated columns and rows become upsampling, in MXNet equal to the last bit; others stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mobileface_convert.source_passes import fuse_repeat
from tests.convert.ops.op_check import Network, Symbol, conv, data, flat, norm, relu, sym

pytestmark = pytest.mark.needs_mxnet


def repeat(x: Symbol, axis: int | None, repeats: int = 2, name: str = "columns") -> Symbol:
    given: dict[str, Any] = {} if axis is None else {"axis": axis}
    return sym().repeat(x, repeats=repeats, name=name, **given)


def rows(x: Symbol, axis: int = -2, repeats: int = 2) -> Symbol:
    return repeat(x, axis, repeats, "rows")


FUSED: dict[str, Callable[[], Symbol]] = {
    "columns first": lambda: rows(repeat(conv(data()), -1)),
    "rows first": lambda: rows(repeat(conv(data()), -2), -1),
    "counted from the front": lambda: rows(repeat(conv(data()), 3), 2),
    "mixed": lambda: rows(repeat(conv(data()), -2), 3),
    "threefold": lambda: rows(repeat(conv(data()), -1, 3), -2, 3),
    "behind an activation": lambda: rows(repeat(relu(norm(conv(data()))), -1)),
    "behind a pooling": lambda: rows(repeat(sym().Pooling(data(), kernel=(2, 2)), -1)),
    "read twice": lambda: (lambda x: relu(x) + x)(rows(repeat(conv(data()), -1))),
}


@pytest.mark.parametrize("case", FUSED)
def test_rows_and_columns_become_upsampling(case: str, tmp_path: Path) -> None:
    network = Network(FUSED[case]())
    result = fuse_repeat(network.graph)
    assert result.changed == ("columns + rows",)
    assert "repeat" not in [node.op for node in result.graph.operators]
    network.assert_same_outputs(result.graph, tmp_path, tolerance=0)


LEFT: dict[str, tuple[Callable[[], Symbol], tuple[str, ...]]] = {
    "columns twice": (
        lambda: rows(repeat(conv(data()), -1), 3),
        ("its axes are not rows and columns",),
    ),
    "channels": (
        lambda: rows(repeat(conv(data()), 1)),
        ("its axes are not rows and columns",),
    ),
    "flattened": (
        lambda: rows(repeat(conv(data()), None), 0),
        ("its axes are not rows and columns",),
    ),
    "unequal": (
        lambda: rows(repeat(conv(data()), -1, 2), -2, 3),
        ("rows and columns are repeated differently",),
    ),
    "used between": (
        lambda: (lambda x: sym().Group([flat(x), rows(x)]))(repeat(conv(data()), -1)),
        ("'columns' is also used elsewhere",),
    ),
    "of unknown rank": (
        lambda: rows(repeat(data(), -1)),
        ("its input is not known to be a feature map",),
    ),
    "of a line": (
        lambda: rows(repeat(conv(sym().reshape(data(), shape=(0, 0, -1)), kernel=(3,)), -1)),
        ("its input is not known to be a feature map",),
    ),
    "one alone": (lambda: repeat(conv(data()), -1), ()),
}


@pytest.mark.parametrize("case", LEFT)
def test_other_repeats_stay(case: str, tmp_path: Path) -> None:
    build, reasons = LEFT[case]
    network = Network(build())
    result = fuse_repeat(network.graph)
    assert result.graph is network.graph
    assert result.changed == ()
    assert tuple(refusal.reason for refusal in result.refused) == reasons
    network.assert_same_outputs(result.graph, tmp_path, tolerance=0)
