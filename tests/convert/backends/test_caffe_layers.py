"""Caffe's layers, one operator at a time: the evaluator and OpenCV compute what MXNet computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mobileface.errors import ConversionError, UnsupportedOperatorError
from mobileface_convert.backends.caffe import CaffeModel, to_caffe
from mobileface_convert.backends.caffe_engine import CaffeNetwork
from mobileface_convert.frontends.mxnet_symbol import read_symbol
from mobileface_convert.oracles.caffe_evaluator import CaffeEvaluator
from tests.convert.ops.op_check import (
    Case,
    FloatArray,
    Symbol,
    assert_close,
    operator,
    random_arrays,
    run_mxnet,
    sym,
)

pytestmark = pytest.mark.needs_mxnet

SHAPE = (4, 9, 11)
SAME = 1e-6
LAYERS = [
    Case("Convolution", SHAPE, {"kernel": (3, 3), "num_filter": 8, "num_group": 2}),
    Case("Convolution", SHAPE, {"kernel": (3, 2), "num_filter": 4, "num_group": 4}),
    Case(
        "Convolution",
        SHAPE,
        {"kernel": (3, 1), "num_filter": 6, "stride": (2, 1), "pad": (1, 0), "no_bias": True},
    ),
    Case("Convolution", SHAPE, {"kernel": (3, 3), "num_filter": 5, "dilate": (2, 2)}),
    Case("Deconvolution", SHAPE, {"kernel": (4, 4), "num_filter": 6, "stride": (2, 2)}),
    Case(
        "Deconvolution",
        SHAPE,
        {"kernel": (4, 3), "num_filter": 4, "stride": (2, 2), "pad": (1, 1), "no_bias": False},
    ),
    Case("FullyConnected", SHAPE, {"num_hidden": 7}),
    Case("FullyConnected", (12,), {"num_hidden": 7, "no_bias": True}),
    Case("BatchNorm", SHAPE, {"eps": 1e-3, "fix_gamma": False}),
    Case("BatchNorm", SHAPE, {"eps": 2e-5, "fix_gamma": True}),
    Case("LeakyReLU", SHAPE, {"act_type": "prelu"}),
    Case("LeakyReLU", SHAPE, {"act_type": "leaky", "slope": 0.1}),
    Case("LeakyReLU", SHAPE, {"act_type": "elu", "slope": 0.7}),
    *(Case("Activation", SHAPE, {"act_type": a}) for a in ("relu", "sigmoid", "tanh", "softrelu")),
    Case("Pooling", SHAPE, {"kernel": (3, 3), "stride": (2, 2), "pool_type": "max"}),
    Case("Pooling", SHAPE, {"kernel": (3, 3), "stride": (2, 2), "pool_type": "avg"}),
    Case("Pooling", SHAPE, {"kernel": (3, 3), "pad": (1, 1), "pool_type": "avg"}),
    Case(
        "Pooling",
        (3, 8, 10),
        {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1), "pool_type": "max",
         "pooling_convention": "full"},
    ),
    Case("Pooling", SHAPE, {"kernel": (2, 2), "stride": (2, 2), "pooling_convention": "full"}),
    Case("Pooling", SHAPE, {"kernel": (1, 1), "global_pool": True, "pool_type": "avg"}),
    Case("Pooling", SHAPE, {"kernel": (1, 1), "global_pool": True, "pool_type": "max"}),
    Case("Flatten", SHAPE),
    Case("Reshape", SHAPE, {"shape": (0, 2, -1)}),
    Case("expand_dims", (6,), {"axis": 2}),
    Case("Concat", SHAPE, {"dim": 1}, inputs=3),
    Case("Concat", SHAPE, {"dim": 3}, inputs=2),
    Case("UpSampling", SHAPE, {"scale": 2, "sample_type": "nearest"}),
    Case("L2Normalization", (12,), {"mode": "instance"}),
    Case("L2Normalization", SHAPE, {"mode": "channel"}),
    Case("softmax", SHAPE, {"axis": 1}),
    Case("softmax", (9,)),
    Case("SoftmaxActivation", SHAPE, {"mode": "channel"}),
    Case("SoftmaxActivation", (9,)),
    Case("clip", SHAPE, {"a_min": -0.5, "a_max": 0.8}),
    Case("clip", SHAPE, {"a_min": 0.0, "a_max": 1.0}),
    *(
        Case(f"_{kind}_scalar", SHAPE, {"scalar": 0.7})
        for kind in ("plus", "minus", "rminus", "mul", "div", "maximum", "minimum")
    ),
    Case("_power_scalar", SHAPE, {"scalar": 2.0}),
    Case("square", SHAPE),
    Case("negative", SHAPE),
    Case("abs", SHAPE),
    Case("exp", SHAPE),
    *(Case(f"elemwise_{kind}", SHAPE, inputs=2) for kind in ("add", "sub", "mul")),
    Case("_maximum", SHAPE, inputs=2),
    Case("add_n", SHAPE, inputs=3),
]  # fmt: skip


Engine = type[CaffeEvaluator] | type[CaffeNetwork]


@pytest.fixture(
    params=[
        pytest.param(CaffeEvaluator, id="evaluator"),
        pytest.param(CaffeNetwork, id="opencv", marks=pytest.mark.needs_caffe),
    ]
)
def engine(request: pytest.FixtureRequest) -> Engine:
    """What runs the written files."""
    found: Engine = request.param
    return found


def check(
    engine: Engine, symbol: Symbol, shape: tuple[int, ...], arrays: dict[str, FloatArray]
) -> None:
    """Converts a symbol and compares it with MXNet, for one picture and for three."""
    inputs = [name for name in symbol.list_arguments() if name.startswith("data")]
    found = {**random_arrays(symbol, 1, **dict.fromkeys(inputs, (1, *shape))), **arrays}
    graph = read_symbol(symbol.tojson(), found)
    names = [f"out{index}" for index in range(len(graph.outputs))]
    draw = np.random.RandomState(2)
    for batch in (1, 3):
        fed = {n: draw.standard_normal((batch, *shape)).astype(np.float32) for n in inputs}
        model = to_caffe(graph, dict.fromkeys(inputs, (batch, *shape)), names)
        network = engine(model, "test")
        found_outputs = network.run(fed, names)
        assert_close(found_outputs, run_mxnet(symbol, found, fed), SAME)


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.title)
def test_layer_is_mxnets(engine: Engine, case: Case) -> None:
    check(engine, case.symbol(), case.shape, {})


def test_equal_parts(engine: Engine) -> None:
    parts = sym().SliceChannel(sym().Variable("data"), num_outputs=2, name="n")
    check(engine, sym().Group([sym().square(parts[1]), sym().square(parts[0])]), SHAPE, {})


def test_what_does_nothing_at_inference_is_left_out(engine: Engine) -> None:
    check(engine, sym().square(sym().Dropout(sym().Variable("data"), p=0.5, name="n")), SHAPE, {})


def test_a_weight_for_each_channel(engine: Engine) -> None:
    """What squeeze and excitation does, from either side."""
    data = sym().Variable("data")
    pooled = sym().Pooling(data, kernel=(1, 1), global_pool=True, pool_type="avg", name="pool")
    check(engine, sym().broadcast_mul(data, pooled, name="n"), SHAPE, {})
    check(engine, sym().broadcast_mul(pooled, data, name="n"), SHAPE, {})


@pytest.mark.parametrize("kind", ["add", "sub", "mul", "div"])
@pytest.mark.parametrize("size", [1, 4])
def test_an_array_for_each_channel(engine: Engine, kind: str, size: int) -> None:
    stored = np.random.RandomState(3).uniform(0.5, 2, (1, size, 1, 1)).astype(np.float32)
    constant = sym().Variable("w", shape=stored.shape)
    symbol = operator(f"broadcast_{kind}")(sym().Variable("data"), constant, name="n")
    check(engine, symbol, SHAPE, {"w": stored})


def test_rows_and_columns_like_another_blob(engine: Engine) -> None:
    data = sym().Variable("data")
    halved = sym().Pooling(data, kernel=(2, 2), stride=(2, 2), pooling_convention="full", name="p")
    doubled = sym().UpSampling(halved, scale=2, sample_type="nearest", name="u")
    check(engine, sym().slice_like(doubled, data, axes=(2, 3), name="n") + data, SHAPE, {})


@pytest.mark.parametrize(
    ("op", "attrs", "shape", "words"),
    [
        ("sin", {}, SHAPE, "operator 'sin' has no Caffe layer"),
        ("transpose", {"axes": (0, 2, 3, 1)}, SHAPE, "operator 'transpose' has no Caffe layer"),
        ("Pooling", {"kernel": (2, 2), "stride": (2, 2)}, SHAPE, r"\(4, 5\) windows.*\(5, 6\)"),
        (
            "Pooling",
            {"kernel": (3, 3), "pad": (1, 1), "pool_type": "avg", "count_include_pad": False},
            SHAPE,
            "average pooling that excludes the padding",
        ),
        ("Reshape", {"shape": (-1, 3)}, (6,), "across the batch axis"),
        ("softmax", {"temperature": 2.0}, SHAPE, "temperature"),
        ("L2Normalization", {"mode": "spatial"}, SHAPE, "mode='spatial'"),
        ("LeakyReLU", {"act_type": "selu"}, SHAPE, "act_type='selu'"),
    ],
)
def test_what_has_no_layer_is_refused_by_name(
    op: str, attrs: dict[str, Any], shape: tuple[int, ...], words: str
) -> None:
    symbol = operator(op)(sym().Variable("data"), name="n", **attrs)
    graph = read_symbol(symbol.tojson(), {})
    with pytest.raises(UnsupportedOperatorError, match=rf"node 'n' \({op}\).*{words}"):
        to_caffe(graph, {"data": (1, *shape)})


def test_files_that_caffe_cannot_run() -> None:
    """The evaluator says which layer, as Caffe would."""
    fed = {"data": np.zeros((1, *SHAPE), np.float32)}
    for text, words in (
        ("layer {", "not a Caffe network"),
        ('layer { name: "n" type: "LRN" bottom: "data" top: "out" }', "'n' .LRN.: .*no such layer"),
        (
            'layer { name: "n" type: "TanH" bottom: "x" top: "out" }',
            "no layer before it writes 'x'",
        ),
        ('layer { name: "n" type: "TanH" bottom: "data" top: "y" }', "the output 'out'"),
        ('layer { name: "n" type: "Scale" bottom: "data" top: "out" }', "'n' .Scale."),
    ):
        with pytest.raises(ConversionError, match=words):
            CaffeEvaluator(CaffeModel(text, b"", 1, {}), "test").run(fed, ["out"])
