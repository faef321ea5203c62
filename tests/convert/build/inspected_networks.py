"""Published networks layer by layer, as ONNX files, for what `inspect` says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
"""Table 1 of MobileFaceNets (Chen et al. 2018, arXiv:1804.07573): t, c, n, s."""


class Layers:
    """Collects layers with weights of noise, above zero, as variances are."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(3)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(self.random.random(shape, np.float32), name))
        return name

    def add(self, kind: str, *inputs: str, **options: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **options))
        return name

    def conv(
        self, x: str, given: int, made: int, kernel: int, stride: int = 1, *, groups: int = 1,
        pad: int | None = None, prelu: bool = False, relu: bool = False,
    ) -> str:  # fmt: skip
        """A convolution without bias, batch normalisation, an activation."""
        around = kernel // 2 if pad is None else pad
        weight = self.weight(made, given // groups, kernel, kernel)
        x = self.add(
            "Conv", x, weight, group=groups, strides=[stride] * 2, pads=[around] * 4
        )  # fmt: skip
        x = self.add("BatchNormalization", x, *(self.weight(made) for _ in range(4)))
        if prelu:
            return self.add("PRelu", x, self.weight(made, 1, 1))
        return self.add("Relu", x) if relu else x

    def save(self, path: Path, side: int | str, batch: int | str, output: str) -> Path:
        shape = [batch, 3, side, side if isinstance(side, int) else "W"]
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            self.weights,
        )
        opset = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=8)
        found = onnx.shape_inference.infer_shapes(model).graph.output[0]
        model.graph.output[0].CopyFrom(found)
        onnx.save(model, str(path))
        return path


def mobilefacenet(path: Path, batch: int | str = "N") -> Path:
    """MobileFaceNet as Table 1 of its paper lists it, for images of 112×112."""
    net = Layers()
    x = net.conv("image", 3, 64, 3, 2, prelu=True)
    x = net.conv(x, 64, 64, 3, groups=64, prelu=True)
    channels = 64
    for factor, made, count, first in BOTTLENECKS:
        for index in range(count):
            stride, wide, same = first if index == 0 else 1, factor * channels, x
            x = net.conv(x, channels, wide, 1, prelu=True)
            x = net.conv(x, wide, wide, 3, stride, groups=wide, prelu=True)
            x = net.conv(x, wide, made, 1)
            if stride == 1 and channels == made:
                x = net.add("Add", x, same)
            channels = made
    x = net.conv(x, channels, 512, 1, prelu=True)
    x = net.conv(x, 512, 512, 7, groups=512, pad=0)
    x = net.conv(x, 512, 128, 1)
    return net.save(path, 112, batch, net.add("Flatten", x))


def resnet50(path: Path) -> Path:
    """ResNet-50 with the stride in the 3×3 layers, for images of any size."""
    net = Layers()
    x = net.conv("image", 3, 64, 7, 2, relu=True)
    x = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for width, count, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for index in range(count):
            stride, same = first if index == 0 else 1, x
            if index == 0:
                same = net.conv(x, channels, 4 * width, 1, stride)
            x = net.conv(x, channels, width, 1, relu=True)
            x = net.conv(x, width, width, 3, stride, relu=True)
            x = net.conv(x, width, 4 * width, 1)
            x = net.add("Relu", net.add("Add", x, same))
            channels = 4 * width
    x = net.add("Flatten", net.add("GlobalAveragePool", x))
    x = net.add("Gemm", x, net.weight(1000, 2048), net.weight(1000), transB=1)
    return net.save(path, "H", "N", x)
