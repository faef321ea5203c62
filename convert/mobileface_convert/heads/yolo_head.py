"""Decoding of a YOLOv3-type network's predictions to boxes, as ONNX nodes for any image size.

Redmon and Farhadi 2018, https://arxiv.org/abs/1804.02767, section 2.1. For an anchor (a_w, a_h) at
column j, row i of a feature map whose cells are ``stride`` pixels wide::

    x = (sigmoid(t_x) + j) · stride          w = exp(t_w) · a_w        score = sigmoid(t_class)
    y = (sigmoid(t_y) + i) · stride          h = exp(t_h) · a_h                · sigmoid(t_object)
    box = (x − w/2, y − h/2, x + w/2, y + h/2)

The published network looks up columns and rows in a stored table of 128×128, which limits it to
1024 pixels. Here they are computed from the size of the feature map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..graph.onnx_builder import GraphBuilder

__all__ = ["decode"]

_VALUES = 6
"""Values per prediction: x, y, width, height, objectness, class score."""

Doubles = npt.NDArray[np.float64]


def decode(
    builder: GraphBuilder,
    predictions: Sequence[ir.Value],
    strides: Sequence[int],
    anchors: Sequence[Doubles],
) -> ir.Value:
    """Decodes predictions to one row per cell and anchor.

    Args:
        builder: Builder of the ONNX graph.
        predictions: float32 (N, 6·A, rows, columns) per head, grouped by anchor.
        strides: Width of a cell in pixels, per head.
        anchors: (A, 2) per head: width and height in pixels.

    Returns:
        float32 (N, cells · A, 6): class id (0), score, x1, y1, x2, y2 in pixels of the input image.
        Heads are in order, cells in row-major order; the anchors of a cell are adjacent.
    """
    parts = [
        _decode_head(builder, *head, name=f"head{index}")
        for index, head in enumerate(zip(predictions, strides, anchors, strict=True))
    ]
    return builder.op("Concat", *parts, name="rows", axis=1)


def _decode_head(
    builder: GraphBuilder, prediction: ir.Value, stride: int, anchors: Doubles, *, name: str
) -> ir.Value:
    """Decodes the predictions of one head; see `decode`."""

    def op(kind: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        return builder.op(kind, *inputs, name=f"{name}_{kind.lower()}", **attributes)

    def integers(*values: int) -> ir.Value:
        return builder.constant(values, np.int64, name="shape")

    def number(value: float) -> ir.Value:
        return builder.constant(value, np.float32, name="number")

    count = len(anchors)
    last = op("Transpose", prediction, perm=(0, 2, 3, 1))
    values = op("Reshape", last, integers(0, -1, count, _VALUES))  # (N, cells, A, 6)
    sizes = integers(2, 2, 1, 1)
    center, size, obj, face = builder.op_multi(
        "Split", values, sizes, outputs=4, name=f"{name}_split", axis=-1
    )
    cells = _cells(builder, prediction, name)
    x_y = op("Mul", op("Add", op("Sigmoid", center), cells), number(stride))
    anchor_sizes = builder.constant(anchors.astype(np.float32), name=f"{name}_anchors")
    half = op("Div", op("Mul", op("Exp", size), anchor_sizes), number(2))
    score = op("Mul", op("Sigmoid", face), op("Sigmoid", obj))
    class_id = op("Expand", number(0), op("Shape", score))
    row = op("Concat", class_id, score, op("Sub", x_y, half), op("Add", x_y, half), axis=-1)
    return op("Reshape", row, integers(0, -1, _VALUES))


def _cells(builder: GraphBuilder, prediction: ir.Value, name: str) -> ir.Value:
    """Column and row of each cell, float32 (cells, 1, 2)."""
    zero, one = (builder.constant(value, np.int64, name="count") for value in (0, 1))

    def steps(axis: int) -> ir.Value:
        """The indices 0, 1, … along an axis of the feature map, float32."""
        size = builder.op("Shape", prediction, name=f"{name}_size", start=axis, end=axis + 1)
        end = builder.op("Squeeze", size, name=f"{name}_count")
        counted = builder.op("Range", zero, end, one, name=f"{name}_range")
        return builder.op("Cast", counted, name=f"{name}_steps", to=int(ir.DataType.FLOAT))

    rows = builder.op(
        "Unsqueeze", steps(2), builder.constant([1], np.int64, name="axis"), name=f"{name}_rows"
    )
    zero_scale = builder.constant(0.0, np.float32, name="number")
    # Broadcasts column numbers and row numbers to (rows, columns) each, like a meshgrid.
    column = builder.op(
        "Add", steps(3), builder.op("Mul", rows, zero_scale), name=f"{name}_columns"
    )
    row = builder.op("Add", rows, builder.op("Mul", steps(3), zero_scale), name=f"{name}_grid_rows")
    flat = builder.constant([-1, 1, 1], np.int64, name="shape")
    pair = [builder.op("Reshape", part, flat, name=f"{name}_flat") for part in (column, row)]
    return builder.op("Concat", *pair, name=f"{name}_cells", axis=-1)
