"""``mobileface-convert export --target feathercnn``: files that two readers run as ONNX Runtime."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper

from mobileface.models.session import Session
from mobileface.models.spec import ImageInput
from mobileface_convert.backends.feathercnn_rules import check_dialect
from mobileface_convert.backends.ncnn import NcnnModel
from mobileface_convert.backends.ncnn_param import read_param
from mobileface_convert.build.pipeline import convert
from mobileface_convert.commands.main import main
from mobileface_convert.exports import feathercnn_export
from mobileface_convert.exports.export_table import cell
from mobileface_convert.oracles.feathercnn_evaluator import FeatherEvaluator
from mobileface_convert.recipes.recipe import Recipe, load_recipe, recipe_names
from mobileface_convert.sources.files import DirectorySource
from tests import gluon_networks
from tests.convert.exports.export_check import cosines, read_sidecar, run_ncnn
from tests.convert.exports.test_export import expected_of, pictures
from tests.convert.frontends.random_source import source_file

pytestmark = pytest.mark.needs_ncnn

ROOT = Path(__file__).resolve().parents[3]
STARTERS = ("age", "gender", "expression", "embedding_dlib")
LEAST = 0.9999999
"""Smallest cosine seen: 1 - 1e-10."""

FloatArray = npt.NDArray[np.float32]


def evaluator_of(folder: Path, name: str) -> FeatherEvaluator:
    """The written files in the evaluator, after the checker."""
    param = (folder / f"{name}.feathercnn.param").read_text()
    content = (folder / f"{name}.feathercnn.bin").read_bytes()
    outputs = [o["blob"] for o in read_sidecar(folder, name, "feathercnn")["outputs"]]
    layers = read_param(param, name)
    files = NcnnModel(param, content, tuple(layer.kind for layer in layers), (), tuple(outputs))
    check_dialect(files, name)
    return FeatherEvaluator(files, name)


def check_document(folder: Path, name: str) -> None:
    """The table in docs/export.md has the size of the files, and an error of this magnitude."""
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    (row,) = (line for line in text.splitlines() if line.startswith(f"| {name} |"))
    written = row.split(" | ")[3]
    size, error, _ = cell(read_sidecar(folder, name, "feathercnn")).split("; ")
    print(f"{name}: {written}; now {error}")
    assert written.startswith(f"{size}; ")
    ours, theirs = (float(part.partition(" of ")[0]) for part in (error, written.split("; ")[1]))
    assert theirs / 3 <= ours <= 3 * theirs


def check(folder: Path, name: str, model: Path, image: ImageInput) -> None:
    """Both readers on pictures, by the sidecar alone, against ONNX Runtime."""
    sidecar = read_sidecar(folder, name, "feathercnn")
    shown = pictures(image)
    mean, norm = (np.array(sidecar["input"][key], np.float32) for key in ("mean", "norm"))
    tensor = np.ascontiguousarray(((shown - mean) * norm).transpose(0, 3, 1, 2), np.float32)
    rows = [run_ncnn(folder, sidecar, p[..., 0] if p.shape[2] == 1 else p) for p in shown]
    by_ncnn = [np.stack(output) for output in zip(*rows, strict=True)]
    by_evaluator = evaluator_of(folder, name).run(tensor)
    for reader, outputs in (("ncnn", by_ncnn), ("evaluator", by_evaluator)):
        for found, expected, section in zip(
            outputs, expected_of(model, shown), sidecar["outputs"], strict=True
        ):
            found = found.reshape(len(shown), -1)
            if section.get("left_out"):
                assert section["left_out"] == "l2_normalization"
                found = found / np.linalg.norm(found, axis=1, keepdims=True)
            cosine, error = cosines(found, expected).min(), np.abs(found - expected).max()
            print(f"{name}, {reader}: smallest cosine 1 - {1 - cosine:.1g}, error {error:.2g}")
            assert cosine >= LEAST
            assert error <= 5e-5 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("version", [1, 2, 3])
def test_identification(
    random_source: Path, random_recipe: Callable[[int], Recipe], tmp_path: Path, version: int
) -> None:
    name = f"identification_v{version}"
    built = convert(random_recipe(version), DirectorySource(random_source), tmp_path, verify=False)
    arguments = ["export", "--target", "feathercnn", "--output", str(tmp_path)]
    assert main([*arguments, "--model", str(built.path)]) == 0
    check(tmp_path, name, built.path, load_recipe(name).spec.input)
    left_out = "left_out" in read_sidecar(tmp_path, name, "feathercnn")["outputs"][0]
    assert left_out == (version == 1)


@pytest.mark.slow
@pytest.mark.needs_source
@pytest.mark.parametrize("version", [1, 2, 3])
def test_published_identification(source: Path, tmp_path: Path, version: int) -> None:
    name = f"identification_v{version}"
    built = convert(load_recipe(name), DirectorySource(source), tmp_path, verify=False)
    arguments = ["--recipe", name, "--source", str(source), "--output", str(tmp_path)]
    assert main(["export", "--target", "feathercnn", *arguments]) == 0
    check(tmp_path, name, built.path, load_recipe(name).spec.input)
    check_document(tmp_path, name)


@pytest.mark.slow
def test_the_starter_set(tmp_path: Path) -> None:
    models = [ROOT / "models_onnx" / f"{name}.onnx" for name in STARTERS]
    arguments = ["export", "--target", "feathercnn", "--output", str(tmp_path), "--model"]
    assert main([*arguments, *map(str, models)]) == 0
    for name, model in zip(STARTERS, models, strict=True):
        check(tmp_path, name, model, Session(model).spec.input)
        check_document(tmp_path, name)


def test_a_checkpoint_without_a_recipe(random_source: Path, tmp_path: Path) -> None:
    """Beside the files for ncnn, which have other names."""
    prefix = random_source / "MobileFace_Identification" / "MobileFace_Identification_V3"
    given = ["--symbol", f"{prefix}-symbol.json", "--params", f"{prefix}-0000.params"]
    for target in ("feathercnn", "ncnn"):
        arguments = ["export", "--target", target, *given, "--output", str(tmp_path)]
        assert main([*arguments, "--input-shape", "N,3,112,112"]) == 0
    name = "MobileFace_Identification_V3"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{name}.{suffix}"
        for suffix in (
            "bin", "param", "ncnn.json", "feathercnn.bin", "feathercnn.param", "feathercnn.json"
        )
    )  # fmt: skip
    evaluator_of(tmp_path, name)


def refused(
    arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str], *words: str
) -> None:
    """The command fails with one sentence and writes nothing."""
    output = folder / "out"
    assert main(["export", "--target", "feathercnn", *arguments, "--output", str(output)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    print(lines[0])
    assert all(word in lines[0] for word in words)
    assert not output.exists() or not list(output.iterdir())


@pytest.mark.needs_mxnet
def test_detectors_are_refused_by_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = source_file(tmp_path, "detection_v2", "gluon")
    gluon_networks.save_structural(gluon_networks.make_detector(2, seed=2), path)
    arguments = ["--recipe", "detection_v2", "--params", str(path)]
    refused(arguments, tmp_path, capsys, "(Resize)", "detection_v2")


def test_the_reasons_in_the_table_are_of_the_models_that_are_refused() -> None:
    reasons = {name: load_recipe(name).options.get("no_export") for name in recipe_names()}
    assert {name for name, reason in reasons.items() if reason} == {
        "attribute_v1",
        "detection_v1",
        "detection_v2",
    }


@pytest.mark.needs_mxnet
def test_attributes_are_refused_by_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Squeeze and excitation multiplies blobs."""
    path = source_file(tmp_path, "attribute_v1", "gluon")
    gluon_networks.save_structural(gluon_networks.make_attribute(seed=5), path)
    arguments = ["--recipe", "attribute_v1", "--params", str(path)]
    refused(arguments, tmp_path, capsys, "sigmoid0' (Sigmoid)", "attribute_v1")


def save(folder: Path, *nodes: onnx.NodeProto, inputs: dict[str, list[int | str]]) -> str:
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "network", values, outputs)
    path = folder / "network.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, str(path))
    return str(path)


RELU = helper.make_node("Relu", ["data"], ["out"], name="n")


@pytest.mark.parametrize(
    ("nodes", "inputs", "arguments", "words"),
    [
        ([helper.make_node("Sigmoid", ["data"], ["out"], name="n")], {"data": [1, 3, 6, 5]}, [],
         ("node 'n' (Sigmoid)", "there are layers for")),
        ([RELU], {"data": ["N", 3, "H", "W"]}, [], ("no fixed channels, height", "--input-shape")),
        ([RELU], {"data": [4, 3, 6, 5]}, [], ("a batch of 4", "one image at a time")),
        ([RELU], {"data": ["N", 3, 6, 5]}, ["--input-shape", "2,3,6,5"], ("a batch of 2",)),
        ([helper.make_node("Add", ["data", "more"], ["out"], name="n")],
         {"data": [1, 3, 6, 5], "more": [1, 3, 6, 5]}, [], ("2 inputs", "one image")),
        ([RELU], {"data": ["N", 12]}, [], ("(N, 12) has no fixed channels",)),
    ],
    ids=["layer", "size", "batch", "given batch", "inputs", "no image"],
)  # fmt: skip
def test_what_cannot_be_exported(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[int | str]],
    arguments: list[str],
    words: tuple[str, ...],
) -> None:
    path = save(tmp_path, *nodes, inputs=inputs)
    refused(["--model", path, *arguments], tmp_path, capsys, *words)


def test_models_without_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(["--recipe", "pose_mesh"], tmp_path, capsys, "cannot be exported to FeatherCNN")
    refused(["--recipe", "landmark_eme"], tmp_path, capsys, "FeatherCNN has no layers")


def test_weights_are_float32(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--recipe", "identification_v3", "--weights", "float16"]
    refused(arguments, tmp_path, capsys, "--weights float16 is for --target ncnn")


def test_a_network_that_differs_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If only one of the two readers sees it."""
    plain = feathercnn_export.to_feathercnn

    def spoiled(*arguments: object) -> object:
        found = plain(*arguments)  # type: ignore[arg-type]
        text = found.files.param.replace("ReLU n_relu 1 1 data out", "ReLU n 1 1 data out 0=0.5")
        return dataclasses.replace(found, files=dataclasses.replace(found.files, param=text))

    monkeypatch.setattr(feathercnn_export, "to_feathercnn", spoiled)
    path = save(tmp_path, RELU, inputs={"data": [1, 3, 6, 5]})
    refused(["--model", path], tmp_path, capsys, "network for feathercnn")
