"""Small face detectors to adopt, seeded, with the outputs of published ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.convert.commands.adoptable_networks import Writer

__all__ = ["write_retinaface", "write_scrfd", "write_yolo"]

_WIDTH = 12


class _Layers(Writer):
    """Convolutions whose outputs are of the size of numbers that detectors predict."""

    def layer(
        self,
        x: str,
        name: str,
        before: int,
        after: int,
        *,
        spread: float = 1.0,
        bias: Sequence[float] | None = None,
    ) -> str:
        """A 1×1 convolution with a bias."""
        weight = self.random.standard_normal((after, before, 1, 1)) * spread / np.sqrt(before)
        offset = np.zeros(after) if bias is None else np.resize(np.asarray(bias, float), after)
        stored = [self.weight(weight, f"{name}.weight"), self.weight(offset, f"{name}.bias")]
        return self.add("Conv", [x, *stored], f"{name}.out", kernel_shape=[1, 1])

    def features(self, strides: Sequence[int], channels: int = 3, gain: float = 1) -> list[str]:
        """A map for each stride."""
        scale = self.weight(np.array(gain, np.float32), "gain")
        x = self.add("Mul", ["input.1", scale], "scaled")
        x = self.conv(x, "stem", channels, _WIDTH, 3, strides=[2, 2], pads=[1, 1, 1, 1])
        found, reached = [], 2
        for stride in strides:
            while reached < stride:
                x = self.add("MaxPool", [x], f"pool{reached}", kernel_shape=[2, 2], strides=[2, 2])
                reached *= 2
            x = self.conv(x, f"stage{stride}", _WIDTH, _WIDTH, 3, pads=[1, 1, 1, 1])
            found.append(x)
        return found

    def rows(self, x: str, name: str, width: int, *, flat: bool, batch: int) -> str:
        """(N, C, H, W) as rows of so many numbers."""
        last = self.add("Transpose", [x], f"{name}.last", perm=[0, 2, 3, 1])
        sizes = [-1, width] if flat else [batch, -1, width]
        shape = self.weight(np.array(sizes, np.int64), f"{name}.shape")
        return self.add("Reshape", [last, shape], f"{name}.rows")


def _write(
    w: Writer,
    path: Path,
    outputs: Sequence[tuple[str, Sequence[int | str]]],
    *,
    batch: int | str,
    size: tuple[int | str, int | str],
    channels: int = 3,
    opset: int = 11,
) -> Path:
    fed = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [batch, channels, *size])
    made = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in outputs]
    graph = helper.make_graph(w.nodes, "detector", [fed], made, w.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def write_scrfd(
    path: Path,
    *,
    seed: int = 3,
    points: bool = True,
    strides: Sequence[int] = (8, 16, 32),
    flat: bool = True,
    size: tuple[int | str, int | str] = ("H", "W"),
    channels: int = 3,
    logits: bool = False,
    opset: int = 11,
) -> Path:
    """SCRFD: scores, distances and points of each stride; two anchors a cell, or one if five.

    Args:
        path: The ONNX file.
        seed: Of the weights.
        points: Give points.
        strides: Three or five.
        flat: Rows without an axis for images, as with ``dynamic_axes`` of insightface; otherwise
            with one of any size.
        size: Stated height and width; a text is any.
        channels: Of the pixels.
        logits: Leave the sigmoid of the scores out.
        opset: Version of the operator set.
    """
    w, anchors = _Layers(seed), 2 if len(strides) == 3 else 1
    maps = w.features(strides, channels)
    outputs: list[tuple[str, list[int | str]]] = []
    heads = {"score": 1, "bbox": 4, **({"kps": 10} if points else {})}
    for head, width in heads.items():
        for stride, x in zip(strides, maps, strict=True):
            name = f"{head}_{stride}"
            bias, spread = {"score": (-1.0, 1.5), "bbox": (2.0, 0.3), "kps": (0.0, 1.0)}[head]
            y = w.layer(x, name, _WIDTH, width * anchors, spread=spread, bias=(bias,))
            y = w.rows(y, name, width, flat=flat, batch=0)
            if head == "score" and not logits:
                y = w.add("Sigmoid", [y], f"{name}.sigmoid")
            outputs.append((y, ["n", width] if flat else ["N", "n", width]))
    batch: int | str = 1 if flat else "N"
    return _write(w, path, outputs, batch=batch, size=size, channels=channels, opset=opset)


def write_retinaface(
    path: Path,
    *,
    seed: int = 5,
    softmax: bool = True,
    batch: int | str = 1,
    size: tuple[int | str, int | str] = ("H", "W"),
) -> Path:
    """RetinaFace as its PyTorch port exports it: boxes, classes and points of all strides.

    Args:
        path: The ONNX file.
        seed: Of the weights.
        softmax: Give probabilities.
        batch: Stated size of the first axis.
        size: Stated height and width; a text is any.
    """
    w = _Layers(seed)
    maps = w.features((8, 16, 32), gain=0.02)
    outputs: list[tuple[str, list[int | str]]] = []
    for head, width in (("loc", 4), ("conf", 2), ("landms", 10)):
        rows = []
        for stride, x in zip((8, 16, 32), maps, strict=True):
            name = f"{head}_{stride}"
            bias = (0.7, -0.7) if head == "conf" else (0.0,)
            y = w.layer(x, name, _WIDTH, 2 * width, spread=0.15, bias=bias)
            rows.append(w.rows(y, name, width, flat=False, batch=0))
        y = w.add("Concat", rows, head, axis=1)
        if head == "conf" and softmax:
            y = w.add("Softmax", [y], "chances", axis=-1)
        outputs.append((y, [batch, "A", width]))
    return _write(w, path, outputs, batch=batch, size=size, opset=13)


def write_yolo(
    path: Path,
    *,
    seed: int = 9,
    version: int = 5,
    points: bool = True,
    size: tuple[int | str, int | str] = (96, 128),
    batch: int | str = 1,
) -> Path:
    """One output of decoded faces: (1, A, 16) of YOLOv5-face, (1, 20 or 5, A) of YOLOv8-face.

    Cells and strides are stored, as exporters do, so that the network's size is fixed.

    Args:
        path: The ONNX file.
        seed: Of the weights.
        version: 5 or 8.
        points: Give points, for version 8.
        size: Stated height and width, multiples of 32.
        batch: Stated size of the first axis.
    """
    w, parts = _Layers(seed), []
    width = 16 if version == 5 else 20 if points else 5
    marks = {16: 10, 20: 15, 5: 0}[width]
    height, columns = (side if isinstance(side, int) else 96 for side in size)
    for stride, x in zip((8, 16, 32), w.features((8, 16, 32)), strict=True):
        name = f"s{stride}"
        rows, line = np.mgrid[: height // stride, : columns // stride]
        cells = np.stack([line, rows], axis=-1).reshape(1, -1, 2) + 0.5
        y = w.rows(w.layer(x, name, _WIDTH, width, spread=0.5), name, width, flat=False, batch=0)
        widths = {"xy": 2, "wh": 2, "obj": 1, "marks": marks, "cls": int(version == 5)}
        widths = {part: count for part, count in widths.items() if count}
        sizes = w.weight(np.array(list(widths.values()), np.int64), f"{name}.sizes")
        names = [f"{name}.{part}" for part in widths]
        w.nodes.append(helper.make_node("Split", [y, sizes], names, axis=2))
        stored = (
            w.weight(np.array(cells, np.float32), f"{name}.cells"),
            w.weight(np.array(stride, np.float32), f"{name}.stride"),
        )
        xy = w.add("Add", [names[0], stored[0]], f"{name}.moved")
        xy = w.add("Mul", [xy, stored[1]], f"{name}.centre")
        wh = w.add("Exp", [names[1]], f"{name}.exp")
        three = w.weight(np.array(3 * stride, np.float32), f"{name}.three")
        wh = w.add("Mul", [wh, three], f"{name}.size")
        columns_ = [xy, wh, w.add("Sigmoid", [names[2]], f"{name}.score")]
        if marks:
            far = w.add("Mul", [names[3], stored[1]], f"{name}.far")
            tile = np.tile(cells[0] if version == 5 else np.c_[cells[0], cells[0][:, :1] * 0], 5)
            base = w.weight(np.array(tile[None] * stride, np.float32), f"{name}.base")
            columns_.append(w.add("Add", [far, base], f"{name}.points"))
        if width == 16:
            columns_.append(w.add("Sigmoid", [names[4]], f"{name}.class"))
        parts.append(w.add("Concat", columns_, f"{name}.row", axis=2))
    y = w.add("Concat", parts, "output0", axis=1)
    shape: list[int | str] = [batch, "A", width]
    if version == 8:
        y, shape = w.add("Transpose", [y], "columns", perm=[0, 2, 1]), [batch, width, "A"]
    return _write(w, path, [(y, shape)], batch=batch, size=size, opset=13)
