"""``mobileface-convert inspect`` and ``model`` with TensorFlow Lite files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from mobileface_convert.commands.main import main
from mobileface_convert.exports import tflite_export
from mobileface_convert.oracles.litert_oracle import LiteRTReference
from mobileface_convert.oracles.verify import open_model
from tests.convert.frontends.tflite_writer import Writer, small_network

pytestmark = pytest.mark.needs_litert


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.tflite"
    path.write_bytes(small_network())
    return path


def test_inspect(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(file)]) == 0
    text = capsys.readouterr().out
    assert "inputs: image [1, 12, 10, 3] float32\n" in text
    assert "outputs: made_5 [1, 126, 2] float32, made_8 [1, 5] float32\n" in text
    assert "batch: fixed at 1 in the graph; the converter can open it\n" in text
    # 6·5 pixels: 4·27 of the first layer, 4·9 of the second; 5·6 of the last
    assert "multiply-adds: 4350 " in text
    assert f"next: mobileface-convert adopt {file} " in text
    # 4·3·3·3 + 4, 3·3·4 + 4, 5·6 + 5
    assert "parameters: 187" in text
    assert "operators: 9 (" in text
    assert main(["inspect", str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["operators"]["CONV_2D"] == 1
    assert found["layers"][2]["inputs"] == ["made_1"]
    assert found["weight_bytes"] == 2 * 108 + 4 * (4 + 4 + 30 + 5) + 36 + 4 * (8 + 2)


def test_model(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.onnx"
    assert main(["model", str(file), "--output", str(output), "--verify"]) == 0
    text = capsys.readouterr().out
    assert "input image: N, 3, 12, 10" in text
    assert "against LiteRT" in text
    assert "1 arrays of 8 bits dequantized first" in text
    images = np.random.RandomState(6).uniform(0, 1, (5, 12, 10, 3)).astype(np.float32)
    found = open_model(onnx.load(str(output))).run(None, {"image": images.transpose(0, 3, 1, 2)})
    expected = LiteRTReference(file.read_bytes(), "net.tflite").run({"image": images})
    error = max(
        float(np.abs(ours - expected[name]).max())
        for ours, name in zip(found, ("made_5", "made_8"), strict=True)
    )
    print(f"largest error {error:.2g}")
    assert error <= 2e-6
    certificate = json.loads((tmp_path / "out.certificate.json").read_text())
    assert certificate["verification"]["oracle"].startswith("LiteRT")
    assert certificate["source"]["files"][0]["path"] == "net.tflite"


def test_chosen_output(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.onnx"
    arguments = ["model", str(file), "--output", str(output), "--outputs", "made_8", "--verify"]
    assert main(arguments) == 0
    assert "made_5" not in capsys.readouterr().out
    assert [value.name for value in onnx.load(str(output)).graph.output] == ["made_8"]


def test_a_batch_that_is_not_free(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = Writer()
    path = tmp_path / "rows.tflite"
    path.write_bytes(net.file(net.op("RELU", [net.input("x", (3, 2))])))
    output = tmp_path / "rows.onnx"
    assert main(["model", str(path), "--output", str(output), "--verify"]) == 0
    text = capsys.readouterr().out
    assert "input x: 3, 2" in text
    assert "the batch is fixed: it is not the first axis" in text
    assert "max error 0" in text


def test_without_litert_it_says_so(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tflite_export, "litert_is_installed", lambda: False)
    output = tmp_path / "out.onnx"
    assert main(["model", str(file), "--output", str(output), "--verify"]) == 0
    assert "not verified: LiteRT is not installed" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.certificate.json").read_text())["verification"] is None


def test_a_model_that_differs_is_not_written(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.onnx"
    arguments = ["model", str(file), "--output", str(output), "--verify", "--tolerance", "1e-12"]
    assert main(arguments) == 2
    assert "differs from LiteRT" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--static"], "--static is for MXNet checkpoints"),
        (["--input", "uint8"], "--input uint8 is for MXNet checkpoints"),
        (["--params", "P"], "--params is for MXNet checkpoints"),
        (["--outputs", "absent"], "no output 'absent'"),
    ],
)
def test_bad_arguments(
    more: list[str], words: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.onnx"
    assert main(["model", str(file), "--output", str(output), *more]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not output.exists()


def test_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        ([], "nothing to convert"),
        (["net.onnx"], "net.onnx: not a .tflite file"),
        (["absent.tflite"], "absent.tflite: cannot be read"),
    ):
        assert main(["model", *arguments, "--output", str(tmp_path / "out.onnx")]) == 2
        assert words in capsys.readouterr().err


def test_the_file_is_not_replaced(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", str(file), "--output", str(file)]) == 2
    assert file.read_bytes() == small_network()
