"""The pass that cuts a network at its feature: cuts that are found, named or in doubt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mobileface.errors import GraphError
from mobileface_convert.graph.source_graph import Graph
from mobileface_convert.source_passes import find_feature, prune
from tests.convert.ops.op_check import (
    IMAGE,
    Network,
    Symbol,
    assert_close,
    conv,
    data,
    dense,
    flat,
    norm,
    operator,
    relu,
    run_mxnet,
    scalar,
    sym,
)

pytestmark = pytest.mark.needs_mxnet

Build = Callable[[], Symbol]


def label() -> Symbol:
    return sym().Variable("softmax_label")


def embedding(*, normalised: bool = True) -> Symbol:
    """A small trunk that ends in ``fc5``, with ``fc5_bn`` behind it if so wished."""
    fc5 = dense(flat(relu(conv(data()))), "fc5", num_hidden=6)
    return norm(fc5, "fc5_bn") if normalised else fc5


def classifier(x: Symbol) -> Symbol:
    return dense(x, "fc7", num_hidden=10)


def softmax(x: Symbol) -> Symbol:
    return sym().SoftmaxOutput(x, label(), name="softmax")


def arc_face(feature: Symbol) -> Symbol:
    """A head whose margin depends on the label, as ArcFace trains with."""
    s = sym()
    weight = s.L2Normalization(s.Variable("fc7_weight", shape=(10, 6)), mode="instance")
    scaled = scalar("mul", s.L2Normalization(feature, name="unit"), 64.0, "scaled")
    known = label()
    fc7 = s.FullyConnected(scaled, weight, no_bias=True, num_hidden=10, name="fc7")
    target = s.pick(fc7, known, axis=1)
    moved = s.cos(s.arccos(target / 64.0) + 0.5) * 64.0
    margin = s.expand_dims(moved - target, 1)
    body = s.broadcast_mul(s.one_hot(known, depth=10), margin)
    return s.SoftmaxOutput(fc7 + body, known, name="softmax")


def center_loss(feature: Symbol) -> Symbol:
    """A softmax head and a loss that pulls features to learned centres."""
    s = sym()
    known = label()
    first = s.SoftmaxOutput(classifier(feature), known, name="softmax")
    centres = s.Embedding(known, s.Variable("centres"), input_dim=10, output_dim=6)
    second = s.MakeLoss(s.sum(s.square(feature - centres)), name="center_loss")
    return s.Group([first, second])


def reshaped(feature: Symbol) -> Symbol:
    logits = sym().Reshape(classifier(feature), shape=(-1, 10))
    return softmax(sym().Dropout(scalar("mul", logits, 30.0, "scale"), p=0.2))


CUTS: dict[str, tuple[Build, str, str]] = {
    "softmax": (lambda: softmax(classifier(embedding())), "fc5_bn", "fc7"),
    "softmax on dense": (
        lambda: softmax(classifier(embedding(normalised=False))),
        "fc5",
        "fc7",
    ),
    "reshaped logits": (lambda: reshaped(embedding()), "fc5_bn", "fc7"),
    "margin": (lambda: arc_face(embedding()), "scaled", "fc7"),
    "centre loss": (lambda: center_loss(embedding()), "fc5_bn", "fc7"),
    "centre loss on dense": (lambda: center_loss(embedding(normalised=False)), "fc5", "fc7"),
    "regression": (
        lambda: sym().LinearRegressionOutput(relu(embedding(), "last"), label(), name="loss"),
        "last",
        "loss",
    ),
    "plain softmax": (lambda: sym().softmax(classifier(embedding())), "fc5_bn", "fc7"),
    "softmax activation": (
        lambda: sym().SoftmaxActivation(classifier(embedding())),
        "fc5_bn",
        "fc7",
    ),
}


def assert_cut(network: Network, graph: Graph, name: str, folder: Path) -> None:
    """The pruned graph computes what MXNet finds inside of the original."""
    inner = network.symbol.get_internals()[f"{name}_output"]
    part = Network(inner, arrays=network.arrays)
    part.assert_same_outputs(graph, folder, tolerance=0)


@pytest.mark.parametrize("case", CUTS)
def test_the_feature_before_a_training_head_is_found(case: str, tmp_path: Path) -> None:
    build, feature, dropped = CUTS[case]
    network = Network(build())
    assert find_feature(network.graph).node.name == feature
    result = prune(network.graph)
    print(result.changed)
    assert [edge.node.name for edge in result.graph.outputs] == [feature]
    assert any(line.startswith(f"{dropped} (") for line in result.changed)
    assert result.graph.params.keys() == result.graph.weights.keys()
    assert {name for name in network.arrays if name not in result.graph.params} == {
        line.removeprefix("array ") for line in result.changed if line.startswith("array ")
    }
    assert [node.name for node in result.graph.inputs] == ["data"]
    assert_cut(network, result.graph, feature, tmp_path)


def test_without_a_training_head_nothing_changes() -> None:
    for symbol in (embedding(), embedding(normalised=False)):
        network = Network(symbol)
        result = prune(network.graph)
        assert result.graph is network.graph
        assert (result.changed, result.refused) == ((), ())


def test_arrays_that_nobody_reads_are_dropped() -> None:
    network = Network(embedding(), arrays={"left_over": np.ones(3, np.float32)})
    result = prune(network.graph)
    assert result.changed == ("array left_over",)
    assert result.graph.params.keys() == network.arrays.keys() - {"left_over"}


@pytest.mark.parametrize("name", ["fc5", "fc5_output", "fc5_output0"])
def test_a_cut_may_be_named_as_mxnet_names_outputs(name: str, tmp_path: Path) -> None:
    network = Network(softmax(classifier(embedding())))
    result = prune(network.graph, name)
    assert "fc5_bn" not in [node.name for node in result.graph.operators]
    assert result.graph.auxiliary == frozenset()
    assert_cut(network, result.graph, "fc5", tmp_path)


def test_a_further_output_is_named_by_its_number() -> None:
    halves = sym().SliceChannel(data(), num_outputs=2, axis=1, name="half")
    network = Network(sym().Group([halves[0], halves[1]]))
    result = prune(network.graph, "half_output1")
    edge = result.graph.outputs[0]
    assert (edge.node.name, edge.index) == ("half", 1)
    expected = run_mxnet(network.symbol, {}, network.fed)[1]
    assert_close([network.fed["data"][:, 2:]], [expected], 0)


@pytest.mark.parametrize(
    ("name", "near"), [("fc_5", "fc5"), ("fc5_bn_outputs", "fc5_bn"), ("fc7_outputx", "fc7")]
)
def test_an_unknown_name_is_answered_with_near_ones(name: str, near: str) -> None:
    network = Network(softmax(classifier(embedding())))
    with pytest.raises(GraphError, match=rf"x-symbol\.json: no node named '{name}'.*{near}"):
        prune(network.graph, name)


def test_a_name_like_no_other_is_answered_with_the_last_ones() -> None:
    network = Network(softmax(classifier(embedding())))
    with pytest.raises(GraphError, match=r"the last nodes: .*softmax"):
        prune(network.graph, "zzzzzz")


AMBIGUOUS: dict[str, tuple[Build, str]] = {
    "two tasks": (
        lambda: (lambda x: sym().Group([dense(x, "gender"), dense(x, "age")]))(embedding()),
        r"2 outputs .*: gender, age; specify the one to keep",
    ),
    "feature beside a scaled one": (
        lambda: (lambda x: sym().Group([operator("BlockGrad")(x, name="kept"), arc_face(x)]))(
            embedding()
        ),
        r"2 outputs .*: kept, scaled",
    ),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_several_features_must_be_chosen_from_by_name(case: str) -> None:
    build, reason = AMBIGUOUS[case]
    network = Network(build())
    with pytest.raises(GraphError, match=rf"x-symbol\.json: the network has {reason}"):
        prune(network.graph)
    kept = prune(network.graph, "fc5_bn").graph
    assert [edge.node.name for edge in kept.outputs] == ["fc5_bn"]


def test_a_loss_alone_has_no_feature() -> None:
    network = Network(softmax(data()), IMAGE[:2])
    with pytest.raises(GraphError, match=r"all layers depend on labels"):
        prune(network.graph)
