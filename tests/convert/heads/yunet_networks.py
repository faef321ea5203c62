"""YuNet as it is published, and invented detectors of the same form with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from mobileface_convert.build.collection import open_upstream
from mobileface_convert.recipes.recipe import load_recipe

__all__ = ["invented_yunet", "published_yunet"]

_HEADS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
_STRIDES = (8, 16, 32)


def published_yunet() -> Path:
    """The published file, from where the recipe takes it."""
    recipe = load_recipe("detection_yunet")
    source = open_upstream(recipe.upstream, None)
    assert source is not None
    return source.fetch(recipe.files["model"])


class _Layers:
    """Nodes and weights in the order in which PyTorch would write them."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.RandomState(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: object) -> str:
        number = len(self.nodes)
        name = output or str(1000 + number)
        self.nodes.append(
            helper.make_node(kind, list(inputs), [name], f"{kind}_{number}", **attributes)
        )
        return name

    def array(self, values: npt.NDArray[Any]) -> str:
        name = f"array{len(self.arrays)}"
        self.arrays.append(numpy_helper.from_array(values, name))
        return name

    def conv(
        self, value: str, width: int, outputs: int, side: int, group: int = 1, stride: int = 1
    ) -> str:
        fan = width // group * side * side
        weights = self.random.randn(outputs, width // group, side, side) / np.sqrt(fan)
        biases = self.random.uniform(-0.2, 0.2, outputs)
        stored = [self.array(part.astype(np.float32)) for part in (weights, biases)]
        return self.node(
            "Conv",
            [value, *stored],
            dilations=[1, 1],
            group=group,
            kernel_shape=[side, side],
            pads=[side // 2] * 4,
            strides=[stride, stride],
        )

    def enlarge(self) -> None:
        """Boxes of a pixel or more: OpenCV lets those without area suppress each other."""
        weights, biases = (numpy_helper.to_array(array).copy() for array in self.arrays[-2:])
        weights[2:] *= 0.2
        biases[2:] += 0.5
        for tensor, values in zip(self.arrays[-2:], (weights, biases), strict=True):
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    def head(self, feature: str, width: int, kind: str, stride: int) -> None:
        outputs = _HEADS[kind]
        value = self.conv(feature, width, outputs, 1)
        value = self.conv(value, outputs, outputs, 3, group=outputs)
        if kind == "bbox":
            self.enlarge()
        value = self.node("Transpose", [value], perm=[0, 2, 3, 1])
        sizes = self.array(np.array([1, -1, outputs], np.int64))
        score = kind in ("cls", "obj")
        value = self.node("Reshape", [value, sizes], "" if score else f"{kind}_{stride}")
        if score:
            self.node("Sigmoid", [value], f"{kind}_{stride}")


def invented_yunet(seed: int, width: int = 16, side: int = 64) -> onnx.ModelProto:
    """A small network of the published form, opset 11: (1, 3, side, side) to twelve outputs."""
    layers = _Layers(seed)
    value = layers.node("Relu", [layers.conv("input", 3, width, 3, stride=2)])
    # Bytes up to 255 come in: the scores would all be 0 or 1.
    value = layers.node("Mul", [value, layers.array(np.array(0.02, np.float32))])
    value = layers.node("MaxPool", [value], kernel_shape=[2, 2], strides=[2, 2])
    features = []
    for _ in _STRIDES:
        value = layers.node("MaxPool", [value], kernel_shape=[2, 2], strides=[2, 2])
        value = layers.node("Relu", [layers.conv(value, width, width, 3)])
        features.append(value)
    scales = layers.array(np.array([1, 1, 2, 2], np.float32))
    none = layers.array(np.zeros(0, np.float32))
    for index in (1, 0):
        upper = layers.node(
            "Resize",
            [features[index + 1], none, scales],
            coordinate_transformation_mode="asymmetric",
            mode="nearest",
            nearest_mode="floor",
        )
        features[index] = layers.node("Add", [features[index], upper])
    for kind in _HEADS:
        for feature, stride in zip(features, _STRIDES, strict=True):
            layers.head(feature, width, kind, stride)
    outputs = [
        helper.make_tensor_value_info(
            f"{kind}_{stride}", onnx.TensorProto.FLOAT, [1, (side // stride) ** 2, values]
        )
        for kind, values in _HEADS.items()
        for stride in _STRIDES
    ]
    shape = [1, 3, side, side]
    given = helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, shape)
    graph = helper.make_graph(layers.nodes, "invented", [given], outputs, layers.arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
