"""Small networks to adopt, seeded, written as other people's exporters write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 112
DIMENSIONS = 64

FloatArray = npt.NDArray[np.float32]


class Writer:
    """Collects nodes and weights; ``half`` computes in float16."""

    def __init__(self, seed: int, *, half: bool = False, cast: bool = False) -> None:
        self.random = np.random.RandomState(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []
        self.half, self.cast = half, cast

    def weight(self, array: npt.NDArray[np.generic], name: str) -> str:
        floats = array.dtype.kind == "f"
        if floats and (self.half or self.cast):
            stored = numpy_helper.from_array(array.astype(np.float16), f"{name}.half")
            self.weights.append(stored)
            if self.half:
                return stored.name
            self.nodes.append(helper.make_node("Cast", [stored.name], [name], to=TensorProto.FLOAT))
            return name
        kept = array.astype(np.float32) if floats else array
        self.weights.append(numpy_helper.from_array(kept, name))
        return name

    def add(self, kind: str, inputs: list[str], name: str, **options: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"{kind}_{name}", **options))
        return name

    def conv(self, x: str, name: str, before: int, after: int, kernel: int, **more: object) -> str:
        """Convolution, batch normalisation and PReLU, as in MobileFaceNet."""
        per = before // int(more.get("group", 1))  # type: ignore[call-overload]
        shape = (after, per, kernel, kernel)
        spread = np.sqrt(2 / (per * kernel * kernel))
        w = self.weight(self.random.standard_normal(shape) * spread, f"{name}.weight")
        x = self.add("Conv", [x, w], f"{name}.conv", kernel_shape=[kernel, kernel], **more)
        facts = [
            self.weight(values, f"{name}.{part}")
            for part, values in (
                ("gamma", self.random.uniform(0.5, 1.5, after)),
                ("beta", self.random.standard_normal(after) * 0.1),
                ("mean", self.random.standard_normal(after) * 0.1),
                ("var", self.random.uniform(0.5, 1.5, after)),
            )
        ]
        x = self.add("BatchNormalization", [x, *facts], f"{name}.bn", epsilon=1e-5)
        slope = self.weight(self.random.uniform(0.1, 0.3, (after, 1, 1)), f"{name}.slope")
        return self.add("PRelu", [x, slope], f"{name}.prelu")


def _trunk(w: Writer, x: str, channels: int, *, mixed: bool) -> str:
    """The blocks, down to 16 numbers for each crop."""
    x = w.conv(x, "stem", channels, 16, 3, strides=[2, 2], pads=[1, 1, 1, 1])
    for index, stride in enumerate((2, 1, 2)):
        name, same = f"block{index}", x
        x = w.conv(x, f"{name}.expand", 16, 32, 1)
        x = w.conv(x, f"{name}.depth", 32, 32, 3, group=32, strides=[stride] * 2, pads=[1, 1, 1, 1])
        x = w.conv(x, f"{name}.project", 32, 16, 1)
        if stride == 1:
            x = w.add("Add", [x, same], f"{name}.sum")
    x = w.conv(x, "gdc", 16, 16, 14, group=16)
    if mixed:
        shape = w.weight(np.array([1, 2, 8], np.int64), "shape")
        x = w.add("Reshape", [x, shape], "halves")
        shape = w.weight(np.array([1, 16], np.int64), "rows_shape")
        x = w.add("Reshape", [x, shape], "rows")
    else:
        x = w.add("Flatten", [x], "flat", axis=1)
    return x


def write_network(
    path: Path,
    *,
    seed: int = 7,
    batch: int | str = "None",
    size: int | str = SIDE,
    channels: int = 3,
    last: bool = False,
    half: bool = False,
    cast: bool = False,
    unit: bool = False,
    mixed: bool = False,
    second: bool = False,
    poison: float | None = None,
    opset: int = 11,
) -> Path:
    """A MobileFaceNet of a few blocks.

    Args:
        path: The ONNX file.
        seed: Of its weights.
        batch: Stated size of the first axis; a text is any size.
        size: Stated height and width; a text is any size.
        channels: Of the pixels.
        last: Read pixels last, (N, H, W, C).
        half: Compute in float16.
        cast: Store weights as float16 and cast them to float32.
        unit: Scale the vectors to unit length.
        mixed: Reshape the batch away, as exports with a fixed batch do.
        second: Give a second output.
        poison: A number for the last bias, e.g. nan.
        opset: Version of the operator set.
    """
    w = Writer(seed, half=half, cast=cast)
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    sizes = [batch, size, size, channels] if last else [batch, channels, size, size]
    x = "input.1"
    if last:
        x = w.add("Transpose", [x], "planes", perm=[0, 3, 1, 2])
    x = _trunk(w, x, channels, mixed=mixed)
    weight = w.weight(w.random.standard_normal((DIMENSIONS, 16)) / 4, "fc.weight")
    bias = w.random.standard_normal(DIMENSIONS) * 0.1
    if poison is not None:
        bias[3] = poison
    x = w.add("Gemm", [x, weight, w.weight(bias, "fc.bias")], "683", transB=1)
    if unit:
        x = w.add("LpNormalization", [x], "unit", axis=1, p=2)
    outputs = [x, *([w.add("Sigmoid", [x], "quality")] if second else [])]
    graph = helper.make_graph(
        w.nodes,
        "mobilefacenet",
        [helper.make_tensor_value_info("input.1", kind, sizes)],
        [helper.make_tensor_value_info(name, kind, [batch, DIMENSIONS]) for name in outputs],
        w.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def write_two_inputs(path: Path) -> Path:
    """The sum of two images."""
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, 8, 8]) for name in "abc"
    ]
    node = helper.make_node("Add", ["a", "b"], ["c"])
    graph = helper.make_graph([node], "sum", values[:2], values[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    path.write_bytes(model.SerializeToString())
    return path


def write_heads(path: Path, *, only: str | None = None, size: tuple[int, int] = (64, 64)) -> Path:
    """A network for gender (2 probabilities) and age (6 logits), or one of them.

    Args:
        path: The ONNX file.
        only: "gender" or "age"; None for both.
        size: Height and width.
    """
    w = Writer(3)
    x = w.conv("input.1", "stem", 3, 16, 3, strides=[2, 2], pads=[1, 1, 1, 1])
    x = _trunk_end(w, x)
    outputs = []
    for name, count in (("gender", 2), ("age", 6)):
        if only in (None, name):
            weight = w.weight(w.random.standard_normal((count, 16)), f"{name}.weight")
            y = w.add("Gemm", [x, weight], f"{name}.logits", transB=1)
            chances = [w.add("Softmax", [y], f"{name}.out", axis=1)] if name == "gender" else [y]
            outputs.append((chances[0], count))
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        w.nodes,
        "heads",
        [helper.make_tensor_value_info("input.1", kind, ["N", 3, *size])],
        [helper.make_tensor_value_info(name, kind, ["N", count]) for name, count in outputs],
        w.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def _trunk_end(w: Writer, x: str) -> str:
    """16 numbers for crops of any size."""
    x = w.add("GlobalAveragePool", [x], "pool")
    return w.add("Flatten", [x], "flat", axis=1)
