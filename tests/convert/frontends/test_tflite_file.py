"""TensorFlow Lite files: what is refused by name, sparse arrays, and damaged files."""

from __future__ import annotations

import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from mobileface.errors import (
    ConversionError,
    GraphError,
    SourceError,
    SourceFormatError,
    UnsupportedOperatorError,
)
from mobileface_convert.frontends.tflite import (
    TfliteNetwork,
    build_tflite,
    free_batch,
    parse_tflite,
    read_tflite,
)
from mobileface_convert.frontends.tflite.tflite_storage import dequantized
from tests.convert.frontends.test_shape_predictor_fuzz import damage_bytes
from tests.convert.frontends.tflite_writer import Writer, schema, small_network

pytestmark = pytest.mark.needs_litert

Change = Callable[[Writer], Any]
LONGEST_SECONDS = 1.0
"""Of the processor: other processes do not count."""
MOST_BYTES = 4 << 20


def network(change: Change = lambda net: None) -> bytes:
    """A convolution of 4×4 pixels, and a change to it before it is packed."""
    net = Writer()
    image = net.input("image", (1, 4, 4, 2))
    weight = np.arange(24, dtype=np.float32).reshape(3, 2, 2, 2)
    made = net.conv(image, weight, np.ones(3, np.float32), padding=0)
    net.file(made)
    change(net)
    return net.content(*(net.graph.outputs or [made]))


def tensor(number: int, **facts: Any) -> Change:
    return lambda net: [setattr(net.graph.tensors[number], *item) for item in facts.items()]


def options(**facts: Any) -> Change:
    return lambda net: [
        setattr(net.graph.operators[0].builtinOptions, *item) for item in facts.items()
    ]


def first(**facts: Any) -> Change:
    return lambda net: [setattr(net.graph.operators[0], *item) for item in facts.items()]


def code(kind: str) -> Change:
    def change(net: Writer) -> None:
        number = getattr(schema().BuiltinOperator, kind)
        net.model.operatorCodes[0].builtinCode = number
        net.model.operatorCodes[0].deprecatedBuiltinCode = min(number, 127)

    return change


def custom(net: Writer) -> None:
    code("CUSTOM")(net)
    net.model.operatorCodes[0].customCode = b"Mine"


def scales(count: int, value: float = 0.1, axis: int = 0) -> Change:
    def change(net: Writer) -> None:
        found = schema().QuantizationParametersT()
        found.scale, found.quantizedDimension = np.full(count, value, np.float32), axis
        found.zeroPoint = np.zeros(count, np.int64)
        net.graph.tensors[1].quantization = found

    return change


def nan(net: Writer) -> None:
    net.model.buffers[1].data = np.frombuffer(np.full(24, np.nan, np.float32).tobytes(), np.uint8)


def ints(*values: int) -> Any:
    return np.array(values, np.int32)


REFUSED: dict[str, tuple[Change, type[ConversionError], str]] = {
    "operator": (code("COS"), UnsupportedOperatorError, "operator 0 (COS): operator 'COS'"),
    "custom operator": (custom, UnsupportedOperatorError, "custom operator 'Mine'"),
    "control flow": (code("WHILE"), UnsupportedOperatorError, "control flow"),
    "two graphs": (
        lambda net: net.model.subgraphs.append(net.graph), UnsupportedOperatorError, "2 graphs",
    ),
    "dynamic shape": (
        tensor(0, shapeSignature=ints(1, -1, 4, 2)), UnsupportedOperatorError, "is dynamic",
    ),
    "state": (tensor(0, isVariable=True), UnsupportedOperatorError, "state between calls"),
    "type": (tensor(0, type=10), UnsupportedOperatorError, "element type 10"),
    "integer input": (tensor(0, type=9), UnsupportedOperatorError, "'image' is int8"),
    "version": (lambda net: setattr(net.model, "version", 2), SourceFormatError, "version 2"),
    "bytes": (tensor(1, shape=ints(3, 2, 2, 3)), SourceFormatError, "96 bytes for [3, 2, 2, 3]"),
    "huge": (tensor(0, shape=ints(1, 2**30, 4, 2)), SourceFormatError, "too large"),
    "buffer": (tensor(1, buffer=77), SourceFormatError, "there is no buffer 77"),
    "nan": (nan, SourceFormatError, "not all of its values are finite"),
    "tensor": (first(inputs=ints(0, 1, 99)), SourceFormatError, "of 4 tensors"),
    "axes": (tensor(0, shape=ints(*[1] * 7)), SourceFormatError, "7 numbers in Shape"),
    "early": (first(inputs=ints(3, 1, 2)), SourceFormatError, "read before it is written"),
    "twice": (first(outputs=ints(0)), SourceFormatError, "written twice"),
    "code": (first(opcodeIndex=5), SourceFormatError, "no kind that the file lists"),
    "no options": (first(builtinOptionsType=0), SourceFormatError, "no Conv2DOptions"),
    "names": (tensor(0, name=b""), SourceFormatError, "names of their own"),
    "text": (tensor(0, name=b"\xff\xfe"), SourceFormatError, "not text"),
    "scales": (scales(2), SourceFormatError, "2 scales and 2 zero points"),
    "scale": (scales(1, -1.0), SourceFormatError, "above zero"),
    "no output": (
        lambda net: net.graph.outputs.__setitem__(0, 2), SourceFormatError, "is stored",
    ),
    "step": (options(strideH=0), GraphError, "strides [0, 1] are not above zero"),
    "dilation": (options(dilationWFactor=-3), GraphError, "not above zero"),
    "window": (options(padding=1, dilationHFactor=9), GraphError, "fewer than a window of 10"),
    "padding": (options(padding=7), UnsupportedOperatorError, "padding 7"),
    "activation": (options(fusedActivationFunction=5), UnsupportedOperatorError, "activation 5"),
    "result": (tensor(3, shape=ints(1, 4, 3, 3)), GraphError, "the file says"),
    "outputs": (first(outputs=ints()), SourceFormatError, "nothing writes output 3"),
    "no bias": (first(inputs=ints(0, -1, 2)), GraphError, "input 1 is missing"),
    "stored image": (first(inputs=ints(1, 1, 2)), UnsupportedOperatorError, "must be computed"),
    "computed weight": (first(inputs=ints(0, 0, 2)), UnsupportedOperatorError, "must be stored"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_one_error(name: str) -> None:
    change, kind, message = REFUSED[name]
    with pytest.raises(kind) as caught:
        build_tflite(parse_tflite(network(change), where="net.tflite"))
    assert message in str(caught.value)
    assert "net.tflite" in str(caught.value)


def test_the_unchanged_network_is_read() -> None:
    found = parse_tflite(network(), where="net.tflite")
    assert [operator.kind for operator in found.operators] == ["CONV_2D"]
    assert found.parameters == 27
    assert build_tflite(found).graph.outputs[0].shape == ir.Shape(["N", 3, 4, 4])
    assert build_tflite(found, batch=False).graph.outputs[0].shape == ir.Shape([1, 3, 4, 4])


def test_a_batch_of_several_stays() -> None:
    net = Writer()
    found = parse_tflite(net.file(net.op("RELU", [net.input("x", (3, 2))])), where="net.tflite")
    assert not free_batch(found)
    with pytest.raises(GraphError, match="batch"):
        build_tflite(found)
    assert build_tflite(found, batch=False).graph.outputs[0].shape == ir.Shape([3, 2])


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\0\0\0\0TFL3", b"\xff" * 4 + b"TFL3" * 9])
def test_no_such_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(content)
    with pytest.raises(SourceFormatError) as caught:
        read_tflite(path)
    assert str(path) in str(caught.value)
    with pytest.raises(SourceError, match="cannot be read"):
        read_tflite(tmp_path)


def sparse(order: list[int], blocks: list[int], levels: list[Any], values: Any, shape: Any) -> Any:
    """A stored sparse array, read again."""
    net = Writer()
    image = net.input("image", (1, 4))
    number = net.stored(np.asarray(values, np.float32))
    found = schema().SparsityParametersT()
    found.traversalOrder, found.blockMap, found.dimMetadata = ints(*order), ints(*blocks), []
    for level in levels:
        made = schema().DimensionMetadataT()
        if isinstance(level, int):
            made.format, made.denseSize = 0, level
        else:
            made.format, (segments, indices) = 1, level
            made.arraySegmentsType = made.arrayIndicesType = 1
            made.arraySegments, made.arrayIndices = schema().Int32VectorT(), schema().Int32VectorT()
            made.arraySegments.values, made.arrayIndices.values = ints(*segments), ints(*indices)
        found.dimMetadata.append(made)
    stored = net.graph.tensors[number]
    stored.sparsity, stored.shape = found, ints(*shape)
    made = net.op("RELU", [image], shape=(1, 4))
    return parse_tflite(net.content(made), where="net.tflite").tensors[number]


def test_sparse_arrays() -> None:
    """Worked by hand from the description in schema.fbs of TensorFlow Lite."""
    rows = sparse([0, 1], [], [3, ([0, 2, 2, 3], [0, 3, 1])], [1, 2, 3], (3, 4))
    assert dequantized(rows, "").tolist() == [[1, 0, 0, 2], [0, 0, 0, 0], [0, 3, 0, 0]]
    columns = sparse([1, 0], [], [4, ([0, 1, 2, 2, 3], [0, 2, 0])], [1, 3, 2], (3, 4))
    assert dequantized(columns, "").tolist() == [[1, 0, 0, 2], [0, 0, 0, 0], [0, 3, 0, 0]]
    blocks = sparse([0, 1, 2, 3], [0, 1], [2, ([0, 1, 2], [1, 0]), 2, 2], range(1, 9), (4, 4))
    assert dequantized(blocks, "").tolist() == [
        [0, 0, 1, 2], [0, 0, 3, 4], [5, 6, 0, 0], [7, 8, 0, 0],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("order", "blocks", "levels", "values"),
    [
        ([0, 0], [], [3, ([0, 2, 2, 3], [0, 3, 1])], 3),
        ([0, 1], [7], [3, ([0, 2, 2, 3], [0, 3, 1])], 3),
        ([0, 1], [], [3, ([0, 2, 1, 3], [0, 3, 1])], 3),
        ([0, 1], [], [3, ([0, 2, 2, 3], [0, 4, 1])], 3),
        ([0, 1], [], [3, ([0, 2, 2, 3], [0, -1, 1])], 3),
        ([0, 1], [], [3, ([0, 2, 3], [0, 3, 1])], 3),
        ([0, 1], [], [4, ([0, 2, 2, 3, 3], [0, 3, 1])], 3),
        ([0, 1], [], [3, ([0, 2, 2, 3], [0, 3, 1])], 4),
        ([0, 1], [], [2**31 - 1, 4], 12),
    ],
)
def test_sparse_arrays_that_contradict_themselves(
    order: list[int], blocks: list[int], levels: list[Any], values: int
) -> None:
    with pytest.raises(SourceFormatError):
        dequantized(sparse(order, blocks, levels, range(values), (3, 4)), "net.tflite")


def test_many_readers_of_one_array_are_bounded() -> None:
    """A small file must not become gigabytes: 400 tensors of the same 64 KiB."""
    net = Writer()
    image = net.input("image", (1, 4))
    made = net.op("RELU", [image], shape=(1, 4))
    number = net.stored(np.zeros(1 << 16, np.int8), [1.0])
    for _ in range(400):
        same = net.tensor("same", (1 << 16,), "int8")
        net.graph.tensors[same].buffer = net.graph.tensors[number].buffer
    with pytest.raises(SourceFormatError, match="larger than the file"):
        parse_tflite(net.content(made), where="net.tflite")


@pytest.mark.parametrize("shared", ["name", "scales"])
def test_tables_that_thousands_share_are_bounded(shared: str) -> None:
    """Tensors may point to the same name and scales; copied one by one, that is gigabytes."""
    import flatbuffers

    made, builder = schema(), flatbuffers.Builder(1 << 21)
    name = builder.CreateString("n" * (1 << 20 if shared == "name" else 4))
    count = 1 if shared == "name" else 1 << 17
    shape = builder.CreateNumpyVector(ints(count))
    scales = builder.CreateNumpyVector(np.ones(count, np.float32))
    made.QuantizationParametersStart(builder)
    made.QuantizationParametersAddScale(builder, scales)
    quantization = made.QuantizationParametersEnd(builder)
    tensors = []
    for _ in range(5000):
        made.TensorStart(builder)
        made.TensorAddName(builder, name)
        made.TensorAddShape(builder, shape)
        made.TensorAddQuantization(builder, quantization)
        tensors.append(made.TensorEnd(builder))
    made.SubGraphStartTensorsVector(builder, len(tensors))
    for tensor in tensors:
        builder.PrependUOffsetTRelative(tensor)
    vector = builder.EndVector()
    made.SubGraphStart(builder)
    made.SubGraphAddTensors(builder, vector)
    graph = made.SubGraphEnd(builder)
    made.BufferStart(builder)
    buffer = made.BufferEnd(builder)
    lists = []
    for item in (graph, buffer):
        made.ModelStartSubgraphsVector(builder, 1)
        builder.PrependUOffsetTRelative(item)
        lists.append(builder.EndVector())
    made.ModelStart(builder)
    made.ModelAddVersion(builder, 3)
    made.ModelAddSubgraphs(builder, lists[0])
    made.ModelAddBuffers(builder, lists[1])
    builder.Finish(made.ModelEnd(builder), b"TFL3")
    content = bytes(builder.Output())
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(SourceFormatError, match=r"scales are larger|a name of 1048576 bytes"):
        parse_tflite(content, where="net.tflite")
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"{len(content)} bytes: {seconds:.2f} s, {peak / 1e6:.0f} MB")
    assert seconds < LONGEST_SECONDS
    assert peak < 40 * len(content)


def read_mutant(content: bytes) -> TfliteNetwork | None:
    """The network, or None where it was refused; bounds time and memory either way."""
    tracemalloc.start()
    start = time.process_time()
    try:
        found = parse_tflite(content, where="mutant.tflite")
        model = ir.to_proto(build_tflite(found))
    except ConversionError:
        return None
    finally:
        seconds = time.process_time() - start
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert seconds < LONGEST_SECONDS
        assert peak < MOST_BYTES
    onnx.checker.check_model(model, full_check=True)
    return found


def damage_numbers(random: np.random.Generator, data: bytes) -> tuple[str, bytes]:
    """Replaces four aligned bytes, where offsets and sizes are, by a strange number."""
    place = 4 * int(random.integers(len(data) // 4))
    strange = [0, 1, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, len(data), 4 * len(data)]
    number = strange[random.integers(len(strange))]
    return "number", data[:place] + number.to_bytes(4, "little") + data[place + 4 :]


def outcomes(count: int, seed: int) -> Counter[tuple[str, str]]:
    random, data = np.random.default_rng(seed), small_network()
    found: Counter[tuple[str, str]] = Counter()
    original = parse_tflite(data, where="mutant.tflite")
    for _ in range(count):
        damage = damage_numbers if random.random() < 0.5 else damage_bytes
        kind, mutant = damage(random, data)
        network = read_mutant(mutant)
        if network is None:
            found[kind, "refused"] += 1
            continue
        found[kind, "read"] += 1
        if kind == "truncate":  # only what nothing points to may be missing
            assert described(network) == described(original)
    return found


def described(network: TfliteNetwork) -> Any:
    arrays = [None if t.data is None else t.data.tobytes() for t in network.tensors]
    shapes = [(t.name, t.shape, t.dtype) for t in network.tensors]
    return arrays, shapes, network.operators, network.inputs, network.outputs


def test_damaged_files_are_refused_or_read() -> None:
    found = outcomes(300, seed=1)
    print(dict(found))
    assert sum(found.values()) == 300
    assert found["truncate", "refused"] > 10
    assert min(found["number", "refused"], found["number", "read"]) > 20


@pytest.mark.endurance
def test_thousands_of_damaged_files() -> None:
    found = outcomes(2000, seed=2)
    print(dict(found))
    assert sum(found.values()) == 2000
