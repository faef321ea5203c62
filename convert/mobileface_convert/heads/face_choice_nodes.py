"""What the graphs of face detectors share: padding, the best cells, their places, suppression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..graph.onnx_builder import GraphBuilder

__all__ = ["Limits", "Parts", "choose", "limit_inputs", "padded", "places", "suppressed"]

Limits = tuple[ir.Value, ir.Value, ir.Value]
"""Score threshold, IoU threshold and number of boxes that take part."""


class Parts:
    """Short names for what a head is built from."""

    def __init__(self, builder: GraphBuilder) -> None:
        self.builder = builder

    def op(self, name: str, kind: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        """Adds a node, whose name comes first."""
        return self.builder.op(kind, *inputs, name=name, **attributes)

    def split(self, name: str, value: ir.Value, *widths: int, axis: int = -1) -> Sequence[ir.Value]:
        """Adds a Split into parts of these widths."""
        count = len(widths)
        sizes = self.ints(*widths)
        return self.builder.op_multi("Split", value, sizes, outputs=count, name=name, axis=axis)

    def ints(self, *values: int) -> ir.Value:
        """A constant, int64 (count,)."""
        return self.builder.constant(values, np.int64, name="ints")

    def floats(self, value: npt.ArrayLike) -> ir.Value:
        """A constant, float32."""
        return self.builder.constant(value, np.float32, name="floats")


def limit_inputs(
    builder: GraphBuilder, score_threshold: float, iou_threshold: float, topk: int
) -> Limits:
    """The optional inputs, with their defaults."""
    return (
        builder.option("score_threshold", score_threshold, np.float32),
        builder.option("iou_threshold", iou_threshold, np.float32),
        builder.option("topk", topk, np.int64),
    )


def padded(
    parts: Parts, image: ir.Value, multiple: int, fill: int = 0
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """The image padded right and below, uint8 (N, H', W', 3); H, W, and what was added to them.

    Args:
        parts: Adds the nodes.
        image: uint8 (N, H, W, 3).
        multiple: H' and W' are multiples of this.
        fill: Value of the pixels that are added.
    """
    sides = parts.op("sides", "Shape", image, start=1, end=3)
    unit = parts.ints(multiple)
    # Mod has the divisor's sign: what is missing to the next multiple.
    missing = parts.op("missing", "Mod", parts.op("less", "Neg", sides), unit)
    ends = (parts.ints(0, 0, 0, 0, 0), parts.ints(0))
    pads = parts.op("pads", "Concat", ends[0], missing, ends[1], axis=0)
    black = parts.builder.constant(fill, np.uint8, name="black")
    return parts.op("padded", "Pad", image, pads, black), sides, missing


def choose(
    parts: Parts, scores: ir.Value, threshold: ir.Value, topk: ir.Value
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Scores (N, 1, K) and numbers (N, 1, K) of the best of scores (N, 1, A), and K (1,).

    K is the number of cells above the threshold in the picture that has most of them, at most
    ``topk``; the other pictures' rows end with scores that the suppression leaves out.
    """
    above = parts.op("above", "Greater", scores, threshold)
    ones = parts.op("ones", "Cast", above, to=int(ir.DataType.INT32))
    found = parts.op("found", "ReduceSum", ones, parts.ints(2), keepdims=1)
    most = parts.op("most", "ReduceMax", found, keepdims=0)
    wide = parts.op("wide", "Cast", most, to=int(ir.DataType.INT64))
    taken = parts.op("taken", "Min", wide, topk)
    count = parts.op("count", "Reshape", taken, parts.ints(1))
    best, order = parts.builder.op_multi("TopK", scores, count, outputs=2, name="best", axis=2)
    return best, order, count


def places(
    parts: Parts,
    order: ir.Value,
    sides: ir.Value,
    strides: Sequence[int],
    units: npt.ArrayLike | None = None,
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Where the chosen cells lie.

    Cells are counted grid by grid and row by row, the anchors of a cell one after the other.

    Args:
        parts: Adds the nodes.
        order: int64 (N, 1, K), numbers of the cells.
        sides: int64 (2,), height and width of the padded image.
        strides: Width of a cell of each grid in pixels.
        units: (grids, anchors): a length in pixels that belongs to each anchor of a grid's cells;
            None: one anchor, and the grid's stride.

    Returns:
        Column and row, float32 (N, K, 2); stride, float32 (N, K, 1); unit, float32 (N, K, 1).
    """
    table = np.asarray(strides if units is None else units, np.float32).reshape(len(strides), -1)
    anchors = table.shape[1]
    grids = parts.op("grids", "Div", sides, parts.builder.constant([[s] for s in strides]))
    sizes = _products(parts, grids)
    if anchors > 1:
        sizes = parts.op("grid_anchors", "Mul", sizes, parts.ints(anchors))
    ends = parts.op("grid_ends", "CumSum", sizes, parts.builder.constant(0, np.int64))
    starts = parts.op("grid_starts", "Sub", ends, sizes)
    columns = parts.op("grid_columns", "Gather", grids, parts.builder.constant(1, np.int64), axis=1)
    number = parts.op("number", "Transpose", order, perm=(0, 2, 1))
    later = parts.op("later", "GreaterOrEqual", number, ends)
    passed = parts.op("passed", "Cast", later, to=int(ir.DataType.INT32))
    level = parts.op("level", "ReduceSum", passed, parts.ints(2), keepdims=1)
    start = parts.op("start", "Gather", starts, level)
    width = parts.op("width", "Gather", columns, level)
    cell = inside = parts.op("inside", "Sub", number, start)
    if anchors > 1:
        cell = parts.op("cell", "Div", inside, parts.ints(anchors))
    row = parts.op("row", "Div", cell, width)
    column = parts.op("column", "Mod", cell, width)
    place = parts.op("column_row", "Concat", column, row, axis=2)
    stride = unit = parts.op("stride", "Gather", parts.floats(strides), level)
    if units is not None:
        wide = parts.op("wide_level", "Cast", level, to=int(ir.DataType.INT64))
        first = parts.op("first_anchor", "Mul", wide, parts.ints(anchors))
        anchor = parts.op("anchor", "Mod", inside, parts.ints(anchors))
        entry = parts.op("entry", "Add", first, anchor)
        unit = parts.op("unit", "Gather", parts.floats(table.reshape(-1)), entry)
    return parts.op("place", "Cast", place, to=int(ir.DataType.FLOAT)), stride, unit


def _products(parts: Parts, grids: ir.Value) -> ir.Value:
    """Cells of each grid."""
    if parts.builder.opset < 18:
        return parts.op("grid_cells", "ReduceProd", grids, axes=[1], keepdims=0)
    return parts.op("grid_cells", "ReduceProd", grids, parts.ints(1), keepdims=0)


def suppressed(
    parts: Parts, corners: ir.Value, best: ir.Value, count: ir.Value, limits: Limits
) -> tuple[ir.Value, ir.Value]:
    """Non-maximum suppression.

    Args:
        parts: Adds the nodes.
        corners: float32 (N, K, 4): x1, y1, x2, y2 by which overlaps are computed.
        best: float32 (N, 1, K): scores.
        count: int64 (1,): K.
        limits: Thresholds; the third is not used.

    Returns:
        int64 (M, 3), image, 0 and number of each face that is kept, and (M, 2) without the 0.
    """
    threshold, overlap, _ = limits
    selected = parts.op("selected", "NonMaxSuppression", corners, best, count, overlap, threshold)
    return selected, parts.op("kept", "Gather", selected, parts.ints(0, 2), axis=1)
