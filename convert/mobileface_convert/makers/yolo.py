"""Maker for YOLOv3 detectors: one graph from pixels to faces, for images of any size.

::

    image uint8 (N, H, W, 3) RGB ─ − mean ─ network ─ predictions ─ decode ─ NMS
                                                  ids, scores, boxes of the best 100 ┘

Only the network between the first convolution and the predictions comes from the source. The parts
before and after it are rebuilt: the published graph decodes with a stored table, which limits the
image size, and fails if an image has fewer than 100 cells.
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

from ..backends.onnx import add_graph
from ..graph.attributes import Attributes
from ..graph.onnx_builder import GraphBuilder
from ..graph.source_graph import Array, Edge, Graph, Node, rebuild, subgraph, variable
from ..heads.nms import BoxNms, box_nms
from ..heads.yolo_head import decode
from ..oracles.verify import PROBE_COUNT, PROBE_SEED, Agreement, compare_outputs
from ..recipes.recipe import Recipe
from ..source_passes import BEFORE_ONNX
from .base import Built, Files, Maker, with_spec
from .network import Oracle, apply_source_passes, load_network, optimise, worst

__all__ = ["MAKER", "Trunk", "build_model", "find_trunk"]

_INPUT = "data"
_STD = "std"
_SIZES = ((256, 256), (129, 160), (256, 341), (200, 96))
"""Heights and widths of the images on which a model is compared with its reference."""

_SCORE_ORDER = 1e-4
"""Rows whose scores differ by less than this may be in a different order."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Trunk:
    """The part of a detector that comes from its source.

    Attributes:
        graph: The network from the input "data", the pixels minus the mean (N, 3, H, W), to the
            predictions.
        strides: Cell size of each prediction, in pixels.
        anchors: Anchors of each prediction, width and height in pixels (A, 2).
        mean: Mean of each channel, on the scale 0..255.
        suppression: Settings of the source's non-maximum suppression.
    """

    graph: Graph
    strides: tuple[int, ...]
    anchors: tuple[npt.NDArray[np.float64], ...]
    mean: tuple[float, ...]
    suppression: BoxNms


@dataclass(frozen=True)
class _Options:
    """The maker's options in the recipe.

    Attributes:
        first: Name of the first convolution.
        predictions: Names of the prediction convolutions.
        strides: Cell size of each prediction, in pixels.
        anchors: Anchors of each prediction, in pixels; they must equal those of the file.
        mean: Mean of each channel that the network was trained with, on the scale 0..255.
        std: Standard deviation of each channel, on the same scale.
    """

    first: str
    predictions: tuple[str, ...]
    strides: tuple[int, ...]
    anchors: tuple[npt.NDArray[np.float64], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def find_trunk(recipe: Recipe, graph: Graph) -> Trunk:
    """Extracts the network between its first convolution and its predictions.

    Raises:
        GraphError: If a layer is missing, or the graph normalises its input in another way.
        ConversionError: If the anchors of the file differ from those of the recipe.
    """
    options = _options(recipe)
    heads = [graph.find(name) for name in options.predictions]
    first = graph.find(options.first).node
    _check_normalization(graph, first, options)
    anchors = _anchors(graph, recipe.name, options)
    trunk = _scaled(subgraph(graph, heads, {_INPUT: first.inputs[0]}), options.std)
    return Trunk(trunk, options.strides, anchors, options.mean, _suppression(graph))


def build_model(trunk: Trunk, spec: YoloSpec, name: str, opset: int) -> ir.Model:
    """Builds the ONNX model of a detector.

    Args:
        trunk: The network.
        spec: Names of the inputs and outputs, and number of rows.
        name: Name of the ONNX graph.
        opset: Version of the ONNX operator set.

    Raises:
        GraphError: If a weight has the wrong shape; names node and array.
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
    """Builds the ONNX model of a recipe.

    Raises:
        ConversionError: If a step fails.
    """
    yolo = _yolo(recipe)
    trunk = find_trunk(recipe, load_network(recipe, files))
    graph, records = apply_source_passes(trunk.graph, BEFORE_ONNX)
    built = build_model(dataclasses.replace(trunk, graph=graph), yolo, recipe.name, recipe.opset)
    model, more = optimise(ir.to_proto(built), recipe.name, target=recipe.target)
    content = with_spec(model, recipe.spec)
    return Built(recipe.spec, content, nodes=len(model.graph.node), passes=[*records, *more])


def _agree(model: Path, recipe: Recipe, files: Files | None) -> Agreement:
    """Compares scores and boxes, relative to the longer side, on images of several sizes.

    Raises:
        ConversionError: If the source files are not given.
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
        images = make_probes(PROBE_COUNT // len(_SIZES), height, width, 3, PROBE_SEED)
        fed = images.astype(np.float32)
        if not published:
            fed = (fed - np.array(options.mean, np.float32)) / np.array(options.std, np.float32)
            fed = np.ascontiguousarray(fed.transpose(0, 3, 1, 2))
        _, scores, boxes = oracle.run({name: fed})
        expected = _rows(scores, boxes, max(height, width))
        for batch in (1, len(images)):
            found = _run(session, yolo, images, batch)
            ordered = _in_order(_rows(*found, max(height, width)), expected)
            agreements.append(compare_outputs(ordered, expected, oracle.name))
    return dataclasses.replace(worst(agreements), inputs=PROBE_COUNT)


def _run(
    session: Session, spec: YoloSpec, images: npt.NDArray[np.uint8], batch: int
) -> tuple[FloatArray, FloatArray]:
    """Scores and boxes, with the source's default thresholds."""
    parts = [
        session.run({spec.image: images[start : start + batch]})
        for start in range(0, len(images), batch)
    ]
    scores, boxes = (np.concatenate([p[name] for p in parts]) for name in (spec.scores, spec.boxes))
    return scores, boxes


def _rows(scores: FloatArray, boxes: FloatArray, side: int) -> FloatArray:
    """Score and box (N, rows, 5), the box relative to the longer side of the image."""
    rows: FloatArray = np.concatenate([scores, boxes / np.float32(side)], axis=-1)
    return rows


def _in_order(found: FloatArray, expected: FloatArray) -> FloatArray:
    """Reorders rows with nearly equal scores, whose order is arbitrary, like the expected rows."""
    if found.shape != expected.shape:
        return found
    ordered = found.copy()
    for ours, theirs in zip(ordered, expected, strict=True):
        for row, target in enumerate(theirs):
            near = np.flatnonzero(np.abs(ours[row:, 0] - target[0]) < _SCORE_ORDER) + row
            if len(near) > 1:
                best = near[np.abs(ours[near] - target).max(axis=1).argmin()]
                ours[[row, best]] = ours[[best, row]]
    return ordered


def _check_normalization(graph: Graph, first: Node, options: _Options) -> None:
    """Checks that the graph normalises its input as the recipe declares, or not at all.

    Raises:
        GraphError: If the graph normalises its input differently.
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
            f"the image is normalised by {', '.join(n.op for n in reversed(chain))}, "
            f"expected {', '.join(reversed(expected))}",
            where=first.where,
        )
    for node, declared in ((chain[1], options.std), (chain[2], options.mean)):
        stored = graph.weight_of(node, 1, "constant", (1, 1, 1, 3)).ravel()
        if not np.array_equal(stored.astype(np.float32), np.array(declared, np.float32)):
            name = node.inputs[1].node.name
            raise GraphError(
                f"array '{name}' is {stored.tolist()}, expected {list(declared)}",
                where=node.where,
                hint="the weights may belong to another model",
            )


def _anchors(graph: Graph, name: str, options: _Options) -> tuple[npt.NDArray[np.float64], ...]:
    """The anchors of each head, as stored in the file.

    Raises:
        ConversionError: If the anchors differ from the recipe's, as in other versions of the
            network.
    """
    shapes = {(1, 1, len(anchors), 2) for anchors in options.anchors}
    found = [array for array in graph.weights.values() if array.shape in shapes]
    values = tuple(array.reshape(-1, 2).astype(np.float64) for array in found)
    if len(values) != len(options.anchors) or any(
        not np.array_equal(ours, declared)
        for ours, declared in zip(values, options.anchors, strict=True)
    ):
        raise ConversionError(
            f"the anchors are {[v.tolist() for v in values]}, "
            f"expected {[a.tolist() for a in options.anchors]} for {name}",
            where=graph.origin,
            hint="the file belongs to another version of the detector",
        )
    return values


def _suppression(graph: Graph) -> BoxNms:
    """The settings of the network's own non-maximum suppression.

    Raises:
        GraphError: If the network does not have exactly one such node, or its columns differ.
    """
    found = [node for node in graph.operators if node.op == "_contrib_box_nms"]
    if len(found) != 1:
        raise GraphError(
            f"expected 1 node '_contrib_box_nms', found {len(found)}", where=graph.origin
        )
    attrs = Attributes(found[0].attrs, found[0].where)
    columns = [attrs.integer(name, -1) for name in ("id_index", "score_index", "coord_start")]
    if columns != [0, 1, 2]:
        raise GraphError(
            f"id, score and box are in columns {columns}, expected [0, 1, 2]",
            where=found[0].where,
        )
    return BoxNms(
        attrs.number("overlap_thresh", 0.5),
        attrs.number("valid_thresh", 0),
        attrs.integer("topk", -1),
        id_index=0,
        classes=1,
    )


def _scaled(graph: Graph, std: tuple[float, ...]) -> Graph:
    """Adds a division by the standard deviation at the input; a pass folds it into the weights."""
    divided = Edge(Node("broadcast_div", _STD, {}, (variable(_INPUT), variable(f"{_STD}_values"))))
    constant: Array = np.array(std, np.float32).reshape(1, -1, 1, 1)

    def rewrite(node: Node, inputs: tuple[Edge, ...]) -> Node:
        edges = tuple(divided if edge.node.name == _INPUT else edge for edge in inputs)
        return node if edges == inputs else dataclasses.replace(node, inputs=edges)

    return rebuild(graph, rewrite, params={**graph.params, f"{_STD}_values": constant})


def _yolo(recipe: Recipe) -> YoloSpec:
    return recipe.section(YoloSpec)


def _options(recipe: Recipe) -> _Options:
    """Parses the maker's options of a recipe.

    Raises:
        SpecError: If an option is missing, has the wrong type or the wrong length.
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
            "predictions, strides and anchors must have the same length",
            where=f"{recipe.name}, convert",
        )
    return options


MAKER = Maker(_build, _agree)
