"""MobileFace's networks in ncnn and Caffe: what their engines compute is what ONNX Runtime does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from mobileface.models.probes import make_probes
from mobileface.models.session import Session
from mobileface.models.spec import ImageInput
from mobileface.vision.image import to_tensor
from mobileface.vision.picture_files import read_image
from mobileface_convert.backends.ncnn_prepare import prepare
from mobileface_convert.build.pipeline import convert
from mobileface_convert.commands.main import main
from mobileface_convert.exports.export_table import cell
from mobileface_convert.oracles.verify import open_model
from mobileface_convert.recipes.recipe import Recipe, load_recipe
from mobileface_convert.sources.files import DirectorySource
from tests import gluon_networks
from tests.convert.exports.export_check import cosines, read_sidecar, run_caffe, run_ncnn
from tests.convert.frontends.random_source import source_file

FloatArray = npt.NDArray[np.float32]
ROOT = Path(__file__).resolve().parents[3]
VERSIONS = (1, 2, 3)
ATTRIBUTES = ("gender", "age", "expression")
MIN_COSINE = {"float32": 0.9999999, "float16": 0.99995}
"""Smallest seen: 1 - 2e-12 in float32, 0.99996 (V1) in float16."""


def pictures(image: ImageInput, count: int = 6, seed: int = 9) -> npt.NDArray[np.uint8]:
    return make_probes(count, image.height, image.width, image.channels, seed)


def expected_of(model: Path, shown: npt.NDArray[np.uint8]) -> list[FloatArray]:
    """What ONNX Runtime computes for pictures in the model's own order of channels."""
    session = Session(model, intra_op_num_threads=1)
    image = session.spec.input
    assert image is not None
    scaled = shown.astype(np.float32) - np.float32(image.mean)
    tensor = np.ascontiguousarray((scaled / np.float32(image.std)).transpose(0, 3, 1, 2))
    found = session.run({session.inputs[0]: tensor})
    return [found[name] for name in session.outputs]


def ncnn_rows(
    folder: Path, sidecar: dict[str, Any], shown: npt.NDArray[np.uint8]
) -> list[FloatArray]:
    """What ncnn computes, picture by picture."""
    rows = [run_ncnn(folder, sidecar, p[..., 0] if p.shape[2] == 1 else p) for p in shown]
    return [np.stack(output) for output in zip(*rows, strict=True)]


@pytest.fixture(scope="module")
def random_models(
    random_source: Path,
    random_recipe: Callable[[int], Recipe],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """V1, V2 and V3 with random weights, as ONNX."""
    folder = tmp_path_factory.mktemp("models")
    for version in VERSIONS:
        convert(random_recipe(version), DirectorySource(random_source), folder, verify=False)
    return folder


@pytest.fixture(scope="module")
def attribute_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The attribute network's gluon file with random weights."""
    path = source_file(tmp_path_factory.mktemp("attribute"), "attribute_v1", "gluon")
    return gluon_networks.save_structural(gluon_networks.make_attribute(seed=5), path)


@pytest.mark.needs_ncnn
@pytest.mark.parametrize("weights", ["float32", "float16"])
def test_identification_in_ncnn(random_models: Path, tmp_path: Path, weights: str) -> None:
    files = [str(random_models / f"identification_v{version}.onnx") for version in VERSIONS]
    arguments = ["export", "--target", "ncnn", "--weights", weights, "--output", str(tmp_path)]
    assert main([*arguments, "--model", *files]) == 0
    for version, file in zip(VERSIONS, files, strict=True):
        stem = f"identification_v{version}" + ("" if weights == "float32" else "_float16")
        sidecar = read_sidecar(tmp_path, stem, "ncnn")
        shown = pictures(load_recipe(f"identification_v{version}").spec.input)
        (found,) = ncnn_rows(tmp_path, sidecar, shown)
        (expected,) = expected_of(Path(file), shown)
        cosine = cosines(found, expected).min()
        print(f"V{version} {weights}: smallest cosine {cosine:.9f}")
        assert cosine >= MIN_COSINE[weights]


@pytest.mark.slow
@pytest.mark.needs_mxnet
@pytest.mark.parametrize(
    ("target", "run"),
    [
        pytest.param("ncnn", ncnn_rows, marks=pytest.mark.needs_ncnn),
        ("caffe", run_caffe),
    ],
    ids=["ncnn", "caffe"],
)
def test_attributes(
    attribute_file: Path, tmp_path: Path, target: str, run: Callable[..., list[FloatArray]]
) -> None:
    """Compared with gluon's own outputs."""
    arguments = ["export", "--target", target, "--recipe", "attribute_v1"]
    assert main([*arguments, "--params", str(attribute_file), "--output", str(tmp_path)]) == 0
    sidecar = read_sidecar(tmp_path, "attribute_v1", target)
    assert [output["name"] for output in sidecar["outputs"]] == list(ATTRIBUTES)
    assert [output["shape"] for output in sidecar["outputs"]] == [[2], [6], [8]]
    shown = pictures(load_recipe("attribute_v1").spec.input)
    expected = gluon_networks.run(gluon_networks.make_attribute(seed=5), shown)
    found = run(tmp_path, sidecar, shown)
    for name, ours, theirs in zip(ATTRIBUTES, found, expected, strict=True):
        cosine, error = cosines(ours, theirs).min(), np.abs(ours - theirs).max()
        print(f"{name}: smallest cosine {cosine:.9f}, largest error {error:.2g}")
        assert cosine >= MIN_COSINE["float32"]
        assert error <= 1e-5


@pytest.mark.slow
def test_identification_in_caffe(
    random_source: Path,
    random_recipe: Callable[[int], Recipe],
    random_models: Path,
    tmp_path: Path,
) -> None:
    for version in VERSIONS:
        name, files = f"identification_v{version}", random_recipe(version).files
        paths = [str(random_source / files[role].path) for role in ("symbol", "params")]
        arguments = ["export", "--target", "caffe", "--symbol", paths[0], "--params", paths[1]]
        assert main([*arguments, "--recipe", name, "--output", str(tmp_path)]) == 0
        sidecar = read_sidecar(tmp_path, name, "caffe")
        shown = pictures(load_recipe(name).spec.input)
        (found,) = run_caffe(tmp_path, sidecar, shown)
        (expected,) = expected_of(random_models / f"{name}.onnx", shown)
        cosine = cosines(found, expected).min()
        print(f"V{version}: smallest cosine {cosine:.9f}")
        assert cosine >= MIN_COSINE["float32"]


@pytest.mark.slow
@pytest.mark.needs_source
@pytest.mark.needs_ncnn
@pytest.mark.parametrize("version", VERSIONS)
def test_published_weights_on_faces(source: Path, tmp_path: Path, version: int) -> None:
    """Both targets, on aligned faces; what people look at is whether pairs keep their order."""
    name = f"identification_v{version}"
    convert(load_recipe(name), DirectorySource(source), tmp_path, verify=False)
    arguments = ["--recipe", name, "--source", str(source), "--output", str(tmp_path)]
    for more in (["ncnn"], ["ncnn", "--weights", "float16"], ["caffe"]):
        assert main(["export", "--target", *more, *arguments]) == 0
    image = load_recipe(name).spec.input
    paths = sorted((source / "data" / "LFW-Aligned-100Pair").glob("*/*.jpg"))[::10]
    shown = faces([read_image(path) for path in paths], image)
    (expected,) = expected_of(tmp_path / f"{name}.onnx", shown)
    for stem, weights in ((name, "float32"), (f"{name}_float16", "float16")):
        (found,) = ncnn_rows(tmp_path, read_sidecar(tmp_path, stem, "ncnn"), shown)
        report(f"V{version} ncnn {weights}", found, expected, MIN_COSINE[weights])
    (found,) = run_caffe(tmp_path, read_sidecar(tmp_path, name, "caffe"), shown)
    report(f"V{version} caffe", found, expected, MIN_COSINE["float32"])
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    (row,) = (line for line in text.splitlines() if line.startswith(f"| {name} |"))
    for stem, target in ((name, "ncnn"), (f"{name}_float16", "ncnn"), (name, "caffe")):
        size = cell(read_sidecar(tmp_path, stem, target)).partition(";")[0]
        assert f" {size};" in row


def report(title: str, found: FloatArray, expected: FloatArray, smallest: float) -> None:
    cosine = cosines(found, expected).min()
    print(f"{title}: smallest cosine {cosine:.9f} on {len(found)} faces")
    assert cosine >= smallest


def faces(images: list[Any], spec: ImageInput) -> npt.NDArray[np.uint8]:
    """Crops as the network takes them, before mean and std, which are undone."""
    tensor = to_tensor(images, spec)
    std, mean = (np.float32(v).reshape(-1, 1, 1) for v in (spec.std, spec.mean))
    shown = np.rint(tensor * std + mean).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(shown.astype(np.uint8))


@pytest.mark.needs_ncnn
def test_sidecar(random_models: Path, tmp_path: Path) -> None:
    """Facts about the files, and all that the model's own spec says."""
    model = random_models / "identification_v2.onnx"
    arguments = ["export", "--target", "ncnn", "--output", str(tmp_path / "new" / "folder")]
    assert main([*arguments, "--model", str(model)]) == 0
    folder = tmp_path / "new" / "folder"
    assert sorted(path.name for path in folder.iterdir()) == [
        "identification_v2.bin",
        "identification_v2.ncnn.json",
        "identification_v2.param",
    ]
    sidecar = read_sidecar(folder, "identification_v2", "ncnn")
    for entry in sidecar["files"].values():
        content = (folder / entry["file"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert entry["bytes"] == len(content)
    assert sidecar["spec"] == Session(model).spec.to_dict()
    assert sidecar["spec"]["license"]["name"] == "MIT"
    assert sidecar["options"] == {"use_fp16_arithmetic": False}
    assert sidecar["outputs"] == [{"blob": "out0", "name": "embedding", "shape": [256]}]
    told = sidecar["input"]
    assert (told["channels"], told["height"], told["width"]) == (3, 112, 112)
    assert (told["color"], told["mean"]) == ("rgb", [127.5] * 3)
    (origin,) = sidecar["certificate"]["source"]["files"]
    assert origin["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    proof = sidecar["certificate"]["verification"]
    assert proof["min_cosine"] >= proof["bounds"]["min_cosine"] == 0.999999
    assert proof["engine"].startswith("ncnn ")
    assert {"ncnn", "pnnx", "onnxruntime"} <= set(sidecar["certificate"]["tools"])


@pytest.mark.parametrize("version", VERSIONS)
def test_what_leaves_the_network_changes_no_bit(random_models: Path, version: int) -> None:
    """Subtracting outside and a power of two moved out of the first layer are exact."""
    path = random_models / f"identification_v{version}.onnx"
    image = load_recipe(f"identification_v{version}").spec.input
    shape = (1, image.channels, image.height, image.width)
    prepared = prepare(onnx.load(str(path)), shape, "test")
    first = next(node for node in prepared.model.graph.node if node.op_type == "Conv")
    weight = next(t for t in prepared.model.graph.initializer if t.name == first.input[1])
    largest = np.abs(onnx.numpy_helper.to_array(weight)).max()
    print(f"largest weight of the first layer {largest:.3g}, factor {prepared.factor}")
    assert largest >= 0.5
    draw = np.random.RandomState(4).randint(0, 256, shape).astype(np.float32)
    factor, shift = (v.astype(np.float32).reshape(-1, 1, 1) for v in
                     (prepared.factor, prepared.shift / prepared.factor))  # fmt: skip
    before = open_model(onnx.load(str(path))).run(None, {"data": draw})[0]
    after = open_model(prepared.model).run(None, {"data": (draw + shift) * factor})[0]
    np.testing.assert_array_equal(after, before)
