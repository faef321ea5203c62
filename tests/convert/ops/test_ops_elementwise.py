"""Functions of one value and of two, with all their spellings, against MXNet."""

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
    check_case,
    check_dynamic,
    operator,
    run_mxnet,
    run_onnx,
    sym,
)

ROUNDING = ("floor", "ceil", "round", "rint", "fix", "trunc", "sign", "abs", "negative")
SMOOTH = (
    "relu",
    "sigmoid",
    "tanh",
    "softsign",
    "erf",
    "exp",
    "square",
    "cbrt",
    "rcbrt",
    "reciprocal",
    "degrees",
    "radians",
    "sin",
    "cos",
    "tan",
    "arctan",
    "sinh",
    "cosh",
    "arcsinh",
)
POSITIVE = ("log", "log2", "log10", "sqrt", "rsqrt", "arccosh")
WITHIN_ONE = ("arcsin", "arccos", "arctanh")
UNARY = (*ROUNDING, *SMOOTH, *POSITIVE, *WITHIN_ONE, "logical_not")

SCALAR_FUNCTIONS = ("power", "rpower", "mod", "rmod", "hypot")
CHOICES = (
    "equal",
    "not_equal",
    "greater",
    "greater_equal",
    "lesser",
    "lesser_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
)
PAIRS = ("maximum", "minimum", "power", "mod", "hypot", *CHOICES)
KINDS = ("relu", "sigmoid", "tanh", "softrelu", "softsign")

SHAPE = (3, 4, 5)
SIZES = ((1, 4, 6, 5), (3, 4, 8, 7), (2, 4, 12, 5))

CASES = [
    *[Case(name, SHAPE, tolerance=2e-6) for name in UNARY],
    *[
        Case(f"_{name}_scalar", SHAPE, {"scalar": value}, 1, 2e-6)
        for name in SCALAR_FUNCTIONS
        for value in (2.0, 0.7)
    ],
    *[Case(f"_{name}_scalar", SHAPE, {"scalar": v}) for name in CHOICES for v in (0.0, 0.4)],
    *[Case(f"_{name}", SHAPE, inputs=2, tolerance=2e-6) for name in PAIRS],
    *[Case("Activation", SHAPE, {"act_type": kind}, 1, 1e-6) for kind in KINDS],
    *[Case("hard_sigmoid", SHAPE, attrs, 1, 1e-6) for attrs in ({}, {"alpha": 0.5, "beta": 0.1})],
    *[Case(name, SHAPE, {"dtype": "float32"}) for name in ("Cast", "amp_cast")],
]


def special() -> FloatArray:
    """Halves, ends of ranges, numbers that an addition of a half would round, infinities."""
    values = [0.0, -0.0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 0.49999997, -0.49999997, 1.0, -1.0]
    values += [8388607.5, -8388607.5, 1e10, -1e10, np.inf, -np.inf, np.nan, 1e-30]
    return np.array([values], np.float32)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_values_are_those_of_mxnet(case: Case) -> None:
    check_case(case, 17)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("name", ROUNDING)
def test_rounding_is_exact(name: str) -> None:
    symbol = operator(name)(sym().Variable("data"))
    feeds = {"data": special()}
    model = to_onnx(read_symbol(symbol.tojson(), {}), {"data": ("N", "K")})
    assert_close(run_onnx(model, feeds), run_mxnet(symbol, {}, feeds), 0)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("name", [*POSITIVE, *WITHIN_ONE])
def test_where_there_is_a_value(name: str) -> None:
    """Noise alone is mostly outside their ranges."""
    symbol = operator(name)(sym().Variable("data"))
    low, high = (1.0, 5.0) if name == "arccosh" else (0.01, 0.99)
    feeds = {"data": np.random.RandomState(2).uniform(low, high, (2, 50)).astype(np.float32)}
    model = to_onnx(read_symbol(symbol.tojson(), {}), {"data": ("N", "K")})
    assert_close(run_onnx(model, feeds), run_mxnet(symbol, {}, feeds), 1e-6)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("name", [*CHOICES, "mod", "maximum", "minimum"])
def test_equal_values_and_zeros(name: str) -> None:
    pair = [sym().Variable("data"), sym().Variable("data1")]
    symbol = operator(f"_{name}")(*pair)
    values = np.float32([-2, -1, -0.5, 0, 0.5, 1, 2])
    left, right = np.meshgrid(values, values)
    feeds = {"data": left, "data1": right}
    graph = read_symbol(symbol.tojson(), {})
    model = to_onnx(graph, dict.fromkeys(feeds, ("N", "K")))
    assert_close(run_onnx(model, feeds), run_mxnet(symbol, {}, feeds), 0)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("name", ["round", "rint", "square", "rsqrt", "logical_not", "softsign"])
def test_maps_of_any_size(name: str) -> None:
    check_dynamic(operator(name)(sym().Variable("data")), *SIZES, tolerance=1e-6)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize(
    ("op", "attrs", "kind", "message"),
    [
        ("Cast", {"dtype": "float16"}, UnsupportedOperatorError, "dtype='float16'"),
        ("Cast", {"dtype": "int32"}, UnsupportedOperatorError, "dtype='int32'"),
    ],
    ids=str,
)
def test_what_has_no_conversion_is_named(
    op: str, attrs: dict[str, Any], kind: type[Exception], message: str
) -> None:
    assert_refused(op, attrs, kind, message, ("N", 4))


@pytest.mark.needs_mxnet
def test_tensors_of_two_shapes_are_refused() -> None:
    symbol = operator("_maximum")(sym().Variable("data"), sym().Variable("data1"), name="n")
    with pytest.raises(GraphError, match=r"node 'n' \(_maximum\).*differ"):
        to_onnx(read_symbol(symbol.tojson(), {}), {"data": (2, 3), "data1": (1, 3)})
