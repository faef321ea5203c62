"""``mobileface-convert inspect``: what it cannot know, cannot convert, or refuses to read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.convert.build.inspected_networks import Layers, mobilefacenet, resnet50
from tests.convert.build.inspecting import inspected, refused, said
from tests.convert.frontends.tflite_writer import Writer, small_network
from tests.networks import NetworkWriter, identification, save


def foreign(path: Path) -> Path:
    """A network with an operator of another domain and one that does not exist."""
    net = Layers()
    x = net.add("Conv", "image", net.weight(4, 3, 3, 3))
    x = net.add("Gelu", x, domain="com.microsoft")
    x = net.add("Wishful", x)
    return net.save(path, 8, 1, net.add("Conv", x, net.weight(4, 4, 3, 3)))


def test_operators_without_a_conversion_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = foreign(tmp_path / "net.onnx")
    found = inspected(capsys, path)
    assert found["unsupported"] == {"com.microsoft.Gelu": ["v1"], "Wishful": ["v2"]}
    assert not found["convertible"]
    assert found["next"] is None
    assert found["parameters"] == 4 * 27 + 4 * 36
    assert "cannot be inferred" in found["macs_reason"]
    assert "conversion: operator 'com.microsoft.Gelu' is not supported: v1\n" in said(capsys, path)
    mxnet = NetworkWriter(10200, 5)
    x = mxnet.convolution("first", mxnet.data(3), 8, 3, 2)
    mxnet.add("Wishful", "wish", [x], 8)
    files = save(mxnet, tmp_path, "net")
    found = inspected(capsys, *files)
    assert found["unsupported"] == {"Wishful": ["wish"]}
    assert (found["macs"], found["next"]) == (None, None)


@pytest.mark.needs_litert
def test_tflite_operators_without_a_conversion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = Writer()
    (tmp_path / "net.tflite").write_bytes(net.file(net.op("COS", [net.input("x", (1, 4))])))
    found = inspected(capsys, tmp_path / "net.tflite")
    assert found["unsupported"] == {"COS": ["made_0"]}
    assert not found["convertible"]


def test_layers_that_are_not_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = Layers()
    x = net.add("Flatten", net.add("Conv", "image", net.weight(2, 3, 3, 3)))
    x = net.add("Unsqueeze", x, "axes")
    net.weights.append(numpy_helper.from_array(np.array([0], np.int64), "axes"))
    net.add("LSTM", x, net.weight(1, 8, 72), net.weight(1, 8, 2), hidden_size=2)
    path = net.save(tmp_path / "net.onnx", 8, 1, net.nodes[-1].output[0])
    found = inspected(capsys, path)
    assert (found["macs"], found["macs_not_counted"]) == (36 * 2 * 27, {"LSTM": 1})
    assert "multiply-adds not counted: of 1 LSTM\n" in said(capsys, path)


def test_a_symbol_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    symbol, _ = save(identification(3), tmp_path, "net")
    found = inspected(capsys, symbol)
    assert found["inputs"] == ["data"]
    assert found["operators"]["Convolution"] == 17
    assert (found["parameters"], found["macs"], found["next"]) == (None, None, None)
    assert ".params" in found["macs_reason"]


def test_models_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(__file__).parents[3] / "models_onnx"
    found = inspected(capsys, folder / "detection_yunet.onnx", "--size", 640, 640)
    assert found["model"] == "detection_yunet"
    assert found["next"] == "mobileface bench --model detection_yunet"
    assert found["macs_not_counted"] == {"MatMul": 2}  # as many rows as there are faces
    assert found["macs"] > 1e8
    assert inspected(capsys, folder / "age.onnx")["macs"] > 1e7


def test_sizes_that_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fixed = mobilefacenet(tmp_path / "net.onnx")
    assert "none is open" in refused(capsys, fixed, "--size", 112, 112)
    dynamic = resnet50(tmp_path / "open.onnx")
    assert "1 to 16384 pixels" in refused(capsys, dynamic, "--size", 0, 112)
    assert "1 to 16384 pixels" in refused(capsys, dynamic, "--size", 112, 10**9)
    files = save(identification(3), tmp_path, "net")
    assert "has only arrays" in refused(capsys, files[1], "--size", 112, 112)
    wrong = inspected(capsys, *files, "--size", 50, 50)
    assert wrong["macs"] is None
    assert "fc5" in wrong["refused"]


def control_flow(path: Path) -> Path:
    """A file with a branch."""
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    body = helper.make_graph(
        [helper.make_node("Constant", [], ["y"], value_floats=[1.0])], "body", [], [out]
    )
    node = helper.make_node("If", ["flag"], ["y"], then_branch=body, else_branch=body)
    graph = helper.make_graph([node], "network", [flag], [out])
    onnx.save(helper.make_model(graph), str(path))
    return path


def test_bad_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = mobilefacenet(tmp_path / "good.onnx").read_bytes()
    encrypted = np.random.RandomState(8).bytes(4096)
    for name, content, words in (
        ("cut.onnx", good[: len(good) // 2], "not an ONNX model"),
        ("encrypted.onnx", encrypted, "not an ONNX model"),
        ("empty.onnx", b"", "not an ONNX model"),
        ("zip.onnx", b"PK\3\4" + bytes(40), "a ZIP archive"),
        ("keras.onnx", b"\x89HDF\r\n\x1a\n" + bytes(40), "an HDF5 file"),
        ("pickle.onnx", b"\x80\x02}q\x00.", "a Python pickle"),
        ("lite.onnx", b"\x1c\0\0\0TFL3" + bytes(40), "must be named .tflite"),
        ("encrypted.tflite", encrypted, "not a TensorFlow Lite file"),
        ("empty.tflite", b"", "not a TensorFlow Lite file"),
        ("encrypted.params", encrypted, "not an MXNet array file"),
        ("encrypted-symbol.json", encrypted, "not symbol JSON"),
        ("other-symbol.json", b'{"a": 1}', "not an MXNet symbol"),
        ("text.txt", b"hello", "cannot be inspected"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        text = refused(capsys, path)
        assert words in text
        assert name in text
    assert "control flow" in refused(capsys, control_flow(tmp_path / "if.onnx"))
    mxnet = NetworkWriter(10200, 5)
    mxnet.add("_foreach", "each", [mxnet.data(3)], 3)
    assert "control flow" in refused(capsys, *save(mxnet, tmp_path, "each"))


@pytest.mark.needs_litert
def test_cut_tflite_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = small_network()
    for share in (2, 3, 10):
        path = tmp_path / f"cut{share}.tflite"
        path.write_bytes(good[: len(good) // share])
        assert path.name in refused(capsys, path)
