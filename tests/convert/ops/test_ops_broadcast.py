"""Broadcasting, tiling, repeating and constants against MXNet."""

from __future__ import annotations

from typing import Any

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
    check_inputs,
    operator,
    run_mxnet,
    run_onnx,
    sym,
)

ARITHMETIC = ("add", "sub", "mul", "div", "maximum", "minimum", "power", "mod", "hypot")
COMPARISONS = ("equal", "not_equal", "greater", "greater_equal", "lesser", "lesser_equal")
LOGIC = ("logical_and", "logical_or", "logical_xor")
FUNCTIONS = (*ARITHMETIC, *COMPARISONS, *LOGIC)
SHAPE = (3, 4, 5)
SIZES = ((1, 4, 6, 5), (3, 4, 8, 7), (2, 4, 12, 5))
RANGES: tuple[dict[str, Any], ...] = (
    {"start": 0, "stop": 1},
    {"start": 7},
    {"start": 2, "stop": 9, "step": 2.5, "repeat": 3},
    {"start": 0.3, "stop": -1, "step": -0.1},
)
CASES = [
    *[Case(f"broadcast_{name}", SHAPE, inputs=2, tolerance=1e-6) for name in FUNCTIONS],
    *[
        Case("tile", SHAPE, {"reps": r})
        for r in ((2,), (1, 2, 1, 3), (1, 1, 1, 1, 1), (2, 1, 1, 1, 2))
    ],
    *[
        Case("repeat", SHAPE, attrs)
        for attrs in (
            {"repeats": 2},
            {"repeats": 1},
            {"repeats": 3, "axis": 1},
            {"repeats": 2, "axis": -1},
            {"repeats": 2, "axis": 0},
        )
    ],
    Case("zeros_like", SHAPE),
    Case("ones_like", SHAPE),
    Case("broadcast_like", SHAPE, inputs=2),
    Case("broadcast_to", (1, 4, 1), {"shape": (0, 3, 4, 5)}),
    Case("broadcast_axis", (1, 4, 1), {"axis": (1, 3), "size": (3, 5)}),
    Case("_zeros", (), {"shape": (2, 3)}, inputs=0),
    Case("_ones", (), {"shape": (2, 3)}, inputs=0),
    Case("_full", (), {"shape": (2, 3), "value": 1.5}, inputs=0),
    *[Case("_arange", (), attrs, inputs=0) for attrs in RANGES],
]


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("case", [c for c in CASES if c.inputs], ids=lambda case: case.title)
def test_values_are_those_of_mxnet(case: Case) -> None:
    check_case(case, 17)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("case", [c for c in CASES if not c.inputs], ids=lambda case: case.title)
def test_constants_are_those_of_mxnet(case: Case) -> None:
    """A network of a constant alone has no input; half of it is computed."""
    half = case.symbol() * 0.5
    expected = run_mxnet(half, {}, {})
    assert_close(run_onnx(to_onnx(read_symbol(half.tojson(), {}), {}), {}), expected, 1e-7)


PAIRS = (
    ((2, 3, 4, 5), (1, 3, 1, 1)),
    ((2, 3, 4, 5), (2, 1, 1, 1)),
    ((1, 3, 1, 5), (2, 1, 4, 1)),
    ((2, 1, 1, 1), (2, 3, 4, 5)),
)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_pairs_of_shapes(name: str, pair: tuple[tuple[int, ...], ...]) -> None:
    left, right = sym().Variable("data"), sym().Variable("data1")
    shapes = dict(zip(("data", "data1"), pair, strict=True))
    for declared in (shapes, {key: tuple("abcd") for key in shapes}):
        named = {
            k: tuple(f"{k}{a}" if isinstance(a, str) else a for a in v) for k, v in declared.items()
        }
        check_inputs(operator(f"broadcast_{name}")(left, right), named, shapes, tolerance=1e-6)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize(
    ("op", "attrs", "inputs"),
    [
        ("tile", {"reps": (1, 1, 2, 3)}, 1),
        ("tile", {"reps": (2, 1, 1, 1, 1)}, 1),
        ("repeat", {"repeats": 2, "axis": 2}, 1),
        ("repeat", {"repeats": 3, "axis": -1}, 1),
        ("repeat", {"repeats": 2}, 1),
        ("zeros_like", {}, 1),
        ("ones_like", {}, 1),
        ("broadcast_like", {}, 2),
        ("broadcast_mul", {}, 2),
    ],
    ids=str,
)
def test_maps_of_any_size(op: str, attrs: dict[str, Any], inputs: int) -> None:
    data = [sym().Variable(f"data{i or ''}") for i in range(inputs)]
    check_dynamic(operator(op)(*data, **attrs), *SIZES, tolerance=0)


@pytest.mark.needs_mxnet
def test_one_value_is_spread_to_the_size_of_another() -> None:
    spread = sym().broadcast_like(sym().Variable("data"), sym().Variable("data1"))
    declared = {"data": ("N", 4, 1, 1), "data1": ("N", 4, "H", "W")}
    runs = [{"data": (n, 4, 1, 1), "data1": (n, 4, 5, w)} for n, w in ((1, 3), (2, 7))]
    check_inputs(spread, declared, *runs, tolerance=0)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "kind", "message"),
    [
        ("tile", 1, {"reps": (0, 1)}, GraphError, "reps="),
        ("broadcast_to", 1, {"shape": (0, 4)}, GraphError, r"shape=\(0, 4\)"),
        ("broadcast_axis", 1, {"axis": (4,), "size": (2,)}, GraphError, r"axis=\(4,\)"),
        (
            "broadcast_like",
            2,
            {"lhs_axes": (1,), "rhs_axes": (1,)},
            UnsupportedOperatorError,
            "axes",
        ),
        ("_arange", 0, {"start": 1, "stop": 1}, GraphError, "is empty"),
        ("_arange", 0, {"start": 3, "dtype": "int32"}, UnsupportedOperatorError, "'int32'"),
        ("_zeros", 0, {"shape": (0, 2)}, UnsupportedOperatorError, r"\(0, 2\)"),
    ],
    ids=str,
)
def test_what_has_no_conversion_is_named(
    op: str, inputs: int, attrs: dict[str, Any], kind: type[Exception], message: str
) -> None:
    assert_refused(op, attrs, kind, message, *[("N", 4, 1, 1)] * inputs)


@pytest.mark.needs_mxnet
def test_shapes_that_do_not_broadcast_are_refused() -> None:
    symbol = sym().broadcast_add(sym().Variable("data"), sym().Variable("data1"), name="n")
    graph = read_symbol(symbol.tojson(), {})
    for other, message in (((2, 3, 4), "do not broadcast"), ((3, 4), "different ranks")):
        with pytest.raises(GraphError, match=rf"node 'n'.*{message}"):
            to_onnx(graph, {"data": (2, 5, 4), "data1": other})
