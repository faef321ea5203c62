"""Detectors V1 and V2: one graph for all picture sizes, equal to MXNet before and after NMS.

The weights are random, their statistics such that boxes and scores could be those of faces. Gluon
computes the oracle.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from mobileface.errors import ConversionError, GraphError
from mobileface.models.probes import make_probes
from mobileface_convert.build.pipeline import convert
from mobileface_convert.commands.main import main
from mobileface_convert.oracles.mxnet_oracle import import_mxnet
from mobileface_convert.recipes.recipe import load_recipe
from mobileface_convert.sources.files import DirectorySource
from tests import gluon_blocks, gluon_networks
from tests.convert.frontends.random_source import make_random_source, source_file
from tests.convert.ops.op_check import run_onnx
from tests.convert.tied_rows import untied
from tests.gluon_networks import Block

pytestmark = [pytest.mark.needs_mxnet, pytest.mark.needs_source]

FloatArray = npt.NDArray[np.float32]
Pictures = npt.NDArray[np.uint8]

VERSIONS = (1, 2)
SIZES = ((256, 468), (257, 341), (468, 256), (129, 160), (256, 1024), (1100, 600), (640, 1043))
"""Height and width: the published 256×468, odd ones, portraits, and beyond MXNet's 1024 pixels."""

ALL, MANY, FEW, NONE = -3.0, -5.0, -6.3, -20.0
"""Mean logit of the objectness: all rows are candidates, about half, a few, none."""

RAW_SCORE, RAW_BOX = 2e-6, 1e-2
FINAL_SCORE, FINAL_BOX = 2e-6, 1e-3
"""Allowed errors; of boxes in pixels."""


@functools.cache
def network(version: int, objectness: float) -> Block:
    """A detector that gluon computes beyond 1024 pixels too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gluon_blocks, "GRID", 256)
        return gluon_networks.make_detector(version, seed=version, objectness=objectness)


@pytest.fixture(scope="module")
def converted(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[int, float], onnx.ModelProto]:
    """Converts a detector from its gluon file; all rows before suppression are an output too."""

    @functools.cache
    def make(version: int, objectness: float) -> onnx.ModelProto:
        folder = tmp_path_factory.mktemp("gluon")
        recipe = load_recipe(f"detection_v{version}")
        made_of = gluon_networks.make_detector(version, seed=version, objectness=objectness)
        gluon_networks.save_structural(made_of, source_file(folder, recipe.name, "gluon"))
        made = convert(recipe, directory(folder), folder / "models", verify=False)
        model = onnx.load(str(made.path))
        rows = onnx.helper.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, ("N", "R", 6))
        model.graph.output.append(rows)
        return model

    return make


@pytest.fixture(scope="module")
def random_source(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("random")
    make_random_source(folder, source)
    return folder


def directory(folder: Path) -> DirectorySource:
    """A folder as a source; random weights have other hashes than the recipes say."""
    return DirectorySource(folder, verify=False)


def largest(found: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    difference = np.abs(np.asarray(found, np.float64) - np.asarray(expected, np.float64))
    return float(difference.max(initial=0))


def run(model: onnx.ModelProto, pictures: Pictures, **options: Any) -> list[FloatArray]:
    """Ids, scores, boxes, all rows."""
    return run_onnx(model, {"image": pictures, **options})


def run_gluon(net: Block, pictures: Pictures) -> list[FloatArray]:
    """Ids, scores, boxes, all rows."""
    fed = import_mxnet().nd.array(gluon_networks.normalise(pictures))
    return [output.asnumpy() for output in (*net(fed), net.raw(fed))]


def raw_gluon(net: Block, pictures: Pictures) -> FloatArray:
    """All rows; unlike the rest of the network they may be fewer than 100."""
    fed = import_mxnet().nd.array(gluon_networks.normalise(pictures))
    rows: FloatArray = net.raw(fed).asnumpy()
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("objectness", [MANY, FEW, NONE])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("version", VERSIONS)
def test_equals_mxnet(
    converted: Callable[[int, float], onnx.ModelProto],
    version: int,
    size: tuple[int, int],
    objectness: float,
) -> None:
    pictures = make_probes(2 if objectness == FEW else 1, *size, 3, seed=8)
    ids, scores, boxes, rows = run(converted(version, objectness), pictures)
    expected = run_gluon(network(version, objectness), pictures)
    raw_score = largest(rows[..., 1], expected[3][..., 1])
    raw_box = largest(rows[..., 2:], expected[3][..., 2:])
    ordered = [
        untied(found[:, 0], places, wanted[:, 0], there)
        for found, places, wanted, there in zip(scores, boxes, *expected[1:3], strict=True)
    ]
    score, box = largest(scores, expected[1]), largest(np.stack(ordered), expected[2])
    print(
        f"{rows.shape[1]} rows: score error {raw_score:.2e}, box error {raw_box:.2e} px; "
        f"{(ids >= 0).sum()} detections: score error {score:.2e}, box error {box:.2e} px"
    )
    assert rows.shape == expected[3].shape
    assert raw_score <= RAW_SCORE
    assert raw_box <= RAW_BOX
    np.testing.assert_array_equal(ids, expected[0])
    assert score <= FINAL_SCORE
    assert box <= FINAL_BOX
    assert (ids >= 0).any() == (objectness != NONE)


def test_a_batch_equals_single_pictures(
    converted: Callable[[int, float], onnx.ModelProto],
) -> None:
    model = converted(2, FEW)
    pictures = make_probes(5, 131, 203, 3, seed=3)
    together = run(model, pictures)
    for index in range(len(pictures)):
        single = run(model, pictures[index : index + 1])
        for ours, theirs in zip(together, single, strict=True):
            np.testing.assert_array_equal(ours[index : index + 1], theirs)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (31, 33), (20, 200), (2000, 200)])
def test_sizes_that_mxnet_refuses_give_a_hundred_rows(
    converted: Callable[[int, float], onnx.ModelProto], size: tuple[int, int]
) -> None:
    """Fewer than 100 cells, one pixel, ten to one: rows of −1 fill what is missing."""
    pictures = make_probes(2, *size, 3, seed=5)
    ids, scores, boxes, rows = run(converted(1, ALL), pictures)
    raw = raw_gluon(network(1, ALL), pictures)
    assert (ids.shape, scores.shape, boxes.shape) == ((2, 100, 1), (2, 100, 1), (2, 100, 4))
    assert rows.shape[1] == 3 * sum(-(-size[0] // s) * -(-size[1] // s) for s in (32, 16, 8))
    found = ids[..., 0] >= 0
    assert (scores[..., 0][found] > 0.01).all()
    assert (scores[..., 0][~found] == -1).all()
    assert (boxes[~found] == -1).all()
    assert found.any(axis=1).all()
    assert largest(rows[..., 1], raw[..., 1]) <= RAW_SCORE
    assert largest(rows[..., 2:], raw[..., 2:]) <= RAW_BOX


def test_thresholds_and_topk_are_options(
    converted: Callable[[int, float], onnx.ModelProto],
) -> None:
    """The scripts' own settings (200 candidates), and others, against MXNet's."""
    mxnet = import_mxnet()
    pictures = make_probes(2, 256, 341, 3, seed=9)
    rows = mxnet.nd.array(run(converted(1, MANY), pictures)[3])
    for overlap, valid, topk in ((0.45, 0.01, 200), (0.3, 0.5, 400), (0.7, 0.02, 50), (1, 0, -1)):
        ids, scores, boxes, _ = run(
            converted(1, MANY),
            pictures,
            iou_threshold=np.array(overlap, np.float32),
            valid_threshold=np.array(valid, np.float32),
            topk=np.array(topk, np.int64),
        )
        expected = mxnet.nd.contrib.box_nms(
            rows, overlap, valid, topk, id_index=0, score_index=1, coord_start=2
        ).asnumpy()[:, :100]
        np.testing.assert_array_equal(np.concatenate([ids, scores, boxes], -1), expected)


@pytest.mark.slow
def test_both_files_of_v1_give_one_model(random_source: Path, tmp_path: Path) -> None:
    """The symbol with its parameters, and the gluon file."""
    folder = shutil.copytree(random_source, tmp_path / "source")
    recipe = load_recipe("detection_v1")
    symbol = convert(recipe, directory(folder), tmp_path / "symbol")
    source_file(folder, "detection_v1", "symbol").unlink()
    gluon = convert(recipe, directory(folder), tmp_path / "gluon")
    print(symbol, gluon)
    graphs = [onnx.load(str(made.path)).graph for made in (symbol, gluon)]
    pictures = make_probes(2, 129, 160, 3, seed=5)
    assert [node.op_type for node in graphs[0].node] == [node.op_type for node in graphs[1].node]
    found = [run_onnx(onnx.load(str(made.path)), {"image": pictures}) for made in (symbol, gluon)]
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_anchors_tell_the_versions_apart(tmp_path: Path) -> None:
    """V2's file in V1's place, and a file of another network."""
    recipe = load_recipe("detection_v1")
    path = source_file(tmp_path, "detection_v1", "gluon")
    gluon_networks.save_structural(gluon_networks.make_detector(2, seed=1), path)
    with pytest.raises(ConversionError, match=r"anchors are .*316.*detection_v1.*another version"):
        convert(recipe, directory(tmp_path), tmp_path / "models", verify=False)
    gluon_networks.save_structural(gluon_networks.make_attribute(seed=1), path)
    with pytest.raises(ConversionError, match=r"stages\.0\.0\.0\.weight"):
        convert(recipe, directory(tmp_path), tmp_path / "models", verify=False)
    assert not (tmp_path / "models").exists() or not list((tmp_path / "models").iterdir())


def test_parameters_of_another_model_are_refused(random_source: Path, tmp_path: Path) -> None:
    """The published symbol with the arrays of the attribute network."""
    folder = shutil.copytree(random_source, tmp_path / "source")
    net = gluon_networks.make_attribute(seed=1)
    _, params = gluon_networks.export_symbol(net, tmp_path / "attribute")
    shutil.copyfile(params, source_file(folder, "detection_v1", "params"))
    recipe = load_recipe("detection_v1")
    with pytest.raises(GraphError, match=r"init_scale' is missing.*do they belong"):
        convert(recipe, directory(folder), tmp_path / "models", verify=False)


@pytest.mark.slow
def test_verified_conversion_writes_a_certificate(random_source: Path, tmp_path: Path) -> None:
    for version in VERSIONS:
        made = convert(load_recipe(f"detection_v{version}"), directory(random_source), tmp_path)
        assert made.agreement is not None
        print(made)
        assert made.agreement.max_abs_error <= 5e-6
        assert (tmp_path / f"detection_v{version}.certificate.json").is_file()


@pytest.mark.slow
def test_a_model_is_verified_with_either_file(random_source: Path, tmp_path: Path) -> None:
    convert(load_recipe("detection_v1"), directory(random_source), tmp_path, verify=False)
    model = str(tmp_path / "detection_v1.onnx")
    params = str(source_file(random_source, "detection_v1", "params"))
    symbol = str(source_file(random_source, "detection_v1", "symbol"))
    gluon = str(source_file(random_source, "detection_v1", "gluon"))
    assert main(["verify", model, "--symbol", symbol, "--params", params]) == 0
    assert main(["verify", model, "--params", gluon]) == 0
    assert main(["verify", model, "--symbol", symbol]) == 2
