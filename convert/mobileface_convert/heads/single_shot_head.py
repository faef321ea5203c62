"""From a published detector to one graph: a picture's bytes in, faces after suppression out.

::

    image uint8 (N, H, W, 3) BGR ─ padding to multiples, or scaling to a fixed size and padding
        ─ channel order ─ − mean ─ / std ─ the published network ─ its outputs, row by row
    scores ─ best of them above the threshold ─ their rows, decoded ─ suppression ─ faces

Only the rows of cells above the threshold are gathered and decoded, as in `yunet_head`. A cell at
column c, row r of a grid of stride s has one anchor or two, each with a unit u in pixels::

    SCRFD       (x, y) = (c, r) · s             box = (x − l·u, y − t·u, x + r·u, y + b·u)
                u = s                           point = (x, y) + p·u
    RetinaFace  (x, y) = (c + ½, r + ½) · s     centre = (x, y) + 0.1·u·b₀₁, size = u·exp(0.2·b₂₃)
                u = side of the anchor          point = (x, y) + 0.1·u·p

YOLO networks decode themselves. `single_shot_layouts` cites the papers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from ..graph.onnx_builder import GraphBuilder
from ..graph.onnx_nodes import add_nodes
from .face_choice_nodes import Parts, choose, limit_inputs, padded, places, suppressed
from .single_shot_layouts import POINTS, Reading

__all__ = ["Reads", "build_single_shot"]

_VARIANCE, _SIZE_VARIANCE = 0.1, 0.2
"""RetinaFace's factors of offsets and of logarithms of sizes."""

_FLOAT = int(ir.DataType.FLOAT)


@dataclass(frozen=True)
class Reads:
    """What a published network reads: float32 (N, 3, height, width).

    Attributes:
        name: Of the input.
        color: "rgb" or "bgr".
        mean: Subtracted from pixels 0..255, one number or three.
        std: Divisor of the result, one number or three.
        fill: Value of pixels that are added at the right and below.
        size: Height and width if they are fixed; None: multiples of the largest stride.
        batch: 1 if it reads one image at a time; None: any number.
    """

    name: str
    color: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fill: int
    size: tuple[int, int] | None
    batch: int | None


def build_single_shot(
    model: onnx.ModelProto,
    reading: Reading,
    reads: Reads,
    *,
    name: str,
    score_threshold: float,
    iou_threshold: float,
    topk: int,
    where: str = "",
) -> ir.Model:
    """Builds the detector; inputs and outputs are those of `yunet_head.build_yunet`.

    Without points there is no output ``kps``.

    Args:
        model: The published network, cleaned by `frontends.onnx_file.read_onnx_file`.
        reading: What its outputs are.
        reads: What it reads.
        name: Name of the graph.
        score_threshold: Default of the input of that name.
        iou_threshold: Default of the input of that name.
        topk: Default of the input of that name.
        where: The file, for errors.

    Raises:
        GraphError: Shapes in the network do not fit together.
    """
    builder = GraphBuilder(name, model.opset_import[0].version)
    parts = Parts(builder)
    image = builder.input("image", np.uint8, (reads.batch or "N", "H", "W", 3))
    limits = limit_inputs(builder, score_threshold, iou_threshold, topk)
    pixels, sides, factors = _pixels(parts, image, reads, reading.multiple)
    found = add_nodes(builder, model.graph, {reads.name: pixels}, reading.outputs, where=where)
    scores, rows = _rows(parts, found, reading)
    best, order, count = choose(parts, scores, limits[0], limits[2])
    number = parts.op("number", "Transpose", order, perm=(0, 2, 1))
    values = parts.op("chosen", "GatherND", rows, number, batch_dims=1)
    boxes, points = _decoded(parts, values, order, sides, reading)
    selected, kept = suppressed(parts, boxes, best, count, limits)
    first = builder.constant(0, np.int64, name="first")
    corners = parts.op("kept_boxes", "GatherND", boxes, kept)
    outputs = {
        "image_index": parts.op("image_index", "Gather", selected, first, axis=1),
        "scores": parts.op("scores", "GatherND", best, selected),
        "boxes": _scaled(parts, "boxes", corners, factors, 4),
    }
    if points is not None:
        pairs = parts.op("kept_points", "GatherND", points, kept)
        outputs["kps"] = _scaled(parts, "kps", pairs, factors, 2)
    shapes = {"image_index": ("M",), "scores": ("M",), "boxes": ("M", 4), "kps": ("M", POINTS, 2)}
    return builder.build(outputs, dtypes={"image_index": np.int64}, shapes=shapes)


def _scaled(
    parts: Parts, name: str, value: ir.Value, factors: ir.Value | None, width: int
) -> ir.Value:
    """Pairs of x and y in pixels of the image."""
    if factors is None:
        return value
    repeated = [factors] * (width // 2)
    wide = parts.op("factors", "Concat", *repeated, axis=0) if width > 2 else factors
    return parts.op(name, "Mul", value, wide)


def _pixels(
    parts: Parts, image: ir.Value, reads: Reads, multiple: int
) -> tuple[ir.Value, ir.Value, ir.Value | None]:
    """The network's input, its sides (2,) int64, and image pixels per pixel of it (2,), x and y."""
    factors = None
    if reads.size is None:
        grown, sides, missing = padded(parts, image, multiple, reads.fill)
        sides = parts.op("padded_sides", "Add", sides, missing)
        planes = _planes(parts, grown, reads.color)
    else:
        planes, factors = _letterbox(parts, image, reads, reads.size)
        sides = parts.ints(*reads.size)
    for kind, values, neutral in (("Sub", reads.mean, 0), ("Div", reads.std, 1)):
        if any(value != neutral for value in values):
            constant = parts.floats(np.reshape(values, (1, -1, 1, 1)))
            planes = parts.op(kind.lower(), kind, planes, constant)
    return planes, sides, factors


def _planes(parts: Parts, image: ir.Value, color: str) -> ir.Value:
    """float32 (N, 3, H, W) in the network's channel order."""
    if color == "rgb":
        image = parts.op("rgb", "Gather", image, parts.ints(2, 1, 0), axis=3)
    pixels = parts.op("pixels", "Cast", image, to=_FLOAT)
    return parts.op("planes", "Transpose", pixels, perm=(0, 3, 1, 2))


def _letterbox(
    parts: Parts, image: ir.Value, reads: Reads, size: tuple[int, int]
) -> tuple[ir.Value, ir.Value]:
    """The image scaled to fit, bilinear, in the upper left; and image pixels per pixel, x and y."""
    lengths = parts.op("sides", "Shape", image, start=1, end=3)
    real = parts.op("real_sides", "Cast", lengths, to=_FLOAT)
    ratios = parts.op("ratios", "Div", parts.floats(size), real)
    scale = parts.op("scale", "ReduceMin", ratios, keepdims=0)
    wanted = parts.op("rounded", "Round", parts.op("wanted", "Mul", real, scale))
    least = parts.op("least", "Max", wanted, parts.floats(1))
    fitting = parts.op("fitting", "Cast", least, to=int(ir.DataType.INT64))
    planes = _planes(parts, image, reads.color)
    outer = parts.op("outer", "Shape", planes, start=0, end=2)
    sizes = parts.op("sizes", "Concat", outer, fitting, axis=0)
    scaled = parts.builder.op(
        "Resize",
        planes,
        None,
        None,
        sizes,
        name="scaled",
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    missing = parts.op("missing", "Sub", parts.ints(*size), fitting)
    pads = parts.op("pads", "Concat", parts.ints(0, 0, 0, 0, 0, 0), missing, axis=0)
    grown = parts.op("padded", "Pad", scaled, pads, parts.floats(reads.fill))
    fixed = parts.op("fixed", "Reshape", grown, parts.ints(reads.batch or -1, 3, *size))
    per_side = parts.op("per_side", "Div", real, least)
    return fixed, parts.op("per_pixel", "Gather", per_side, parts.ints(1, 0))


def _rows(parts: Parts, found: Sequence[ir.Value], reading: Reading) -> tuple[ir.Value, ir.Value]:
    """Scores (N, 1, A), and boxes and points side by side (N, A, 4 or 14), not decoded."""
    if reading.form == "scrfd":
        joined = []
        grids = len(reading.strides)
        for start, width in zip(range(0, len(found), grids), (1, 4, 2 * POINTS), strict=False):
            shape = parts.ints(1 if reading.flat else 0, -1, width)
            maps = [parts.op("map", "Reshape", v, shape) for v in found[start : start + grids]]
            joined.append(parts.op("cells", "Concat", *maps, axis=1))
        scores, *values = joined
    elif reading.form == "retinaface":
        boxes, classes, points = found
        if reading.logits:
            classes = parts.op("chances", "Softmax", classes, axis=-1)
        scores, values = parts.split("classes", classes, 1, 1)[1], [boxes, points]
    elif reading.form == "yolov5":
        scores, values = _yolov5(parts, found[0])
    else:
        scores, values = _yolov8(parts, found[0], points=reading.points)
    line = parts.op("all_scores", "Reshape", scores, parts.ints(0, 1, -1))
    return line, parts.op("values", "Concat", *values, axis=2) if len(values) > 1 else values[0]


def _yolov5(parts: Parts, rows: ir.Value) -> tuple[ir.Value, list[ir.Value]]:
    box, known, points, face = parts.split("yolo", rows, 4, 1, 2 * POINTS, 1)
    return parts.op("face_scores", "Mul", known, face), [box, points]


def _yolov8(parts: Parts, rows: ir.Value, *, points: bool) -> tuple[ir.Value, list[ir.Value]]:
    last = parts.op("yolo_rows", "Transpose", rows, perm=(0, 2, 1))
    if not points:
        box, scores = parts.split("yolo", last, 4, 1)
        return scores, [box]
    box, scores, marks = parts.split("yolo", last, 4, 1, 3 * POINTS)
    columns = [3 * point + axis for point in range(POINTS) for axis in (0, 1)]
    return scores, [box, parts.op("places", "Gather", marks, parts.ints(*columns), axis=2)]


def _decoded(
    parts: Parts, values: ir.Value, order: ir.Value, sides: ir.Value, reading: Reading
) -> tuple[ir.Value, ir.Value | None]:
    """Corners (N, K, 4) and points (N, K, 5, 2) of the chosen rows, in pixels of the input."""
    widths = (2, 2, 2 * POINTS) if reading.points else (2, 2)
    first, second, *points = parts.split("parts", values, *widths)
    shape = parts.ints(0, 0, POINTS, 2)
    pairs = [parts.op("pairs", "Reshape", value, shape) for value in points]
    if not reading.strides:
        return _corners(parts, first, second), pairs[0] if pairs else None
    place, stride, unit = places(parts, order, sides, reading.strides, reading.units)
    if reading.form == "scrfd":
        middle = parts.op("middle", "Mul", place, stride)
        low = parts.op("low", "Sub", middle, parts.op("before", "Mul", first, unit))
        high = parts.op("high", "Add", middle, parts.op("after", "Mul", second, unit))
        boxes = parts.op("corners", "Concat", low, high, axis=2)
    else:
        halves = parts.op("halves", "Add", place, parts.floats(0.5))
        middle = parts.op("middle", "Mul", halves, stride)
        side, unit = unit, parts.op("step", "Mul", unit, parts.floats(_VARIANCE))
        centre = parts.op("centre", "Add", middle, parts.op("offset", "Mul", first, unit))
        power = parts.op("power", "Mul", second, parts.floats(_SIZE_VARIANCE))
        size = parts.op("size", "Mul", parts.op("exp", "Exp", power), side)
        boxes = _corners(parts, centre, size)
    if not pairs:
        return boxes, None
    cell = parts.op("cell_middle", "Unsqueeze", middle, parts.ints(2))
    wide = parts.op("wide_unit", "Unsqueeze", unit, parts.ints(2))
    moved = parts.op("moves", "Mul", pairs[0], wide)
    return boxes, parts.op("points", "Add", cell, moved)


def _corners(parts: Parts, centre: ir.Value, size: ir.Value) -> ir.Value:
    """x1, y1, x2, y2 of boxes."""
    half = parts.op("half", "Mul", size, parts.floats(0.5))
    low, high = parts.op("low", "Sub", centre, half), parts.op("high", "Add", centre, half)
    return parts.op("corners", "Concat", low, high, axis=2)
