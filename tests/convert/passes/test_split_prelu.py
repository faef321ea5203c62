"""A split PReLU is in MXNet what it was; what cannot be split keeps its PReLU, with a reason."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from mobileface_convert.backends.onnx import clean
from mobileface_convert.passes import split_prelu
from tests.convert.ops.op_check import (
    FloatArray,
    Network,
    Symbol,
    conv,
    data,
    dense,
    flat,
    relu,
    sym,
)
from tests.convert.passes.onnx_check import as_onnx, assert_same, names, operators

pytestmark = pytest.mark.needs_mxnet

TOLERANCE = 1e-6
CHANNELS = 16
SHAPE = (2, CHANNELS, 6, 7)
# Negative, zero, between 0 and 1, one, and above it.
SLOPES = np.resize(np.array([-1.5, 0, 0.25, 1, 1.25, 3], np.float32), CHANNELS)
GENTLE = np.minimum(SLOPES, 1)


def depthwise(x: Symbol, name: str = "d", **attrs: object) -> Symbol:
    return conv(x, name, num_filter=CHANNELS, num_group=CHANNELS, **{"pad": (1, 1), **attrs})


def prelu(x: Symbol, name: str = "p") -> Symbol:
    return sym().LeakyReLU(x, act_type="prelu", name=name)


def head(x: Symbol, name: str = "h", **attrs: object) -> Symbol:
    return conv(x, name, **{"kernel": (1, 1), "num_filter": 24, **attrs})


def residual(x: Symbol, *, last: Callable[[Symbol], Symbol]) -> Symbol:
    """Two PReLUs in a sum."""
    shortcut = prelu(depthwise(x), "p")
    return last(shortcut + prelu(depthwise(shortcut, "e"), "q"))


Build = Callable[[], Symbol]
Arrays = dict[str, FloatArray]
SPLIT: dict[str, tuple[Build, Arrays, tuple[str, ...]]] = {
    "depthwise": (lambda: head(prelu(depthwise(data()))), {}, ("p (twice)",)),
    "without a bias": (lambda: head(prelu(depthwise(data(), no_bias=True))), {}, ("p (twice)",)),
    "stride": (lambda: head(prelu(depthwise(data(), stride=(2, 2)))), {}, ("p (twice)",)),
    "depthwise twice": (
        lambda: head(prelu(depthwise(prelu(depthwise(data())), "e"), "q")),
        {},
        ("p (twice)", "q (twice)"),
    ),
    "a layer of many inputs": (
        lambda: head(prelu(conv(data(), num_filter=CHANNELS))),
        {},
        ("p (behind)",),
    ),
    "a layer read twice": (
        lambda: (lambda d: head(prelu(d)) + head(d, "g"))(depthwise(data())),
        {},
        ("p (behind)",),
    ),
    "behind a sum": (
        lambda: head(prelu(depthwise(data()) + data())),
        {},
        ("p (behind)",),
    ),
    "into a 1x1": (
        lambda: head(
            prelu(conv(sym().slice_axis(data(), axis=1, begin=0, end=3), num_filter=CHANNELS)),
            num_filter=8,
        ),
        {},
        ("p (into)",),
    ),
    "into a 1x1 with a PReLU": (
        lambda: head(
            prelu(
                head(
                    prelu(
                        conv(
                            sym().slice_axis(data(), axis=1, begin=0, end=3),
                            num_filter=CHANNELS,
                            pad=(1, 1),
                            stride=(2, 1),
                            no_bias=True,
                        )
                    ),
                    num_filter=CHANNELS,
                ),
                "q",
            ),
            "g",
        ),
        {"q_gamma": SLOPES},
        ("p (into)", "q (behind)"),
    ),
    "flattened": (lambda: dense(flat(prelu(depthwise(data())))), {}, ("p (twice)",)),
    "fully connected": (lambda: dense(prelu(depthwise(data()))), {}, ("p (twice)",)),
    "several readers": (
        lambda: (lambda p: head(p) + head(depthwise(p, "e"), "g"))(prelu(depthwise(data()))),
        {},
        ("p (twice)",),
    ),
    "a sum of equal signs": (
        lambda: residual(data(), last=head),
        {"q_gamma": SLOPES},
        ("p (twice)", "q (twice)"),
    ),
    "a sum of other signs": (
        lambda: residual(data(), last=head),
        {"q_gamma": np.roll(SLOPES, 1)},
        ("p (twice)", "q (twice)"),
    ),
    "a sum with what has no sign": (
        lambda: head(prelu(depthwise(data())) + conv(data(), num_filter=CHANNELS, pad=(1, 1))),
        {},
        ("p (twice)",),
    ),
    "a sum that must be positive": (
        lambda: residual(data(), last=relu),
        {"q_gamma": np.roll(SLOPES, 1)},
        ("p (twice)", "q (twice)"),
    ),
    "a sum that is an output": (
        lambda: residual(data(), last=lambda x: x),
        {"q_gamma": SLOPES},
        ("p (twice)", "q (twice)"),
    ),
    "groups read it": (
        lambda: head(prelu(depthwise(data())), num_group=4),
        {},
        ("p (twice)",),
    ),
    "the network's input": (lambda: head(prelu(data())), {}, ("p (behind)",)),
    "a pooling": (
        lambda: head(prelu(sym().Pooling(data(), kernel=(2, 2), pool_type="max", name="o"))),
        {},
        ("p (behind)",),
    ),
    "an output of gentle slopes": (
        lambda: prelu(depthwise(data())),
        {"p_gamma": GENTLE},
        ("p (twice)",),
    ),
}


@pytest.mark.parametrize("case", SPLIT)
def test_a_split_prelu_is_what_it_was(case: str) -> None:
    build, arrays, changed = SPLIT[case]
    network = Network(build(), SHAPE, {"p_gamma": SLOPES, **arrays})
    rewritten = as_onnx(network)
    result = split_prelu(rewritten)
    print(result.changed, operators(rewritten))
    assert result.changed == changed
    assert result.refused == ()
    assert "PRelu" not in operators(rewritten)
    assert_same(network, rewritten, tolerance=TOLERANCE)


@pytest.mark.parametrize(
    ("slopes", "turned"), [(SLOPES, 0), (np.roll(SLOPES, 1), 1)], ids=["agree", "differ"]
)
def test_a_summand_is_turned_only_where_signs_differ(slopes: FloatArray, turned: int) -> None:
    symbol = residual(data(), last=head)
    network = Network(symbol, SHAPE, {"p_gamma": SLOPES, "q_gamma": slopes})
    rewritten = as_onnx(network)
    split_prelu(rewritten)
    assert sum("_turned" in name for name in names(rewritten)) == turned


OTHERS = CHANNELS - 1
LEFT: dict[str, tuple[Build, Arrays, str]] = {
    "no whole blocks": (
        lambda: head(prelu(conv(data(), num_filter=OTHERS))),
        {"p_gamma": SLOPES[:OTHERS]},
        "15 channels are not full blocks of 16",
    ),
    "an output": (
        lambda: prelu(depthwise(data())),
        {},
        "a slope is above 1, and it is an output of the network",
    ),
    "an operator": (
        lambda: head(sym().tanh(prelu(depthwise(data())), name="t")),
        {},
        "a slope is above 1, and 't' (Tanh) reads it",
    ),
    "a sum behind a flatten": (
        lambda: sym().elemwise_add(
            flat(prelu(depthwise(data()))), flat(data(), "other"), name="sum"
        ),
        {},
        "a slope is above 1, and 'sum' (Add) reads it",
    ),
}


@pytest.mark.parametrize("case", LEFT)
def test_what_cannot_be_split_stays_with_a_reason(case: str) -> None:
    build, arrays, reason = LEFT[case]
    network = Network(build(), SHAPE, {"p_gamma": SLOPES, **arrays})
    rewritten = as_onnx(network)
    result = split_prelu(rewritten)
    assert names(rewritten) == names(as_onnx(network))
    assert [(refusal.node, refusal.reason) for refusal in result.refused] == [("p", reason)]


def test_a_line_is_no_picture() -> None:
    symbol = conv(prelu(conv(data(), kernel=(3,), num_filter=CHANNELS)), "h", kernel=(1,))
    result = split_prelu(as_onnx(Network(symbol, (2, 4, 9), {"p_gamma": SLOPES})))
    assert "it reads 3 axes, not an image of channels" in result.refused[0].reason


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="no blocks of channels")
def test_onnx_runtime_melts_sums_and_rectifiers_into_its_convolutions(tmp_path: Path) -> None:
    """What the split is for: beside convolutions nothing is left but what stands at the ends."""
    symbol = residual(conv(data(), num_filter=CHANNELS), last=head)
    network = Network(symbol, SHAPE, {"p_gamma": SLOPES, "q_gamma": np.roll(SLOPES, 1)})
    rewritten = as_onnx(network)
    split_prelu(rewritten)
    model = clean(rewritten.proto(), "invented")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    print(found)
    assert found["Conv"] == 7  # the first, two for each PReLU, the turned summand, the last
    assert set(found) <= {"Conv", "ReorderInput", "ReorderOutput"}
