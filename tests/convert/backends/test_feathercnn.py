"""FeatherCNN's dialect: what is written computes what ONNX does, and wrong files are refused.

Each network runs in ncnn, and in the evaluator that reads the files as FeatherCNN does, against
ONNX Runtime.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mobileface.errors import ConversionError, UnsupportedOperatorError
from mobileface_convert.backends.feathercnn import to_feathercnn
from mobileface_convert.backends.feathercnn_rules import check_dialect
from mobileface_convert.backends.ncnn import NcnnModel
from mobileface_convert.backends.ncnn_engine import NcnnNetwork
from mobileface_convert.oracles.feathercnn_evaluator import FeatherEvaluator
from mobileface_convert.oracles.verify import open_model

FloatArray = npt.NDArray[np.float32]
SHAPE = (4, 9, 11)
SAME = 2e-6


def weights(*shape: int, seed: int = 1) -> FloatArray:
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def network(
    *nodes: onnx.NodeProto, shape: tuple[int, ...] = SHAPE, **arrays: npt.NDArray[Any]
) -> onnx.ModelProto:
    """A network from "data" to "out"."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        initializer=[numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)


def one(
    kind: str, shape: tuple[int, ...] = SHAPE, attrs: dict[str, Any] | None = None, **arrays: Any
) -> onnx.ModelProto:
    """A network of one operator, whose further inputs are stored arrays."""
    node = helper.make_node(kind, ["data", *arrays], ["out"], name="n", **(attrs or {}))
    return network(node, shape=shape, **{n: np.asarray(a) for n, a in arrays.items()})


def compare(model: onnx.ModelProto, shape: tuple[int, ...] = SHAPE) -> NcnnModel:
    """Compares both readers with ONNX Runtime; returns the files."""
    files = to_feathercnn(model, (1, *shape), "test").files
    data = np.random.RandomState(2).standard_normal((3, *shape)).astype(np.float32) * 4
    (expected,) = open_model(model).run(None, {"data": data})
    for engine in (NcnnNetwork(files, "test"), FeatherEvaluator(files, "test")):
        (found,) = engine.run(data)
        assert found.size == expected.size
        error = np.abs(found.ravel() - expected.ravel()).max() / max(1, np.abs(expected).max())
        print(f"{engine.name}: relative error {error:.2g}")
        assert error <= SAME
    return files


SAME_PADS = {"pads": [1, 1, 1, 1]}
LAYERS = {
    "convolution": one("Conv", w=weights(8, 4, 3, 3), b=weights(8)),
    "stride and padding": one(
        "Conv", attrs={"strides": [2, 1], "pads": [1, 0, 1, 0]}, w=weights(8, 4, 3, 2)
    ),
    "uneven padding": one(
        "Conv", attrs={"strides": [2, 2], "pads": [0, 2, 1, 1]}, w=weights(8, 4, 3, 3)
    ),
    "padding of TensorFlow": one(
        "Conv", attrs={"strides": [2, 2], "auto_pad": "SAME_UPPER"}, w=weights(8, 4, 3, 3)
    ),
    "depthwise": one("Conv", attrs={"group": 4, **SAME_PADS}, w=weights(4, 1, 3, 3)),
    "depthwise, bias": one(
        "Conv", attrs={"group": 4, **SAME_PADS}, w=weights(4, 1, 3, 3), b=weights(4)
    ),
    "relu": one("Relu"),
    "relu6": one("Clip", low=np.float32(0), high=np.float32(6)),
    "clip": one("Clip", low=np.float32(-1.5), high=np.float32(2)),
    "clip from below": one("Clip", low=np.float32(0.5)),
    "prelu": one("PRelu", slope=weights(4, 1, 1)),
    "prelu, one slope": one("PRelu", slope=np.array([[[0.2]]], np.float32)),
    "leaky": one("LeakyRelu", attrs={"alpha": 0.1}),
    "batch norm": one(
        "BatchNormalization",
        attrs={"epsilon": 1e-3},
        g=weights(4),
        b=weights(4, seed=2),
        m=weights(4, seed=3),
        v=np.abs(weights(4, seed=4)) + 0.5,
    ),
    "plus": one("Add", b=weights(1, 4, 1, 1)),
    "minus": one("Sub", b=np.float32(127.5)),
    "times": one("Mul", b=weights(4, 1, 1)),
    "divided": one("Div", b=np.array([0.25], np.float32)),
    "negative": one("Neg"),
    "max pooling": one("MaxPool", attrs={"kernel_shape": [3, 3], "strides": [2, 2]}),
    "max pooling, padded": one(
        "MaxPool", attrs={"kernel_shape": [3, 3], "strides": [2, 2], **SAME_PADS}
    ),
    "max pooling, rest": one("MaxPool", attrs={"kernel_shape": [2, 2], "strides": [2, 2]}),
    "max pooling, full": one(
        "MaxPool", attrs={"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}
    ),
    "average pooling": one("AveragePool", attrs={"kernel_shape": [2, 3], "strides": [2, 2]}),
    "average pooling, padded": one(
        "AveragePool",
        attrs={"kernel_shape": [3, 3], "count_include_pad": 1, **SAME_PADS},
    ),
    "average pooling inside": one(
        "AveragePool", attrs={"kernel_shape": [3, 3], "strides": [2, 2], **SAME_PADS}
    ),
    "global average": one("GlobalAveragePool"),
    "global maximum": one("GlobalMaxPool"),
    "rows and columns of zeros": one("Pad", p=np.array([0, 0, 1, 0, 0, 0, 2, 3])),
    "channels of zeros": one("Pad", p=np.array([0, 0, 0, 0, 0, 3, 0, 0])),
    "flattened": network(
        helper.make_node("Flatten", ["data"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["out"], transB=1, alpha=0.5),
        w=weights(7, 4 * 9 * 11),
        b=weights(7),
    ),
    "head": network(
        helper.make_node("GlobalAveragePool", ["data"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["out"]),
        w=weights(4, 5),
    ),
    "branches": network(
        helper.make_node("Relu", ["data"], ["a"]),
        helper.make_node("Conv", ["a", "w"], ["b"]),
        helper.make_node("Sub", ["a", "b"], ["c"]),
        helper.make_node("Sum", ["a", "b", "c"], ["d"]),
        helper.make_node("Concat", ["d", "a", "data"], ["out"], axis=1),
        w=weights(4, 4, 1, 1),
    ),
}


@pytest.mark.needs_ncnn
@pytest.mark.parametrize("title", LAYERS)
def test_layer_is_onnx_runtimes(title: str) -> None:
    compare(LAYERS[title])


@pytest.mark.needs_ncnn
def test_a_convolution_of_one_channel() -> None:
    """The engine takes it for a depthwise one; the channel is doubled."""
    files = compare(one("Conv", (1, 9, 11), w=weights(6, 1, 3, 3), b=weights(6)), (1, 9, 11))
    assert files.layers == ("Input", "Split", "Concat", "Convolution")


@pytest.mark.needs_ncnn
def test_a_convolution_of_one_pixel() -> None:
    model = network(
        helper.make_node("GlobalAveragePool", ["data"], ["pooled"]),
        helper.make_node("Conv", ["pooled", "w"], ["out"]),
        w=weights(6, 4, 1, 1),
    )
    assert compare(model).layers[-1] == "InnerProduct"


@pytest.mark.needs_ncnn
def test_an_output_that_a_layer_reads() -> None:
    model = network(
        helper.make_node("Relu", ["data"], ["inner"]), helper.make_node("Neg", ["inner"], ["out"])
    )
    model.graph.output.add().CopyFrom(
        helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    )
    files = to_feathercnn(model, (1, *SHAPE), "test").files
    data = np.ones((1, *SHAPE), np.float32)
    for engine in (NcnnNetwork(files, "test"), FeatherEvaluator(files, "test")):
        negative, positive = engine.run(data)
        np.testing.assert_array_equal(positive, -negative)
        np.testing.assert_array_equal(positive, data)


def test_the_length_is_left_to_the_program() -> None:
    node = helper.make_node("LpNormalization", ["x"], ["out"], axis=1)
    model = network(
        helper.make_node("Flatten", ["data"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["x"], transB=1),
        node,
        w=weights(7, 4 * 9 * 11),
    )
    found = to_feathercnn(model, (1, *SHAPE), "test")
    assert found.lengthened == (True,)
    assert found.files.outputs == ("out",)
    assert found.files.layers == ("Input", "InnerProduct")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (one("Sigmoid"), "'n' (Sigmoid)"),
        (one("Conv", attrs={"dilations": [2, 2]}, w=weights(4, 4, 3, 3)), "dilation"),
        (one("Conv", attrs={"group": 2}, w=weights(4, 2, 3, 3)), "2 groups for 4 and 4 channels"),
        (one("Conv", attrs={"group": 4}, w=weights(8, 1, 3, 3)), "4 groups for 4 and 8 channels"),
        (one("Softmax", attrs={"axis": 1}), "softmax along axis 1 of a blob of shape (1, 4, 9"),
        (one("Concat", attrs={"axis": 2}), "only channels"),
        (one("Transpose", attrs={"perm": [0, 2, 3, 1]}), "(Transpose)"),
        (one("Reshape", s=np.array([0, 2, 2, -1])), "a reshape from (1, 4, 9, 11)"),
        (one("Add", b=weights(1, 1, 9, 11)), "it combines a blob of shape (1, 4, 9, 11) with"),
        (one("Cast", attrs={"to": TensorProto.INT64}), "float32 only"),
        (one("MaxPool", attrs={"kernel_shape": [3, 3], **SAME_PADS}), "cannot place (9, 11)"),
        (network(helper.make_node("Mul", ["data"] * 2, ["out"], name="n")), "it combines blobs"),
    ],
)  # fmt: skip
def test_what_has_no_layer_is_refused_by_name(model: onnx.ModelProto, words: str) -> None:
    with pytest.raises(UnsupportedOperatorError, match=re.escape(words)) as caught:
        to_feathercnn(model, (1, *SHAPE), "test")
    assert "node 'n'" in str(caught.value)


def files(*lines: str, content: bytes = b"", outputs: tuple[str, ...] = ("out",)) -> NcnnModel:
    """Files with an input "data" and the given layers."""
    layers = ["Input data 0 1 data", *lines]
    blobs = sum(int(line.split()[3]) for line in layers)
    text = "\n".join(["7767517", f"{len(layers)} {blobs}", *layers])
    return NcnnModel(text, content, tuple(line.split()[0] for line in layers), ("data",), outputs)


DEPTHWISE = "ConvolutionDepthWise d 1 1 data out 0=4 1=3 11=3 4=1 14=1 5={} 6=36 7=4"
TWO = "Split s 1 2 data a b"
WRONG = [
    (files(DEPTHWISE.format(1), content=bytes(4 + 4 * 40)), "'d' .*has a bias.* one value"),
    (files("Clip c 1 1 data out 0=0 1=6"), r"'c' \(Clip\)"),
    (files("PReLU p 1 1 data out 0=4", content=bytes(16)), r"\(PReLU\)"),
    (files("BinaryOp p 1 1 data out 0=2 1=1 2=2.0"), r"\(BinaryOp\)"),
    (files(TWO, "Eltwise e 2 1 a b out 0=1 -23301=2,1.0,-1.0"), "no option -23301"),
    (files(TWO, "Eltwise e 2 1 a b out 0=2"), "0 must be 1, not 2"),
    (files(TWO, "Eltwise e 2 1 a b out"), "option 0 is missing"),
    (files("Split s 1 3 data a b c", "Eltwise e 3 1 a b c out 0=1"), "reads 3 blobs"),
    (files("ReLU r 1 1 data out 0=0.1"), "'r' .*no option 0=0.1"),
    (files("Scale s 1 1 data out 0=-233"), "no weights of its own"),
    (files("Scale s 1 1 data out 0=4.5"), "0=4.5 is not a whole number"),
    (files("InnerProduct i 1 1 data out 0=2 1=0 2=8", content=bytes(36)), "1 must be 1, not 0"),
    (files("InnerProduct i 1 1 data out 0=2 1=1 2=8 9=1", content=bytes(44)), "no option 9=1"),
    (files("Convolution c 1 1 data out 0=4 1=3 2=2 6=144", content=bytes(580)), "2 must be 1"),
    (files("Convolution c 1 1 data out 0=4 1=3 6=144 15=1", content=bytes(580)), "no option 15"),
    (files("Convolution c 1 1 data out 0=4 1=3 6=144 8=1", content=bytes(580)), "8 must be 0"),
    (files("Convolution c 1 1 data out 0=4 1=3 6=36", content=bytes(148)), "one channel"),
    (files("ConvolutionDepthWise c 1 1 data out 0=4 1=3 6=72 7=2", content=bytes(292)), "grouped"),
    (files("Pooling p 1 1 data out 0=0 1=3 2=2 3=1"), "14=1.*other side"),
    (files("Pooling p 1 1 data out 0=0 1=3 2=2 5=1"), "5 must be 0"),
    (files("Softmax s 1 1 data out 0=2"), "0 must be 0"),
    (files(TWO, "Concat c 2 1 a b out 0=1"), "0 must be 0"),
    (files("ReLU r 1 1 data a", "ReLU q 1 1 data out"), "two layers read blob 'data'"),
    (files("ReLU r 1 1 nothing out"), "reads blob 'nothing'"),
    (files(f"ReLU {'n' * 257} 1 1 data out"), "more than 256 characters"),
    (files("ReLU r 1 1 data out", "ReLU r 1 1 out more", outputs=("more",)), "name of another"),
    (files("ReLU r 1 1 data other"), "outputs are other, expected out"),
    (files("Scale s 1 1 data out 0=4", content=bytes(12)), "12 bytes, the layers read 16"),
    (files("Scale s 1 1 data out 0=4", content=bytes(20)), "20 bytes, the layers read 16"),
    (files("ReLU r 1 1 data"), "fewer blobs"),
    (files("ReLU r 1 1 data out x"), "has the option 'x'"),
    (replace(files("ReLU r 1 1 data out"), param="7767518\n1 1\n"), "starts with '7767518'"),
    (replace(files(), param="7767517\n2 1\nInput data 0 1 data\n"), "announces 2 layers"),
    (replace(files(), param=""), "not a param file"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "words"), WRONG, ids=lambda value: str(value)[:30])
def test_the_checker_refuses_wrong_files(model: NcnnModel, words: str) -> None:
    with pytest.raises(ConversionError, match=words):
        check_dialect(model, "test")


def test_the_checker_accepts_a_right_file() -> None:
    check_dialect(files(DEPTHWISE.format(0), content=bytes(4 + 4 * 36)), "test")
    check_dialect(files(TWO, "Eltwise e 2 1 a b out 0=1"), "test")


@pytest.mark.needs_ncnn
@pytest.mark.parametrize(
    "model",
    [
        files(
            DEPTHWISE.format(1),
            content=bytes(4) + weights(36).tobytes() + weights(4, seed=2).tobytes(),
        ),
        files("ReLU r 1 1 data out 0=0.1"),
        files("Pooling p 1 1 data out 0=0 1=3 2=2 3=1"),
        files("Softmax s 1 1 data out 0=0 1=1"),
    ],
    ids=["bias of a depthwise convolution", "slope", "padding of a pooling", "softmax of an image"],
)
def test_the_evaluator_differs_where_the_engine_does(model: NcnnModel) -> None:
    """What ncnn computes of such files is not what FeatherCNN computes."""
    data = np.random.RandomState(2).standard_normal((1, *SHAPE)).astype(np.float32)
    (theirs,) = NcnnNetwork(model, "test").run(data)
    (ours,) = FeatherEvaluator(model, "test").run(data)
    assert np.isfinite(theirs).all()
    equal = ours.shape == theirs.shape and np.allclose(ours, theirs, atol=1e-3)
    assert not equal


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (files("Clip c 1 1 data out 0=0 1=6"), "'c' .*no such layer"),
        (files("Scale s 1 1 data out 0=x"), "'s' .*invalid literal"),
        (files(TWO, "Eltwise e 2 1 a b out 0=1 -23301=2,1.0,-1.0"), "without coefficients"),
        (files("InnerProduct i 1 1 data out 0=2 1=0 2=8", content=bytes(36)), "bias in any case"),
        (files("Scale s 1 1 data out 0=-233"), "no weights of its own"),
        (files("Scale s 1 1 data out 0=4", content=bytes(12)), "bin file ends"),
        (files("ReLU r 1 1 nothing out"), "no layer before it writes 'nothing'"),
        (files("Convolution c 1 1 data out 0=4 1=3 6=144", content=b"kG0\1" + bytes(576)), "start"),
        (files("Scale s 1 1 data out 0=3", content=bytes(12)), "reads 4 channels"),
    ],
)  # fmt: skip
def test_what_the_engine_refuses(model: NcnnModel, words: str) -> None:
    with pytest.raises(ConversionError, match=words):
        FeatherEvaluator(model, "test").run(np.zeros((1, *SHAPE), np.float32))
