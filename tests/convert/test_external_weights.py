"""ONNX files with weights in other files, as onnx itself writes them, are not opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from mobileface.errors import ModelError
from mobileface.models.external_weights import has_external_weights
from mobileface.models.session import Session

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = sorted((ROOT / "models_onnx").glob("*.onnx"))


def test_the_starter_set_is_complete() -> None:
    assert len(NETWORKS) > 5
    assert not [path.name for path in NETWORKS if has_external_weights(path)]


def test_saved_with_external_data(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save_model(
        onnx.load(str(ROOT / "models_onnx" / "landmark_dlib5.onnx")),
        str(path),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    assert has_external_weights(path)
    assert (tmp_path / "weights.bin").stat().st_size > 1000
    with pytest.raises(ModelError, match="has weights in another file"):
        Session(path)


def test_ort_files_hold_their_weights(tmp_path: Path) -> None:
    """ONNX Runtime puts weights of other files into an .ort file, which then runs alone."""
    weights = np.random.RandomState(0).standard_normal((64, 64)).astype(np.float32)
    values = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 64]) for n in "xy"]
    product = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        values[:1],
        values[1:],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    network = onnx.helper.make_model(
        product, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    place, side = str(tmp_path / "m.onnx"), tmp_path / "weights.bin"
    onnx.save_model(
        network, place, save_as_external_data=True, location=side.name, size_threshold=0
    )
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "m.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    for key, value in (("file_name", "other.bin"), ("min_size_in_bytes", "1")):
        options.add_session_config_entry(
            f"session.optimized_model_external_initializers_{key}", value
        )
    onnxruntime.InferenceSession(place, options)
    assert side.stat().st_size == weights.nbytes
    side.unlink()
    assert not (tmp_path / "other.bin").exists()
    assert weights.tobytes() in (tmp_path / "m.ort").read_bytes()
    found = onnxruntime.InferenceSession(str(tmp_path / "m.ort"))
    fed = np.ones((1, 64), np.float32)
    worst = float(np.abs(found.run(None, {"x": fed})[0] - weights.sum(0)).max())
    print(f"largest difference {worst:.2g}")
    assert worst <= 1e-4


def external(name: str) -> onnx.TensorProto:
    tensor = onnx.numpy_helper.from_array(np.ones(4, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "../w.bin"), ("length", "16")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def model(graph: onnx.GraphProto) -> onnx.ModelProto:
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])


def graph(nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto]) -> onnx.GraphProto:
    value = onnx.helper.make_tensor_value_info("location", onnx.TensorProto.FLOAT, [4])
    return onnx.helper.make_graph(nodes, "location", [value], [value], weights)


def test_wherever_a_tensor_may_be(tmp_path: Path) -> None:
    """As an initializer, a constant, in a branch, a sparse tensor and a function."""
    constant = onnx.helper.make_node("Constant", [], ["c"], value=external("c"))
    inner = graph([constant], [])
    branch = onnx.helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    sparse = graph([], [])
    sparse.sparse_initializer.add().values.CopyFrom(external("s"))
    function = model(graph([], []))
    function.functions.add(name="f", domain="d").node.append(constant)
    plain = onnx.numpy_helper.from_array(np.ones(4, np.float32), "location")
    cases = {
        "initializer": (model(graph([], [external("w")])), True),
        "constant": (model(graph([constant], [])), True),
        "branch": (model(graph([branch], [])), True),
        "sparse": (model(sparse), True),
        "function": (function, True),
        "a name only": (model(graph([], [plain])), False),
    }
    for name, (made, expected) in cases.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(made.SerializeToString())
        assert has_external_weights(path) is expected, name


def test_damaged_files(tmp_path: Path) -> None:
    """Cut off or changed anywhere: an answer in a moment, never an exception."""
    content = model(graph([], [external("w")])).SerializeToString()
    path = tmp_path / "m.onnx"
    chance = np.random.default_rng(3)
    found = 0
    for number in range(1000):
        data = bytearray(content[: 1 + number % len(content)] if number < 300 else content)
        if number >= 300:
            data[chance.integers(len(data))] = chance.integers(256)
        path.write_bytes(data)
        found += has_external_weights(path)
    print(found, "of 1000 say that they have")
    assert 500 < found < 1000
    path.write_bytes(b"")
    assert not has_external_weights(path)
