"""Passes: rewrites compute in MXNet what was there before; what a pass leaves has a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mobileface.errors import GraphError
from mobileface_convert.graph.source_graph import Graph
from mobileface_convert.source_passes import (
    BEFORE_CAFFE,
    PassResult,
    drop_copies,
    merge_batchnorm,
    merge_clip,
)
from tests.convert.ops.op_check import (
    IMAGE,
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

pytestmark = pytest.mark.needs_mxnet

Build = Callable[[], Symbol]


def operators(graph: Graph) -> list[str]:
    return [node.op for node in graph.operators]


def shared(first: str, second: str, *, both: bool) -> Symbol:
    """Two convolutions with one weight, one or both of them normalised."""
    weight = sym().Variable("w")
    one = norm(conv(data(), first, weight=weight, no_bias=True), "b1")
    two = conv(relu(data()), second, weight=weight, no_bias=True)
    return sym().Group([one, norm(two, "b2") if both else two])


VECTOR = (3, 4)
FOLDS: dict[str, tuple[Build, tuple[int, ...], tuple[str, ...]]] = {
    "conv": (lambda: norm(conv(data())), IMAGE, ("b into c",)),
    "conv no bias": (lambda: norm(conv(data(), no_bias=True)), IMAGE, ("b into c",)),
    "conv fix_gamma": (lambda: norm(conv(data()), fix_gamma=True), IMAGE, ("b into c",)),
    "conv eps": (lambda: norm(conv(data()), eps=0.5), IMAGE, ("b into c",)),
    "conv padded": (lambda: norm(conv(data(), pad=(1, 1))), IMAGE, ("b into c",)),
    "depthwise": (
        lambda: norm(conv(data(), num_filter=4, num_group=4, no_bias=True)),
        IMAGE,
        ("b into c",),
    ),
    "grouped": (lambda: norm(conv(data(), num_group=2, stride=(2, 1))), IMAGE, ("b into c",)),
    "line": (lambda: norm(conv(data(), kernel=(3,))), (2, 4, 9), ("b into c",)),
    "dense": (lambda: norm(dense(data())), VECTOR, ("b into f",)),
    "dense on image": (lambda: norm(dense(data(), no_bias=True)), IMAGE, ("b into f",)),
    "deconv": (
        lambda: norm(sym().Deconvolution(data(), kernel=(2, 3), num_filter=6, name="d")),
        IMAGE,
        ("b into d",),
    ),
    "deconv grouped": (
        lambda: norm(
            sym().Deconvolution(
                data(), kernel=(3, 3), num_filter=6, num_group=2, no_bias=False, name="d"
            )
        ),
        IMAGE,
        ("b into d",),
    ),
    "before conv": (lambda: conv(norm(data())), IMAGE, ("b into c",)),
    "before grouped": (lambda: conv(norm(data()), num_group=2, no_bias=True), IMAGE, ("b into c",)),
    "before depthwise": (lambda: conv(norm(data()), num_group=4), IMAGE, ("b into c",)),
    "before flatten": (lambda: dense(flat(norm(data()))), IMAGE, ("b into f",)),
    "before dense": (lambda: dense(norm(data()), no_bias=True), VECTOR, ("b into f",)),
    "before dense on image": (lambda: dense(norm(data())), IMAGE, ("b into f",)),
    "fix_gamma before": (lambda: conv(norm(data(), fix_gamma=True)), IMAGE, ("b into c",)),
    "chain": (lambda: norm(norm(conv(data())), "b2"), IMAGE, ("b into c", "b2 into c")),
    "both sides": (
        lambda: norm(conv(norm(data(), "b0")), "b1"),
        IMAGE,
        ("b1 into c", "b0 into c"),
    ),
    "two readers": (
        lambda: (lambda b: sym().Group([conv(b), dense(flat(b)), conv(b, "e")]))(norm(data())),
        IMAGE,
        ("b into c", "b into f", "b into e"),
    ),
    "shared by one": (lambda: shared("c", "d", both=False), IMAGE, ("b1 into c",)),
    "shared by both": (lambda: shared("c", "d", both=True), IMAGE, ("b1 into c", "b2 into d")),
    "one name twice": (
        lambda: sym().Group(
            [
                norm(conv(data(), "c", weight=sym().Variable(f"w{i}"), no_bias=True), f"b{i}")
                for i in (1, 2)
            ]
        ),
        IMAGE,
        ("b1 into c", "b2 into c"),
    ),
    "name taken": (
        lambda: sym().Group(
            [norm(conv(data(), no_bias=True)), conv(data(), "e", bias=sym().Variable("c_bias"))]
        ),
        IMAGE,
        ("b into c",),
    ),
}


@pytest.mark.parametrize("case", FOLDS)
def test_a_normalisation_folds_without_changing_the_outputs(case: str, tmp_path: Path) -> None:
    build, shape, changed = FOLDS[case]
    network = Network(build(), shape)
    before = {name: array.copy() for name, array in network.graph.params.items()}
    result = merge_batchnorm(network.graph)
    print(result.changed, result.refused)
    assert result.changed == changed
    assert result.refused == ()
    assert "BatchNorm" not in operators(result.graph)
    assert result.graph.auxiliary == frozenset()
    assert result.graph.params.keys() == result.graph.weights.keys()
    assert all(array.dtype == np.float32 for array in result.graph.params.values())
    network.assert_same_outputs(result.graph, tmp_path)
    for name, array in before.items():
        np.testing.assert_array_equal(network.graph.params[name], array)


def test_an_array_that_nothing_reads_is_not_taken_for_a_free_name(tmp_path: Path) -> None:
    build, shape, changed = FOLDS["one name twice"]
    network = Network(build(), shape, {"c_bias": np.ones(8, np.float32)})
    result = merge_batchnorm(network.graph)
    assert result.changed == changed
    network.assert_same_outputs(result.graph, tmp_path)


def test_padding_does_not_matter_if_there_is_no_shift(tmp_path: Path) -> None:
    zeros = dict.fromkeys(("b_beta", "b_moving_mean"), np.zeros(4, np.float32))
    network = Network(conv(norm(data()), pad=(1, 1)), arrays=zeros)
    result = merge_batchnorm(network.graph)
    assert result.changed == ("b into c",)
    network.assert_same_outputs(result.graph, tmp_path)


REFUSED: dict[str, tuple[Build, tuple[int, ...], str]] = {
    "padding": (
        lambda: conv(norm(data()), pad=(0, 1)),
        IMAGE,
        "it reads the network's input; 'c' pads it with zeros, which the shift would change",
    ),
    "activation": (
        lambda: relu(norm(relu(conv(data()))), "s"),
        IMAGE,
        "it reads 'r' (Activation), which has no weights to fold into; 's' (Activation) reads it",
    ),
    "used twice": (
        lambda: (lambda c: relu(norm(c)) + c)(conv(data())),
        IMAGE,
        "'c' is also used elsewhere; 'r' (Activation) reads it",
    ),
    "layer as output": (
        lambda: (lambda c: sym().Group([c, norm(c)]))(conv(data())),
        IMAGE,
        "'c' is also used elsewhere; it is an output",
    ),
    "output": (lambda: norm(data()), IMAGE, "it reads the network's input; it is an output"),
    "flat output": (
        lambda: flat(norm(data())),
        IMAGE,
        "it reads the network's input; it is an output after a Flatten",
    ),
    "output and read": (
        lambda: (lambda b: sym().Group([b, conv(b)]))(norm(data())),
        IMAGE,
        "it reads the network's input; it is an output",
    ),
    "axis": (lambda: norm(conv(data()), axis=3), IMAGE, "its axis is 3; its axis is 3"),
    "statistics": (
        lambda: norm(conv(data()), output_mean_var=True)[0],
        IMAGE,
        "it has further outputs; it has further outputs",
    ),
    "rows": (
        lambda: norm(dense(data(), flatten=False)),
        (2, 4, 6),
        "'f' does not flatten, its outputs are not channels; it is an output",
    ),
    "into rows": (
        lambda: dense(norm(data()), flatten=False),
        (2, 4, 6),
        "it reads the network's input; 'f' does not flatten",
    ),
    "deconv after": (
        lambda: sym().Deconvolution(norm(data()), kernel=(2, 2), num_filter=2, name="d"),
        IMAGE,
        "it reads the network's input; 'd' (Deconvolution) reads it",
    ),
    "one of two": (
        lambda: (lambda b: sym().Group([conv(b), relu(b)]))(norm(data())),
        IMAGE,
        "it reads the network's input; 'r' (Activation) reads it",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_not_be_exact_is_left_with_a_reason(case: str, tmp_path: Path) -> None:
    build, shape, reason = REFUSED[case]
    network = Network(build(), shape)
    result = merge_batchnorm(network.graph)
    assert result.graph is network.graph
    assert result.changed == ()
    assert [(refusal.node, refusal.reason) for refusal in result.refused] == [("b", reason)]
    network.assert_same_outputs(result.graph, tmp_path, tolerance=0)


@pytest.mark.parametrize(
    ("name", "array", "reason"),
    [
        ("b_moving_var", -np.ones(8, np.float32), r"node 'b' .*variance is negative"),
        ("b_beta", np.ones(7, np.float32), r"node 'b' .*'b_beta' has shape \(7,\)"),
        ("b_gamma", np.full(8, np.nan, np.float32), r"node 'b' .*'b_gamma' holds nan"),
        ("c_weight", np.full((8, 4, 3, 3), np.inf, np.float32), r"node 'c' .*'c_weight' holds nan"),
        ("c_bias", np.ones(9, np.float32), r"node 'c' .*'c_bias' has shape \(9,\)"),
    ],
)
def test_weights_that_cannot_be_folded_are_named(name: str, array: FloatArray, reason: str) -> None:
    network = Network(norm(conv(data())))
    graph = Graph(network.graph.outputs, {**network.graph.params, name: array})
    with pytest.raises(GraphError, match=reason):
        merge_batchnorm(graph)


def limits(low: float, high: float, *, upper_first: bool = False) -> Symbol:
    if upper_first:
        return scalar("maximum", scalar("minimum", data(), high, "up"), low, "low")
    return scalar("minimum", scalar("maximum", data(), low, "low"), high, "up")


@pytest.mark.parametrize("upper_first", [False, True])
@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-0.5, 0.25), (0.1, 0.1)])
def test_two_limits_become_one_clip(
    low: float, high: float, upper_first: bool, tmp_path: Path
) -> None:
    network = Network(limits(low, high, upper_first=upper_first))
    result = merge_clip(network.graph)
    assert operators(result.graph) == ["clip"]
    assert result.changed == (("up + low",) if upper_first else ("low + up",))
    network.assert_same_outputs(result.graph, tmp_path, tolerance=0)


NOT_CLIPS: dict[str, tuple[Build, tuple[str, ...]]] = {
    "inverted": (lambda: limits(1.0, -1.0), ("the lower limit is above the upper one",)),
    "inverted upper first": (
        lambda: limits(1.0, -1.0, upper_first=True),
        ("the lower limit is above the upper one",),
    ),
    "inner used": (
        lambda: (lambda x: scalar("minimum", x, 1, "up") + x)(scalar("maximum", data(), 0, "low")),
        ("'low' is also used elsewhere",),
    ),
    "inner is output": (
        lambda: (lambda x: sym().Group([x, scalar("minimum", x, 1, "up")]))(
            scalar("maximum", data(), 0, "low")
        ),
        ("'low' is also used elsewhere",),
    ),
    "two maxima": (lambda: scalar("maximum", scalar("maximum", data(), 0, "a"), 1, "b"), ()),
    "parted": (lambda: scalar("minimum", relu(scalar("maximum", data(), 0, "a")), 1, "b"), ()),
    "of the input": (lambda: scalar("minimum", data(), 1, "b"), ()),
}


@pytest.mark.parametrize("case", NOT_CLIPS)
def test_other_limits_stay(case: str, tmp_path: Path) -> None:
    build, reasons = NOT_CLIPS[case]
    network = Network(build())
    result = merge_clip(network.graph)
    assert result.graph is network.graph
    assert tuple(refusal.reason for refusal in result.refused) == reasons
    network.assert_same_outputs(result.graph, tmp_path, tolerance=0)


def test_of_three_limits_two_are_fused(tmp_path: Path) -> None:
    network = Network(scalar("maximum", limits(-1.0, 0.5), 0.0, "third"))
    result = merge_clip(network.graph)
    assert operators(result.graph) == ["clip", "_maximum_scalar"]
    network.assert_same_outputs(result.graph, tmp_path, tolerance=0)


def test_operators_that_do_nothing_are_dropped(tmp_path: Path) -> None:
    dropped = sym().Dropout(sym().identity(relu(data()), name="same"), p=0.5, name="drop")
    heads = [conv(sym().BlockGrad(dropped, name="block")), flat(dropped)]
    network = Network(sym().Group(heads))
    result = drop_copies(network.graph)
    assert result.changed == ("same (_copy)", "drop (Dropout)", "block (BlockGrad)")
    assert operators(result.graph) == ["Activation", "Convolution", "Flatten"]
    network.assert_same_outputs(result.graph, tmp_path, tolerance=0)


def test_dropout_that_drops_at_inference_stays() -> None:
    network = Network(sym().Dropout(data(), mode="always", name="d"))
    assert drop_copies(network.graph) == PassResult(network.graph)


def test_export_runs_the_passes_one_after_the_other(tmp_path: Path) -> None:
    first = norm(sym().Dropout(conv(data(), no_bias=True), name="drop"), "b1")
    clipped = scalar("minimum", scalar("maximum", first, 0.0, "low"), 6.0, "up")
    second = norm(conv(norm(clipped, "b2"), "c2", num_group=2), "b3")
    network = Network(norm(dense(flat(second), no_bias=True), "b4"))
    graph = network.graph
    for _, run in BEFORE_CAFFE:
        graph = run(graph).graph
    assert operators(graph) == ["Convolution", "clip", "Convolution", "Flatten", "FullyConnected"]
    network.assert_same_outputs(graph, tmp_path)
