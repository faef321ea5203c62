"""Greedy suppression of overlapping boxes, with the exact meaning of MXNet's box_nms.

ONNX has NonMaxSuppression, which answers with indices. Around it stands what MXNet does besides:
candidates are chosen and sorted first, at most ``topk`` of them take part, survivors move to the
top in the order of their scores and every other row is -1 throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from mobileface.errors import GraphError, UnsupportedOperatorError

from ..graph.onnx_builder import GraphBuilder

__all__ = ["BoxNms", "box_nms"]

_HUGE = np.iinfo(np.int64).max


@dataclass(frozen=True)
class BoxNms:
    """The settings of a suppression, named as MXNet names them.

    Attributes:
        overlap_thresh: A box goes if its overlap with a kept better one is above this; from 0.
        valid_thresh: Rows whose score is not above this do not take part.
        topk: How many candidates take part, the best ones; -1: all.
        coord_start: Column of the first of four coordinates.
        score_index: Column of the score.
        id_index: Column of the class; -1: none.
        background_id: Rows of this class do not take part.
        force_suppress: Boxes of different classes suppress each other too.
        in_format: What the coordinates are; ``corner``: x1, y1, x2, y2.
        out_format: What the result's coordinates are; ``center``: x, y, width, height.
        classes: How many classes there are: 1: all rows that take part have one id, whichever;
            more: the ids are 0, 1, …; None: any ids.
    """

    overlap_thresh: float
    valid_thresh: float
    topk: int = -1
    coord_start: int = 2
    score_index: int = 1
    id_index: int = -1
    background_id: int = -1
    force_suppress: bool = False
    in_format: str = "corner"
    out_format: str = "corner"
    classes: int | None = 1


def box_nms(
    builder: GraphBuilder,
    rows: ir.Value,
    options: BoxNms,
    *,
    overlap: ir.Value | None = None,
    valid: ir.Value | None = None,
    topk: ir.Value | None = None,
    rows_kept: int | None = None,
    name: str = "nms",
) -> ir.Value:
    """Adds a suppression and returns its rows: survivors by descending score, then rows of -1.

    Equal scores stay in the order of their rows; boxes of no or negative size are never suppressed.

    Args:
        builder: Where the nodes are added.
        rows: float32 (B, N, K); B and N may be unknown or 0.
        options: The settings.
        overlap: float32 scalar in place of ``options.overlap_thresh``; limited to 0 … 1.
        valid: float32 scalar in place of ``options.valid_thresh``.
        topk: int64 scalar in place of ``options.topk``; 0 or less: all.
        rows_kept: Number of rows of the result; None: N.
        name: Prefix of the nodes' names.

    Returns:
        float32 (B, N, K), or (B, rows_kept, K).

    Raises:
        GraphError: The rows have no such column.
        UnsupportedOperatorError: Settings without an exact conversion.
    """
    _check(rows, options, rows_kept)
    parts = _Parts(builder, name)
    overlap = parts.scalar(min(options.overlap_thresh, 1.0)) if overlap is None else overlap
    overlap = builder.op("Clip", overlap, parts.scalar(0), parts.scalar(1), name=f"{name}_overlap")
    valid = parts.scalar(options.valid_thresh) if valid is None else valid
    count = parts.op("count", "Shape", rows, start=1, end=2)
    taken = _taken(parts, count, options.topk, topk)
    ids = None if options.id_index < 0 else parts.column(rows, options.id_index)
    scores = _candidates(parts, rows, ids, valid, options)
    best, order = builder.op_multi("TopK", scores, taken, outputs=2, name=f"{name}_best")
    top = parts.rows(rows, order)
    planes = parts.op("plane", "Unsqueeze", best, parts.ints(1))
    if ids is not None and not options.force_suppress and options.classes != 1:
        planes = _class_planes(parts, planes, top, options)
    limit = parts.ints(rows_kept) if rows_kept is not None else taken
    selected = builder.op(
        "NonMaxSuppression",
        _boxes(parts, top, options.coord_start),
        planes,
        limit,
        overlap,
        valid,
        name=f"{name}_select",
    )
    kept = _scatter(parts, best, selected)
    length = taken if rows_kept is None else parts.op("length", "Min", taken, parts.ints(rows_kept))
    keys, places = builder.op_multi("TopK", kept, length, outputs=2, name=f"{name}_compact")
    filled = parts.op("filled", "Greater", keys, parts.scalar(-np.inf))
    filled = parts.op("filled", "Unsqueeze", filled, parts.ints(2))
    found = _format(parts, parts.rows(top, places), options)
    found = parts.op("rows", "Where", filled, found, parts.scalar(-1))
    wanted = count if rows_kept is None else parts.ints(rows_kept)
    missing = parts.op("missing", "Sub", wanted, length)
    pads = parts.op("pads", "Concat", parts.ints(0, 0, 0, 0), missing, parts.ints(0), axis=0)
    padded = parts.op("padded", "Pad", found, pads, parts.scalar(-1))
    if rows_kept is None:
        return padded
    return parts.op("kept", "Reshape", padded, parts.ints(0, rows_kept, 0))


@dataclass(frozen=True)
class _Parts:
    """Adds nodes that carry the name of the suppression and their role in it."""

    builder: GraphBuilder
    name: str

    def op(self, role: str, op_type: str, *inputs: ir.Value | None, **attributes: int) -> ir.Value:
        given: dict[str, Any] = dict(attributes)
        return self.builder.op(op_type, *inputs, name=f"{self.name}_{role}", **given)

    def scalar(self, value: float) -> ir.Value:
        return self.builder.constant(np.float32(value), np.float32, name="scalar")

    def ints(self, *values: int) -> ir.Value:
        return self.builder.constant(values, np.int64, name="numbers")

    def column(self, rows: ir.Value, index: int) -> ir.Value:
        """(B, N) of (B, N, K)."""
        place = self.builder.constant(np.int64(index), np.int64, name="column")
        return self.op(f"column{index}", "Gather", rows, place, axis=2)

    def rows(self, rows: ir.Value, order: ir.Value) -> ir.Value:
        """(B, M, K): the rows (B, N, K) that the numbers (B, M) say."""
        numbers = self.op("order", "Unsqueeze", order, self.ints(2))
        return self.op("top", "GatherND", rows, numbers, batch_dims=1)


def _check(rows: ir.Value, options: BoxNms, rows_kept: int | None) -> None:
    if options.in_format != "corner" or options.out_format not in ("corner", "center"):
        formats = f"in_format='{options.in_format}', out_format='{options.out_format}'"
        raise UnsupportedOperatorError(
            f"{formats} has no conversion", hint="supported: corner, and out_format center"
        )
    if not options.overlap_thresh >= 0:
        raise UnsupportedOperatorError(
            f"overlap_thresh={options.overlap_thresh} has no conversion", hint="supported: from 0"
        )
    if rows_kept is not None and rows_kept < 1:
        raise ValueError(f"{rows_kept} rows cannot be kept")
    if rows.shape is None:
        return
    if len(rows.shape) != 3:
        raise GraphError(f"rows of shape {rows.shape} are not (batch, rows, columns)")
    width = rows.shape[2]
    needed = max(options.coord_start + 4, options.score_index + 1, options.id_index + 1)
    if options.coord_start < 0 or options.score_index < 0:
        raise GraphError("coord_start and score_index cannot be negative")
    if isinstance(width, int) and width < needed:
        raise GraphError(f"rows of {width} columns where {needed} are needed")


def _taken(parts: _Parts, count: ir.Value, number: int, topk: ir.Value | None) -> ir.Value:
    """How many candidates take part: (1,) of at most N."""
    if topk is None:
        return parts.op("taken", "Min", count, parts.ints(number)) if number > 0 else count
    one = parts.op("topk", "Reshape", topk, parts.ints(1))
    some = parts.op("some", "Greater", one, parts.ints(0))
    return parts.op("taken", "Where", some, parts.op("least", "Min", one, count), count)


def _candidates(
    parts: _Parts, rows: ir.Value, ids: ir.Value | None, valid: ir.Value, options: BoxNms
) -> ir.Value:
    """(B, N): the scores of the rows that take part, -inf for the others (nan is no score)."""
    scores = parts.column(rows, options.score_index)
    takes_part = parts.op("valid", "Greater", scores, valid)
    if ids is not None:
        background = parts.op("background", "Equal", ids, parts.scalar(options.background_id))
        foreground = parts.op("foreground", "Not", background)
        takes_part = parts.op("candidate", "And", takes_part, foreground)
    return parts.op("scores", "Where", takes_part, scores, parts.scalar(-np.inf))


def _class_planes(parts: _Parts, plane: ir.Value, top: ir.Value, options: BoxNms) -> ir.Value:
    """(B, C, M): for each class the scores (B, 1, M) of its rows, -inf for the others."""
    ids = parts.column(top, options.id_index)
    if options.classes is None:
        classes = parts.op("classes", "Unique", ids, sorted=1)
    else:
        numbers = np.arange(options.classes, dtype=np.float32)
        classes = parts.builder.constant(numbers, np.float32, name=f"{parts.name}_classes")
    column = parts.op("class_column", "Reshape", classes, parts.ints(1, -1, 1))
    row = parts.op("id_row", "Unsqueeze", ids, parts.ints(1))
    same = parts.op("same_class", "Equal", row, column)
    return parts.op("planes", "Where", same, plane, parts.scalar(-np.inf))


def _boxes(parts: _Parts, top: ir.Value, start: int) -> ir.Value:
    """(B, M, 4): corners, of which the second is nowhere left of or above the first.

    ONNX swaps corners that are the wrong way round; for MXNet such a box has no area, like the
    line or the point that is made of it here.
    """

    def columns(first: int) -> ir.Value:
        ends = (parts.ints(first), parts.ints(first + 2), parts.ints(2))
        return parts.op("corner", "Slice", top, *ends)

    low, high = columns(start), columns(start + 2)
    return parts.op("boxes", "Concat", low, parts.op("far", "Max", low, high), axis=2)


def _scatter(parts: _Parts, best: ir.Value, selected: ir.Value) -> ir.Value:
    """(B, M): the scores at the selected (batch, class, row) places, -inf elsewhere."""
    places = parts.op("places", "Gather", selected, parts.ints(0, 2), axis=1)
    shape = parts.op("shape", "Shape", best)
    nothing = parts.op("nothing", "Expand", parts.scalar(-np.inf), shape)
    return parts.op("kept", "ScatterND", nothing, places, parts.op("s", "GatherND", best, places))


def _format(parts: _Parts, rows: ir.Value, options: BoxNms) -> ir.Value:
    """The rows with their coordinates in the format of the result.

    MXNet takes any row whose first coordinate is negative for one of its rows of -1, and leaves it.
    """
    if options.out_format == "corner":
        return rows
    start = options.coord_start

    def columns(first: int, end: int) -> ir.Value:
        return parts.op("part", "Slice", rows, parts.ints(first), parts.ints(end), parts.ints(2))

    low, high = columns(start, start + 2), columns(start + 2, start + 4)
    middle = parts.op("middle", "Div", parts.op("sum", "Add", low, high), parts.scalar(2))
    size = parts.op("size", "Sub", high, low)
    before, after = columns(0, start), columns(start + 4, _HUGE)
    formatted = parts.op("formatted", "Concat", before, middle, size, after, axis=2)
    outside = parts.op("outside", "Less", columns(start, start + 1), parts.scalar(0))
    return parts.op("format", "Where", outside, rows, formatted)
