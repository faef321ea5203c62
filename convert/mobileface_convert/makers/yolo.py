"""Detectors of the YOLOv3 kind: one graph from pixels to faces, for pictures of any size.

::

    image uint8 (N, H, W, 3) RGB ─ − mean ─ network ─ predictions ─ decode ─ suppression
                                                   ids, scores, boxes of the best 100 ┘

Only the network between the first convolution and the predictions is taken from the source. What
stands before and after it is built anew: the published graph decodes with a stored table, which
limits the picture's size, and fails where a picture has fewer than 100 cells.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from mobileface.errors import ConversionError, GraphError, SpecError
from mobileface.models.kinds import YoloSpec
from mobileface.models.probes import make_probes
from mobileface.models.session import Session

from ..backends.onnx import add_graph, clean
from ..graph.attributes import Attributes
from ..graph.onnx_builder import GraphBuilder
from ..graph.source_graph import Array, Edge, Graph, Node, rebuild, subgraph, variable
from ..heads.nms import BoxNms, box_nms
from ..heads.yolo_head import decode
from ..oracles.verify import PROBE_COUNT, PROBE_SEED, Agreement, compare_outputs
from ..recipes.recipe import Recipe
from .base import Built, Files, Maker, with_spec
from .network import Oracle, apply_passes, load_network, worst

__all__ = ["MAKER", "Trunk", "build_model", "find_trunk"]

_INPUT = "data"
_STD = "std"
_SIZES = ((256, 256), (129, 160), (256, 341), (200, 96))
"""Heights and widths of the pictures on which a model is compared with its oracle."""

_SCORE_ORDER = 1e-4
"""Rows whose scores differ by less may stand in another order."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Trunk:
    """The part of a detector that is taken from its source.

    Attributes:
        graph: From the input "data", the picture minus the mean (N, 3, H, W), to the predictions.
        strides: Width of a cell of each prediction, in pixels.
        anchors: Anchors of each prediction (A, 2), in pixels.
        mean: Subtracted from each channel.
        suppression: How the source suppresses boxes that cover each other.
    """

    graph: Graph
    strides: tuple[int, ...]
    anchors: tuple[npt.NDArray[np.float64], ...]
    mean: tuple[float, ...]
    suppression: BoxNms


@dataclass(frozen=True)
class _Options:
    """What the recipe says of the network's ends.

    Attributes:
        first: Name of the first convolution.
        predictions: Names of the convolutions that predict.
        strides: Width of a cell of each, in pixels.
        anchors: Anchors of each, in pixels; the file's own must be the same.
        mean: What the network was trained with, for each channel of 0..255.
        std: Likewise.
    """

    first: str
    predictions: tuple[str, ...]
    strides: tuple[int, ...]
    anchors: tuple[npt.NDArray[np.float64], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def find_trunk(recipe: Recipe, graph: Graph) -> Trunk:
    """The network between its first convolution and its predictions.

    Raises:
        GraphError: The graph has no such layers, or prepares its input in another way.
        ConversionError: Its anchors are not those of the recipe.
    """
    options = _options(recipe)
    heads = [graph.find(name) for name in options.predictions]
    first = graph.find(options.first).node
    _check_preparation(graph, first, options)
    anchors = _anchors(graph, recipe.name, options)
    trunk = _scaled(subgraph(graph, heads, {_INPUT: first.inputs[0]}), options.std)
    return Trunk(trunk, options.strides, anchors, options.mean, _suppression(graph))


def build_model(trunk: Trunk, spec: YoloSpec, name: str, opset: int) -> ir.Model:
    """The ONNX model of a detector.

    Raises:
        GraphError: The network's weights do not fit; names node and array.
    """
    builder = GraphBuilder(name, opset)
    image = builder.input(spec.image, np.uint8, ("N", "H", "W", 3))
    suppression = trunk.suppression
    overlap = builder.option(spec.iou_input, suppression.overlap_thresh, np.float32)
    valid = builder.option(spec.valid_input, suppression.valid_thresh, np.float32)
    topk = builder.option(spec.topk_input, suppression.topk, np.int64)
    planes = builder.op("Transpose", image, perm=(0, 3, 1, 2))
    pixels = builder.op("Cast", planes, to=int(ir.DataType.FLOAT))
    mean = builder.constant(np.reshape(trunk.mean, (1, -1, 1, 1)), np.float32, name="mean")
    predictions = add_graph(builder, trunk.graph, {_INPUT: builder.op("Sub", pixels, mean)})
    rows = decode(builder, predictions, trunk.strides, trunk.anchors)
    best = box_nms(
        builder, rows, suppression, overlap=overlap, valid=valid, topk=topk, rows_kept=spec.rows
    )
    sizes = builder.constant([1, 1, 4], np.int64, name="columns")
    parts = builder.op_multi("Split", best, sizes, outputs=3, name="columns", axis=-1)
    outputs = dict(zip((spec.ids, spec.scores, spec.boxes), parts, strict=True))
    widths = {spec.ids: 1, spec.scores: 1, spec.boxes: 4}
    shapes = {name: ("N", spec.rows, width) for name, width in widths.items()}
    return builder.build(outputs, shapes=shapes)


def _build(recipe: Recipe, files: Files) -> Built:
    """The ONNX model of a recipe.

    Raises:
        ConversionError: Any step failed.
    """
    yolo = _yolo(recipe)
    trunk = find_trunk(recipe, load_network(recipe, files))
    graph, records = apply_passes(trunk.graph, recipe.target)
    trunk = dataclasses.replace(trunk, graph=graph)
    model = clean(ir.to_proto(build_model(trunk, yolo, recipe.name, recipe.opset)), recipe.name)
    content = with_spec(model, recipe.spec)
    return Built(recipe.spec, content, nodes=len(model.graph.node), passes=records)


def _agree(model: Path, recipe: Recipe, files: Files | None) -> Agreement:
    """Compares scores and boxes, in parts of the picture's longer side, on pictures of many sizes.

    Raises:
        ConversionError: The source files are not given.
    """
    if files is None:
        raise ConversionError("the source files are needed to compare", where=recipe.name)
    yolo, options = _yolo(recipe), _options(recipe)
    graph = load_network(recipe, files)
    published = not graph.find(options.first).node.inputs[0].node.is_variable
    oracle, session = Oracle(recipe, files), Session(model, intra_op_num_threads=1)
    (name,) = (node.name for node in graph.inputs)
    agreements = []
    for height, width in _SIZES:
        pictures = make_probes(PROBE_COUNT // len(_SIZES), height, width, 3, PROBE_SEED)
        fed = pictures.astype(np.float32)
        if not published:
            fed = (fed - np.array(options.mean, np.float32)) / np.array(options.std, np.float32)
            fed = np.ascontiguousarray(fed.transpose(0, 3, 1, 2))
        _, scores, boxes = oracle.run({name: fed})
        expected = _rows(scores, boxes, max(height, width))
        for batch in (1, len(pictures)):
            found = _run(session, yolo, pictures, batch)
            ordered = _in_order(_rows(*found, max(height, width)), expected)
            agreements.append(compare_outputs(ordered, expected, oracle.name))
    return dataclasses.replace(worst(agreements), inputs=PROBE_COUNT)


def _run(
    session: Session, spec: YoloSpec, pictures: npt.NDArray[np.uint8], batch: int
) -> tuple[FloatArray, FloatArray]:
    """Scores and boxes, with the source's own thresholds."""
    parts = [
        session.run({spec.image: pictures[start : start + batch]})
        for start in range(0, len(pictures), batch)
    ]
    scores, boxes = (np.concatenate([p[name] for p in parts]) for name in (spec.scores, spec.boxes))
    return scores, boxes


def _rows(scores: FloatArray, boxes: FloatArray, side: int) -> FloatArray:
    """(N, rows, 5): score and box, the box in parts of the picture's longer side."""
    rows: FloatArray = np.concatenate([scores, boxes / np.float32(side)], axis=-1)
    return rows


def _in_order(found: FloatArray, expected: FloatArray) -> FloatArray:
    """Rows of nearly the same score in the order of the expected ones, which is nobody's fault."""
    if found.shape != expected.shape:
        return found
    ordered = found.copy()
    for ours, theirs in zip(ordered, expected, strict=True):
        for row, wanted in enumerate(theirs):
            near = np.flatnonzero(np.abs(ours[row:, 0] - wanted[0]) < _SCORE_ORDER) + row
            if len(near) > 1:
                best = near[np.abs(ours[near] - wanted).max(axis=1).argmin()]
                ours[[row, best]] = ours[[best, row]]
    return ordered


def _check_preparation(graph: Graph, first: Node, options: _Options) -> None:
    """What the graph does to its input is what the recipe says, or nothing.

    Raises:
        GraphError: It is something else.
    """
    edge = first.inputs[0]
    if edge.node.is_variable:
        return
    chain: list[Node] = []
    while not edge.node.is_variable and edge.node.inputs:
        chain.append(edge.node)
        edge = edge.node.inputs[0]
    expected = ("transpose", "broadcast_div", "broadcast_sub")
    if tuple(node.op for node in chain) != expected:
        raise GraphError(
            f"the picture is prepared by {', '.join(n.op for n in reversed(chain))}; "
            f"{', '.join(reversed(expected))} is expected",
            where=first.where,
        )
    for node, wanted in ((chain[1], options.std), (chain[2], options.mean)):
        stored = graph.weight_of(node, 1, "constant", (1, 1, 1, 3)).ravel()
        if not np.array_equal(stored.astype(np.float32), np.array(wanted, np.float32)):
            raise GraphError(
                f"array '{node.inputs[1].node.name}' is {stored.tolist()}, {list(wanted)} expected",
                where=node.where,
                hint="the weights may belong to another model",
            )


def _anchors(graph: Graph, name: str, options: _Options) -> tuple[npt.NDArray[np.float64], ...]:
    """The anchors that the file holds, head by head.

    Raises:
        ConversionError: They are not those of the recipe: it is another version of the network.
    """
    shapes = {(1, 1, len(anchors), 2) for anchors in options.anchors}
    found = [array for array in graph.weights.values() if array.shape in shapes]
    values = tuple(array.reshape(-1, 2).astype(np.float64) for array in found)
    if len(values) != len(options.anchors) or any(
        not np.array_equal(ours, wanted)
        for ours, wanted in zip(values, options.anchors, strict=True)
    ):
        raise ConversionError(
            f"the anchors are {[v.tolist() for v in values]}, "
            f"those of {name} are {[a.tolist() for a in options.anchors]}",
            where=graph.origin,
            hint="the file belongs to another version of the detector",
        )
    return values


def _suppression(graph: Graph) -> BoxNms:
    """What the network's own suppression is set to.

    Raises:
        GraphError: It has none, or one of another layout.
    """
    found = [node for node in graph.operators if node.op == "_contrib_box_nms"]
    if len(found) != 1:
        raise GraphError(f"{len(found)} nodes '_contrib_box_nms', 1 expected", where=graph.origin)
    attrs = Attributes(found[0].attrs, found[0].where)
    columns = [attrs.integer(name, -1) for name in ("id_index", "score_index", "coord_start")]
    if columns != [0, 1, 2]:
        raise GraphError(
            f"id, score and box in columns {columns}, [0, 1, 2] expected", where=found[0].where
        )
    return BoxNms(
        attrs.number("overlap_thresh", 0.5),
        attrs.number("valid_thresh", 0),
        attrs.integer("topk", -1),
        id_index=0,
        classes=1,
    )


def _scaled(graph: Graph, std: tuple[float, ...]) -> Graph:
    """The network with a division by the standard deviation before it; a pass folds it away."""
    divided = Edge(Node("broadcast_div", _STD, {}, (variable(_INPUT), variable(f"{_STD}_values"))))
    constant: Array = np.array(std, np.float32).reshape(1, -1, 1, 1)

    def rewrite(node: Node, inputs: tuple[Edge, ...]) -> Node:
        edges = tuple(divided if edge.node.name == _INPUT else edge for edge in inputs)
        return node if edges == inputs else dataclasses.replace(node, inputs=edges)

    return rebuild(graph, rewrite, params={**graph.params, f"{_STD}_values": constant})


def _yolo(recipe: Recipe) -> YoloSpec:
    return recipe.section(YoloSpec)


def _options(recipe: Recipe) -> _Options:
    """The recipe's options, checked.

    Raises:
        SpecError: One is missing or of the wrong type.
    """
    given: Mapping[str, Any] = recipe.options
    try:
        anchors = tuple(np.asarray(head, np.float64).reshape(-1, 2) for head in given["anchors"])
        options = _Options(
            first=str(given["first"]),
            predictions=tuple(map(str, given["predictions"])),
            strides=tuple(map(int, given["strides"])),
            anchors=anchors,
            mean=tuple(map(float, given["mean"])),
            std=tuple(map(float, given["std"])),
        )
    except KeyError as error:
        raise SpecError(f"field {error} is missing", where=f"{recipe.name}, convert") from error
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"a field has the wrong type ({error})", where=f"{recipe.name}, convert"
        ) from error
    if not len(options.predictions) == len(options.strides) == len(options.anchors) > 0:
        raise SpecError(
            "predictions, strides and anchors must be of one length",
            where=f"{recipe.name}, convert",
        )
    return options


MAKER = Maker(_build, _agree)
