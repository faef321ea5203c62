"""Non-maximum suppression (NMS) with the exact semantics of MXNet's box_nms.

ONNX's NonMaxSuppression only returns indices. The nodes around it do the rest of what MXNet does:
they filter and sort the candidates, keep up to ``topk`` of them, move the surviving rows to the
top, sorted by score, and fill all other rows with -1.
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
    """Settings of a non-maximum suppression, with MXNet's names.

    Attributes:
        overlap_thresh: IoU threshold, 0 or greater. A box is removed if its IoU with a kept box of
            a higher score is above it.
        valid_thresh: Score threshold. Only rows with a score above it are candidates.
        topk: Maximum number of candidates, by score; -1 means all.
        coord_start: Column of the first of the four coordinates.
        score_index: Column of the score.
        id_index: Column of the class id; -1 if there is none.
        background_id: Class id whose rows are not candidates.
        force_suppress: Whether boxes of different classes suppress each other.
        in_format: Format of the input coordinates; ``corner`` is x1, y1, x2, y2.
        out_format: Format of the output coordinates; ``center`` is x, y, width, height.
        classes: Number of classes. 1 means that all candidates have the same id, whatever it is; a
            larger number n means the ids 0 to n - 1; None means any ids.
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
    """Adds a non-maximum suppression of boxes.

    Rows with equal scores keep their order. Boxes of zero or negative size are never suppressed.

    Args:
        builder: Builder of the ONNX graph.
        rows: float32 (B, N, K); B and N may be unknown or 0.
        options: Settings of the suppression.
        overlap: float32 scalar that replaces ``options.overlap_thresh``; clipped to [0, 1].
        valid: float32 scalar that replaces ``options.valid_thresh``.
        topk: int64 scalar that replaces ``options.topk``; 0 or less means all.
        rows_kept: Number of rows of the result; None means N.
        name: Prefix of the node names.

    Returns:
        float32 (B, N, K), or (B, rows_kept, K): the kept rows, sorted by score, highest first, then
        rows of -1.

    Raises:
        GraphError: If the rows lack a column that the options name.
        UnsupportedOperatorError: If the options have no exact equivalent in ONNX.
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
    planes = _score_planes(parts, best, top, ids, options)
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
    found = _compact(parts, top, kept, length, options)
    return _pad(parts, found, length, count, rows_kept)


@dataclass(frozen=True)
class _Parts:
    """Adds nodes named after the suppression and their role in it."""

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
        """One column (B, N) of rows (B, N, K)."""
        number = self.builder.constant(np.int64(index), np.int64, name="column")
        return self.op(f"column{index}", "Gather", rows, number, axis=2)

    def rows(self, rows: ir.Value, order: ir.Value) -> ir.Value:
        """Rows (B, M, K) gathered from rows (B, N, K) at indices (B, M)."""
        indices = self.op("order", "Unsqueeze", order, self.ints(2))
        return self.op("top", "GatherND", rows, indices, batch_dims=1)


def _check(rows: ir.Value, options: BoxNms, rows_kept: int | None) -> None:
    """Checks that the options are supported and fit the rows; see `box_nms` for the errors."""
    if options.in_format != "corner" or options.out_format not in ("corner", "center"):
        formats = f"in_format='{options.in_format}', out_format='{options.out_format}'"
        raise UnsupportedOperatorError(
            f"{formats} is not supported",
            hint="supported: in_format corner, out_format corner or center",
        )
    if not options.overlap_thresh >= 0:
        raise UnsupportedOperatorError(
            f"overlap_thresh={options.overlap_thresh} is not supported",
            hint="supported: 0 or greater",
        )
    if rows_kept is not None and rows_kept < 1:
        raise ValueError(f"rows_kept must be at least 1, not {rows_kept}")
    if rows.shape is None:
        return
    if len(rows.shape) != 3:
        raise GraphError(f"rows of shape {rows.shape} are not (batch, rows, columns)")
    width = rows.shape[2]
    needed = max(options.coord_start + 4, options.score_index + 1, options.id_index + 1)
    if options.coord_start < 0 or options.score_index < 0:
        raise GraphError("coord_start and score_index must not be negative")
    if isinstance(width, int) and width < needed:
        raise GraphError(f"rows of {width} columns, at least {needed} are needed")


def _taken(parts: _Parts, count: ir.Value, number: int, topk: ir.Value | None) -> ir.Value:
    """Number of candidates that are considered, int64 (1,), up to N."""
    if topk is None:
        return parts.op("taken", "Min", count, parts.ints(number)) if number > 0 else count
    limit = parts.op("topk", "Reshape", topk, parts.ints(1))
    limited = parts.op("some", "Greater", limit, parts.ints(0))
    return parts.op("taken", "Where", limited, parts.op("least", "Min", limit, count), count)


def _candidates(
    parts: _Parts, rows: ir.Value, ids: ir.Value | None, valid: ir.Value, options: BoxNms
) -> ir.Value:
    """Scores (B, N) of the candidates, -inf for all other rows and for nan."""
    scores = parts.column(rows, options.score_index)
    is_candidate = parts.op("valid", "Greater", scores, valid)
    if ids is not None:
        background = parts.op("background", "Equal", ids, parts.scalar(options.background_id))
        foreground = parts.op("foreground", "Not", background)
        is_candidate = parts.op("candidate", "And", is_candidate, foreground)
    return parts.op("scores", "Where", is_candidate, scores, parts.scalar(-np.inf))


def _score_planes(
    parts: _Parts, best: ir.Value, top: ir.Value, ids: ir.Value | None, options: BoxNms
) -> ir.Value:
    """Scores (B, C, M) per class, -inf for rows of other classes.

    C is 1, with the scores of all rows, if classes do not need to be separated.
    """
    plane = parts.op("plane", "Unsqueeze", best, parts.ints(1))
    if ids is None or options.force_suppress or options.classes == 1:
        return plane
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
    """Corners (B, M, 4) with x2 >= x1 and y2 >= y1.

    ONNX swaps corners in the wrong order. In MXNet such a box has no area, so it is converted to a
    line or a point, which has no area either.
    """

    def columns(first: int) -> ir.Value:
        ends = (parts.ints(first), parts.ints(first + 2), parts.ints(2))
        return parts.op("corner", "Slice", top, *ends)

    low, high = columns(start), columns(start + 2)
    return parts.op("boxes", "Concat", low, parts.op("far", "Max", low, high), axis=2)


def _scatter(parts: _Parts, best: ir.Value, selected: ir.Value) -> ir.Value:
    """Scores (B, M) at the selected indices (batch, class, row), -inf elsewhere."""
    indices = parts.op("places", "Gather", selected, parts.ints(0, 2), axis=1)
    shape = parts.op("shape", "Shape", best)
    empty = parts.op("nothing", "Expand", parts.scalar(-np.inf), shape)
    return parts.op("kept", "ScatterND", empty, indices, parts.op("s", "GatherND", best, indices))


def _compact(
    parts: _Parts, top: ir.Value, kept: ir.Value, length: ir.Value, options: BoxNms
) -> ir.Value:
    """The kept rows in their output format, sorted by score, then rows of -1: (B, length, K).

    Args:
        parts: Adds the nodes.
        top: Rows of the candidates, float32 (B, M, K).
        kept: Scores of the kept candidates, -inf for the others, float32 (B, M).
        length: Number of rows to return, int64 (1,).
        options: Settings of the suppression.
    """
    keys, indices = parts.builder.op_multi(
        "TopK", kept, length, outputs=2, name=f"{parts.name}_compact"
    )
    filled = parts.op("filled", "Greater", keys, parts.scalar(-np.inf))
    filled = parts.op("filled", "Unsqueeze", filled, parts.ints(2))
    found = _format(parts, parts.rows(top, indices), options)
    return parts.op("rows", "Where", filled, found, parts.scalar(-1))


def _pad(
    parts: _Parts, rows: ir.Value, length: ir.Value, count: ir.Value, rows_kept: int | None
) -> ir.Value:
    """Pads ``length`` rows with rows of -1 to ``rows_kept`` rows, or to ``count`` rows if None."""
    total = count if rows_kept is None else parts.ints(rows_kept)
    missing = parts.op("missing", "Sub", total, length)
    pads = parts.op("pads", "Concat", parts.ints(0, 0, 0, 0), missing, parts.ints(0), axis=0)
    padded = parts.op("padded", "Pad", rows, pads, parts.scalar(-1))
    if rows_kept is None:
        return padded
    return parts.op("kept", "Reshape", padded, parts.ints(0, rows_kept, 0))


def _format(parts: _Parts, rows: ir.Value, options: BoxNms) -> ir.Value:
    """The rows with their coordinates in ``options.out_format``.

    MXNet treats any row with a negative first coordinate as a row of -1 and leaves it unchanged.
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
