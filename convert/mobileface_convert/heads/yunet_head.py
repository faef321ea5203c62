"""From YuNet's twelve outputs to one graph: a picture's bytes in, faces after suppression out.

YuNet (Wu, Peng, Yu 2023, https://doi.org/10.1007/s11633-023-1423-y) predicts for each cell (c, r)
of a grid of stride s pixels a class, an object, a box b and five points p::

    score = sqrt(sigmoid(class) · sigmoid(object))      centre = (c + b_0, r + b_1) · s
    point = (c + p_x, r + p_y) · s                      size   = (exp(b_2), exp(b_3)) · s

::

    image uint8 (N, H, W, 3) BGR ─ zeros to multiples of 32 ─ network ─ three features
        each feature ─ the four heads as one of 16 channels ─┐
    scores ─ best of them above the threshold ─ their boxes and points ─ suppression ─ faces

The four heads of a stride are each a 1×1 convolution and a 3×3 one by channel, with nothing in
between: side by side they are one of each, of 16 channels, which is one block of a vector unit
where 1, 4 and 10 channels are none. The first convolution reads the picture's bytes as they lie in
memory, a pixel's three values as three columns: nothing is moved before it. Only the values of
cells above the threshold are gathered and decoded.

The oracle is OpenCV's ``cv2.FaceDetectorYN``: it pads with zeros at the right and below, suppresses
by the overlap of boxes whose corner and size are cut to whole numbers, and lets the best ``topk``
take part. One difference is left: two boxes that are both cut to no area suppress each other there.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from mobileface.errors import GraphError

from ..graph.onnx_builder import DEFAULT_OPSET, GraphBuilder
from .face_choice_nodes import Limits, Parts, choose, limit_inputs, padded, places, suppressed
from .yunet_source import POINTS, STRIDES, WIDTH, YuNetHead, YuNetSource

__all__ = ["POINTS", "STRIDES", "build_yunet"]

_SPLIT = (2, 2, 2 * POINTS, 2)
"""Channels: centre, size, points, class and object."""

_TO_CORNERS = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]], np.float32)
"""(x, y, width, height) times this is (x, y, x + width, y + height), exactly."""


def build_yunet(
    model: onnx.ModelProto,
    *,
    name: str = "yunet",
    score_threshold: float = 0.6,
    iou_threshold: float = 0.3,
    topk: int = 5000,
    where: str = "",
) -> ir.Model:
    """Builds the detector.

    Input ``image``: uint8 (N, H, W, 3) BGR; any H and W from 1. Inputs with a default, which may be
    left out: ``score_threshold`` and ``iou_threshold``, float32 scalars, and ``topk``, an int64
    scalar from 1.

    Outputs, M faces of all pictures, picture by picture, the best first:

    - ``image_index``: int64 (M,), to which image a face belongs;
    - ``scores``: float32 (M,), above ``score_threshold``, at most 1;
    - ``boxes``: float32 (M, 4), x1, y1, x2, y2 in pixels of the picture;
    - ``kps``: float32 (M, 5, 2), x and y of each point, likewise.

    Args:
        model: YuNet as it is published, cleaned by `frontends.onnx_file.read_onnx_file`.
        name: Name of the graph.
        score_threshold: Default of the input of that name.
        iou_threshold: Default of the input of that name.
        topk: Default of the input of that name.
        where: The file, for errors.

    Raises:
        GraphError: The graph is not YuNet's; names the output or node.
    """
    versions = [item.version for item in model.opset_import]
    if versions != [DEFAULT_OPSET]:
        raise GraphError(f"operator sets {versions}, {DEFAULT_OPSET} expected", where=where)
    source = YuNetSource(model.graph, where)
    builder = GraphBuilder(name)
    image = builder.input("image", np.uint8, ("N", "H", "W", 3))
    limits = limit_inputs(builder, score_threshold, iou_threshold, topk)
    parts = Parts(builder)
    rows, sides = _padded_rows(parts, image)
    heads = [source.head(stride) for stride in STRIDES]
    features = source.add(builder, rows, [head.feature for head in heads])
    flat = parts.ints(0, WIDTH, -1)
    maps = [
        builder.op("Reshape", _add_head(parts, head, feature), flat, name=f"cells_{stride}")
        for head, feature, stride in zip(heads, features, STRIDES, strict=True)
    ]
    cells = builder.op("Concat", *maps, name="cells", axis=2)
    outputs = _add_faces(parts, cells, sides, limits)
    shapes = {"image_index": ("M",), "scores": ("M",), "boxes": ("M", 4), "kps": ("M", POINTS, 2)}
    return builder.build(outputs, dtypes={"image_index": np.int64}, shapes=shapes)


def _padded_rows(parts: Parts, image: ir.Value) -> tuple[ir.Value, ir.Value]:
    """float32 (N, 1, H', 3·W') with sides that are multiples of 32, and (2,) int64 H', W'."""
    grown, sides, missing = padded(parts, image, STRIDES[-1])
    rows = parts.op("rows", "Reshape", grown, parts.ints(0, 0, -1))
    plane = parts.op("plane", "Unsqueeze", rows, parts.ints(1))
    pixels = parts.op("pixels", "Cast", plane, to=int(ir.DataType.FLOAT))
    return pixels, parts.op("padded_sides", "Add", sides, missing)


def _add_head(parts: Parts, head: YuNetHead, feature: ir.Value) -> ir.Value:
    """float32 (N, 16, rows, columns): centre, size, points, class, object of each cell."""
    value = feature
    for (weights, biases), attributes in (
        (head.pointwise, {"kernel_shape": (1, 1)}),
        (head.depthwise, {"kernel_shape": (3, 3), "pads": (1,) * 4, "group": WIDTH}),
    ):
        stored = [parts.floats(array) for array in (weights, biases)]
        value = parts.op("head", "Conv", value, *stored, **attributes)
    return value


def _add_faces(
    parts: Parts, cells: ir.Value, sides: ir.Value, limits: Limits
) -> dict[str, ir.Value]:
    """Scores, choice, decoding and suppression of the cells (N, 16, A)."""
    threshold, _, topk = limits
    best, order, count = choose(parts, _scores(parts, cells), threshold, topk)
    column, stride, _ = places(parts, order, sides, STRIDES)
    boxes, points = _decode(parts, _gather(parts, cells, order), column, stride)
    corners = parts.floats(_TO_CORNERS)
    whole = parts.op("whole", "Cast", boxes, to=int(ir.DataType.INT32))
    cut = parts.op("cut", "Cast", whole, to=int(ir.DataType.FLOAT))
    cut_corners = parts.op("cut_corners", "MatMul", cut, corners)
    selected, where = suppressed(parts, cut_corners, best, count, limits)
    first = parts.builder.constant(0, np.int64, name="first")
    kept = parts.op("kept_boxes", "GatherND", boxes, where)
    return {
        "image_index": parts.op("image_index", "Gather", selected, first, axis=1),
        "scores": parts.op("scores", "GatherND", best, selected),
        "boxes": parts.op("boxes", "MatMul", kept, corners),
        "kps": parts.op("kps", "GatherND", points, where),
    }


def _scores(parts: Parts, cells: ir.Value) -> ir.Value:
    """float32 (N, 1, A): the scores of all cells."""
    ends = (parts.ints(WIDTH - 2), parts.ints(WIDTH), parts.ints(1))
    logits = parts.op("logits", "Slice", cells, *ends)
    sure = parts.op("sure", "Sigmoid", logits)
    product = parts.op("product", "Mul", *parts.split("class_object", sure, 1, 1, axis=1))
    return parts.op("all_scores", "Sqrt", product)


def _gather(parts: Parts, cells: ir.Value, order: ir.Value) -> ir.Value:
    """float32 (N, K, 16): the values of the chosen cells."""
    numbers = parts.op("numbers", "Expand", order, parts.ints(1, WIDTH, 1))
    values = parts.op("values", "GatherElements", cells, numbers, axis=2)
    return parts.op("rows", "Transpose", values, perm=(0, 2, 1))


def _decode(
    parts: Parts, values: ir.Value, place: ir.Value, stride: ir.Value
) -> tuple[ir.Value, ir.Value]:
    """Boxes (N, K, 4), x, y, width, height, and points (N, K, 5, 2) of the chosen cells."""
    centre, size, points, _ = parts.split("parts", values, *_SPLIT)
    middle = parts.op("middle", "Mul", parts.op("moved", "Add", centre, place), stride)
    whole = parts.op("size", "Mul", parts.op("exp", "Exp", size), stride)
    half = parts.op("half", "Mul", whole, parts.floats(0.5))
    corner = parts.op("corner", "Sub", middle, half)
    boxes = parts.op("raw_boxes", "Concat", corner, whole, axis=2)
    pairs = parts.op("pairs", "Reshape", points, parts.ints(0, 0, POINTS, 2))
    cell = parts.op("cell", "Unsqueeze", place, parts.ints(2))
    wide = parts.op("wide_stride", "Unsqueeze", stride, parts.ints(2))
    moved = parts.op("moved_points", "Add", pairs, cell)
    return boxes, parts.op("raw_points", "Mul", moved, wide)
