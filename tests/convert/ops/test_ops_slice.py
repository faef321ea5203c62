"""Slices, splits, concatenations and gathers against MXNet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mobileface.errors import GraphError, UnsupportedOperatorError
from mobileface_convert.backends.onnx import to_onnx
from mobileface_convert.frontends.mxnet_symbol import read_symbol
from tests.convert.ops.op_check import (
    Case,
    FloatArray,
    assert_close,
    assert_refused,
    check,
    check_case,
    check_dynamic,
    check_inputs,
    operator,
    run_mxnet,
    run_onnx,
    sym,
)

SHAPE = (4, 6, 5)
SIZES = ((1, 4, 6, 5), (3, 4, 8, 7), (2, 4, 12, 5))
PARTS: tuple[dict[str, Any], ...] = (
    {"begin": (0, 1), "end": (None, 3)},
    {"begin": (None, -3, 2), "end": (None, -1, None)},
    {"begin": (None, None, 4), "end": (None, None, 1), "step": (1, 2, -1)},
    {"begin": (None, None, None, None), "end": (None, None, None, None), "step": (None, 1, -2, -1)},
)
RANGES: tuple[dict[str, Any], ...] = (
    {"axis": 1, "begin": 1, "end": 3},
    {"axis": -1, "begin": 2, "end": None},
    {"axis": 2, "begin": -4, "end": -1},
    {"axis": -2, "begin": 0, "end": 6},
)
SPLITS: tuple[dict[str, Any], ...] = (
    {"num_outputs": 2},
    {"num_outputs": 4, "squeeze_axis": True},
    {"num_outputs": 3, "axis": -2},
    {"num_outputs": 1},
)

CASES = [
    *[Case("slice", SHAPE, attrs) for attrs in PARTS],
    *[Case("slice_axis", SHAPE, attrs) for attrs in RANGES],
    *[Case("slice_like", SHAPE, attrs, inputs=2) for attrs in ({}, {"axes": (2, -1)})],
    *[Case("reverse", SHAPE, {"axis": axis}) for axis in (1, 3, (2, 3))],
    *[Case("SliceChannel", SHAPE, attrs) for attrs in SPLITS],
    *[
        Case("Concat", SHAPE, {"dim": dim}, inputs=count)
        for dim, count in ((1, 2), (-1, 3), (2, 1), (0, 2))
    ],
    *[Case("stack", SHAPE, {"axis": axis}, inputs=3) for axis in (0, 1, 4, -1, -2)],
    *[
        Case("take", (9,), {"axis": axis, "mode": mode}, inputs=2)
        for axis in (0, 1, -1)
        for mode in ("clip", "wrap")
    ],
    Case("Embedding", (9,), {"input_dim": 3, "output_dim": 4}),
    Case("where", SHAPE, inputs=3),
]


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_parts_are_those_of_mxnet(case: Case) -> None:
    check_case(case, 17)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize(
    ("op", "attrs", "inputs"),
    [
        *[("slice", attrs, 1) for attrs in PARTS],
        *[("slice_axis", attrs, 1) for attrs in RANGES[:3]],
        ("reverse", {"axis": (0, 3)}, 1),
        ("SliceChannel", {"num_outputs": 2, "axis": 2}, 1),
        ("Concat", {"dim": 2}, 3),
        ("stack", {"axis": 1}, 2),
    ],
    ids=str,
)
def test_maps_of_any_size(op: str, attrs: dict[str, Any], inputs: int) -> None:
    data = [sym().Variable(f"data{i or ''}") for i in range(inputs)]
    check_dynamic(operator(op)(*data, **attrs), *SIZES, tolerance=0)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("axes", [(2, 3), (3,), (-2,), ()], ids=str)
def test_one_map_is_cut_to_the_size_of_another(axes: tuple[int, ...]) -> None:
    cut = sym().slice_like(sym().Variable("data"), sym().Variable("data1"), axes=axes)
    other = 2 if not axes else 7
    declared = {"data": ("N", 4, "H", "W"), "data1": ("M", other, "h", "w")}
    if not axes:
        declared["data1"] = ("M", 2, "h", "w")
    runs = [
        {"data": (3, 4, 6, 5), "data1": (2, other, 3, 4)},
        {"data": (3, 4, 9, 9), "data1": (3, other, 9, 1)},
    ]
    check_inputs(cut, declared, *runs, tolerance=0)


@pytest.mark.needs_mxnet
def test_maps_of_several_widths_are_joined() -> None:
    joined = sym().Concat(sym().Variable("data"), sym().Variable("data1"), dim=1)
    declared = {"data": ("N", 3, "H", "W"), "data1": ("N", 5, "H", "W")}
    runs = [{"data": (n, 3, 6, 5), "data1": (n, 5, 6, 5)} for n in (1, 2)]
    check_inputs(joined, declared, *runs, tolerance=0)


def places() -> FloatArray:
    """Whole numbers, some beyond either end."""
    return np.float32([[0, 1, 2, 7], [-1, -4, 3, 1]])


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("mode", ["clip", "wrap"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_places_beyond_the_ends(mode: str, axis: int) -> None:
    taken = sym().take(sym().Variable("data"), sym().Variable("data1"), axis=axis, mode=mode)
    noise = np.random.RandomState(3).standard_normal((3, 3, 3)).astype(np.float32)
    feeds = {"data": noise, "data1": places()}
    graph = read_symbol(taken.tojson(), {})
    for shape in ((3, 3, 3), ("N", "H", "W")):
        model = to_onnx(graph, {"data": shape, "data1": (2, 4)})
        assert_close(run_onnx(model, feeds), run_mxnet(taken, {}, feeds), 0)


@pytest.mark.needs_mxnet
def test_rows_of_a_weight_by_number() -> None:
    rows = sym().Embedding(sym().Variable("data"), input_dim=3, output_dim=4)
    check(rows, 4, tolerance=0, feeds={"data": places()})


@pytest.mark.needs_mxnet
def test_a_condition_may_choose_rows() -> None:
    names = ("data", "data1", "data2")
    chosen = sym().where(*(sym().Variable(name) for name in names))
    feeds = {
        name: np.random.RandomState(4).standard_normal((4, 3, 2)).astype("f4") for name in names
    }
    feeds["data"] = np.float32([0, 1, -2, 0])
    graph = read_symbol(chosen.tojson(), {})
    model = to_onnx(graph, {name: feeds[name].shape for name in names})
    assert_close(run_onnx(model, feeds), run_mxnet(chosen, {}, feeds), 0)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "kind", "message"),
    [
        ("slice", 1, {"begin": (0, 1), "end": (2,)}, GraphError, "begin="),
        ("slice", 1, {"begin": (0,), "end": (2,), "step": (0,)}, GraphError, "must not contain 0"),
        (
            "slice_axis",
            1,
            {"axis": 4, "begin": 0, "end": 1},
            GraphError,
            "axis=4 is out of range for 4 axes",
        ),
        ("slice_like", 2, {"axes": (5,)}, GraphError, r"axes=\(5,\) is out of .* for 4 axes"),
        ("SliceChannel", 1, {"num_outputs": 3}, GraphError, "in 3 parts"),
        ("SliceChannel", 1, {"num_outputs": 2, "squeeze_axis": True}, GraphError, "in 2 parts"),
        ("Concat", 2, {"dim": 4}, GraphError, "dim=4 is out of range for 4 axes"),
        ("take", 2, {"mode": "raise"}, UnsupportedOperatorError, "mode='raise'"),
        ("reverse", 1, {"axis": (1, 1)}, GraphError, r"axis=\(1, 1\)"),
    ],
    ids=str,
)
def test_what_has_no_conversion_is_named(
    op: str, inputs: int, attrs: dict[str, Any], kind: type[Exception], message: str
) -> None:
    assert_refused(op, attrs, kind, message, *[("N", 4, 6, 5)] * inputs)


@pytest.mark.needs_mxnet
def test_maps_that_do_not_fit_are_refused() -> None:
    left, right = sym().Variable("data"), sym().Variable("data1")
    shapes = {"data": ("N", 4, 6, 5), "data1": ("N", 4, 7, 5)}
    for symbol, message in (
        (sym().Concat(left, right, name="n"), "differ"),
        (sym().slice_like(left, right, axes=(2,), name="n"), "cannot be sliced to 7"),
    ):
        with pytest.raises(GraphError, match=message):
            to_onnx(read_symbol(symbol.tojson(), {}), shapes)
