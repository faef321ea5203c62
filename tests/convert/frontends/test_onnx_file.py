"""An ONNX file as a source: what is refused, what is cleaned, which sizes can be freed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from mobileface.errors import (
    ConversionError,
    GraphError,
    MobileFaceError,
    SourceError,
    SourceFormatError,
    UnsupportedOperatorError,
)
from mobileface_convert.frontends import onnx_file
from mobileface_convert.frontends.onnx_file import parse_onnx, read_onnx_file
from mobileface_convert.frontends.onnx_sizes import free_sizes
from tests.convert.heads.yunet_networks import invented_yunet

Change = Callable[[onnx.ModelProto], object]
Array = npt.NDArray[np.float32]
FLOAT = onnx.TensorProto.FLOAT


def tiny(*nodes: onnx.NodeProto, shape: list[int], arrays: Mapping[str, object]) -> onnx.ModelProto:
    """Nodes from "x" to "y", opset 17."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model: onnx.ModelProto, **inputs: Array) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return list(session.run(None, inputs))


def test_a_model_is_cleaned_and_computes_the_same(tmp_path: Path) -> None:
    model = invented_yunet(0, width=4, side=32)
    model.doc_string = model.graph.doc_string = model.graph.node[0].doc_string = "secret place"
    model.producer_name = "secret place"
    model.metadata_props.add(key="secret place", value="x")
    model.graph.node[0].metadata_props.add(key="secret place", value="x")
    stale = helper.make_tensor_value_info(model.graph.node[0].output[0], FLOAT, [1, 4, 3, 3])
    model.graph.value_info.append(stale)
    model.graph.input.append(
        helper.make_tensor_value_info(
            model.graph.initializer[0].name, FLOAT, model.graph.initializer[0].dims
        )
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    found = read_onnx_file(path)
    assert b"secret place" not in found.SerializeToString()
    assert [item.version for item in found.opset_import] == [17]
    assert [value.name for value in found.graph.input] == ["input"]
    assert not found.graph.value_info
    model.graph.value_info.pop()
    fed = np.random.RandomState(0).rand(1, 3, 32, 32).astype(np.float32)
    for ours, theirs in zip(run(found, input=fed), run(model, input=fed), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100, b"no model at all", bytes(range(256)), b"\x89PNG\r\n\x1a\n" + b"\0" * 50],
)
def test_garbage_is_no_model(content: bytes) -> None:
    with pytest.raises(SourceFormatError, match=r"^place: not an ONNX model"):
        parse_onnx(content, where="place")


def test_absent_and_large_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        read_onnx_file(tmp_path / "absent.onnx")
    with pytest.raises(SourceError, match="cannot be read"):
        read_onnx_file(tmp_path)
    large = tmp_path / "large.onnx"
    with large.open("wb") as stream:
        stream.truncate(onnx_file.MAX_BYTES + 1)  # takes no room on the disk
    with pytest.raises(SourceFormatError, match="larger than 512 MiB"):
        read_onnx_file(large)
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 1 << 20)
    endless = Path("/dev/zero")
    if endless.exists():
        with pytest.raises(SourceFormatError, match="larger than 1 MiB"):
            read_onnx_file(endless)


def _external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def _branch(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [])
    node = helper.make_node("If", ["c"], ["branch"], then_branch=inner, else_branch=inner)
    model.graph.node.append(node)


def _function(model: onnx.ModelProto) -> None:
    model.functions.append(
        helper.make_function("local", "F", ["a"], ["b"], [], [helper.make_opsetid("", 17)])
    )


def _sparse(model: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    places = numpy_helper.from_array(np.zeros(1, np.int64), "")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [1 << 40]))


def _sequence(model: onnx.ModelProto) -> None:
    value = helper.make_tensor_sequence_value_info("s", FLOAT, None)
    model.graph.input.append(value)


def _set(model: onnx.ModelProto, path: str, value: object) -> None:
    *fields, last = path.split(".")
    message = model
    for field in fields:
        message = message[int(field)] if field.isdigit() else getattr(message, field)
    setattr(message, last, value)


def _dims(*sizes: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].dims[:] = sizes

    return change


def _absurd(model: onnx.ModelProto) -> None:
    size = numpy_helper.from_array(np.array([1 << 20, 1 << 20], np.int64), "size")
    model.graph.initializer.append(size)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["size"], ["absurd"]))


@pytest.mark.parametrize(
    ("change", "kind", "what"),
    [
        (_external, UnsupportedOperatorError, "another file"),
        (_branch, UnsupportedOperatorError, "control flow"),
        (_function, UnsupportedOperatorError, "local functions"),
        (_sparse, UnsupportedOperatorError, "sparse"),
        (_sequence, UnsupportedOperatorError, "only tensors"),
        (lambda m: _set(m, "graph.node.1.domain", "evil"), UnsupportedOperatorError, "'evil'"),
        (lambda m: _set(m, "opset_import.0.version", 5), UnsupportedOperatorError, "set 5"),
        (lambda m: _set(m, "opset_import.0.version", 99), UnsupportedOperatorError, "set 99"),
        (lambda m: _set(m, "opset_import.0.version", 18), ConversionError, "18"),
        (lambda m: m.opset_import.add(domain="ai.onnx", version=12), SourceFormatError, "11, 12"),
        (lambda m: m.opset_import.pop(), SourceFormatError, "none"),
        (_dims(-1, 3), SourceFormatError, "invalid shape"),
        (_dims(1 << 20, 1 << 20), SourceFormatError, "too many"),
        (_dims(1, 2, 3), SourceFormatError, "do not fit"),
        (_dims(*[1] * 40), SourceFormatError, "invalid shape"),
        (_absurd, SourceFormatError, "invalid or too large"),
        (lambda m: _set(m, "graph.initializer.0.data_type", 77), SourceFormatError, "fit"),
        (lambda m: _set(m, "graph.node.0.op_type", "Nonsense"), SourceFormatError, "not a valid"),
        (lambda m: m.graph.node.append(m.graph.node[0]), SourceFormatError, "not a valid"),
        (lambda m: m.graph.node.pop(0), SourceFormatError, "not a valid"),
        (lambda m: m.graph.input.pop(), SourceFormatError, "not a valid"),
    ],
)
def test_what_is_no_plain_graph_is_refused(
    change: Change, kind: type[MobileFaceError], what: str
) -> None:
    model = invented_yunet(0, width=4, side=32)
    change(model)
    with pytest.raises(kind, match=what) as caught:
        parse_onnx(model.SerializeToString(), where="place")
    assert str(caught.value).startswith("place")
    assert "\n" not in str(caught.value)


def test_damaged_files_raise_nothing_but_our_errors() -> None:
    content = invented_yunet(0, width=2, side=32).SerializeToString()
    random = np.random.RandomState(0)
    refused = 0
    for turn in range(300):
        damaged = bytearray(content)
        place, length = random.randint(len(content)), random.randint(1, 40)
        if turn % 3 == 0:
            damaged[place] = random.randint(256)
        elif turn % 3 == 1:
            del damaged[place : place + length]
        else:
            damaged[place:place] = damaged[:length]
        try:
            parse_onnx(bytes(damaged), where="damaged")
        except MobileFaceError:
            refused += 1
    print(f"{refused} of 300 refused")
    assert refused > 100


def test_sizes_are_freed_where_axes_are_joined() -> None:
    model = parse_onnx(invented_yunet(3, width=4, side=64).SerializeToString(), where="x")
    freed = free_sizes(model, "input", {0: "N", 2: "H", 3: "W"})
    fed = np.random.RandomState(0).rand(1, 3, 64, 64).astype(np.float32)
    for ours, theirs in zip(run(freed, input=fed), run(model, input=fed), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    wide = np.concatenate([fed, fed[:, :, ::-1]], axis=3)
    batch = run(freed, input=np.concatenate([wide, fed.repeat(2, axis=3)]))
    assert [part.shape[:2] for part in batch[:3]] == [(2, 128), (2, 32), (2, 8)]
    np.testing.assert_allclose(batch[0][:1], run(freed, input=wide)[0], rtol=1e-5)


def reshape(*sizes: int, shape: list[int]) -> onnx.ModelProto:
    node = helper.make_node("Reshape", ["x", "sizes"], ["y"], "the_reshape")
    return tiny(node, shape=shape, arrays={"sizes": np.array(sizes, np.int64)})


@pytest.mark.parametrize(
    ("shape", "sizes", "free", "fed", "expected"),
    [
        ([1, 4, 4, 6], (1, 16, 6), {1: "H", 2: "W"}, (1, 3, 5, 6), (1, 15, 6)),
        ([1, 4, 4, 6], (16, 6), {0: "N", 1: "H", 2: "W"}, (2, 3, 5, 6), (30, 6)),
        ([1, 8, 6], (1, 8, 2, 3), {0: "N", 1: "H"}, (2, 5, 6), (2, 5, 2, 3)),
        ([1, 8, 6], (1, 1, 8, 6), {1: "H"}, (1, 5, 6), (1, 1, 5, 6)),
        ([1, 8, 6], (8, 6), {1: "H"}, (1, 5, 6), (5, 6)),
        ([2, 3, 4, 4], (2, 48), {0: "N"}, (5, 3, 4, 4), (5, 48)),
    ],
)
def test_a_reshape_follows(
    shape: list[int],
    sizes: tuple[int, ...],
    free: dict[int, str],
    fed: tuple[int, ...],
    expected: tuple[int, ...],
) -> None:
    freed = free_sizes(reshape(*sizes, shape=shape), "x", free)
    values = np.arange(np.prod(fed), dtype=np.float32).reshape(fed)
    np.testing.assert_array_equal(run(freed, x=values)[0], values.reshape(expected))


@pytest.mark.parametrize(
    ("shape", "sizes", "free"),
    [
        ([1, 8, 6], (1, 2, 4, 6), {1: "H"}),
        ([1, 4, 6], (1, 6, 4), {1: "H"}),
        ([2, 4, 3, 4, 4], (2, 12, 16), {1: "C", 3: "H"}),
    ],
)
def test_a_reshape_that_does_more_is_named(
    shape: list[int], sizes: tuple[int, ...], free: dict[int, str]
) -> None:
    with pytest.raises(GraphError, match="file, node 'the_reshape'"):
        free_sizes(reshape(*sizes, shape=shape), "x", free, where="file")


def test_weights_that_need_the_size_are_named() -> None:
    flat = helper.make_node("Flatten", ["x"], ["f"], "flat")
    weights = {"w": np.ones((48, 2), np.float32), "b": np.ones(2, np.float32)}
    dense = tiny(
        flat,
        helper.make_node("Gemm", ["f", "w", "b"], ["y"], "dense"),
        shape=[1, 3, 4, 4],
        arrays=weights,
    )
    assert free_sizes(dense, "x", {0: "N"}).graph.input[0].type.tensor_type.shape.dim[0].dim_param
    with pytest.raises(GraphError, match="dense"):
        free_sizes(dense, "x", {2: "H"})
    product = tiny(
        flat,
        helper.make_node("MatMul", ["f", "w"], ["y"], "product"),
        shape=[1, 3, 4, 4],
        arrays=weights,
    )
    with pytest.raises(GraphError, match="product"):
        free_sizes(product, "x", {2: "H"})


def test_unknown_inputs_and_axes() -> None:
    model = reshape(16, 6, shape=[1, 4, 4, 6])
    with pytest.raises(GraphError, match="no input 'z'; available: x"):
        free_sizes(model, "z", {0: "N"})
    with pytest.raises(GraphError, match="no axis 7"):
        free_sizes(model, "x", {7: "N"})
