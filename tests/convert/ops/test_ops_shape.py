"""Reshape with all its codes, and axes that move, come and go, against MXNet."""

from __future__ import annotations

from typing import Any

import pytest

from mobileface.errors import GraphError, UnsupportedOperatorError
from tests.convert.ops.op_check import (
    Case,
    assert_refused,
    check_case,
    check_dynamic,
    check_inputs,
    sym,
)

CODES: tuple[tuple[int, ...], ...] = (
    (0, -1),
    (0, 0, -1),
    (0, -3, -1),
    (-1, -2),
    (0, -2),
    (-3, -3),
    (-3, 0, 0),
    (0, 0, -3),
    (0, -4, 1, -1, -2),
    (0, -4, -1, 2, 0, 0),
    (0, 0, -4, -1, 2, 0),
    (0, 0, 0, -4, 5, -1),
    (-4, 1, -1, -2),
    (0, 4, -1, 0),
    (0, 2, 2, 6, 5),
    (0, -1, 5),
    (0, 120),
    (-2, 1),
)
"""For (N, 4, 6, 5)."""

BACKWARDS: tuple[tuple[int, ...], ...] = ((-1, 0), (0, -1, 0), (-2, 0), (-3, 0, 0), (-1, 3, 2, 5))
TARGETS: tuple[dict[str, Any], ...] = (
    {"target_shape": (0, 120)},
    {"target_shape": (0, 0), "keep_highest": True},
    {"target_shape": (5, 0, 6), "keep_highest": True},
)
ORDERS: tuple[tuple[int, ...], ...] = ((0, 2, 3, 1), (1, 0, 2, 3), (3, 2, 1, 0), ())
SIZES = ((1, 4, 6, 5), (3, 4, 8, 10), (2, 4, 12, 5))

CASES = [
    *[Case("Reshape", (4, 6, 5), {"shape": codes}) for codes in CODES],
    *[Case("Reshape", (4, 6, 5), {"shape": codes, "reverse": True}) for codes in BACKWARDS],
    *[Case("Reshape", (4, 6, 5), attrs) for attrs in TARGETS],
    Case("Reshape", (4, 6, 5), {"shape": (0, 0, -1), "target_shape": (0, 7)}),
    Case("reshape_like", (4, 6), inputs=2),
    *[Case("transpose", (4, 6, 5), {"axes": axes}) for axes in ORDERS],
    Case("transpose", (4,)),
    *[
        Case("SwapAxis", (4, 6, 5), {"dim1": a, "dim2": b})
        for a, b in ((0, 1), (1, 3), (2, 2), (-1, 1))
    ],
    *[Case("expand_dims", (4, 6), {"axis": axis}) for axis in (0, 1, 3, -1, -2)],
    *[Case("squeeze", (1, 6, 1), {"axis": axis}) for axis in (1, -1, (1, 3), (3, -3))],
    *[
        Case("depth_to_space", (8, 3, 5), {"block_size": 2}),
        Case("space_to_depth", (2, 4, 6), {"block_size": 2}),
    ],
]


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_shapes_are_those_of_mxnet(case: Case) -> None:
    check_case(case, 17)


FREE: tuple[tuple[int, ...], ...] = (
    (0, -1),
    (0, 0, -1),
    (0, -3, -1),
    (0, -3, 0),
    (-3, -3),
    (-3, 0, 0),
    (0, -4, 2, 2, -2),
    (0, -4, -1, 2, -3),
    (0, 0, -4, -1, 2, 0),
    (0, 0, 0, -4, 5, -1),
    (0, 0, -4, 2, -1, -4, -1, 5),
    (-2, 1),
    (1, -2),
)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("codes", FREE, ids=str)
def test_sizes_that_are_not_known_are_computed(codes: tuple[int, ...]) -> None:
    """One model for several numbers of pictures, heights and widths."""
    data = sym().Variable("data")
    first = codes[0] == 1
    sizes = [(1, *shape[1:]) for shape in SIZES] if first else SIZES
    check_dynamic(sym().reshape(data, shape=codes), *sizes, tolerance=0)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("codes", BACKWARDS[:4], ids=str)
def test_backwards_too(codes: tuple[int, ...]) -> None:
    data = sym().Variable("data")
    check_dynamic(sym().reshape(data, shape=codes, reverse=True), *SIZES, tolerance=0)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize(
    ("op", "attrs"),
    [
        ("transpose", {"axes": (0, 3, 1, 2)}),
        ("SwapAxis", {"dim1": 1, "dim2": 2}),
        ("expand_dims", {"axis": 2}),
        ("depth_to_space", {"block_size": 2}),
    ],
    ids=str,
)
def test_maps_of_any_size(op: str, attrs: dict[str, Any]) -> None:
    check_dynamic(getattr(sym(), op)(sym().Variable("data"), **attrs), *SIZES, tolerance=0)


@pytest.mark.needs_mxnet
def test_all_axes_of_size_one_go() -> None:
    shape = {"data": (1, 6, 1, 2)}
    check_inputs(sym().squeeze(sym().Variable("data")), shape, shape, tolerance=0)


@pytest.mark.needs_mxnet
def test_something_is_left_of_a_single_number() -> None:
    shape = {"data": (1, 1)}
    check_inputs(sym().squeeze(sym().Variable("data")), shape, shape, tolerance=0)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize(
    ("op", "attrs", "kind", "message"),
    [
        ("Reshape", {"shape": (-4, 2, 2, 0), "reverse": True}, UnsupportedOperatorError, "reverse"),
        ("Reshape", {"shape": (-1, -1)}, GraphError, "more than one size to infer"),
        ("Reshape", {"shape": (0, 0, 0, 0, 0)}, GraphError, "for data of 4 axes"),
        ("Reshape", {"shape": (0, -5)}, GraphError, "not a list of sizes and codes"),
        ("Reshape", {"shape": (0, -4, -1, -1, -2)}, GraphError, "cannot be split into -1 and -1"),
        ("Reshape", {"shape": (0, -4, 3, -1, -2)}, GraphError, "axis of 4 cannot be split by 3"),
        ("Reshape", {"target_shape": (0, 0)}, GraphError, "more than one size to infer"),
        ("Reshape", {}, GraphError, "'shape' is missing"),
        ("transpose", {"axes": (0, 1, 2)}, GraphError, "for data of 4 axes"),
        ("transpose", {"axes": (0, 1, 2, 2)}, GraphError, "for data of 4 axes"),
        ("SwapAxis", {"dim1": 4}, GraphError, "dim1=4"),
        ("expand_dims", {"axis": 5}, GraphError, "axis=5 is out of range for 5 axes"),
        ("squeeze", {"axis": 1}, GraphError, "not of size 1"),
        ("squeeze", {}, GraphError, "is unknown"),
        ("depth_to_space", {"block_size": 3}, GraphError, "4 channels"),
    ],
    ids=str,
)
def test_what_has_no_conversion_is_named(
    op: str, attrs: dict[str, Any], kind: type[Exception], message: str
) -> None:
    assert_refused(op, attrs, kind, message, ("N", 4, 6, 5))
