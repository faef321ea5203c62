"""Each TensorFlow Lite operator beside LiteRT: its plain loops and XNNPACK."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from mobileface_convert.backends.onnx import clean
from mobileface_convert.frontends.tflite import build_tflite, parse_tflite
from mobileface_convert.frontends.tflite.tflite_registry import registered
from mobileface_convert.oracles.litert_oracle import LiteRTReference
from mobileface_convert.oracles.verify import open_model
from tests.convert.frontends.tflite_writer import Writer, small_network, transpose_options

pytestmark = pytest.mark.needs_litert

BOUND = 1e-5
"""Of the output's range."""

Case = Callable[[Writer], int]
R = np.random.RandomState(8)
INTEGERS = np.int32


def noise(*shape: int) -> Any:
    return R.uniform(-1, 1, shape).astype(np.float32)


def image(net: Writer, *shape: int, name: str = "image") -> int:
    return net.input(name, shape or (1, 7, 10, 4))


def eight(net: Writer, shape: tuple[int, ...], axis: int, *, each: bool = True) -> int:
    count = shape[axis] if each else 1
    data = R.randint(-127, 128, shape).astype(np.int8)
    return net.stored(data, R.uniform(0.002, 0.01, count), axis=axis)


def conv(weight: Any = None, **options: Any) -> Case:
    def case(net: Writer) -> int:
        given = image(net)
        found = noise(6, 3, 3, 4) if weight is None else weight(net) if callable(weight) else weight
        count = net.graph.tensors[found].shape[0] if isinstance(found, int) else len(found)
        return net.conv(given, found, noise(count), **options)

    return case


def depthwise(multiplier: int = 1, **options: Any) -> Case:
    def case(net: Writer) -> int:
        weight = net.stored(noise(1, 3, 3, 4 * multiplier))
        usual = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
        return net.op(
            "DEPTHWISE_CONV_2D", [image(net), weight, net.stored(noise(4 * multiplier))],
            "DepthwiseConv2DOptions", depthMultiplier=multiplier, **{**usual, **options},
        )  # fmt: skip

    return case


def transposed(size: tuple[int, ...], step: int, padding: int, kernel: int = 3) -> Case:
    def case(net: Writer) -> int:
        inputs = [net.stored(np.array(size, INTEGERS)), net.stored(noise(5, kernel, kernel, 4))]
        return net.op(
            "TRANSPOSE_CONV", [*inputs, image(net), net.stored(noise(5))], "TransposeConvOptions",
            version=3, padding=padding, strideH=step, strideW=step,
        )  # fmt: skip

    return case


def custom_transposed(padding: int, down: int, across: int, kernel: int, size: Any) -> Case:
    def case(net: Writer) -> int:
        return net.op(
            "Convolution2DTransposeBias",
            [image(net), net.stored(noise(5, kernel, kernel, 4)), net.stored(noise(5))],
            custom=transpose_options(padding, across, down), shape=size,
        )  # fmt: skip

    return case


def pool(kind: str, **options: Any) -> Case:
    usual = {"filterHeight": 3, "filterWidth": 2, "strideH": 2, "strideW": 2}
    return lambda net: net.op(kind, [image(net)], "Pool2DOptions", **{**usual, **options})


def plain(kind: str, *shape: int, table: str = "", **options: Any) -> Case:
    return lambda net: net.op(kind, [image(net, *shape)], table, **options)


def pair(kind: str, table: str, first: Any, second: Any, **options: Any) -> Case:
    """Shapes as tuples are inputs, arrays are stored."""

    def case(net: Writer) -> int:
        given = [
            net.stored(item) if isinstance(item, np.ndarray) else image(net, *item, name=f"x{n}")
            for n, item in enumerate((first, second))
        ]
        return net.op(kind, given, table, **options)

    return case


def with_integers(kind: str, values: Any, *shape: int, table: str = "", **options: Any) -> Case:
    return lambda net: net.op(
        kind, [image(net, *shape), net.stored(np.array(values, INTEGERS))], table, **options
    )


def connected(*shape: int, width: int, flat: tuple[int, ...] = (), **options: Any) -> Case:
    def case(net: Writer) -> int:
        given = image(net, *shape)
        if flat:
            given = net.op("RESHAPE", [given], "ReshapeOptions", newShape=np.array(flat, INTEGERS))
        inputs = [given, net.stored(noise(3, width)), net.stored(np.full(3, 2, np.float32))]
        return net.op("FULLY_CONNECTED", inputs, "FullyConnectedOptions", version=5, **options)

    return case


def joined(axis: int, *shapes: tuple[int, ...], **options: Any) -> Case:
    return lambda net: net.op(
        "CONCATENATION",
        [image(net, *shape, name=f"x{n}") for n, shape in enumerate(shapes)],
        "ConcatenationOptions", axis=axis, **options,
    )  # fmt: skip


def dequantized(make: Callable[[Writer], int], version: int) -> Case:
    def case(net: Writer) -> int:
        weight = net.op("DEQUANTIZE", [make(net)], version=version)
        net.graph.tensors[weight].shape = np.array((6, 3, 3, 4), INTEGERS)
        return net.conv(image(net), weight, noise(6), padding=1)

    return case


def unsigned(net: Writer) -> int:
    return net.stored(R.randint(0, 256, (6, 3, 3, 4)).astype(np.uint8), [0.01], [131])


def resize(size: tuple[int, int], **options: Any) -> Case:
    return with_integers(
        "RESIZE_BILINEAR", size, table="ResizeBilinearOptions", version=3, **options
    )


CASES: dict[str, Case] = {
    "CONV_2D same": conv(padding=0),
    "CONV_2D same, step 2": conv(padding=0, strideH=2, strideW=2),
    "CONV_2D valid, steps 2 and 3": conv(padding=1, strideH=2, strideW=3),
    "CONV_2D dilated": conv(padding=0, dilationHFactor=2, dilationWFactor=3),
    "CONV_2D groups": conv(noise(6, 3, 3, 2), padding=0),
    "CONV_2D even kernel": conv(noise(2, 2, 4, 4), padding=0),
    "CONV_2D relu": conv(padding=0, fusedActivationFunction=1),
    "CONV_2D relu -1 to 1": conv(padding=0, fusedActivationFunction=2),
    "CONV_2D relu6": conv(noise(6, 3, 3, 4) * 9, padding=0, fusedActivationFunction=3),
    "CONV_2D int8, a scale each": conv(lambda net: eight(net, (6, 3, 3, 4), 0), version=5),
    "CONV_2D int8, one scale": conv(lambda net: eight(net, (6, 3, 3, 4), 0, each=False), version=2),
    "DEPTHWISE_CONV_2D": depthwise(padding=0),
    "DEPTHWISE_CONV_2D step 2": depthwise(padding=0, strideH=2, strideW=2),
    "DEPTHWISE_CONV_2D several each": depthwise(3, padding=1),
    "DEPTHWISE_CONV_2D dilated, relu6": depthwise(
        padding=0, dilationHFactor=2, dilationWFactor=2, fusedActivationFunction=3
    ),
    "TRANSPOSE_CONV same": transposed((1, 14, 20, 5), 2, 0),
    "TRANSPOSE_CONV same, odd": transposed((1, 13, 19, 5), 2, 0),
    "TRANSPOSE_CONV same, kernel 2": transposed((1, 14, 20, 5), 2, 0, 2),
    "TRANSPOSE_CONV valid": transposed((1, 15, 21, 5), 2, 1),
    "TRANSPOSE_CONV step 1": transposed((1, 7, 10, 5), 1, 0),
    "Convolution2DTransposeBias same": custom_transposed(1, 2, 2, 2, (1, 14, 20, 5)),
    "Convolution2DTransposeBias kernel 3": custom_transposed(1, 2, 2, 3, (1, 14, 20, 5)),
    "FULLY_CONNECTED": connected(1, 9, width=9),
    "FULLY_CONNECTED relu6": connected(1, 9, width=9, fusedActivationFunction=3),
    "FULLY_CONNECTED of an image": connected(1, 3, 2, 4, width=24),
    "FULLY_CONNECTED of a flattened image": connected(1, 3, 2, 4, width=24, flat=(1, 24)),
    "FULLY_CONNECTED of a single pixel": connected(1, 1, 1, 4, width=4, flat=(1, 4)),
    "FULLY_CONNECTED keeps axes": connected(1, 5, 9, width=9, keepNumDims=True),
    "ADD": pair("ADD", "AddOptions", (1, 3, 5, 4), (1, 3, 5, 4)),
    "ADD of a channel's number": pair("ADD", "AddOptions", (1, 3, 5, 4), noise(4)),
    "ADD of rows": pair("ADD", "AddOptions", noise(5, 4), (1, 3, 5, 4)),
    "ADD of three axes, relu": pair(
        "ADD", "AddOptions", (1, 5, 4), noise(4), fusedActivationFunction=1
    ),
    "MUL": pair("MUL", "MulOptions", (1, 3, 5, 4), (1, 1, 1, 4)),
    "MUL by a number": pair("MUL", "MulOptions", (1, 3, 5, 4), noise()),
    "MUL by a plane": pair("MUL", "MulOptions", (1, 3, 5, 4), noise(1, 3, 5, 1)),
    "RELU": plain("RELU"),
    "RELU6": lambda net: net.op(
        "RELU6", [net.conv(image(net), noise(2, 3, 3, 4) * 9, noise(2), padding=0)]
    ),
    "PRELU": pair("PRELU", "", (1, 7, 5, 4), noise(1, 1, 4)),
    "PRELU each pixel": pair("PRELU", "", (1, 7, 5, 4), noise(7, 5, 4)),
    "PRELU three axes": pair("PRELU", "", (1, 5, 4), noise(5, 4)),
    "HARD_SWISH": lambda net: net.op(
        "HARD_SWISH", [net.conv(image(net), noise(2, 3, 3, 4) * 2, noise(2), padding=0)]
    ),
    "LOGISTIC": plain("LOGISTIC"),
    "SOFTMAX": plain("SOFTMAX", 1, 9, table="SoftmaxOptions", beta=1.0),
    "SOFTMAX beta": plain("SOFTMAX", 1, 9, table="SoftmaxOptions", beta=3.0),
    "SOFTMAX of pixels": plain("SOFTMAX", table="SoftmaxOptions", beta=1.0),
    "MAX_POOL_2D same": pool("MAX_POOL_2D", padding=0),
    "MAX_POOL_2D valid": pool("MAX_POOL_2D", padding=1, fusedActivationFunction=1),
    "AVERAGE_POOL_2D same": pool("AVERAGE_POOL_2D", padding=0),
    "AVERAGE_POOL_2D valid": pool("AVERAGE_POOL_2D", padding=1),
    "AVERAGE_POOL_2D of all": pool("AVERAGE_POOL_2D", padding=1, filterHeight=7, filterWidth=10),
    "MEAN": with_integers("MEAN", [1, 2], table="ReducerOptions", keepDims=False),
    "MEAN keeps axes": with_integers("MEAN", [-2, 1], table="ReducerOptions", keepDims=True),
    "RESHAPE of a head": with_integers("RESHAPE", [1, -1, 2]),
    "RESHAPE to one row": with_integers("RESHAPE", [1, 280]),
    "RESHAPE of one channel": with_integers("RESHAPE", [1, 12, 1], 1, 3, 4, 1),
    "RESHAPE of one pixel": with_integers("RESHAPE", [1, 5, 2], 1, 1, 1, 10),
    "RESHAPE to an image": with_integers("RESHAPE", [1, 3, 4, 2], 1, 24),
    "RESHAPE of an image": with_integers("RESHAPE", [1, 10, 14, 2]),
    "RESHAPE by option": plain(
        "RESHAPE", table="ReshapeOptions", newShape=np.array([1, 35, 8], INTEGERS)
    ),
    "CONCATENATION of channels": joined(3, (1, 2, 3, 4), (1, 2, 3, 5)),
    "CONCATENATION of rows": joined(-3, (1, 2, 3, 4), (1, 5, 3, 4)),
    "CONCATENATION of three axes": joined(1, (1, 2, 3), (1, 5, 3), (1, 1, 3)),
    "PAD": with_integers("PAD", [[0, 0], [1, 2], [0, 3], [0, 0]]),
    "PAD of channels": with_integers("PAD", [[0, 0], [0, 0], [0, 0], [1, 5]]),
    "PAD of three axes": with_integers("PAD", [[0, 0], [2, 1], [0, 1]], 1, 4, 3),
    "DEPTH_TO_SPACE": plain("DEPTH_TO_SPACE", 1, 3, 5, 8, table="DepthToSpaceOptions", blockSize=2),
    "RESIZE_BILINEAR doubled": resize((14, 20)),
    "RESIZE_BILINEAR half pixels": resize((14, 20), halfPixelCenters=True),
    "RESIZE_BILINEAR corners": resize((14, 20), alignCorners=True),
    "RESIZE_BILINEAR uneven": resize((15, 23), halfPixelCenters=True),
    "RESIZE_BILINEAR smaller": resize((3, 7)),
    "DEQUANTIZE float16": dequantized(
        lambda net: net.stored(noise(6, 3, 3, 4).astype(np.float16)), 2
    ),
    "DEQUANTIZE int8": dequantized(lambda net: eight(net, (6, 3, 3, 4), 0), 5),
    "DEQUANTIZE uint8": dequantized(unsigned, 1),
}  # fmt: skip


def last(array: Any) -> Any:
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def first(array: Any) -> Any:
    return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array


def compare(content: bytes, batch: bool, opset: int, kernels: bool = False) -> tuple[float, Any]:
    """Largest difference in parts of the outputs' range, and the model."""
    network = parse_tflite(content, where="case.tflite")
    model = ir.to_proto(build_tflite(network, batch=batch, opset=opset))
    onnx.checker.check_model(model, full_check=True)
    random = np.random.RandomState(5)
    fed = {
        network.tensors[n].name: random.uniform(
            -2, 2, (3 if batch else 1, *network.tensors[n].shape[1:])
        ).astype(np.float32)
        for n in network.inputs
    }
    session = open_model(model)
    names = [item.name for item in session.get_outputs()]
    found = session.run(None, {name: first(value) for name, value in fed.items()})
    expected = LiteRTReference(content, "case.tflite", reference_kernels=kernels).run(fed)
    worst = 0.0
    for name, ours in zip(names, found, strict=True):
        theirs = expected[name]
        assert last(ours).shape == theirs.shape
        spread = float(np.ptp(theirs))
        assert spread > 0
        worst = max(worst, float(np.abs(last(ours) - theirs).max()) / spread)
    return worst, model


@pytest.mark.parametrize("name", CASES)
def test_operator_as_litert_has_it(name: str) -> None:
    net = Writer()
    content = net.file(CASES[name](net))
    errors = [compare(content, True, 17)[0]]
    if "Convolution2DTransposeBias" not in name:  # XNNPACK alone knows it
        errors.append(compare(content, False, 21, kernels=True)[0])
    print(f"{name}: {max(errors):.2g} of the range")
    assert max(errors) <= BOUND


def test_every_operator_has_a_case() -> None:
    """DENSIFY is tested in `test_tflite_file`, and with the published detector."""
    assert {name.split()[0] for name in CASES} | {"DENSIFY"} == set(registered())


def test_a_network_of_many() -> None:
    error, model = compare(small_network(), True, 17)
    print(f"{error:.2g} of the range")
    assert error <= BOUND
    assert sum(node.op_type == "Transpose" for node in model.graph.node) == 1  # the head


def test_no_transpose_where_weights_can_be_permuted() -> None:
    for name in ("FULLY_CONNECTED of a flattened image", "FULLY_CONNECTED of an image"):
        net = Writer()
        model = compare(net.file(CASES[name](net)), True, 17)[1]
        assert "Transpose" not in {node.op_type for node in model.graph.node}


def test_put_off_reshape_with_two_readers() -> None:
    """One reader permutes its weights, the other needs the published order."""
    net = Writer()
    flat = net.op("RESHAPE", [image(net)], "ReshapeOptions", newShape=np.array([1, 280], INTEGERS))
    inputs = [flat, net.stored(noise(3, 280)), net.stored(noise(3))]
    content = net.file(net.op("FULLY_CONNECTED", inputs, "FullyConnectedOptions"), flat)
    error, model = compare(content, True, 17)
    assert error <= BOUND
    assert sum(node.op_type == "Transpose" for node in model.graph.node) == 1


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_padding_with_zeros_counts_in_pools(kind: str, padding: int) -> None:
    """onnxsim may move a `Pad` into the pool after it; all values are below zero."""
    net = Writer()
    wide = net.stored(np.array([[0, 0], [1, 1], [2, 1], [0, 0]], INTEGERS))
    padded = net.op("PAD", [image(net), wide])
    content = net.file(
        net.op(kind, [padded], "Pool2DOptions", filterHeight=3, filterWidth=3, strideH=2,
               strideW=2, padding=padding)
    )  # fmt: skip
    network = parse_tflite(content, where="case.tflite")
    model = clean(ir.to_proto(build_tflite(network)), "case")
    data = np.random.RandomState(0).uniform(-2, -1, (2, 7, 10, 4)).astype(np.float32)
    (found,) = open_model(model).run(None, {"image": first(data)})
    (expected,) = LiteRTReference(content, "case.tflite").run({"image": data}).values()
    assert np.abs(last(found) - expected).max() <= 1e-6
