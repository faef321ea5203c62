"""The passes for each kind of machine leave what a network computes as it is."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from mobileface.errors import ConversionError
from mobileface_convert import passes
from mobileface_convert.backends.onnx import build_onnx
from mobileface_convert.frontends.gluon import load_gluon
from mobileface_convert.makers import PassRecord, apply_passes
from mobileface_convert.passes import TARGETS
from mobileface_convert.recipes.recipe import load_recipe
from tests import gluon_networks
from tests.convert.ops.op_check import Network
from tests.convert.passes.mobile_networks import Inventor
from tests.convert.passes.onnx_check import as_onnx, assert_same, names, operators

pytestmark = pytest.mark.needs_mxnet

TOLERANCE = 5e-6  # of the largest output; MXNet's own rounding is 1e-6
SEEDS = range(24)


def rewritten(network: Network, target: str) -> tuple[passes.Network, dict[str, PassRecord]]:
    found = as_onnx(network)
    records = apply_passes(found, target)
    return found, {record.name: record for record in records}


@pytest.mark.parametrize("target", ["portable", "x86"])
@pytest.mark.parametrize("seed", SEEDS)
def test_invented_networks_stay_what_they_are(seed: int, target: str) -> None:
    network = Inventor(seed).network()
    found, records = rewritten(network, target)
    for record in records.values():
        print(record.name, record.result.changed, record.result.refused)
    assert_same(network, found, tolerance=TOLERANCE)


def test_the_invented_networks_meet_every_rewrite() -> None:
    """What the test above has tried at least once, so that it does not pass for want of cases."""
    seen: set[str] = set()
    for seed, target in itertools.product(SEEDS, ("portable", "x86")):
        found, records = rewritten(Inventor(seed).network(), target)
        for name in ("dead_channels", "split_prelu"):
            if name in records:
                result = records[name].result
                seen |= {f"{name} {line.rpartition(' ')[2]}" for line in result.changed}
                seen |= {f"{name} left: {refusal.reason[-30:]}" for refusal in result.refused}
        seen |= {"turned" for name in names(found) if "_turned" in name}
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
def test_channels_that_fill_no_block(seed: int) -> None:
    """x86: they are padded with zeros where a depthwise layer needs it."""
    network = Inventor(seed, dead=0.1, widths=(12, 20, 7)).network()
    found, records = rewritten(network, "x86")
    assert records["pad_channels"].result.changed
    assert_same(network, found, tolerance=TOLERANCE)


@pytest.mark.parametrize("task", ["attribute", "detector"])
def test_networks_without_any_of_it_are_left(task: str, tmp_path: Path) -> None:
    """Their rectifiers have no slopes, and noise has no dead channels."""
    network = getattr(gluon_networks, f"make_{task}")(seed=5)
    kind = {"attribute": "attribute_v1", "detector": "detection_v1"}[task]
    path = gluon_networks.save_structural(network, tmp_path / "net.params")
    recipe = load_recipe(kind)
    graph = load_gluon(path, recipe.options["network"])
    image = recipe.spec.input
    shape = ("N", 3, 96, 96) if image is None else ("N", 3, image.height, image.width)
    model = build_onnx(graph, {"data": shape})
    plain = passes.Network(model)
    apply_passes(plain, "plain")
    for target in ("portable", "x86"):
        found = passes.Network(model)
        records = apply_passes(found, target)
        assert names(found) == names(plain)
        changed = {record.name: record.result.changed for record in records}
        for name in ("dead_channels", "pad_channels", "split_prelu"):
            assert not changed.get(name)


def test_plain_leaves_channels_and_rectifiers() -> None:
    network = Inventor(3).network()
    plain, _ = rewritten(network, "plain")
    assert operators(plain) == operators(as_onnx(network))
    assert "dead_channels" not in dict(TARGETS["plain"])


def test_an_unknown_target_is_named() -> None:
    with pytest.raises(ConversionError, match=r"unknown target 'risc'.*plain, portable, x86"):
        apply_passes(as_onnx(Inventor(0).network()), "risc")


def test_nothing_is_written_to_the_arrays_of_the_source() -> None:
    network = Inventor(5).network()
    model = build_onnx(network.graph, {"data": ("N", *network.shape[1:])})
    before = model.SerializeToString(deterministic=True)
    for target in TARGETS:
        apply_passes(passes.Network(model), target)
    assert model.SerializeToString(deterministic=True) == before
