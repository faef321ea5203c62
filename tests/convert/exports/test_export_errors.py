"""What cannot be exported says why, once, and leaves no file behind."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mobileface_convert.backends import ncnn, ncnn_engine
from mobileface_convert.build.pipeline import convert
from mobileface_convert.commands.main import main
from mobileface_convert.exports import sidecar
from mobileface_convert.oracles.verify import Bounds
from mobileface_convert.recipes.recipe import Recipe, recipe_names
from mobileface_convert.sources.files import DirectorySource
from tests.convert.exports.export_check import read_sidecar, run_ncnn

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def model(
    random_source: Path,
    random_recipe: Callable[[int], Recipe],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """V3 with random weights, as ONNX."""
    folder = tmp_path_factory.mktemp("models")
    return convert(random_recipe(3), DirectorySource(random_source), folder, verify=False).path


@pytest.fixture
def export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Runs a command that must fail, leave no file and no temporary folder; returns its error."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    def run(*arguments: str) -> str:
        output = tmp_path / "out"
        assert main(["export", *arguments, "--output", str(output)]) == 2
        assert not output.exists() or not list(output.iterdir())
        assert not list(scratch.iterdir())
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        print(lines[0])
        return lines[0]

    return run


def network(folder: Path, *nodes: onnx.NodeProto, shape: tuple[int | str, ...]) -> str:
    """A small ONNX file from "data" to "out", without a spec."""
    inputs = [helper.make_tensor_value_info("data", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
    constants = [
        helper.make_tensor("pads", TensorProto.INT64, [8], [0, 0, 1, 2, 0, 3, 4, 5]),
        helper.make_tensor("two", TensorProto.FLOAT, [], [2.0]),
    ]
    read = {name for node in nodes for name in node.input}
    used = [tensor for tensor in constants if tensor.name in read]
    graph = helper.make_graph(nodes, "network", inputs, outputs, initializer=used)
    path = folder / "network.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    return str(path)


def program(folder: Path, code: str) -> Path:
    """A pnnx that does something else."""
    path = folder / "pnnx"
    path.write_text(f"#!{sys.executable}\n{code}\n")
    path.chmod(0o755)
    return path


@pytest.mark.needs_ncnn
@pytest.mark.parametrize("target", ["ncnn", "caffe"])
@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("landmark_eme", "regression trees"),
        ("landmark_dlib5", "regression trees"),
        ("detection_hog", "histograms"),
        ("pose_emnme", "coefficients"),
    ],
)
def test_models_without_a_network(
    export: Callable[..., str], target: str, recipe: str, words: str
) -> None:
    """They are refused before any of their files is looked for."""
    text = export("--target", target, "--recipe", recipe, "--source", str(ROOT / "docs"))
    assert f"{recipe}: it cannot be exported to {target}" in text.replace("Caffe", "caffe")
    assert words in text


def test_dlibs_network_in_caffe(export: Callable[..., str]) -> None:
    text = export("--target", "caffe", "--recipe", "embedding_dlib")
    assert "this model comes from another framework" in text
    assert "only MXNet networks are supported" in text


@pytest.mark.needs_ncnn
def test_one_failure_of_several_stops_no_other(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    landmarks = ROOT / "models_onnx" / "landmark_dlib5.onnx"
    arguments = ["export", "--target", "ncnn", "--model", str(landmarks), str(model)]
    assert main([*arguments, "--output", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "identification_v3: " in said.out
    reason, summary = said.err.strip().splitlines()
    assert reason.startswith("landmark_dlib5: it cannot be exported to ncnn: its regression trees")
    assert "1 of 2 were not exported: landmark_dlib5" in summary
    assert (tmp_path / "identification_v3.ncnn.json").is_file()


@pytest.mark.needs_ncnn
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import sys; print('cannot parse', file=sys.stderr); sys.exit(3)",
         ("pnnx ended with code 3", "cannot parse")),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", ("signal 11",)),
        ("import time; time.sleep(60)", ("stopped after 0.5 s", "--time-limit")),
        ("pass", ("wrote no ncnn network", "no output")),
        ("for s in ('param', 'bin'): open(f'model.ncnn.{s}', 'w').write('hello')",
         ("not an ncnn network",)),
        ("for s in ('param', 'bin'): open(f'model.ncnn.{s}', 'w').write('hello');\n"
         "import sys; print('ignore Det det_1 param axis=1', file=sys.stderr)",
         ("ncnn has no layer for Det 'det_1'",)),
    ],
)  # fmt: skip
def test_a_pnnx_that_fails(
    export: Callable[..., str],
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    words: tuple[str, ...],
) -> None:
    fake = program(tmp_path, code)
    monkeypatch.setattr(ncnn, "_find_pnnx", lambda: fake)
    text = export("--target", "ncnn", "--model", str(model), "--time-limit", "0.5")
    assert "identification_v3" in text
    for word in words:
        assert word in text


@pytest.mark.parametrize("absent", ["pnnx", "ncnn"])
def test_what_is_not_installed(
    export: Callable[..., str], model: Path, monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    monkeypatch.setenv("PATH", "")
    if absent == "pnnx":
        monkeypatch.setattr(ncnn.importlib.util, "find_spec", lambda name: None)
        monkeypatch.setattr("mobileface_convert.exports.ncnn_export.require_ncnn", lambda: None)
    else:
        monkeypatch.setattr(ncnn_engine.importlib.util, "find_spec", lambda name: None)
    text = export("--target", "ncnn", "--model", str(model))
    assert f"{absent} is not installed" in text
    assert "pip install 'mobileface[ncnn]'" in text


@pytest.mark.needs_ncnn
def test_a_network_that_misses_its_bounds_is_not_written(
    export: Callable[..., str], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sidecar, "bounds_for", lambda *_: Bounds(1e-12, 1.0))
    text = export("--target", "ncnn", "--model", str(model))
    assert "identification_v3 for ncnn: differs from ONNX Runtime" in text


def test_opencv_without_an_importer(
    tmp_path: Path,
    random_source: Path,
    random_recipe: Callable[[int], Recipe],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The evaluator alone verifies a Caffe network, and notices what differs."""
    monkeypatch.delattr(cv2.dnn, "readNetFromCaffe", raising=False)
    files = [str(random_source / random_recipe(3).files[r].path) for r in ("symbol", "params")]
    arguments = ["export", "--target", "caffe", "--symbol", files[0], "--params", files[1]]
    arguments += ["--recipe", "identification_v3", "--output", str(tmp_path)]
    assert main(arguments) == 0
    proof = read_sidecar(tmp_path, "identification_v3", "caffe")["certificate"]["verification"]
    assert proof["engine"] == "an evaluator of Caffe's layers"
    assert proof["min_cosine"] >= 0.9999999
    monkeypatch.setattr(sidecar, "bounds_for", lambda *_: Bounds(1e-12, 1.0))
    assert main(arguments) == 2


@pytest.mark.needs_ncnn
def test_operators_that_ncnn_has_not(export: Callable[..., str], tmp_path: Path) -> None:
    node = helper.make_node("ArgMax", ["data"], ["number"], name="best", axis=1)
    cast = helper.make_node("Cast", ["number"], ["out"], to=TensorProto.FLOAT)
    path = network(tmp_path, node, cast, shape=(1, 3, 6, 5))
    assert "ncnn has no layer for" in export("--target", "ncnn", "--model", path)


@pytest.mark.needs_ncnn
def test_quantised_models(export: Callable[..., str], tmp_path: Path) -> None:
    node = helper.make_node("QuantizeLinear", ["data", "two"], ["whole"], name="q")
    back = helper.make_node("DequantizeLinear", ["whole", "two"], ["out"], name="d")
    path = network(tmp_path, node, back, shape=(1, 3, 6, 5))
    text = export("--target", "ncnn", "--model", path)
    assert "the model is quantised (node 'q', QuantizeLinear)" in text
    assert "float32" in text


@pytest.mark.needs_ncnn
def test_padding_on_one_side(tmp_path: Path) -> None:
    """In channels, rows and columns, of which ONNX states neither mode nor value."""
    node = helper.make_node("Pad", ["data", "pads"], ["padded"], name="pad")
    twice = helper.make_node("Mul", ["padded", "two"], ["doubled"], name="twice")
    last = helper.make_node("Relu", ["doubled"], ["out"], name="last")
    path = network(tmp_path, node, twice, last, shape=("N", 3, 6, 5))
    assert main(["export", "--target", "ncnn", "--model", path, "--output", str(tmp_path)]) == 0
    shown = np.random.RandomState(0).randint(0, 256, (6, 5, 3)).astype(np.uint8)
    (found,) = run_ncnn(tmp_path, read_sidecar(tmp_path, "network", "ncnn"), shown)
    expected = np.pad(shown.transpose(2, 0, 1) * np.float32(2), [(0, 3), (1, 4), (2, 5)])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing to export"),
        (("--symbol", "x"), "--symbol needs --params"),
        (("--target", "caffe", "--model", "x.onnx"), "--model is for --target ncnn"),
        (("--target", "caffe", "--recipe", "a", "--weights", "float16"), "--weights float16"),
        (("--params", "x", "--recipe", "a", "b"), "a checkpoint belongs to one recipe"),
        (("--target", "caffe", "--recipe", "nothing"), "no recipe named 'nothing'"),
        (("--target", "ncnn", "--recipe", "identification_v2", "--params", "x"), ", not gluon"),
    ],
)
def test_bad_arguments(export: Callable[..., str], arguments: tuple[str, ...], words: str) -> None:
    assert words in export(*arguments)


@pytest.mark.needs_ncnn
@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "no input"), (b"\xff" * 64, "not an ONNX model"), (None, "not an ONNX model")],
)
def test_files_that_are_no_model(
    export: Callable[..., str], tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "broken.onnx"
    if content is not None:
        path.write_bytes(content)
    text = export("--target", "ncnn", "--model", str(path), "--input-shape", "1,3,8,8")
    assert "broken" in text
    assert words in text


@pytest.mark.needs_ncnn
def test_an_input_without_a_size(export: Callable[..., str], tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["data"], ["out"])
    path = network(tmp_path, node, shape=("N", 3, "H", "W"))
    assert "--input-shape" in export("--target", "ncnn", "--model", path)


def test_the_document_has_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """As export-table prints it, but for what it would have to measure."""
    assert main(["export-table"]) == 0
    printed = [row.split(" | ") for row in capsys.readouterr().out.splitlines()]
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    table = text[text.index("| model |") :].partition("\n\n")[0]
    written = [row.split(" | ") for row in table.splitlines()]
    assert len(written) == len(printed) == len(recipe_names()) + 2
    for ours, theirs in zip(written, printed, strict=True):
        for cell, wanted in zip(ours, theirs, strict=True):
            if wanted.startswith("not measured"):
                assert " MB; " in cell
            else:
                assert cell == wanted


def test_a_folder_with_a_foreign_sidecar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content in ("{", "[]", "{}", '{"schema": 9}', '{"schema": 1, "files": 3}'):
        (tmp_path / "x.ncnn.json").write_text(content)
        assert main(["export-table", str(tmp_path)]) == 2
        assert "x.ncnn.json: not the sidecar of an export" in capsys.readouterr().err
