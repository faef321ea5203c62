"""The softmax family and the heads of training, as they are at inference, against MXNet."""

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

SHAPE = (4, 6, 5)
SIZES = ((1, 4, 6, 5), (3, 4, 8, 7), (2, 4, 12, 5))
HEADS = ("LinearRegressionOutput", "LogisticRegressionOutput", "MAERegressionOutput", "SVMOutput")

CASES = [
    *[
        Case(name, SHAPE, attrs, 1, 1e-6)
        for name in ("softmax", "log_softmax", "softmin")
        for attrs in ({}, {"axis": 1}, {"axis": -2}, {"axis": 1, "temperature": 2.5})
    ],
    *[Case("SoftmaxActivation", SHAPE, attrs, 1, 1e-6) for attrs in ({}, {"mode": "channel"})],
    Case("SoftmaxActivation", (6,), {}, 1, 1e-6),
    Case("SoftmaxOutput", (6,), {"grad_scale": 2.0}, 1, 1e-6),
    Case("SoftmaxOutput", SHAPE, {"multi_output": True, "use_ignore": True}, 1, 1e-6),
    Case("SoftmaxOutput", (6, 5), {"multi_output": True}, 1, 1e-6),
    Case("SoftmaxOutput", SHAPE, {"preserve_shape": True}, 1, 1e-6),
    Case("SoftmaxOutput", (6, 5), {}, 1, 1e-6),
    *[Case(name, (6,), {}, 1, 1e-6) for name in HEADS],
    *[Case(name, (6,), {"grad_scale": 0.5}, 1, 1e-6) for name in HEADS[:3]],
    Case("MakeLoss", (6,), {"grad_scale": 0.5, "normalization": "batch"}),
    Case("make_loss", (6,)),
]


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_values_are_those_of_mxnet(case: Case) -> None:
    check_case(case, 17)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize(
    ("op", "attrs"),
    [
        ("softmax", {"axis": 1}),
        ("SoftmaxActivation", {"mode": "channel"}),
        ("SoftmaxOutput", {"multi_output": True}),
        ("SoftmaxOutput", {"preserve_shape": True}),
    ],
    ids=str,
)
def test_maps_of_any_size(op: str, attrs: dict[str, Any]) -> None:
    check_dynamic(operator(op)(sym().Variable("data"), **attrs), *SIZES, tolerance=1e-6)


@pytest.mark.needs_mxnet
def test_large_values_do_not_overflow() -> None:
    symbol = sym().softmax(sym().Variable("data"))
    feeds = {"data": np.float32([[1e4, 1e4 - 1, -1e4], [-3e38, 0, 3e38]])}
    model = to_onnx(read_symbol(symbol.tojson(), {}), {"data": ("N", 3)})
    assert_close(run_onnx(model, feeds), run_mxnet(symbol, {}, feeds), 1e-6)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("op", ["SoftmaxOutput", *HEADS])
def test_the_label_is_no_input(op: str) -> None:
    """Whether it is a variable of its own or computed from the picture."""
    data = sym().Variable("data")
    for label in (sym().Variable("softmax_label"), sym().argmax(data, axis=1, name="found")):
        symbol = operator(op)(data, label, name="n")
        model = to_onnx(read_symbol(symbol.tojson(), {}), {"data": ("N", 6)})
        assert [value.name for value in model.graph.input] == ["data"]
        assert "ArgMax" not in [node.op_type for node in model.graph.node]


@pytest.mark.needs_mxnet
@pytest.mark.parametrize(
    ("op", "shape", "attrs", "kind", "message"),
    [
        ("softmax", (1, 4), {"dtype": "float64"}, UnsupportedOperatorError, "dtype='float64'"),
        ("SoftmaxActivation", (1, 4), {"mode": "channel"}, GraphError, "mode='channel'"),
        ("SoftmaxOutput", ("N", 4, 3, 3), {}, UnsupportedOperatorError, "backends disagree"),
        ("SoftmaxOutput", (4,), {"multi_output": True}, GraphError, "multi_output=True"),
    ],
    ids=str,
)
def test_what_has_no_conversion_is_named(
    op: str,
    shape: tuple[int | str, ...],
    attrs: dict[str, Any],
    kind: type[Exception],
    message: str,
) -> None:
    assert_refused(op, attrs, kind, message, shape)
