"""From YuNet's twelve outputs to one graph: a picture's bytes in, faces after suppression out.

YuNet (Wu, Peng, Yu 2023, https://doi.org/10.1007/s11633-023-1423-y) predicts for each cell (c, r) of
a grid of stride s pixels a class, an object, a box b and five points p::

    score = sqrt(sigmoid(class) · sigmoid(object))      centre = (c + b_0, r + b_1) · s
    point = (c + p_x, r + p_y) · s                      size   = (exp(b_2), exp(b_3)) · s

::

    image uint8 (N, H, W, 3) BGR ─ planes ─ zeros to multiples of 32 ─ backbone ─ three features
        each feature ─ the four heads as one of 16 channels ─┐
    scores ─ best of them above the threshold ─ their boxes and points ─ suppression ─ faces

The four heads of a stride are each a 1×1 convolution and a 3×3 one by channel, with nothing between:
side by side they are one of each, of 16 channels, which is one block of a vector unit where 1, 4
and 10 channels are none. Only the values of cells above the threshold are gathered and decoded.

The oracle is OpenCV's ``cv2.FaceDetectorYN``: it pads with zeros at the right and below, suppresses
by the overlap of boxes whose corner and size are cut to whole numbers, and lets the best ``topk``
take part. One difference is left: two boxes that are both cut to no area suppress each other there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from mobileface.errors import GraphError

from .onnx_builder import DEFAULT_OPSET, GraphBuilder

__all__ = ["POINTS", "STRIDES", "build_yunet"]

STRIDES = (8, 16, 32)
"""Width of a cell of each grid, in pixels; pictures are padded to multiples of the last."""

POINTS = 5
"""Points of a face: right and left eye, nose tip, right and left corner of the mouth."""

_CHANNELS = 3
_HEADS = {"bbox": 4, "kps": 2 * POINTS, "cls": 1, "obj": 1}
_WIDTH = sum(_HEADS.values())
_SPLIT = (2, 2, 2 * POINTS, 2)
"""Channels: centre, size, points, class and object."""

_TO_CORNERS = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]], np.float32)
"""(x, y, width, height) times this is (x, y, x + width, y + height), exactly."""

FloatArray = npt.NDArray[np.float32]


def build_yunet(
    model: onnx.ModelProto,
    *,
    name: str = "yunet",
    opset: int = DEFAULT_OPSET,
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

    - ``pictures``: int64 (M,), to which picture a face belongs;
    - ``scores``: float32 (M,), above ``score_threshold``, at most 1;
    - ``boxes``: float32 (M, 4), x1, y1, x2, y2 in pixels of the picture;
    - ``kps``: float32 (M, 5, 2), x and y of each point, likewise.

    Args:
        model: YuNet as it is published, cleaned by `frontends.onnx_file.read_onnx_file`.
        name: Name of the graph.
        opset: Version of the operator set.
        score_threshold: Default of the input of that name.
        iou_threshold: Default of the input of that name.
        topk: Default of the input of that name.
        where: The file, for errors.

    Raises:
        GraphError: The graph is not YuNet's; names the output or node.
    """
    source = _Source(model.graph, where)
    builder = GraphBuilder(name, opset)
    image = builder.input("image", np.uint8, ("N", "H", "W", 3))
    limits = (
        builder.option("score_threshold", score_threshold, np.float32),
        builder.option("iou_threshold", iou_threshold, np.float32),
        builder.option("topk", topk, np.int64),
    )
    parts = _Parts(builder)
    rows, sides = _padded_rows(parts, image)
    heads = [source.head(stride) for stride in STRIDES]
    features = source.add(builder, rows, [head.feature for head in heads])
    flat = parts.ints(0, _WIDTH, -1)
    maps = [
        builder.op("Reshape", _add_head(parts, head, feature), flat, name=f"cells_{stride}")
        for head, feature, stride in zip(heads, features, STRIDES, strict=True)
    ]
    cells = builder.op("Concat", *maps, name="cells", axis=2)
    outputs = _add_faces(parts, cells, sides, limits)
    shapes = {"pictures": ("M",), "scores": ("M",), "boxes": ("M", 4), "kps": ("M", POINTS, 2)}
    return builder.build(outputs, dtypes={"pictures": np.int64}, shapes=shapes)


class _Head:
    """The four heads of one stride, side by side.

    Attributes:
        feature: Name of the value that they all read.
        pointwise: Weights (16, C, 1, 1) and biases (16,) of the first convolutions.
        depthwise: Weights (16, 1, 3, 3) and biases (16,) of the second ones.
    """

    def __init__(self, parts: Sequence[tuple[onnx.NodeProto, onnx.NodeProto]], source: _Source):
        self.feature = parts[0][0].input[0]
        pairs = [[source.weights(node) for node in nodes] for nodes in parts]
        first, second = zip(*pairs, strict=True)
        self.pointwise, self.depthwise = _stacked(first), _stacked(second)
        channels = self.pointwise[0].shape[1:]
        for (node, last), width in zip(parts, _HEADS.values(), strict=True):
            sizes = (source.weights(node)[0].shape, source.weights(last)[0].shape)
            if sizes != ((width, *channels), (width, 1, 3, 3)) or channels[1:] != (1, 1):
                raise source.error(f"weights of {sizes} do not make {width} values a cell", node)
            if node.input[0] != self.feature:
                raise source.error("the heads of one stride read different features", node)


class _Source:
    """The published graph, looked at from its outputs."""

    def __init__(self, graph: onnx.GraphProto, where: str) -> None:
        self._graph, self._where = graph, where
        self._made = {name: node for node in graph.node for name in node.output}
        self._stored = {tensor.name: tensor for tensor in graph.initializer}
        inputs = [value.name for value in graph.input if value.name not in self._stored]
        if len(inputs) != 1:
            raise GraphError(f"{len(inputs)} inputs, 1 expected", where=where)
        self._input = inputs[0]

    def head(self, stride: int) -> _Head:
        """The heads of a stride.

        Raises:
            GraphError: They are built in another way.
        """
        parts = []
        for kind in _HEADS:
            name, tail = f"{kind}_{stride}", ["Reshape", "Transpose", "Conv", "Conv"]
            if kind in ("cls", "obj"):
                tail.insert(0, "Sigmoid")
            nodes = self._chain(name, tail)
            if _attributes(nodes[-3]).get("perm") != [0, 2, 3, 1]:
                raise self.error("channels are not moved to the end", nodes[-3])
            self._check_convolutions(nodes[-1], nodes[-2])
            parts.append((nodes[-1], nodes[-2]))
        return _Head(parts, self)

    def add(self, builder: GraphBuilder, rows: ir.Value, features: Sequence[str]) -> list[ir.Value]:
        """Adds the network up to its features; its first convolution reads rows of pixels."""
        needed, wanted = [], set(features)
        for node in reversed(self._graph.node):
            if wanted.intersection(node.output):
                needed.append(node)
                wanted.update(node.input)
        values: dict[str, ir.Value] = {}
        for node in reversed(needed):
            if self._input in node.input:
                values[node.output[0]] = self._add_first(builder, rows, node)
                continue
            for name in node.input:
                if name and name not in values:
                    values[name] = builder.constant(self._array(name), name="weight")
            made = builder.op_multi(
                node.op_type,
                *map(values.get, node.input),
                outputs=len(node.output),
                name=node.name or None,
                **_attributes(node),
            )
            values.update(zip(node.output, made, strict=True))
        return [values[name] for name in features]

    def _add_first(self, builder: GraphBuilder, rows: ir.Value, node: onnx.NodeProto) -> ir.Value:
        """The first convolution on (N, 1, H, 3·W), the pixels as they lie in memory.

        Side by side a pixel's three values are three columns: the kernel becomes three times as
        wide, and so do its steps and its padding. That saves moving the channels to the front.
        """
        given = _attributes(node)
        weights, biases = self.weights(node)
        plain = given.get("group", 1) == 1 and given.get("dilations", [1, 1]) == [1, 1]
        known = {"group", "dilations", "kernel_shape", "strides", "pads"}
        if node.op_type != "Conv" or not plain or not known.issuperset(given):
            raise self.error("the picture is not read by a plain convolution", node)
        if weights.ndim != 4 or weights.shape[1] != _CHANNELS:
            raise self.error(f"weights of {weights.shape} do not read three channels", node)
        outputs, _, height, width = weights.shape
        flat = weights.transpose(0, 2, 3, 1).reshape(outputs, 1, height, width * _CHANNELS)
        down, right = given.get("strides", [1, 1])
        top, left, bottom, end = given.get("pads", [0] * 4)
        return builder.op(
            "Conv",
            rows,
            builder.constant(flat, np.float32, name="weight"),
            builder.constant(biases, np.float32, name="weight"),
            name=node.name or None,
            kernel_shape=(height, width * _CHANNELS),
            strides=(down, right * _CHANNELS),
            pads=(top, left * _CHANNELS, bottom, end * _CHANNELS),
        )

    def weights(self, node: onnx.NodeProto) -> tuple[FloatArray, FloatArray]:
        """Weights and biases of a convolution."""
        if len(node.input) != 3:
            raise self.error("a convolution without biases", node)
        return self._array(node.input[1]), self._array(node.input[2])

    def error(self, what: str, node: onnx.NodeProto) -> GraphError:
        """An error at a node."""
        place = f"node '{node.name}' ({node.op_type})"
        return GraphError(
            what,
            where=f"{self._where}, {place}" if self._where else place,
            hint="YuNet of 2023, face_detection_yunet_2023mar.onnx, is expected",
        )

    def _array(self, name: str) -> FloatArray:
        if name not in self._stored:
            raise GraphError(f"'{name}' is no stored array", where=self._where)
        return np.asarray(onnx.numpy_helper.to_array(self._stored[name]))

    def _chain(self, name: str, kinds: Sequence[str]) -> list[onnx.NodeProto]:
        """The nodes that make an output, from its end."""
        nodes = []
        for kind in kinds:
            node = self._made.get(name)
            if node is None or node.op_type != kind:
                found = "nothing" if node is None else f"{node.op_type} '{node.name}'"
                raise GraphError(
                    f"'{name}' is made by {found}, {kind} expected",
                    where=self._where,
                    hint="outputs cls, obj, bbox and kps at strides 8, 16 and 32 are expected",
                )
            nodes.append(node)
            name = node.input[0]
        return nodes

    def _check_convolutions(self, first: onnx.NodeProto, second: onnx.NodeProto) -> None:
        """A 1×1 convolution and a 3×3 one by channel, which keep the size of the map."""
        outputs = len(self.weights(second)[0])
        for node, (group, side, pad) in ((first, (1, 1, 0)), (second, (outputs, 3, 1))):
            wanted = {
                "group": group,
                "kernel_shape": [side, side],
                "pads": [pad] * 4,
                "strides": [1, 1],
                "dilations": [1, 1],
            }
            found = {"group": 1, "strides": [1, 1], "dilations": [1, 1], "pads": [0] * 4}
            found |= {"kernel_shape": [side, side]} | _attributes(node)
            if found != wanted:
                raise self.error(f"a convolution of {found}, {wanted} expected", node)


class _Parts:
    """Short names for what the head is built from."""

    def __init__(self, builder: GraphBuilder) -> None:
        self.builder = builder

    def op(self, name: str, kind: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        return self.builder.op(kind, *inputs, name=name, **attributes)

    def split(self, name: str, value: ir.Value, *widths: int, axis: int = -1) -> Sequence[ir.Value]:
        count = len(widths)
        sizes = self.ints(*widths)
        return self.builder.op_multi("Split", value, sizes, outputs=count, name=name, axis=axis)

    def ints(self, *values: int) -> ir.Value:
        return self.builder.constant(values, np.int64, name="ints")

    def floats(self, value: npt.ArrayLike) -> ir.Value:
        return self.builder.constant(value, np.float32, name="floats")


def _padded_rows(parts: _Parts, image: ir.Value) -> tuple[ir.Value, ir.Value]:
    """float32 (N, 1, H', 3·W') with sides that are multiples of 32, and (2,) int64 H', W'."""
    sides = parts.op("sides", "Shape", image, start=1, end=3)
    unit = parts.ints(STRIDES[-1])
    # Mod has the divisor's sign: what is missing to the next multiple.
    missing = parts.op("missing", "Mod", parts.op("less", "Neg", sides), unit)
    ends = (parts.ints(0, 0, 0, 0, 0), parts.ints(0))
    pads = parts.op("pads", "Concat", ends[0], missing, ends[1], axis=0)
    black = parts.builder.constant(0, np.uint8, name="black")
    padded = parts.op("padded", "Pad", image, pads, black)
    rows = parts.op("rows", "Reshape", padded, parts.ints(0, 0, -1))
    plane = parts.op("plane", "Unsqueeze", rows, parts.ints(1))
    pixels = parts.op("pixels", "Cast", plane, to=int(ir.DataType.FLOAT))
    return pixels, parts.op("padded_sides", "Add", sides, missing)


def _add_head(parts: _Parts, head: _Head, feature: ir.Value) -> ir.Value:
    """float32 (N, 16, rows, columns): centre, size, points, class, object of each cell."""
    value = feature
    for (weights, biases), attributes in (
        (head.pointwise, {"kernel_shape": (1, 1)}),
        (head.depthwise, {"kernel_shape": (3, 3), "pads": (1,) * 4, "group": _WIDTH}),
    ):
        stored = [parts.floats(array) for array in (weights, biases)]
        value = parts.op("head", "Conv", value, *stored, **attributes)
    return value


def _add_faces(
    parts: _Parts, cells: ir.Value, sides: ir.Value, limits: tuple[ir.Value, ir.Value, ir.Value]
) -> dict[str, ir.Value]:
    """Scores, choice, decoding and suppression of the cells (N, 16, A)."""
    threshold, overlap, topk = limits
    best, order, count = _choose(parts, cells, threshold, topk)
    column, stride = _places(parts, order, sides)
    boxes, points = _decode(parts, _gather(parts, cells, order), column, stride)
    corners = parts.floats(_TO_CORNERS)
    whole = parts.op("whole", "Cast", boxes, to=int(ir.DataType.INT32))
    cut = parts.op("cut", "Cast", whole, to=int(ir.DataType.FLOAT))
    selected = parts.op(
        "selected",
        "NonMaxSuppression",
        parts.op("cut_corners", "MatMul", cut, corners),
        best,
        count,
        overlap,
        threshold,
    )
    places = parts.op("kept", "Gather", selected, parts.ints(0, 2), axis=1)
    first = parts.builder.constant(0, np.int64, name="first")
    kept = parts.op("kept_boxes", "GatherND", boxes, places)
    return {
        "pictures": parts.op("pictures", "Gather", selected, first, axis=1),
        "scores": parts.op("scores", "GatherND", best, selected),
        "boxes": parts.op("boxes", "MatMul", kept, corners),
        "kps": parts.op("kps", "GatherND", points, places),
    }


def _choose(
    parts: _Parts, cells: ir.Value, threshold: ir.Value, topk: ir.Value
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Scores (N, 1, K) and numbers (N, 1, K) of the best cells, and K (1,).

    K is the number of cells above the threshold in the picture that has most of them, at most
    ``topk``; the other pictures' rows end with scores that the suppression leaves out.
    """
    ends = (parts.ints(_WIDTH - 2), parts.ints(_WIDTH), parts.ints(1))
    logits = parts.op("logits", "Slice", cells, *ends)
    sure = parts.op("sure", "Sigmoid", logits)
    product = parts.op("product", "Mul", *parts.split("class_object", sure, 1, 1, axis=1))
    scores = parts.op("all_scores", "Sqrt", product)
    above = parts.op("above", "Greater", scores, threshold)
    ones = parts.op("ones", "Cast", above, to=int(ir.DataType.INT32))
    found = parts.op("found", "ReduceSum", ones, parts.ints(2), keepdims=1)
    most = parts.op("most", "ReduceMax", found, keepdims=0)
    wide = parts.op("wide", "Cast", most, to=int(ir.DataType.INT64))
    taken = parts.op("taken", "Min", wide, topk)
    count = parts.op("count", "Reshape", taken, parts.ints(1))
    best, order = parts.builder.op_multi("TopK", scores, count, outputs=2, name="best", axis=2)
    return best, order, count


def _gather(parts: _Parts, cells: ir.Value, order: ir.Value) -> ir.Value:
    """float32 (N, K, 16): the values of the chosen cells."""
    numbers = parts.op("numbers", "Expand", order, parts.ints(1, _WIDTH, 1))
    values = parts.op("values", "GatherElements", cells, numbers, axis=2)
    return parts.op("rows", "Transpose", values, perm=(0, 2, 1))


def _places(parts: _Parts, order: ir.Value, sides: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Of the chosen cells column and row, float32 (N, K, 2), and stride, float32 (N, K, 1)."""
    grids = parts.op("grids", "Div", sides, parts.builder.constant([[s] for s in STRIDES]))
    sizes = parts.op("grid_cells", "ReduceProd", grids, axes=[1], keepdims=0)
    ends = parts.op("grid_ends", "CumSum", sizes, parts.builder.constant(0, np.int64))
    starts = parts.op("grid_starts", "Sub", ends, sizes)
    columns = parts.op("grid_columns", "Gather", grids, parts.builder.constant(1, np.int64), axis=1)
    number = parts.op("number", "Transpose", order, perm=(0, 2, 1))
    later = parts.op("later", "GreaterOrEqual", number, ends)
    passed = parts.op("passed", "Cast", later, to=int(ir.DataType.INT32))
    level = parts.op("level", "ReduceSum", passed, parts.ints(2), keepdims=1)
    start = parts.op("start", "Gather", starts, level)
    width = parts.op("width", "Gather", columns, level)
    inside = parts.op("inside", "Sub", number, start)
    row = parts.op("row", "Div", inside, width)
    column = parts.op("column", "Mod", inside, width)
    place = parts.op("column_row", "Concat", column, row, axis=2)
    stride = parts.op("stride", "Gather", parts.floats(STRIDES), level)
    return parts.op("place", "Cast", place, to=int(ir.DataType.FLOAT)), stride


def _decode(
    parts: _Parts, values: ir.Value, place: ir.Value, stride: ir.Value
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


def _stacked(parts: Sequence[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    weights, biases = zip(*parts, strict=True)
    return np.concatenate(weights), np.concatenate(biases)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes as the builder takes them."""
    found: Mapping[str, Any] = {
        item.name: onnx.helper.get_attribute_value(item) for item in node.attribute
    }
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in found.items()}
