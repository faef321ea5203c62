"""``mobileface-convert optimize``: other people's networks, rewritten and what they were."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from mobileface_convert.commands.main import main
from tests.convert.build.inspected_networks import Layers
from tests.convert.commands.adopting import error_of
from tests.convert.exports.public_networks import mobilefacenet_with_sizes_of_training, settle
from tests.convert.frontends.tflite_writer import Writer

TOLERANCE = 5e-5


def optimize(*arguments: object) -> int:
    return main(["optimize", "--seconds", "0.5", *map(str, arguments)])


def run(path: Path, fed: np.ndarray, *, plain: bool = False) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: fed})[0])


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MobileFaceNet of the published layer table."""
    return mobilefacenet_with_sizes_of_training(tmp_path_factory.mktemp("net") / "mfn.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["plain", "portable", "x86"])
def test_a_mobilefacenet_stays_what_it_was(
    machine: str, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also as uint8 with rows of unit length, which the original is scaled and divided for."""
    output, pixels = tmp_path / "out.onnx", tmp_path / "pixels.onnx"
    images = np.random.RandomState(4).randint(0, 256, (3, 112, 112, 3)).astype(np.uint8)
    scaled = ((images.astype(np.float32) - 127.5) / 128).transpose(0, 3, 1, 2)
    expected = run(network, np.ascontiguousarray(scaled), plain=True)
    assert optimize(network, "--output", output, "--machine", machine) == 0
    said = capsys.readouterr().out
    assert "equal to the given network within" in said
    found = run(output, np.ascontiguousarray(scaled))
    scaling = ["--input", "uint8", "--mean", "127.5", "--std", "128", "--normalize"]
    assert optimize(network, "--output", pixels, "--machine", machine, *scaling, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    rows = run(pixels, images)
    lengths = np.linalg.norm(expected.astype(np.float64), axis=1, keepdims=True)
    norm = float(lengths.max())
    error = float(np.abs(found - expected).max()) / norm
    unit = float(np.abs(rows - expected / lengths).max())
    print(f"{machine}: error {error:.2g} of the norm, at unit length {unit:.2g}")
    assert error <= TOLERANCE
    assert unit <= TOLERANCE
    nodes = Counter(node.op_type for node in onnx.load(str(output)).graph.node)
    print(nodes)
    assert nodes["BatchNormalization"] == 0
    assert (nodes["PRelu"] == 0) is (machine == "x86")
    # The first convolution reads pixels in place, scaled by its weights.
    kinds = Counter(node.op_type for node in onnx.load(str(pixels)).graph.node)
    assert kinds["Transpose"] == 0
    assert kinds["Div"] == 1  # by the length of the row
    changed = {record["name"]: len(record["changed"]) for record in report["passes"]}
    assert changed["fold_batchnorm"] == 50
    assert changed["interleave"] == changed["read_uint8"] == changed["unit_length"] == 1
    assert report["candidates"][0]["machine"] == report["machine"] == machine
    assert set(report["verification"]["errors"].values()) <= {
        value for value in report["verification"]["errors"].values() if value <= TOLERANCE
    }
    assert {path.name for path in tmp_path.iterdir()} == {
        "out.onnx", "out.certificate.json", "pixels.onnx", "pixels.certificate.json",
    }  # fmt: skip


def test_auto_takes_the_fastest(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert optimize(network, "--output", tmp_path / "o.onnx", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    times = {each["machine"]: each["median_ms"] for each in report["candidates"]}
    print(times, report["before"]["median_ms"])
    assert times[report["machine"]] <= min(times.values()) / 0.98
    for each in report["candidates"]:
        assert each["ratio"] == pytest.approx(each["median_ms"] / report["before"]["median_ms"])


def test_a_tflite_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The front-end's network goes through the same passes."""
    writer, random = Writer(), np.random.RandomState(2)
    weight = random.standard_normal((8, 3, 3, 3)).astype(np.float32) / 5
    bias = random.standard_normal(8).astype(np.float32)
    made = writer.conv(writer.input("image", (1, 16, 16, 3)), weight, bias)
    path = tmp_path / "net.tflite"
    path.write_bytes(writer.file(made))
    assert optimize(path, "--output", tmp_path / "o.onnx", "--input", "uint8", "--std", "255") == 0
    said = capsys.readouterr().out
    print(said)
    assert "interleave: 1 changes" in said


def test_int8_with_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.RandomState(5)
    for number in range(24):
        grid = random.randint(0, 256, (8, 8, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(grid, (112, 112)))
    net = Layers()
    x = net.conv("image", 3, 32, 3, 2, relu=True)
    for stride in (2, 1, 2):
        x = net.conv(x, 32, 32, 3, stride, relu=True)
    x = net.add("Flatten", net.add("GlobalAveragePool", x))
    made = net.add("Gemm", x, net.weight(64, 32), net.weight(64), transB=1)
    network = settle(net.save(tmp_path / "relu.onnx", 64, "N", made))
    output = tmp_path / "o.onnx"
    command = [network, "--output", output, "--machine", "plain", "--input", "uint8", "--mean"]
    assert optimize(*command, 127.5, "--std", 128, "--calibrate", folder, "--json") == 0
    small = json.loads(capsys.readouterr().out)["int8"]
    print(small)
    assert small["mean_cosine"] >= 0.95
    assert small["bytes"] < 0.4 * output.stat().st_size
    assert (tmp_path / small["file"]).stat().st_size == small["bytes"]


def tiny(path: Path, *, kind: int = TensorProto.FLOAT, shape: object = ("N", 3, "H", "W")) -> Path:
    """A convolution of an image."""
    weight = np.random.RandomState(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    if kind != TensorProto.FLOAT:
        cast = helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT)
        nodes = [cast, helper.make_node("Conv", ["f", "w"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("N", 4, "h", "w"))],
        [numpy_helper.from_array(weight, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mean", "1"], "--mean needs --input uint8"),
        (["--calibrate", "."], "--calibrate needs --input uint8"),
        (["--input", "uint8", "--std", "0"], "--std must be above 0"),
        (["--threads", "0"], "--threads must be at least 1, not 0"),
        (["--seconds", "0"], "--seconds must be above 0, not 0.0"),
        (["--tolerance", "nan"], "--tolerance must be above 0, not nan"),
        (["--input-shape", "1,3,x"], "--input-shape '1,3,x' is not like 1,3,112,112"),
        (["--input-shape", "1,3,0,8"], "input 'x' must have sizes of at least 1, not [1, 3, 0, 8]"),
        (["--input-shape", "z=1,3,8,8"], "no input 'z'"),
        (["--input-shape", "1,4,8,8"], "sizes ['any', 3, 'any', 'any'], not [1, 4, 8, 8]"),
        (["--normalize", "--input-shape", "1,3,2,2"], "ONNX Runtime cannot"),
    ],
)
def test_options_that_do_not_fit(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny(tmp_path / "t.onnx")
    assert optimize(path, "--output", tmp_path / "o.onnx", *options) == 2
    said = error_of(capsys)
    print(said)
    assert message in said
    assert not (tmp_path / "o.onnx").exists()


def test_networks_that_cannot_be_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tiny(tmp_path / "i.onnx", kind=TensorProto.INT32)
    assert optimize(whole, "--output", tmp_path / "o.onnx") == 2
    assert "input 'x' is int32, only float32 inputs can be verified" in error_of(capsys)
    (tmp_path / "text.onnx").write_text("no network")
    assert optimize(tmp_path / "text.onnx", "--output", tmp_path / "o.onnx") == 2
    assert "not an ONNX model" in error_of(capsys)
    path = tiny(tmp_path / "t.onnx")
    assert optimize(path, "--output", path) == 2
    error_of(capsys)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["i.onnx", "t.onnx", "text.onnx"]
