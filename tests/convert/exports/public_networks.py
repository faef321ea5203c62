"""Networks of public layer tables, with random weights of the sizes of trained ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from tests.convert.build.inspected_networks import Layers, mobilefacenet

__all__ = ["arcface_resnet50", "mobilefacenet_with_sizes_of_training", "settle"]

_UNITS = ((64, 3), (128, 4), (256, 14), (512, 3))
"""Channels and units of each stage: the IR-50 of ArcFace (arXiv:1801.07698, section 3.1)."""


def mobilefacenet_with_sizes_of_training(path: Path) -> Path:
    """MobileFaceNet for images of 112×112, float32 (N, 3, 112, 112) to (N, 128)."""
    return settle(mobilefacenet(path))


def arcface_resnet50(path: Path) -> Path:
    """ResNet-50 of ArcFace, with PReLU, for images of 112×112, to (N, 512)."""
    net = Layers()
    x = net.conv("image", 3, 64, 3, prelu=True)
    channels = 64
    for made, count in _UNITS:
        for index in range(count):
            stride, same = 2 if index == 0 else 1, x
            if index == 0:
                same = net.conv(x, channels, made, 1, stride)
            x = net.add("BatchNormalization", x, *(net.weight(channels) for _ in range(4)))
            x = net.conv(x, channels, made, 3, prelu=True)
            x = net.conv(x, made, made, 3, stride)
            x = net.add("Add", x, same)
            channels = made
    x = net.add("BatchNormalization", x, *(net.weight(channels) for _ in range(4)))
    x = net.add("Flatten", net.add("Dropout", x))
    x = net.add("Gemm", x, net.weight(512, channels * 49), net.weight(512), transB=1)
    x = net.add("BatchNormalization", x, *(net.weight(512) for _ in range(4)))
    return settle(net.save(path, 112, "N", x))


def settle(path: Path) -> Path:
    """Gives a network weights that keep values near 1, as those of a trained one do."""
    model, random = onnx.load(str(path)), np.random.RandomState(3)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            if name not in stored:
                continue
            shape = tuple(stored[name].dims)
            if node.op_type in ("Conv", "Gemm") and position == 1:
                size = np.sqrt(2 / np.prod(shape[1:]))
                values = random.standard_normal(shape) * size
            elif node.op_type == "BatchNormalization" and position in (1, 4):
                values = random.uniform(0.5, 1.5, shape)
            elif node.op_type == "PRelu":
                values = random.normal(0.25, 0.15, shape)
            else:
                values = random.standard_normal(shape) * 0.1
            stored[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
    onnx.save(model, str(path))
    return path
