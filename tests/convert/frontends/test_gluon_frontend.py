"""Networks read from gluon's parameter files alone, against gluon itself."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileface.errors import ConversionError, GraphError
from mobileface.models.probes import make_probes
from mobileface_convert.frontends.checkpoint import save_checkpoint
from mobileface_convert.frontends.gluon import NETWORKS, load_gluon, read_gluon, recognise
from mobileface_convert.frontends.mxnet_params import load_params, write_params
from mobileface_convert.graph.source_graph import Array
from mobileface_convert.oracles.mxnet_oracle import MXNetReference

DETECTION, ATTRIBUTE = "mobileface_detection", "mobileface_attribute"
SIZES = {DETECTION: (160, 213), ATTRIBUTE: (96, 96)}
Arrays = dict[str, Array]


@functools.cache
def gluon() -> Any:
    """The gluon networks; imported late, because they need MXNet."""
    from tests import gluon_networks

    return gluon_networks


@functools.cache
def network(name: str) -> Any:
    return gluon().make_detector(2, seed=3) if name == DETECTION else gluon().make_attribute(seed=3)


def random_arrays(name: str) -> Arrays:
    """Arrays of the right names and shapes, without MXNet."""
    plan, _ = NETWORKS[name]()
    draw = np.random.RandomState(1)
    return {key: draw.uniform(0.1, 1, size).astype(np.float32) for key, size in plan.shapes.items()}


@pytest.mark.needs_mxnet
@pytest.mark.parametrize("name", NETWORKS)
def test_the_graph_computes_what_gluon_computes(name: str, tmp_path: Path) -> None:
    net = network(name)
    graph = load_gluon(gluon().save_structural(net, tmp_path / "x.params"), name)
    pictures = make_probes(3, *SIZES[name], 3, 11)
    expected = gluon().run(net, pictures)
    reference = MXNetReference(*save_checkpoint(graph, tmp_path / "rebuilt"))
    found = reference.run({"data": gluon().normalise(pictures)})
    assert len(found) == len(expected) == 3
    for ours, theirs in zip(found, expected, strict=True):
        error = float(np.abs(ours - theirs).max())
        print(f"{name} {theirs.shape}: max abs error {error:.2g}")
        assert ours.shape == theirs.shape
        assert error <= (0 if name == DETECTION else 1e-6)


@pytest.mark.needs_mxnet
@pytest.mark.parametrize(
    ("name", "form"),
    [
        (DETECTION, "prefixed"),  # not stripped: its backbone has a prefix of its own
        (DETECTION, "symbol"),
        (ATTRIBUTE, "prefixed"),
        (ATTRIBUTE, "stripped"),
        (ATTRIBUTE, "symbol"),
    ],
)
def test_every_form_of_names_gives_the_same_arrays(name: str, form: str, tmp_path: Path) -> None:
    net, path = network(name), tmp_path / "x.params"
    expected = load_gluon(gluon().save_structural(net, tmp_path / "s.params"), name)
    if form == "symbol":
        _, path = gluon().export_symbol(net, tmp_path / "x")
    else:
        gluon().save_prefixed(net, path, strip=form == "stripped")
    assert recognise(load_params(path), "x") == name
    found = load_gluon(path, name)
    for key in NETWORKS[name]()[0].shapes:
        ignored = key == "features.0.gamma"  # MXNet may have overwritten it with ones
        assert ignored or np.array_equal(found.params[key], expected.params[key]), key


@pytest.mark.parametrize("name", NETWORKS)
def test_the_counters_of_blocks_may_start_anywhere(name: str) -> None:
    plan, _ = NETWORKS[name]()
    arrays = random_arrays(name)
    blocks = "yolov3|mfdetv1|yolodetectionblockv3|yolooutputv3|mobileface_attributev1"
    shifted: Arrays = {}
    for key, old in plan.old_names.items():
        renamed = re.sub(rf"({blocks})(\d+)_", lambda m: f"{m.group(1)}{int(m.group(2)) + 9}_", old)
        shifted[renamed] = arrays[key]
    assert "." not in "".join(shifted)
    found = read_gluon(shifted, name, "x.params")
    for key, array in arrays.items():
        np.testing.assert_array_equal(found.params[key], array)


def test_half_precision_files_and_unused_tables_are_read() -> None:
    arrays = random_arrays(DETECTION)
    halves: Arrays = {key: array.astype(np.float16) for key, array in arrays.items()}
    halves["yolo_outputs.0.offsets"] = np.zeros((1, 1, 128, 128, 2), np.float32)
    found = read_gluon(halves, DETECTION, "x.params")
    key = "stages.0.0.0.weight"
    assert found.params[key].dtype == np.float32
    np.testing.assert_array_equal(found.params[key], halves[key].astype(np.float32))


def damaged(kind: str) -> tuple[Arrays, str]:
    """Arrays with one thing wrong, and what the message must say."""
    arrays = random_arrays(DETECTION)
    first, bias = "stages.0.0.0.weight", "yolo_outputs.1.prediction.bias"
    if kind == "missing":
        del arrays[bias]
        return arrays, rf"node 'yolov30_yolooutputv31_conv0_fwd'.*1 of 229 .* missing: {bias}"
    if kind == "renamed":
        arrays["other.weight"] = arrays.pop(first)
        return arrays, rf"missing: {first}.*unknown arrays: other.weight"
    if kind == "extra":
        arrays["fc.weight"] = np.ones((2, 2), np.float32)
        return arrays, r"1 arrays do not belong to the network: fc.weight"
    if kind == "swapped":
        other = "stages.0.1.0.weight"
        arrays[first], arrays[other] = arrays[other], arrays[first]
        return arrays, rf"'mfdetv10_conv0_fwd'.*array '{first}' has shape \(32, 16, 3, 3\)"
    if kind == "transposed":
        arrays[first] = arrays[first].T
        return arrays, rf"array '{first}' has shape \(3, 3, 3, 16\), expected \(16, 3, 3, 3\)"
    if kind == "anchors":
        arrays["yolo_outputs.0.anchors"] = np.ones((1, 1, 5, 2), np.float32)
        return arrays, r"'yolo_outputs.0.anchors' has shape \(1, 1, 5, 2\)"
    if kind == "nan":
        arrays[bias] = np.full_like(arrays[bias], np.nan)
        return arrays, rf"array '{bias}' holds nan or inf"
    if kind == "half a network":
        return {k: v for k, v in arrays.items() if k.startswith("stages")}, r"of 229 arrays are mis"
    assert kind == "another network"
    return random_arrays(ATTRIBUTE), r"229 of 229 arrays are missing"


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "renamed",
        "extra",
        "swapped",
        "transposed",
        "anchors",
        "nan",
        "half a network",
        "another network",
    ],
)
def test_damaged_files_are_refused_with_array_and_layer(kind: str, tmp_path: Path) -> None:
    arrays, message = damaged(kind)
    path = tmp_path / "x.params"
    path.write_bytes(write_params(arrays))
    with pytest.raises(GraphError, match=message) as caught:
        load_gluon(path, DETECTION)
    print(caught.value)
    assert str(path) in str(caught.value)


def test_unknown_networks_and_names_are_refused() -> None:
    with pytest.raises(ConversionError, match=r"unknown network 'x'; .*mobileface_detection"):
        read_gluon({}, "x", "y.params")
    with pytest.raises(GraphError, match=r"y.params: 1 arrays of an unknown network"):
        recognise({"fc.weight": np.ones(1, np.float32)}, "y.params")
    with pytest.raises(GraphError, match=r"0 arrays of an unknown network"):
        recognise({}, "y.params")
