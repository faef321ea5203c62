"""Reductions along axes and products of matrices against MXNet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mobileface.errors import GraphError, UnsupportedOperatorError
from mobileface_convert.backends.onnx import to_onnx
from mobileface_convert.frontends.mxnet_symbol import read_symbol
from tests.convert.ops.op_check import (
    Case,
    assert_close,
    assert_refused,
    check_case,
    check_dynamic,
    operator,
    run_mxnet,
    run_onnx,
    sym,
)

KINDS = ("sum", "mean", "max", "min", "prod")
SHAPE = (3, 4, 5)
SIZES = ((1, 4, 6, 5), (3, 4, 8, 7), (2, 4, 12, 5))
AXES: tuple[dict[str, Any], ...] = (
    {},
    {"axis": 1},
    {"axis": (2, 3)},
    {"axis": (-1, 1), "keepdims": True},
    {"axis": 1, "exclude": True},
    {"axis": (0, -1), "exclude": True, "keepdims": True},
    {"keepdims": True},
    {"axis": ()},
)
PLACES: tuple[dict[str, Any], ...] = (
    {"axis": 1},
    {"axis": -1, "keepdims": True},
    {"axis": 0},
    {},
)
CASES = [
    *[Case(kind, SHAPE, attrs, 1, 2e-6) for kind in KINDS for attrs in AXES],
    *[
        Case("norm", SHAPE, {"ord": order, **attrs}, 1, 1e-6)
        for order in (1, 2)
        for attrs in ({}, {"axis": 1}, {"axis": (2, 3), "keepdims": True})
    ],
    *[Case(kind, SHAPE, attrs) for kind in ("argmax", "argmin") for attrs in PLACES],
    Case("argmax_channel", (6,)),
    Case("dot", (3,), {"transpose_b": True}, 2, 1e-6),
    Case("dot", (3,), {"transpose_a": True}, 2, 1e-6),
    Case("batch_dot", (4, 3), {"transpose_b": True}, 2, 1e-6),
    Case("batch_dot", (4, 3), {"transpose_a": True}, 2, 1e-6),
    Case("batch_dot", (3, 3), {}, 2, 1e-6),
]


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("opset", [17, 23])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_values_are_those_of_mxnet(case: Case, opset: int) -> None:
    check_case(case, opset)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("attrs", [AXES[2], AXES[3], AXES[5]], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_maps_of_any_size(kind: str, attrs: dict[str, Any]) -> None:
    check_dynamic(operator(kind)(sym().Variable("data"), **attrs), *SIZES, tolerance=1e-6)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("kind", ["argmax", "argmin"])
def test_the_first_of_equals_counts(kind: str) -> None:
    symbol = operator(kind)(sym().Variable("data"), axis=1)
    feeds = {"data": np.float32([[1, 3, 3, 0, 0], [2, 2, 2, 2, 2], [0, -0.0, 0, -1, -1]])}
    model = to_onnx(read_symbol(symbol.tojson(), {}), {"data": ("N", "K")})
    assert_close(run_onnx(model, feeds), run_mxnet(symbol, {}, feeds), 0)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "kind", "message"),
    [
        ("sum", 1, {"axis": 4}, GraphError, r"axis=\(4,\) is out of range .* for 4 axes"),
        ("sum", 1, {"axis": (1, 1)}, GraphError, r"axis=\(1, 1\)"),
        ("norm", 1, {"ord": 3}, UnsupportedOperatorError, "ord='3'"),
        ("dot", 2, {}, UnsupportedOperatorError, "axes is not supported"),
        ("argmax", 1, {"axis": 7}, GraphError, "axis=7"),
    ],
    ids=str,
)
def test_what_has_no_conversion_is_named(
    op: str, inputs: int, attrs: dict[str, Any], kind: type[Exception], message: str
) -> None:
    assert_refused(op, attrs, kind, message, *[("N", 4, 6, 5)] * inputs)
