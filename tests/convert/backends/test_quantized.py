"""Networks in int8: which layers, against the ONNX project's evaluator, and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from mobileface.errors import ConversionError
from mobileface_convert.backends.quantized import dense_only, quantize

FloatArray = npt.NDArray[np.float32]

CHANNELS = 16
SIZE = 8
PICTURES = 12


class Network:
    """A small network, layer by layer, with seeded weights."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.RandomState(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: list[onnx.TensorProto] = []
        self.last = "x"

    def weight(self, *shape: int) -> str:
        scale = np.sqrt(2 / np.prod(shape[1:]))
        name = f"w{len(self.arrays)}"
        array = (self.random.standard_normal(shape) * scale).astype(np.float32)
        self.arrays.append(numpy_helper.from_array(array, name))
        return name

    def add(self, op: str, name: str, *others: str, **attributes: Any) -> Network:
        self.nodes.append(helper.make_node(op, [self.last, *others], [name], name, **attributes))
        self.last = name
        return self

    def conv(self, name: str, inputs: int = CHANNELS, filters: int = CHANNELS) -> Network:
        weight = self.weight(filters, inputs, 3, 3)
        return self.add("Conv", name, weight, pads=[1, 1, 1, 1])

    def dense(self, name: str, inputs: int = CHANNELS * SIZE * SIZE, outputs: int = 8) -> Network:
        return self.add("Gemm", name, self.weight(outputs, inputs), transB=1)

    def build(self, opset: int = 21) -> onnx.ModelProto:
        shapes: list[Any] = [["N", 3, SIZE, SIZE], None]
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in zip(("x", self.last), shapes, strict=True)
        ]
        graph = helper.make_graph(self.nodes, "net", ends[:1], ends[1:], self.arrays)
        imports = [helper.make_opsetid("", opset)]
        return onnx.shape_inference.infer_shapes(
            helper.make_model(graph, opset_imports=imports, ir_version=10)
        )


def classifier(opset: int = 21) -> onnx.ModelProto:
    net = Network().conv("first", 3).add("Relu", "relu0").conv("second").add("Relu", "relu1")
    return net.conv("third").add("Flatten", "flat").dense("dense").build(opset)


def pictures(seed: int = 1) -> FloatArray:
    return np.random.RandomState(seed).uniform(-1, 1, (PICTURES, 3, SIZE, SIZE)).astype(np.float32)


def feeds() -> Iterator[dict[str, FloatArray]]:
    return ({"x": picture[None]} for picture in pictures())


def run(model: onnx.ModelProto, x: FloatArray) -> FloatArray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: FloatArray = session.run(None, {"x": x})[0]
    return found


def integer_layers(model: onnx.ModelProto) -> set[str]:
    """Layers whose weights are int8 and whose inputs are uint8."""
    producers = {name: node for node in model.graph.node for name in node.output}
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    found = set()
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            sources = [producers.get(name) for name in node.input[:2]]
            if all(s is not None and s.op_type == "DequantizeLinear" for s in sources):
                assert sources[0] is not None
                assert sources[1] is not None
                assert types[sources[1].input[0]] == TensorProto.INT8
                assert types[sources[0].input[2]] == TensorProto.UINT8
                found.add(node.name)
    return found


def test_all_but_the_first_layer() -> None:
    quantized = quantize(classifier(), feeds, "net")
    assert integer_layers(quantized.model) == {"second", "third", "dense"}
    assert (quantized.layers, quantized.kept) == (3, ("first",))
    assert quantized.model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    producers = {name: node for node in quantized.model.graph.node for name in node.output}
    assert producers["dense"].op_type == "Gemm", "what the last layer gives is not rounded"


def test_a_scale_for_each_filter() -> None:
    model = quantize(classifier(), feeds, "net").model
    arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    scales = [a for name, a in arrays.items() if name.startswith("w") and name.endswith("_scale")]
    assert sorted(scale.shape for scale in scales) == [(8,), (CHANNELS,), (CHANNELS,)]


def test_the_engine_computes_what_onnx_says() -> None:
    """Against the ONNX project's evaluator of the same file, which adds floats, not integers.

    Values next to the middle between two steps could fall to either side; none of these do.
    """
    model = quantize(classifier(), feeds, "net").model
    x = pictures(2)
    expected = ReferenceEvaluator(model).run(None, {"x": x})[0]
    error = float(np.abs(run(model, x) - expected).max())
    scale = float(np.abs(expected).max())
    print(f"largest difference {error:.2g} of {scale:.2g}")
    assert error <= 5e-6 * scale


def test_near_to_the_network_in_float32() -> None:
    model = classifier()
    x = pictures(2)
    found, expected = run(quantize(model, feeds, "net").model, x), run(model, x)
    cosines = (found * expected).sum(1)
    cosines /= np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    print(f"cosine {cosines.mean():.6f} in the mean, {cosines.min():.6f} at least")
    assert cosines.mean() > 0.999
    assert cosines.min() > 0.995


def test_a_network_with_prelu_only_in_its_dense_layers() -> None:
    net = Network().conv("first", 3)
    net.add("PRelu", "prelu0", net.weight(CHANNELS, 1, 1)).conv("second")
    model = net.add("Flatten", "flat").dense("dense").build()
    assert dense_only(model)
    assert not dense_only(classifier())
    quantized = quantize(model, feeds, "net", dense=True)
    assert integer_layers(quantized.model) == {"dense"}
    assert quantized.kept == ("first", "second")


def test_what_stands_behind_the_last_layers_stays() -> None:
    """As in a detector: the convolution that predicts, and the decoding of what it gives."""
    net = Network().conv("first", 3).add("Relu", "relu0").conv("second").add("Relu", "relu1")
    net.conv("predicts", filters=6).add("Sigmoid", "sigmoid").add("Flatten", "flat")
    model = net.add("Relu", "end").build()
    quantized = quantize(model, feeds, "net")
    assert integer_layers(quantized.model) == {"second"}
    assert quantized.kept == ("first", "predicts")
    producers = {name: node for node in quantized.model.graph.node for name in node.output}
    assert [producers[n].input[0] for n in ("sigmoid", "flat", "end")] == [
        "predicts",
        "sigmoid",
        "flat",
    ]


def test_operators_that_every_supported_engine_has() -> None:
    """Before opset 21 those of ONNX; of 23 and newer ONNX Runtime 1.23 has none."""
    x = pictures(2)
    expected = run(quantize(classifier(), feeds, "net").model, x)
    for opset, domain in ((17, ""), (23, "com.microsoft")):
        model = quantize(classifier(opset), feeds, "net").model
        nodes = [n for n in model.graph.node if "uantizeLinear" in n.op_type]
        assert {node.domain for node in nodes} == {domain}
        np.testing.assert_array_equal(run(model, x), expected)


def test_metadata_stay() -> None:
    model = classifier()
    onnx.helper.set_model_props(model, {"mobileface.spec": "{}", "license": "MIT"})
    found = quantize(model, feeds, "net").model.metadata_props
    assert {entry.key: entry.value for entry in found} == {
        "mobileface.spec": "{}",
        "license": "MIT",
    }


def test_two_runs_give_the_same_bytes() -> None:
    first, second = (quantize(classifier(), feeds, "net").model for _ in range(2))
    assert first.SerializeToString() == second.SerializeToString()


def test_nothing_to_quantise() -> None:
    single = Network().conv("first", 3).add("Relu", "relu0").build()
    with pytest.raises(ConversionError, match="the network has no layers to quantise") as caught:
        quantize(single, feeds, "single")
    assert caught.value.where == "single"


def test_what_the_package_refuses_is_one_error() -> None:
    with pytest.raises(ConversionError, match="cannot be quantised"):
        quantize(classifier(), lambda: [{"y": pictures()}], "net")
    with pytest.raises(ConversionError, match="cannot be quantised"):
        quantize(classifier(), lambda: [], "net")
