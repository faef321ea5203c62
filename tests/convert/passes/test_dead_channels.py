"""Constant channels go where that is exact, in MXNet equal; others stay, with a reason."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from mobileface_convert.passes import dead_channels, pad_channels
from tests.convert.ops.op_check import (
    FloatArray,
    Network,
    Symbol,
    conv,
    data,
    dense,
    flat,
    norm,
    relu,
    scalar,
    sym,
)
from tests.convert.passes.onnx_check import as_onnx, assert_same, channels, names

pytestmark = pytest.mark.needs_mxnet

TOLERANCE = 1.5e-6
Case = tuple[Callable[[], Symbol], dict[str, FloatArray], dict[str, int]]


def depthwise(x: Symbol, name: str = "d", **attrs: object) -> Symbol:
    return conv(x, name, num_group=8, **{"pad": (1, 1), **attrs})


def kernels(count: int, *dead: int, shape: tuple[int, ...] = (1, 3, 3)) -> FloatArray:
    """Noise, and nothing (or next to nothing) for some outputs."""
    values = np.random.RandomState(4).standard_normal((count, *shape)).astype(np.float32)
    values[list(dead[:1])] = 1e-30
    values[list(dead[1:])] = 0
    return values


def biases(count: int, *zero: int) -> FloatArray:
    values = np.random.RandomState(6).standard_normal(count).astype(np.float32)
    values[list(zero)] = 0
    return values


def slopes(x: Symbol, name: str = "p") -> Symbol:
    return sym().LeakyReLU(x, act_type="prelu", name=name)


def head(x: Symbol, **attrs: object) -> Symbol:
    return conv(x, "h", **{"kernel": (1, 1), "num_filter": 5, **attrs})


DEAD = {"d_weight": kernels(8, 2, 5)}
DROPPED: dict[str, Case] = {
    "depthwise": (lambda: head(depthwise(conv(data()))), DEAD, {"c": 6, "d": 6}),
    "one number a slope": (
        lambda: head(
            sym().LeakyReLU(
                depthwise(conv(data())),
                sym().Variable("p_gamma", shape=(1,)),
                act_type="prelu",
                name="p",
            )
        ),
        {**DEAD, "p_gamma": np.array([-0.3], np.float32)},
        {"d": 6},
    ),
    "slopes": (lambda: head(slopes(depthwise(conv(data())))), DEAD, {"d": 6}),
    "rectified": (lambda: head(relu(depthwise(conv(data())))), DEAD, {"d": 6}),
    "leaky": (
        lambda: head(sym().LeakyReLU(depthwise(conv(data())), act_type="leaky", slope=0.2)),
        DEAD,
        {"d": 6},
    ),
    "clipped and moved": (
        lambda: head(
            sym().clip(scalar("plus", depthwise(conv(data())), 0.7, "m"), a_min=-0.5, a_max=0.5)
        ),
        DEAD,
        {"d": 6},
    ),
    "pooled": (
        lambda: head(
            sym().Pooling(depthwise(conv(data())), global_pool=True, kernel=(1, 1), pool_type="avg")
        ),
        DEAD,
        {"d": 6},
    ),
    "behind a flatten": (lambda: dense(flat(depthwise(conv(data())))), DEAD, {"c": 6, "d": 6}),
    "fully connected": (lambda: dense(depthwise(conv(data())), no_bias=True), DEAD, {"d": 6}),
    "between fully connected": (
        lambda: dense(relu(dense(data(), "g", num_hidden=6))),
        {"g_weight": kernels(6, 1, 3, shape=(168,))},
        {"g": 4},
    ),
    "a row of a layer": (
        lambda: head(relu(conv(data()))),
        {"c_weight": kernels(8, 0, 7, shape=(4, 3, 3))},
        {"c": 6},
    ),
    "zero, and a border": (
        lambda: head(relu(depthwise(conv(data()), no_bias=True)), kernel=(3, 3), pad=(1, 1)),
        DEAD,
        {"d": 6},
    ),
    "negative behind relu, and a border": (
        lambda: head(relu(depthwise(conv(data()))), kernel=(3, 3), pad=(1, 1)),
        {**DEAD, "d_bias": -np.abs(biases(8))},
        {"d": 6},
    ),
    "nobody reads it": (
        lambda: head(relu(conv(data()))),
        {"h_weight": np.ascontiguousarray(kernels(8, 1, 4, shape=(5, 1, 1)).swapaxes(0, 1))},
        {"c": 6},
    ),
    "both summands": (
        lambda: head(
            (lambda x: relu(x) + depthwise(x, "e"))(depthwise(conv(data()), no_bias=True))
        ),
        {**DEAD, "e_weight": kernels(8, 5, 2)},
        {"c": 6, "d": 6, "e": 6},
    ),
    "one layer's loss is the next one's": (
        lambda: head(depthwise(conv(relu(conv(data(), "b", num_filter=3)), "c", kernel=(1, 1)))),
        {
            **DEAD,
            # Only the channels that go read channel 1 of the first layer.
            "c_weight": np.where(
                (np.arange(3) == 1) & ~np.isin(np.arange(8), (2, 5))[:, None], 0, 1
            )
            .reshape(8, 3, 1, 1)
            .astype(np.float32),
        },
        {"b": 2, "d": 6},
    ),
    "all of them": (
        lambda: head(depthwise(conv(data()))),
        {"d_weight": np.zeros((8, 1, 3, 3), np.float32)},
        {"d": 1},
    ),
}


@pytest.mark.parametrize("case", DROPPED)
def test_constants_move_into_the_next_bias(case: str) -> None:
    build, arrays, left = DROPPED[case]
    network = Network(build(), arrays=arrays)
    rewritten = as_onnx(network)
    result = dead_channels(rewritten)
    print(result.changed, result.refused)
    assert {name: channels(rewritten, name) for name in left} == left
    assert result.changed
    assert_same(network, rewritten, tolerance=TOLERANCE)


LEFT: dict[str, Case] = {
    "a constant in the border": (
        lambda: head(depthwise(conv(data())), kernel=(3, 3), pad=(1, 1)),
        DEAD,
        {"pads with zeros, so a nonzero constant cannot be folded": 1},
    ),
    "a constant in a depthwise border": (
        lambda: head(depthwise(depthwise(conv(data()), "d"), "e")),
        DEAD,
        {"in some of the values that are added or read, not in all": 1},
    ),
    "one summand alone": (
        lambda: head((lambda x: x + depthwise(x))(conv(data()))),
        DEAD,
        {"in some of the values that are added or read, not in all": 1},
    ),
    "an output": (lambda: depthwise(conv(data())), DEAD, {"it is an output of the network": 1}),
    "a flat output": (
        lambda: flat(depthwise(conv(data()))),
        DEAD,
        {"it is an output of the network": 1},
    ),
    "the network's input": (
        lambda: head(conv(data(), "d", num_filter=4, num_group=4)),
        {"d_weight": kernels(4, 1)},
        {"it comes from the input 'data'": 1},
    ),
    "another reader": (
        lambda: head(sym().concat(depthwise(conv(data())), conv(data(), "o", pad=(0, 0)), dim=1)),
        DEAD,
        {r"\(Concat\) reads it": 1},
    ),
    "groups": (
        lambda: head(depthwise(conv(data())), num_group=2, num_filter=4),
        DEAD,
        {r"'h' \(Conv\) reads it": 1},
    ),
    "rows": (
        lambda: dense(depthwise(conv(data())), flatten=False),
        DEAD,
        {r"\(Transpose|\(MatMul": 1},
    ),
    "nothing dead": (lambda: head(depthwise(conv(data()))), {}, {}),
}


@pytest.mark.parametrize("case", LEFT)
def test_what_would_not_be_exact_stays_with_a_reason(case: str) -> None:
    build, arrays, reasons = LEFT[case]
    network = Network(build(), arrays=arrays)
    rewritten = as_onnx(network)
    result = dead_channels(rewritten)
    print(result.refused)
    assert names(rewritten) == names(as_onnx(network))
    assert result.changed == ()
    assert len(result.refused) == len(reasons)
    for refusal, reason in zip(result.refused, reasons, strict=True):
        assert re.search(reason, refusal.reason)


@pytest.mark.parametrize(("multiple", "stay"), [(1, 6), (2, 6), (4, 8), (7, 7)])
def test_only_whole_blocks_go(multiple: int, stay: int) -> None:
    build, arrays, _ = DROPPED["slopes"]
    network = Network(build(), arrays=arrays)
    rewritten = as_onnx(network)
    dead_channels(rewritten, multiple=multiple)
    assert channels(rewritten, "d") == stay
    assert_same(network, rewritten, tolerance=TOLERANCE)


def test_too_few_are_not_worth_it() -> None:
    build, arrays, _ = DROPPED["slopes"]
    network = Network(build(), arrays=arrays)
    rewritten = as_onnx(network)
    result = dead_channels(rewritten, worth=0.5)
    assert names(rewritten) == names(as_onnx(network))
    assert "2 of 13 channels are dead" in result.refused[0].reason


@pytest.mark.parametrize("case", ["slopes", "behind a flatten", "both summands", "nobody reads it"])
def test_padding_adds_channels_that_nobody_reads(case: str) -> None:
    build, arrays, _ = DROPPED[case]
    network = Network(build(), arrays=arrays)
    rewritten = as_onnx(network)
    result = pad_channels(rewritten, multiple=6)
    padded = case != "nobody reads it"  # no depthwise layer is there
    assert channels(rewritten, "c") == (12 if padded else 8)
    assert result.refused == ()
    assert_same(network, rewritten, tolerance=TOLERANCE)


def test_padding_keeps_normalisations_finite() -> None:
    network = Network(head(norm(depthwise(relu(conv(data()))))))
    rewritten = as_onnx(network)
    pad_channels(rewritten, multiple=5)
    assert channels(rewritten, "d") == 10
    assert_same(network, rewritten, tolerance=TOLERANCE)


def test_outputs_are_not_padded() -> None:
    result = pad_channels(as_onnx(Network(depthwise(conv(data())))), multiple=6)
    assert [refusal.reason for refusal in result.refused] == ["it is an output of the network"]
