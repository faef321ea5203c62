"""Each operator conversion against MXNet over its parameters, and what conversions refuse."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mobileface.errors import GraphError, UnsupportedOperatorError
from mobileface_convert.backends.onnx import to_onnx
from mobileface_convert.frontends.mxnet_symbol import read_symbol
from mobileface_convert.graph.source_graph import Array
from mobileface_convert.ops import operator, registered
from mobileface_convert.oracles.mxnet_oracle import import_mxnet
from tests.convert.ops.op_check import (
    SHAPE,
    VERSION,
    Case,
    FloatArray,
    assert_close,
    check,
    check_case,
    convert,
    random_arrays,
    run_mxnet,
    run_onnx,
)


def convolutions() -> list[Case]:
    plain: list[dict[str, Any]] = [
        {"kernel": (3, 3)},
        {"kernel": (1, 1), "no_bias": True},
        {"kernel": (3, 2), "stride": (2, 1), "pad": (1, 0)},
        {"kernel": (3, 3), "pad": (2, 1), "no_bias": True, "workspace": 512},
        {"kernel": (3, 3), "dilate": (2, 1), "stride": (1, 2), "pad": (2, 2)},
        {"kernel": (3, 3), "num_group": 2, "layout": "NCHW"},
        {"kernel": (3, 3), "num_group": 4, "pad": (1, 1), "no_bias": True},
        {"kernel": (8, 9), "cudnn_tune": "off", "cudnn_off": True},
    ]
    cases = [Case("Convolution", (4, 8, 9), {"num_filter": 8, **a}, 1, 1e-6) for a in plain]
    lines: list[dict[str, Any]] = [
        {"kernel": (3,), "stride": (2,), "pad": (1,), "dilate": (2,), "layout": "NCW"},
        {"kernel": (1,), "num_group": 4, "no_bias": True},
    ]
    return cases + [Case("Convolution", (4, 11), {"num_filter": 4, **a}, 1, 1e-6) for a in lines]


def scalars() -> list[Case]:
    names = ["plus", "minus", "rminus", "mul", "div", "rdiv", "maximum", "minimum"]
    cases = [
        Case(f"_{name}_scalar", (3, 4, 4), {"scalar": value}, 1, 1e-7)
        for name in names
        for value in (0.3, -2.0, 1e-4, 0.0)
    ]
    return [*cases, *[Case("_power_scalar", (5,), {"scalar": s}, 1, 1e-6) for s in (2, 3, 1, 0)]]


CASES = [
    *convolutions(),
    *scalars(),
    Case("FullyConnected", (6,), {"num_hidden": 5}, 1, 1e-6),
    Case("FullyConnected", (6,), {"num_hidden": 5, "no_bias": True}, 1, 1e-6),
    Case("FullyConnected", (6,), {"num_hidden": 5, "flatten": False}, 1, 1e-6),
    Case("FullyConnected", (2, 3, 4), {"num_hidden": 5}, 1, 1e-6),
    Case("FullyConnected", (2, 3, 4), {"num_hidden": 5, "no_bias": True}, 1, 1e-6),
    Case("FullyConnected", (2, 3, 4), {"num_hidden": 5, "flatten": False}, 1, 1e-6),
    Case("FullyConnected", (3, 4), {"num_hidden": 1, "flatten": False, "no_bias": True}, 1, 1e-6),
    *[
        Case("BatchNorm", shape, {"fix_gamma": fixed, **attrs}, 1, 2e-6)
        for shape in ((4,), (4, 5, 6), (4, 5))
        for fixed in (True, False)
        for attrs in ({}, {"eps": 1e-5, "momentum": 0.9}, {"eps": 0.3, "use_global_stats": True})
    ],
    Case("BatchNorm", (4,), {"axis": -1}, 1, 2e-6),
    *[
        Case("LeakyReLU", shape, attrs, 1, 1e-6)
        for shape in ((4,), (4, 5, 6))
        for attrs in (
            {},
            {"act_type": "leaky", "slope": 0.1},
            {"act_type": "elu", "slope": 0.7},
            {"act_type": "elu"},
            {"act_type": "prelu"},
            {"act_type": "selu"},
            {"act_type": "gelu"},
        )
    ],
    *[
        Case("Activation", (3, 4, 5), {"act_type": kind}, 1, 1e-6)
        for kind in ("relu", "sigmoid", "tanh", "softrelu", "softsign")
    ],
    *[Case(f"elemwise_{name}", (3, 4), inputs=2) for name in ("add", "sub", "mul", "div")],
    *[Case("add_n", (3, 4), inputs=n, tolerance=2e-7) for n in (1, 2, 3)],
    Case("clip", (50,), {"a_min": 0.0, "a_max": 6.0}),
    Case("clip", (50,), {"a_min": -0.3, "a_max": 0.1}),
    Case("Dropout", (3, 4), {"p": 0.5}),
    Case("Dropout", (3, 4), {"mode": "training", "axes": (1,)}),
    Case("_copy", (3, 4)),
    Case("BlockGrad", (3, 4)),
    *[Case("Flatten", shape) for shape in ((4,), (2, 3), (2, 3, 4), (2, 3, 1, 2))],
    Case("L2Normalization", (128,), {}, 1, 1e-6),
    Case("L2Normalization", (7,), {"eps": 0.5, "mode": "instance"}, 1, 1e-6),
]


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("opset", [17, 23])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_the_conversion_computes_what_mxnet_computes(case: Case, opset: int) -> None:
    check_case(case, opset)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("shape", [(4,), (4, 5, 6)])
def test_one_slope_may_serve_all_channels(shape: tuple[int, ...]) -> None:
    sym = import_mxnet().sym
    slope = sym.Variable("slope", shape=(1,))
    check(sym.LeakyReLU(sym.Variable("data"), slope, act_type="prelu"), *shape)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("bounds", [{}, {"lower_bound": 0.1, "upper_bound": 0.5}], ids=str)
@pytest.mark.parametrize("shape", [(4,), (4, 5, 6)])
def test_random_slopes_are_their_mean(shape: tuple[int, ...], bounds: dict[str, float]) -> None:
    sym = import_mxnet().sym
    check(sym.LeakyReLU(sym.Variable("data"), act_type="rrelu", **bounds)[0], *shape)


@pytest.mark.needs_mxnet
def test_with_fix_gamma_the_stored_gamma_does_not_count() -> None:
    symbol = Case("BatchNorm", (4,), {"fix_gamma": True}).symbol()
    gamma = np.array([5, -7, 0, 100], np.float32)
    check(symbol, 4, tolerance=2e-6, arrays={"n_gamma": gamma})


@pytest.mark.needs_mxnet
@pytest.mark.parametrize(("opset", "kind"), [(17, "ReduceSum"), (23, "RMSNormalization")])
@pytest.mark.parametrize("width", [6, 256])
def test_zero_and_tiny_vectors_are_normalised_as_mxnet_does(
    opset: int, kind: str, width: int
) -> None:
    generator = np.random.RandomState(3)
    sizes = np.array([0, 1e-30, 1e-20, 1e-9, 1e-6, 1e-5, 1e-3, 1, 1e6, 1e17])
    rows = (generator.standard_normal((len(sizes), width)) * sizes[:, None]).astype(np.float32)
    symbol = Case("L2Normalization", (width,)).symbol()
    model = check(symbol, width, tolerance=1e-6, opset=opset, feeds={"data": rows})
    assert kind in [node.op_type for node in model.graph.node]
    assert not run_onnx(model, {"data": rows})[0][0].any()


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("op", ["_mul_scalar", "_plus_scalar", "_copy", "Flatten"])
def test_what_is_not_finite_stays_so(op: str, value: float) -> None:
    rows = np.array([[1, value, -2]], np.float32)
    attrs = {"scalar": 2.0} if op.endswith("_scalar") else {}
    check(Case(op, (3,), attrs).symbol(), 3, tolerance=0, feeds={"data": rows})


def two_heads() -> Any:
    sym = import_mxnet().sym
    data = sym.Variable("data")
    first = sym.Convolution(data, kernel=(3, 3), num_filter=4, name="c")
    second = sym.FullyConnected(sym.Activation(first, act_type="relu"), num_hidden=3, name="f")
    return sym.Group([second, first, sym.identity(data, name="same")])


@pytest.mark.needs_mxnet
def test_all_heads_come_in_order_under_their_names() -> None:
    model = check(two_heads(), 3, 6, 6)
    assert [output.name for output in model.graph.output] == ["f", "c", "same"]


@pytest.mark.needs_mxnet
def test_heads_may_be_inputs_or_the_same_twice_if_they_are_named() -> None:
    sym = import_mxnet().sym
    data = sym.Variable("data")
    copy = sym.identity(data, name="copy")
    symbol = sym.Group([copy, data, copy])
    graph = read_symbol(symbol.tojson())
    model = to_onnx(graph, {"data": ("n", 2)}, ["a", "b", "c"])
    fed = {"data": np.array([[1, 2]], np.float32)}
    for found, expected in zip(run_onnx(model, fed), run_mxnet(symbol, {}, fed), strict=True):
        np.testing.assert_array_equal(found, expected)
    for unclear in (symbol, sym.Group([data]), sym.Group([copy, copy])):
        with pytest.raises(GraphError):
            to_onnx(read_symbol(unclear.tojson()), {"data": ("n", 2)})


@pytest.mark.needs_mxnet
def test_operators_may_share_a_name_even_with_the_head() -> None:
    sym = import_mxnet().sym
    first = sym.Activation(sym.Variable("data"), act_type="relu", name="a")
    model = check(sym.Activation(first * 2, act_type="tanh", name="a"), 4)
    assert [output.name for output in model.graph.output] == ["a"]


# Below nothing is computed: one node in JSON, converted for an input of shape (1, 4, 5, 5).

WEIGHT, BIAS = np.ones((2, 4, 1, 1), np.float32), np.ones(2, np.float32)
CONVOLUTION = {"kernel": "(1, 1)", "num_filter": "2"}
FOUR = np.ones(4, np.float32)


UNSUPPORTED: dict[str, tuple[str, dict[str, str], str]] = {
    "leaky": (
        "LeakyReLU",
        {"act_type": "swish"},
        r"act_type='swish'.*supported: leaky, prelu, elu",
    ),
    "activation": ("Activation", {"act_type": "relu6"}, r"act_type='relu6'.*supported: relu, sig"),
    "no act_type": ("Activation", {}, r"supported: relu"),
    "layout": ("Convolution", {**CONVOLUTION, "layout": "NHWC"}, r"layout='NHWC'.*supported: NCHW"),
    "3-D": ("Convolution", {"kernel": "(1, 1, 1)", "num_filter": "2"}, r"3-D kernel"),
    "0-D": ("Convolution", {"kernel": "()", "num_filter": "2"}, r"0-D kernel"),
    "axis": ("BatchNorm", {"axis": "2"}, r"axis=2.*supported: 1"),
    "statistics": ("BatchNorm", {"output_mean_var": "True"}, r"output_mean_var=True"),
    "dropout": ("Dropout", {"mode": "always"}, r"mode='always'.*supported: training"),
    "length": ("L2Normalization", {"mode": "all"}, r"mode='all'.*supported: instance"),
    "attribute": (
        "clip",
        {"a_min": "0", "a_max": "1", "a_mid": "0"},
        r"a_mid is not supp.*supported: a_min",
    ),
    "any attribute": (
        "Flatten",
        {"axis": "1"},
        r"attribute axis is not supported.*supported: none",
    ),
    "operator": (
        "Convolutoin",
        {},
        r"did you mean: Convolution.*supported: Activation, ",
    ),
    "far operator": ("ROIPooling", {}, r"'ROIPooling' is not supported.*supported: Activation, "),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_what_has_no_conversion_is_named_with_what_has(case: str) -> None:
    op, attrs, reason = UNSUPPORTED[case]
    with pytest.raises(UnsupportedOperatorError, match=reason) as caught:
        convert(op, attrs, WEIGHT, BIAS)
    print(caught.value)
    assert str(caught.value).startswith(f"x-symbol.json, node 'bad' ({op})")


def nans(array: FloatArray, value: float) -> FloatArray:
    changed = array.copy()
    changed.flat[1] = value
    return changed


NO_BIAS = {**CONVOLUTION, "no_bias": "True"}
DENSE = {"num_hidden": "2"}
WIDE = np.ones((2, 100), np.float32)
PRELU = {"act_type": "prelu"}

IMPOSSIBLE: dict[str, tuple[str, dict[str, str], tuple[Array, ...], str]] = {
    "filters": (
        "Convolution",
        {**NO_BIAS, "num_filter": "3"},
        (WEIGHT,),
        r"'w1' has shape.*expected \(3, 4",
    ),
    "kernel": ("Convolution", {**NO_BIAS, "kernel": "(3, 3)"}, (WEIGHT,), r"'w1' has shape"),
    "channels": ("Convolution", NO_BIAS, (WEIGHT[:, :3],), r"'w1' has shape \(2, 3, 1, 1\)"),
    "rank": ("Convolution", NO_BIAS, (WEIGHT[0],), r"'w1' has shape \(4, 1, 1\)"),
    "groups": ("Convolution", {**NO_BIAS, "num_group": "3"}, (WEIGHT,), r"4 channels to 2 .* 3 gr"),
    "no group": ("Convolution", {**NO_BIAS, "num_group": "0"}, (WEIGHT,), r"num_group='0'"),
    "bias size": (
        "Convolution",
        CONVOLUTION,
        (WEIGHT, FOUR),
        r"'w2' has shape \(4,\), expected \(2\)",
    ),
    "no bias": ("Convolution", CONVOLUTION, (WEIGHT,), r"input 'bias' is missing"),
    "no weight": ("Convolution", CONVOLUTION, (), r"input 'weight' is missing"),
    "nan": ("Convolution", NO_BIAS, (nans(WEIGHT, np.nan),), r"'w1' holds nan or inf"),
    "inf": ("Convolution", CONVOLUTION, (WEIGHT, nans(BIAS, -np.inf)), r"'w2' holds nan or inf"),
    "stride": ("Convolution", {**NO_BIAS, "stride": "(0, 1)"}, (WEIGHT,), r"do not fit together"),
    "pad": (
        "Convolution",
        {**NO_BIAS, "pad": "(1,)"},
        (WEIGHT,),
        r"pad='\(1,\)' is not a tuple of 2 integers",
    ),
    "number": ("Convolution", {**NO_BIAS, "num_filter": "x"}, (WEIGHT,), r"num_filter='x' is not"),
    "tuple": ("Convolution", {**NO_BIAS, "stride": "(a, 1)"}, (WEIGHT,), r"stride='\(a, 1\)'"),
    "truth": ("Convolution", {**NO_BIAS, "no_bias": "maybe"}, (WEIGHT,), r"no_bias='maybe' is not"),
    "no kernel": ("Convolution", {"num_filter": "2"}, (WEIGHT,), r"attribute 'kernel' is missing"),
    "dense": ("FullyConnected", DENSE, (WIDE[:, :99], BIAS), r"100 inputs for a weight"),
    "hidden": (
        "FullyConnected",
        {"num_hidden": "3"},
        (WIDE, BIAS),
        r"'w1' has shape.*expected \(3, any\)",
    ),
    "dense nan": ("FullyConnected", DENSE, (nans(WIDE, np.nan), BIAS), r"'w1' holds nan"),
    "states": (
        "BatchNorm",
        {},
        (FOUR, FOUR, FOUR, FOUR[:3]),
        r"'w4' has shape \(3,\), expected \(4\)",
    ),
    "no states": ("BatchNorm", {}, (FOUR, FOUR), r"input 'moving_mean' is missing"),
    "eps": ("BatchNorm", {"eps": "little"}, (FOUR,) * 4, r"eps='little' is not a number"),
    "slopes": ("LeakyReLU", PRELU, (FOUR[:3],), r"3 slopes for 4 channels"),
    "no slope": ("LeakyReLU", PRELU, (), r"input 'gamma' is missing"),
    "limit": ("clip", {"a_min": "0"}, (), r"attribute 'a_max' is missing"),
    "scalar": ("_mul_scalar", {}, (), r"attribute 'scalar' is missing"),
    "one term": ("elemwise_add", {}, (), r"input 1 is missing"),
    "shapes": ("elemwise_add", {}, (np.ones((1, 1, 5, 5), np.float32),), r"shape"),
    "sum of shapes": ("add_n", {}, (np.ones((1, 4, 1, 5), np.float32),), r"shape"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_does_not_fit_is_named_with_node_and_array(case: str) -> None:
    op, attrs, arrays, reason = IMPOSSIBLE[case]
    with pytest.raises(GraphError, match=reason) as caught:
        convert(op, attrs, *arrays)
    print(caught.value)
    assert str(caught.value).startswith(f"x-symbol.json, node 'bad' ({op})")


def test_inputs_and_heads_that_are_not_there_are_named() -> None:
    with pytest.raises(GraphError, match=r"node 'bad' \(Activation\).*input 0 is missing"):
        convert("Activation", {"act_type": "relu"}, inputs=0)
    with pytest.raises(GraphError, match=r"node 'bad' \(add_n\)"):
        convert("add_n", {}, inputs=0)
    with pytest.raises(GraphError, match=r"node 'bad' \(Flatten\): no output 1"):
        convert("Flatten", {}, head=1)


def graph_text() -> str:
    names = ("data", "w", "b")
    nodes: list[dict[str, Any]] = [{"op": "null", "name": n, "inputs": []} for n in names]
    edges = [[0, 0], [1, 0], [2, 0]]
    last = {"op": "Convolution", "name": "c", "attrs": CONVOLUTION, "inputs": edges}
    return json.dumps({"nodes": [*nodes, last], "heads": [[3, 0]], "attrs": VERSION})


def test_missing_weights_and_unknown_inputs_are_listed() -> None:
    with pytest.raises(GraphError, match=r"x: 1 of 2 arrays are missing: b; .*1 arrays"):
        to_onnx(read_symbol(graph_text(), {"w": WEIGHT}, "x"), {"data": SHAPE})
    whole = read_symbol(graph_text(), {"w": WEIGHT, "b": BIAS}, "x")
    with pytest.raises(GraphError, match=r"no input named 'image'; its inputs: data"):
        to_onnx(whole, {"data": SHAPE, "image": SHAPE})
    with pytest.raises(GraphError, match=r"2 names for 1 outputs"):
        to_onnx(whole, {"data": SHAPE}, ["a", "b"])
    with pytest.raises(ValueError, match=r"opset 7"):
        to_onnx(whole, {"data": SHAPE}, opset=7)


def test_a_name_is_registered_once() -> None:
    before = registered()
    with pytest.raises(ValueError, match=r"'Flatten' is registered twice"):
        operator("Flatten")(lambda context: context.data)
    assert registered() == before
    assert list(before) == sorted(before)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("op", ["elemwise_add", "add_n"])
def test_mxnet_refuses_sums_of_different_shapes_too(op: str) -> None:
    mxnet = import_mxnet()
    with pytest.raises(mxnet.MXNetError):
        Case(op, (), inputs=2).symbol().infer_shape(data=SHAPE, data1=(1, 1, 5, 5))


@pytest.mark.needs_mxnet
def test_the_comparison_itself_can_fail() -> None:
    symbol = Case("FullyConnected", (6,), {"num_hidden": 5}).symbol()
    fed = {"data": np.ones((3, 6), np.float32)}
    arrays = random_arrays(symbol, 1, data=(3, 6))
    model = to_onnx(read_symbol(symbol.tojson(), arrays), {"data": (3, 6)})
    found = run_onnx(model, fed)
    assert_close(found, run_mxnet(symbol, arrays, fed), 1e-6)
    arrays["n_bias"] = arrays["n_bias"] + np.float32(1e-4)
    with pytest.raises(AssertionError):
        assert_close(found, run_mxnet(symbol, arrays, fed), 1e-6)
