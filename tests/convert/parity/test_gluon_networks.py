"""The gluon networks of the tests are the published ones: same arrays, same graph, same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileface.models.probes import make_probes
from mobileface_convert.frontends.mxnet_params import load_params
from mobileface_convert.oracles.mxnet_oracle import MXNetReference
from tests import gluon_networks as gluon

pytestmark = pytest.mark.needs_mxnet

SYMBOL = Path("MobileFace_Detection/model/mobilefacedet_v1_mxnet-symbol.json")
# What two right float32 results may differ by; boxes in pixels.
MAX_BOX_ERROR, MAX_SCORE_ERROR = 1e-3, 2e-6


@pytest.fixture(scope="module")
def detector() -> Any:
    return gluon.make_detector(1)


@pytest.fixture(scope="module")
def attribute() -> Any:
    return gluon.make_attribute()


def test_counts_are_those_of_the_published_files(detector: Any, attribute: Any) -> None:
    for net, count, size, auxiliary in (
        (detector, 232, 7_802_488, 88),
        (attribute, 175, 4_309_516, 60),
    ):
        parameters = gluon.structural_parameters(net)
        assert len(parameters) == count
        assert sum(array.size for array in net.arrays.values()) == size
        assert sum("running" in name for name in parameters) == auxiliary
        assert {name: p.shape for name, p in parameters.items()} == {
            name: array.shape for name, array in net.arrays.items()
        }


@pytest.mark.parametrize(
    ("structural", "prefixed", "shape"),
    [
        ("stages.0.2.body.1.1.running_var", "mfdetv10_batchnorm3_running_var", (32,)),
        ("stages.2.2.body.1.0.weight", "mfdetv10_conv23_weight", (256, 128, 3, 3)),
        ("transitions.1.0.weight", "yolov30_conv1_weight", (64, 128, 1, 1)),
        (
            "yolo_blocks.1.body.0.0.weight",
            "yolov30_yolodetectionblockv31_conv0_weight",
            (128, 384, 1, 1),
        ),
        ("yolo_blocks.2.tip.1.beta", "yolov30_yolodetectionblockv32_batchnorm5_beta", (128,)),
        ("yolo_outputs.0.anchors", "yolov30_yolooutputv30_anchor_0", (1, 1, 3, 2)),
        ("yolo_outputs.2.offsets", "yolov30_yolooutputv32_offset_2", (1, 1, 128, 128, 2)),
        ("yolo_outputs.1.prediction.bias", "yolov30_yolooutputv31_conv0_bias", (18,)),
    ],
)
def test_names_of_the_detector(
    detector: Any, structural: str, prefixed: str, shape: tuple[int, ...]
) -> None:
    parameter = gluon.structural_parameters(detector)[structural]
    assert (parameter.name, parameter.shape) == (prefixed, shape)


@pytest.mark.parametrize(
    ("structural", "prefixed", "shape"),
    [
        ("features.0.gamma", "batchnorm0_gamma", (3,)),
        ("features.1.weight", "conv0_weight", (16, 3, 3, 3)),
        ("features.2.0.downsample.weight", "stage1_conv2_weight", (32, 16, 1, 1)),
        ("features.3.1.se.2.weight", "stage2_dense3_weight", (64, 4)),
        ("features.5.1.conv2.weight", "stage4_conv4_weight", (256, 256, 3, 3)),
        ("features.6.running_var", "batchnorm1_running_var", (256,)),
        ("branch1.10.gamma", "batchnorm5_gamma", (128,)),
        ("branch2.3.weight", "conv6_weight", (256, 128, 3, 3)),
        ("output2.weight", "dense1_weight", (6, 256)),
        ("branch3.9.weight", "conv12_weight", (256, 128, 3, 3)),
        ("output3.bias", "dense2_bias", (8,)),
    ],
)
def test_names_of_the_attribute_network(
    attribute: Any, structural: str, prefixed: str, shape: tuple[int, ...]
) -> None:
    parameter = gluon.structural_parameters(attribute)[structural]
    assert (parameter.name, parameter.shape) == (f"mobileface_attributev10_{prefixed}", shape)


@pytest.mark.needs_source
def test_our_symbol_is_the_published_one(detector: Any, source: Path, tmp_path: Path) -> None:
    """Node for node: operators, names, attributes, edges; only MXNet's version differs."""
    ours, _ = gluon.export_symbol(detector, tmp_path / "detector")
    documents = [json.loads(path.read_text()) for path in (ours, source / SYMBOL)]
    for document in documents:
        for node in document["nodes"]:
            # A constant's initial value is named after an address in memory.
            node.get("attrs", {}).pop("__init__", None)
    found, published = documents
    assert found["nodes"] == published["nodes"]
    assert found["heads"] == published["heads"]


@pytest.mark.needs_source
def test_published_symbol_takes_our_arrays(detector: Any, source: Path) -> None:
    symbol = gluon.mxnet.sym.load(str(source / SYMBOL))
    arrays = gluon.arrays_for_published_symbol(detector)
    needed = {*symbol.list_arguments(), *symbol.list_auxiliary_states()} - {"data"}
    assert needed == set(arrays)
    attributes = symbol.attr_dict()
    for name, array in arrays.items():
        assert attributes[name]["__shape__"] == str(array.shape)


@pytest.mark.needs_source
@pytest.mark.parametrize(
    ("height", "width", "objectness"),
    [(256, 468, -5), (320, 256, -5), (160, 129, -5.9), (96, 225, -20)],
)
def test_published_symbol_computes_what_gluon_does(
    source: Path, tmp_path: Path, height: int, width: int, objectness: float
) -> None:
    net = gluon.make_detector(1, 3, objectness)
    params = gluon.save_published_checkpoint(net, tmp_path / "x.params", source / SYMBOL)
    pictures = make_probes(2, height, width, 3, seed=height)
    expected = MXNetReference(source / SYMBOL, params).run({"data": pictures.astype(np.float32)})
    ids, scores, boxes = gluon.run(net, pictures)
    kept = ids[..., 0] == 0
    errors = [
        float(np.abs(a - b).max()) for a, b in zip((scores, boxes), expected[1:], strict=True)
    ]
    print(f"{kept.sum(axis=1)} rows, scores {errors[0]:.2g}, boxes {errors[1]:.2g}")
    np.testing.assert_array_equal(ids, expected[0])
    assert errors[0] <= MAX_SCORE_ERROR
    assert errors[1] <= MAX_BOX_ERROR
    assert kept.any() == (objectness > -20)


@pytest.mark.parametrize("version", [1, 2])
def test_scores_and_boxes_could_be_those_of_faces(version: int) -> None:
    net = gluon.make_detector(version)
    pictures = make_probes(4, 224, 288, 3, seed=1)
    rows = net.raw(gluon.mxnet.nd.array(gluon.normalise(pictures))).asnumpy()
    scores, sizes = rows[..., 1], rows[..., 4:] - rows[..., 2:4]
    share = float((scores > 0.01).mean())
    print(f"V{version}: {share:.2f} candidates, sizes {sizes.min():.1f} to {sizes.max():.1f}")
    assert rows.shape == (4, 3 * (28 * 36 + 14 * 18 + 7 * 9), 6)
    assert 0.1 < share < 0.9
    assert sizes.min() > 2
    assert sizes.max() < 2000


def test_versions_differ_in_anchors_alone() -> None:
    first, second = gluon.make_detector(1), gluon.make_detector(2)
    differ = [n for n in first.arrays if (first.arrays[n] != second.arrays[n]).any()]
    assert differ == [f"yolo_outputs.{i}.anchors" for i in range(3)]


def test_thresholds_of_the_suppression() -> None:
    net = gluon.make_detector(2)
    pictures = make_probes(2, 160, 128, 3)
    default = gluon.run(net, pictures)
    net.set_nms(0.45, 200)
    fewer = gluon.run(net, pictures)
    assert [output.shape for output in default] == [(2, 100, n) for n in (1, 1, 4)]
    assert [output.shape for output in fewer] == [(2, 100, n) for n in (1, 1, 4)]
    assert ((default[0] == 0).sum(axis=1) >= (fewer[0] == 0).sum(axis=1)).all()
    assert (default[0] != fewer[0]).any()


def test_attributes_tell_pictures_apart(attribute: Any) -> None:
    pictures = make_probes(6, 96, 96, 3)
    outputs = gluon.run(attribute, pictures)
    assert [output.shape for output in outputs] == [(6, 2), (6, 6), (6, 8)]
    for output in outputs:
        print(f"|logits| to {np.abs(output).max():.2f}, spread {output.std(axis=0).max():.2f}")
        assert 0.3 < np.abs(output).max() < 10
        assert output.std(axis=0).max() > 0.05


def test_input_normalisation_ignores_gamma_and_uses_beta(attribute: Any, tmp_path: Path) -> None:
    stored = load_params(gluon.save_structural(attribute, tmp_path / "a.params"))
    assert (np.abs(stored["features.0.gamma"] - 1) > 0.01).all()
    assert (np.abs(stored["features.0.beta"]) > 0.001).all()
    pictures = make_probes(2, 96, 96, 3)
    before = gluon.run(attribute, pictures)
    for name, matters in (("features.0.gamma", False), ("features.0.beta", True)):
        other = gluon.make_attribute()
        parameter = gluon.structural_parameters(other)[name]
        parameter.set_data(parameter.data() + 1)
        after = gluon.run(other, pictures)
        same = all((a == b).all() for a, b in zip(before, after, strict=True))
        assert same is not matters


def test_savers_name_the_same_arrays(attribute: Any, detector: Any, tmp_path: Path) -> None:
    """The gamma that MXNet overwrites is saved as it was made, too."""
    gluon.run(attribute, make_probes(1, 96, 96, 3))
    for net in (attribute, detector):
        named = gluon.structural_parameters(net)
        structural = load_params(gluon.save_structural(net, tmp_path / "s.params"))
        prefixed = load_params(gluon.save_prefixed(net, tmp_path / "p.params"))
        _, params = gluon.export_symbol(net, tmp_path / "x")
        exported = load_params(params)
        assert structural.keys() == named.keys()
        assert not any("." in name for name in prefixed)
        assert len(prefixed) == len(structural)
        for name, parameter in named.items():
            kind = "aux" if "running" in name else "arg"
            np.testing.assert_array_equal(structural[name], net.arrays[name])
            np.testing.assert_array_equal(prefixed[parameter.name], net.arrays[name])
            np.testing.assert_array_equal(exported[f"{kind}:{parameter.name}"], net.arrays[name])
    stripped = load_params(gluon.save_prefixed(attribute, tmp_path / "q.params", strip=True))
    assert "stage1_conv0_weight" in stripped
    assert len(stripped) == 175


def test_exported_attribute_network_is_the_same(attribute: Any, tmp_path: Path) -> None:
    files = gluon.export_symbol(attribute, tmp_path / "attribute")
    pictures = make_probes(3, 96, 96, 3)
    found = MXNetReference(*files).run({"data": gluon.normalise(pictures)})
    expected = gluon.run(attribute, pictures)
    errors = [float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True)]
    print(f"largest differences {errors}")
    assert max(errors) <= 1e-5
