"""The passes for each kind of machine leave what a network computes as it is."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from mobileface.errors import ConversionError
from mobileface_convert.backends.onnx import to_onnx
from mobileface_convert.frontends.gluon import load_gluon
from mobileface_convert.graph.source_graph import Graph
from mobileface_convert.makers import PassRecord, apply_passes
from mobileface_convert.passes import TARGETS
from mobileface_convert.recipes.recipe import load_recipe
from tests import gluon_networks
from tests.convert.ops.op_check import Network, assert_close, run_mxnet, run_onnx
from tests.convert.passes.mobile_networks import Inventor

pytestmark = pytest.mark.needs_mxnet

TOLERANCE = 5e-6  # of the largest output; MXNet's own rounding is 1e-6
SEEDS = range(24)


def rewritten(network: Network, target: str) -> tuple[Graph, dict[str, PassRecord]]:
    graph, records = apply_passes(network.graph, target)
    return graph, {record.name: record for record in records}


def assert_equal_in_onnx(network: Network, graph: Graph) -> None:
    """Compares ONNX Runtime on a rewritten graph with MXNet on the network, at two batch sizes."""
    model = to_onnx(graph, {"data": ("N", *network.shape[1:])})
    for batch in (1, network.shape[0]):
        fed = {"data": network.fed["data"][:batch]}
        expected = run_mxnet(network.symbol, network.arrays, fed)
        assert_close(run_onnx(model, fed), expected, TOLERANCE)


@pytest.mark.parametrize("target", ["portable", "x86"])
@pytest.mark.parametrize("seed", SEEDS)
def test_invented_networks_stay_what_they_are(seed: int, target: str, tmp_path: Path) -> None:
    network = Inventor(seed).network()
    graph, records = rewritten(network, target)
    for record in records.values():
        print(record.name, record.result.changed, record.result.refused)
    assert_equal_in_onnx(network, graph)
    network.assert_same_outputs(graph, tmp_path, tolerance=TOLERANCE)


def test_the_invented_networks_meet_every_rewrite() -> None:
    """What the test above has tried at least once, so that it does not pass for want of cases."""
    seen: set[str] = set()
    for seed, target in itertools.product(SEEDS, ("portable", "x86")):
        graph, records = rewritten(Inventor(seed).network(), target)
        for name in ("dead_channels", "split_prelu"):
            if name in records:
                result = records[name].result
                seen |= {f"{name} {line.rpartition(' ')[2]}" for line in result.changed}
                seen |= {f"{name} left: {refusal.reason[-30:]}" for refusal in result.refused}
        seen |= {"turned" for node in graph.operators if "_turned" in node.name}
    print(*sorted(seen), sep="\n")
    assert {
        "dead_channels channels",
        "dead_channels left:  are added or read, not in all",
        "dead_channels left: zero constant cannot be folded",
        "split_prelu (twice)",
        "split_prelu (behind)",
        "split_prelu (into)",
        "turned",
    } <= seen


@pytest.mark.parametrize("seed", range(4))
def test_channels_that_fill_no_block(seed: int, tmp_path: Path) -> None:
    """x86: they are padded with zeros where a depthwise layer needs it."""
    network = Inventor(seed, dead=0.1, widths=(12, 20, 7)).network()
    graph, records = rewritten(network, "x86")
    assert records["pad_channels"].result.changed
    assert_equal_in_onnx(network, graph)
    network.assert_same_outputs(graph, tmp_path, tolerance=TOLERANCE)


@pytest.mark.parametrize("task", ["attribute", "detector"])
def test_networks_without_any_of_it_are_left(task: str, tmp_path: Path) -> None:
    """Their rectifiers have no slopes, and noise has no dead channels."""
    network = getattr(gluon_networks, f"make_{task}")(seed=5)
    kind = {"attribute": "attribute_v1", "detector": "detection_v1"}[task]
    path = gluon_networks.save_structural(network, tmp_path / "net.params")
    recipe = load_recipe(kind)
    graph = load_gluon(path, recipe.options["network"])
    plain, _ = apply_passes(graph, "plain")
    for target in ("portable", "x86"):
        found, records = apply_passes(graph, target)
        assert [node.name for node in found.operators] == [node.name for node in plain.operators]
        changed = {record.name: record.result.changed for record in records}
        for name in ("dead_channels", "pad_channels", "split_prelu"):
            assert not changed.get(name)


def test_plain_leaves_channels_and_rectifiers() -> None:
    network = Inventor(3).network()
    plain, _ = rewritten(network, "plain")
    assert [node.op for node in plain.operators] == [node.op for node in network.graph.operators]
    assert "dead_channels" not in dict(TARGETS["plain"])


def test_an_unknown_target_is_named() -> None:
    with pytest.raises(ConversionError, match=r"unknown target 'risc'.*plain, portable, x86"):
        apply_passes(Inventor(0).network().graph, "risc")


def test_nothing_is_written_to_the_arrays_of_the_source() -> None:
    network = Inventor(5).network()
    before = {name: np.array(array) for name, array in network.graph.params.items()}
    for target in TARGETS:
        apply_passes(network.graph, target)
    for name, array in before.items():
        np.testing.assert_array_equal(network.graph.params[name], array)
