"""Small networks for landmarks, seeded, in the formats that ``adopt`` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from mobileface_convert.frontends.mxnet_params import write_params
from mobileface_convert.oracles.mxnet_oracle import import_mxnet
from tests.convert.commands.adoptable_networks import Writer as OnnxWriter
from tests.convert.frontends.tflite_writer import Writer as TfliteWriter

SIDE = 48

FloatArray = npt.NDArray[np.float32]


def weights(
    size: int, scale: float, channels: int = 3, seed: int = 3
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """A convolution (8, C, 6, 6) and a layer (size, 8·8·8) with its bias, of about ``scale``."""
    random = np.random.RandomState(seed)
    conv = random.standard_normal((8, channels, 6, 6)) / np.sqrt(36 * channels)
    dense = random.standard_normal((size, 512)) * scale / np.sqrt(512) / 2
    bias = random.uniform(0.2, 0.8, size) * scale
    return conv.astype(np.float32), dense.astype(np.float32), bias.astype(np.float32)


def write_onnx(
    path: Path,
    size: int,
    scale: float = 1.0,
    *,
    channels: int = 3,
    rows: tuple[int, int] | None = None,
    second: bool = False,
    side: int | str = SIDE,
) -> Path:
    """A convolution and a layer.

    Args:
        path: The ONNX file.
        size: How many numbers it gives.
        scale: How large they are.
        channels: Of its pixels.
        rows: Shape of an output (N, K, 2); None for (N, size).
        second: Whether it gives a score as well.
        side: Of its crop; a text is any.
    """
    conv, dense, bias = weights(size, scale, channels)
    w = OnnxWriter(3)
    kernel = w.weight(conv, "conv")
    x = w.add("Conv", ["input", kernel], "c", kernel_shape=[6, 6], strides=[6, 6])
    x = w.add("Tanh", [x], "t")
    x = w.add("Flatten", [x], "f", axis=1)
    x = w.add("Gemm", [x, w.weight(dense, "dense"), w.weight(bias, "bias")], "fc", transB=1)
    shape: list[int | str] = ["N", size]
    if rows is not None:
        x = w.add("Reshape", [x, w.weight(np.array([-1, *rows], np.int64), "shape")], "rows")
        shape = ["N", *rows]
    kind = TensorProto.FLOAT
    outputs = [helper.make_tensor_value_info(x, kind, shape)]
    if second:
        score = w.add("ReduceMean", [w.nodes[2].output[0]], "score", axes=[1])
        outputs.append(helper.make_tensor_value_info(score, kind, ["N", 1]))
    graph = helper.make_graph(
        w.nodes,
        "points",
        [helper.make_tensor_value_info("input", kind, ["N", channels, side, side])],
        outputs,
        w.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def write_tflite(
    path: Path, size: int, scale: float = 1.0, *, rows: tuple[int, int] | None = None
) -> Path:
    """Such a network in TensorFlow Lite, pixels last."""
    conv, dense, bias = weights(size, scale)
    net = TfliteWriter()
    x = net.input("image", (1, SIDE, SIDE, 3))
    kernel = np.ascontiguousarray(conv.transpose(0, 2, 3, 1))
    zeros = np.zeros(8, np.float32)
    x = net.conv(x, kernel, zeros, padding=1, strideH=6, strideW=6)
    x = net.op("LOGISTIC", [x])
    x = net.op("RESHAPE", [x], "ReshapeOptions", newShape=np.array([1, 512], np.int32))
    x = net.op("FULLY_CONNECTED", [x, net.stored(dense), net.stored(bias)], "FullyConnectedOptions")
    if rows is not None:
        x = net.op("RESHAPE", [x], "ReshapeOptions", newShape=np.array([1, *rows], np.int32))
    path.write_bytes(net.file(x))
    return path


def write_mxnet(
    folder: Path,
    size: int,
    scale: float = 1.0,
    *,
    rows: tuple[int, int] | None = None,
    loss: bool = False,
) -> tuple[Path, Path]:
    """The same as a checkpoint of MXNet, with the loss that it was trained with if wanted."""
    sym = import_mxnet().sym
    conv, dense, bias = weights(size, scale)
    x: Any = sym.Convolution(
        sym.Variable("data"), kernel=(6, 6), stride=(6, 6), num_filter=8, no_bias=True, name="conv"
    )
    x = sym.Activation(x, act_type="tanh", name="tanh")
    x = sym.Flatten(x, name="flat")
    x = sym.FullyConnected(x, num_hidden=size, name="fc")
    if rows is not None:
        x = sym.Reshape(x, shape=(-1, *rows), name="rows")
    if loss:
        x = sym.LinearRegressionOutput(x, name="loss")
    symbol, params = folder / "net-symbol.json", folder / "net-0000.params"
    symbol.write_text(x.tojson())
    arrays = {"arg:conv_weight": conv, "arg:fc_weight": dense, "arg:fc_bias": bias}
    params.write_bytes(write_params(arrays))
    return symbol, params
