"""Normalisation by instance, layer, group, neighbours and length, against MXNet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mobileface.errors import GraphError, UnsupportedOperatorError
from mobileface_convert.backends.onnx import to_onnx
from mobileface_convert.frontends.mxnet_symbol import read_symbol
from tests.convert.ops.op_check import (
    Case,
    assert_refused,
    check_case,
    check_dynamic,
    operator,
    random_arrays,
    sym,
)

SIZES = ((1, 4, 6, 5), (3, 4, 8, 7), (2, 4, 12, 5))
LENGTHS: tuple[dict[str, Any], ...] = (
    {},
    {"mode": "instance", "eps": 0.3},
    {"mode": "channel"},
    {"mode": "channel", "eps": 0.3},
    {"mode": "spatial"},
)

CASES = [
    *[
        Case("InstanceNorm", shape, attrs, 1, 3e-6)
        for shape in ((4, 5), (4, 6, 5))
        for attrs in ({}, {"eps": 0.1})
    ],
    *[
        Case("LayerNorm", shape, {"axis": axis, **attrs}, 1, 3e-6)
        for shape, axis in (((8,), -1), ((4, 6), -1), ((4, 6, 5), 1), ((4, 6, 5), 3))
        for attrs in ({}, {"eps": 0.1})
    ],
    *[
        Case("GroupNorm", (6, 4, 5), {"num_groups": count, **attrs}, 1, 3e-6)
        for count in (1, 2, 3, 6)
        for attrs in ({}, {"eps": 0.1})
    ],
    *[
        Case("LRN", (7, 4, 5), {"nsize": size, **attrs}, 1, 1e-6)
        for size in (1, 3, 5, 9)
        for attrs in ({}, {"alpha": 0.3, "beta": 0.5, "knorm": 1.5})
    ],
    *[Case("L2Normalization", (4, 6, 5), attrs, 1, 2e-6) for attrs in LENGTHS],
    Case("L2Normalization", (9,), {}, 1, 1e-6),
]


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("opset", [17, 23])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_values_are_those_of_mxnet(case: Case, opset: int) -> None:
    check_case(case, opset)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize(
    ("op", "attrs"),
    [
        ("InstanceNorm", {}),
        ("LayerNorm", {"axis": 1}),
        ("LRN", {"nsize": 3}),
        *[("L2Normalization", attrs) for attrs in LENGTHS],
    ],
    ids=str,
)
def test_maps_of_any_size(op: str, attrs: dict[str, Any]) -> None:
    check_dynamic(operator(op)(sym().Variable("data"), **attrs), *SIZES, tolerance=5e-6)


@pytest.mark.needs_mxnet
def test_groups_of_maps_of_any_size() -> None:
    symbol = sym().GroupNorm(sym().Variable("data"), num_groups=2)
    check_dynamic(symbol, *SIZES, tolerance=5e-6)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize(
    ("op", "shape", "attrs", "kind", "message"),
    [
        ("LRN", (1, 4, 6, 5), {"nsize": 4}, UnsupportedOperatorError, "nsize=4"),
        ("LayerNorm", (1, 4, 6), {"output_mean_var": True}, UnsupportedOperatorError, "mean_var"),
        ("GroupNorm", (1, 4, 6, 5), {"num_groups": 3}, GraphError, "4 channels in 3 groups"),
        ("L2Normalization", (1, 4), {"mode": "channel"}, GraphError, "mode='channel'"),
        ("LayerNorm", (1, 4), {"axis": 2}, GraphError, "axis=2"),
    ],
    ids=str,
)
def test_what_has_no_conversion_is_named(
    op: str, shape: tuple[int, ...], attrs: dict[str, Any], kind: type[Exception], message: str
) -> None:
    size = attrs.get("num_groups", shape[1])
    arrays = dict.fromkeys(("n_gamma", "n_beta"), np.ones(size, np.float32))
    assert_refused(op, attrs, kind, message, shape, arrays=arrays)


@pytest.mark.needs_mxnet
def test_weights_of_another_size_are_named() -> None:
    symbol = sym().InstanceNorm(sym().Variable("data"), name="n")
    arrays = random_arrays(symbol, 1, data=(1, 5, 3, 3))
    with pytest.raises(GraphError, match=r"n_gamma.*\(5,\)"):
        to_onnx(read_symbol(symbol.tojson(), arrays), {"data": (1, 4, 3, 3)})
