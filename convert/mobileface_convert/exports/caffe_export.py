"""Exports an MXNet graph as Caffe's two files and a sidecar.

The exported network, run by an evaluator of the written files and by OpenCV where that can read
them, is verified against ONNX Runtime. The passes have run on the
graph, so batch normalisation is folded where possible. A detector is exported up to its
predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from mobileface.errors import ConversionError
from mobileface.models.spec import ModelSpec

from ..backends.caffe import CaffeModel, to_caffe
from ..backends.caffe_engine import CaffeNetwork, has_importer
from ..backends.onnx import to_onnx
from ..graph.source_graph import Graph
from ..makers import Files, PassRecord, apply_source_passes, load_network
from ..makers.mxnet import sections
from ..makers.network import worst
from ..makers.yolo import find_trunk
from ..oracles.caffe_evaluator import CaffeEvaluator
from ..oracles.verify import BATCH_SIZES, Agreement, open_model
from ..recipes.recipe import Recipe
from ..source_passes import BEFORE_CAFFE, prune
from .sidecar import (
    DETECTION_SHAPES,
    Export,
    Network,
    check_exportable,
    compare_all,
    detection_section,
    image_section,
    probe_tensors,
    scaled_pixels,
    why_not_exported,
    write_export,
)

__all__ = ["CaffeSource", "export_caffe", "source_of_graph", "source_of_recipe", "why_not_caffe"]


@dataclass(frozen=True)
class CaffeSource:
    """A network to export to Caffe.

    Attributes:
        graph: The network, after the passes.
        passes: Results of the passes.
        input: Name of the input.
        shapes: Channels, height and width of the images to compare on; the first is the input
            size of the exported network.
        outputs: Names of the outputs; None for the names of the nodes.
        mean: Mean to subtract from pixels, one value or one per channel.
        norm: Factor to multiply the difference with, one value or one per channel.
        spec: Spec of the model; None for a network without a recipe.
        detection: The section ``detection`` of the sidecar; None for other tasks.
    """

    graph: Graph
    passes: tuple[PassRecord, ...]
    input: str
    shapes: tuple[tuple[int, ...], ...]
    outputs: tuple[str, ...] | None = None
    mean: tuple[float, ...] = (0.0,)
    norm: tuple[float, ...] = (1.0,)
    spec: ModelSpec | None = None
    detection: Mapping[str, Any] | None = None


def why_not_caffe(recipe: Recipe) -> str:
    """Why a recipe cannot be exported to Caffe; empty if it can."""
    if why := why_not_exported(recipe.spec, "Caffe"):
        return why
    if recipe.maker not in ("mxnet", "yolo"):
        return "only MXNet networks are supported, and this model comes from another framework"
    return ""


def source_of_recipe(recipe: Recipe, files: Files) -> CaffeSource:
    """Prepares the network of a recipe.

    Raises:
        UnsupportedOperatorError: If the model cannot be exported to Caffe.
        ConversionError: If a source file is invalid.
    """
    check_exportable(why_not_caffe(recipe), "Caffe", recipe.name)
    graph = load_network(recipe, files)
    if recipe.maker == "yolo":
        trunk = find_trunk(recipe, graph)
        rewritten, records = apply_source_passes(trunk.graph, BEFORE_CAFFE)
        (fed,) = (node.name for node in rewritten.inputs)
        return CaffeSource(
            rewritten,
            tuple(records),
            fed,
            DETECTION_SHAPES,
            mean=trunk.mean,
            spec=recipe.spec,
            detection=detection_section(recipe),
        )
    image, outputs = sections(recipe.spec)
    if recipe.spec.kind.cuts_classifier:
        graph = prune(graph, recipe.cut).graph
    rewritten, records = apply_source_passes(graph, BEFORE_CAFFE)
    return CaffeSource(
        rewritten,
        tuple(records),
        image.name,
        ((image.channels, image.height, image.width),),
        outputs=tuple(outputs),
        mean=image.mean,
        norm=tuple(1 / value for value in image.std),
        spec=recipe.spec,
    )


def source_of_graph(graph: Graph, name: str, shape: Sequence[int | str]) -> CaffeSource:
    """Prepares a network without a recipe.

    Args:
        graph: The network, pruned to its output.
        name: Name of the input.
        shape: Shape of the input (N, C, H, W).

    Raises:
        ConversionError: If the shape does not have fixed channels, height and width.
    """
    sizes = [size for size in shape[1:] if isinstance(size, int) and size > 0]
    if len(shape) != 4 or len(sizes) != 3:
        raise ConversionError(
            f"Caffe needs a fixed image size, not {', '.join(map(str, shape))}",
            where=graph.origin,
            hint="pass --input-shape 1,3,112,112",
        )
    rewritten, records = apply_source_passes(graph, BEFORE_CAFFE)
    return CaffeSource(rewritten, tuple(records), name, (tuple(sizes),))


def export_caffe(
    source: CaffeSource, name: str, folder: Path, *, sources: Sequence[Mapping[str, Any]]
) -> Export:
    """Converts, verifies and writes a network.

    Args:
        source: The network.
        name: Name of the files.
        folder: The output folder.
        sources: Path, hash and size of each source file.

    Raises:
        UnsupportedOperatorError: If Caffe has no layer for an operator; names the node.
        ParityError: If the exported network differs from the source.
        ConversionError: If another step fails.
    """
    shape = (1, *source.shapes[0])
    model = to_caffe(source.graph, {source.input: shape}, source.outputs, name=name)
    engines: list[CaffeEvaluator | CaffeNetwork] = [CaffeEvaluator(model, name)]
    if has_importer():
        engines.append(CaffeNetwork(model, name))
    return write_export(
        folder,
        name,
        _describe(source, model),
        source.spec,
        agreement=_compare(source, model, engines),
        shapes=source.shapes,
        engine=" and ".join(engine.name for engine in engines),
        sources=sources,
    )


def _compare(
    source: CaffeSource, model: CaffeModel, engines: Sequence[CaffeEvaluator | CaffeNetwork]
) -> Agreement:
    """Runs the graph and the Caffe network on the same images; OpenCV also in batches.

    The evaluator computes each image of a batch by itself, so a single batch is enough.
    """
    names, agreements = list(model.outputs), []
    oracle = f"ONNX Runtime {onnxruntime.__version__}"
    one_size = len(source.shapes) == 1
    sizes: tuple[int | str, ...] = source.shapes[0] if one_size else (source.shapes[0][0], "H", "W")
    session = open_model(to_onnx(source.graph, {source.input: ("N", *sizes)}, names))
    for pixels in probe_tensors(source.spec, source.shapes):
        tensor = scaled_pixels(pixels, source.mean, source.norm)
        expected = session.run(names, {source.input: tensor})
        runs = [(engine, batch) for engine in engines[1:] for batch in BATCH_SIZES]
        for engine, batch in ((engines[0], max(BATCH_SIZES)), *runs):
            parts = [
                engine.run({source.input: tensor[start : start + batch]}, names)
                for start in range(0, len(tensor), batch)
            ]
            found = [np.concatenate(rows) for rows in zip(*parts, strict=True)]
            agreements += compare_all(found, expected, oracle)
    return worst(agreements)


def _describe(source: CaffeSource, model: CaffeModel) -> Network:
    """The network with the sections of its sidecar."""
    sizes: tuple[int | None, ...] = source.shapes[0]
    shapes: list[list[int | None]] = [list(shape[1:]) for shape in model.outputs.values()]
    if source.detection is not None:
        sizes, shapes = (sizes[0], None, None), [[shape[0], None, None] for shape in shapes]
    return Network(
        target="caffe",
        contents={"prototxt": model.prototxt.encode(), "caffemodel": model.caffemodel},
        layers=model.layers,
        weights="float32",
        input=image_section(source.input, sizes, source.spec, source.mean, source.norm),
        outputs=[
            {"blob": name, "name": name, "shape": shape}
            for name, shape in zip(model.outputs, shapes, strict=True)
        ],
        detection=source.detection,
        tools=("opencv-python-headless", "protobuf"),
        passes=source.passes,
    )
