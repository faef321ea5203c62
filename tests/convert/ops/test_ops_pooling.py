"""Pooling against MXNet: kinds, conventions and borders, for sizes known and unknown."""

from __future__ import annotations

from typing import Any

import pytest

from mobileface.errors import GraphError, UnsupportedOperatorError
from mobileface_convert.backends.onnx import to_onnx
from mobileface_convert.frontends.mxnet_symbol import read_symbol
from tests.convert.ops.op_check import Case, check_case, check_dynamic, sym

IMAGE = (3, 9, 8)
KINDS = ("max", "avg", "sum")
WINDOWS: tuple[dict[str, Any], ...] = (
    {"kernel": (2, 2), "stride": (2, 2)},
    {"kernel": (3, 3), "stride": (2, 2)},
    {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1)},
    {"kernel": (3, 2), "stride": (1, 3), "pad": (2, 1)},
    {"kernel": (2, 3), "stride": (4, 5)},
    {"kernel": (3, 3)},
)
SIZES = ((1, 3, 9, 8), (2, 3, 8, 9), (1, 3, 17, 12), (1, 3, 7, 7))


def cases() -> list[Case]:
    found = [
        Case("Pooling", IMAGE, {**window, "pool_type": kind, "pooling_convention": rule}, 1, 1e-6)
        for window in WINDOWS
        for kind in KINDS
        for rule in ("valid", "full")
    ]
    found += [
        Case("Pooling", IMAGE, {**window, "pool_type": "avg", "count_include_pad": False}, 1, 1e-6)
        for window in WINDOWS
    ]
    whole = {"kernel": (2, 2), "global_pool": True}
    found += [Case("Pooling", IMAGE, {**whole, "pool_type": kind}, 1, 1e-6) for kind in KINDS]
    line = {"kernel": (3,), "stride": (2,), "pad": (1,)}
    found += [Case("Pooling", (3, 11), {**line, "pool_type": kind}, 1, 1e-6) for kind in KINDS]
    lengths = {"kernel": (2, 2), "pool_type": "lp"}
    found += [Case("Pooling", IMAGE, {**lengths, "p_value": p}, 1, 1e-6) for p in (1, 2)]
    return found + [
        Case("Pooling_v1", IMAGE, {**window, "pool_type": kind}, 1, 1e-6)
        for window in WINDOWS[:3]
        for kind in KINDS
    ]


CASES = cases()


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_pooling_computes_what_mxnet_computes(case: Case) -> None:
    check_case(case, 17)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("rule", ["valid", "full"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_pictures_of_any_size(window: dict[str, Any], kind: str, rule: str) -> None:
    data = sym().Variable("data")
    pooled = sym().Pooling(data, pool_type=kind, pooling_convention=rule, **window)
    check_dynamic(pooled, *SIZES, tolerance=1e-6)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize(
    ("attrs", "kind", "message"),
    [
        ({"kernel": (2, 2), "pooling_convention": "same"}, UnsupportedOperatorError, "'same'"),
        ({"kernel": (2, 2), "pool_type": "lp", "p_value": 3}, UnsupportedOperatorError, "=3"),
        ({"kernel": (2, 2), "layout": "NHWC"}, UnsupportedOperatorError, "'NHWC'"),
        ({"kernel": (10, 2)}, GraphError, r"kernel \(10, 2\) exceeds"),
    ],
    ids=str,
)
def test_what_has_no_conversion_is_named(
    attrs: dict[str, Any], kind: type[Exception], message: str
) -> None:
    graph = read_symbol(sym().Pooling(sym().Variable("data"), name="n", **attrs).tojson(), {})
    with pytest.raises(kind, match=rf"node 'n' \(Pooling\).*{message}"):
        to_onnx(graph, {"data": ("N", *IMAGE)})
