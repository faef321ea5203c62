"""An MXNet graph → Caffe's two files and a sidecar, proven by OpenCV against ONNX Runtime.

The graph has been through the passes: batch normalisation is merged where it can be. Of a detector
the network up to its predictions is exported.
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
from ..backends.caffe_engine import CaffeNetwork, require_importer
from ..backends.onnx import to_onnx
from ..graph.source_graph import Graph
from ..makers import Files, PassRecord, apply_passes, load_network
from ..makers.mxnet import sections
from ..makers.network import worst
from ..makers.yolo import find_trunk
from ..oracles.verify import BATCH_SIZES, Agreement, open_model
from ..passes import prune
from ..recipes.recipe import Recipe
from .sidecar import (
    DETECTION_SHAPES,
    Export,
    Network,
    compare_all,
    detection_section,
    picture_input,
    probe_tensors,
    refusal,
    refuse,
    scaled_pixels,
    write_export,
)

__all__ = ["CaffeSource", "export_caffe", "source_of_graph", "source_of_recipe", "why_not_caffe"]


@dataclass(frozen=True)
class CaffeSource:
    """A network that is to become Caffe's.

    Attributes:
        graph: It, after the passes.
        passes: What those did.
        input: Name of its input.
        shapes: Channels, height and width of the pictures to prove it with; the first is its own.
        outputs: Names of its outputs; None: those of the nodes.
        mean: What it wants subtracted from pixels.
        norm: What it wants them multiplied by then.
        spec: What it is.
        detection: How predictions are read.
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
    """Why no Caffe network can be made of a recipe; empty if one can."""
    if why := refusal(recipe.spec, "Caffe"):
        return why
    if recipe.maker not in ("mxnet", "yolo"):
        return "Caffe networks are written from MXNet's, and it is made from a file of dlib"
    return ""


def source_of_recipe(recipe: Recipe, files: Files) -> CaffeSource:
    """The network of a recipe.

    Raises:
        UnsupportedOperatorError: It is not made from an MXNet graph.
        ConversionError: A file is not what it should be.
    """
    refuse(why_not_caffe(recipe), "Caffe", recipe.name)
    graph = load_network(recipe, files)
    if recipe.maker == "yolo":
        trunk = find_trunk(recipe, graph)
        rewritten, records = apply_passes(trunk.graph)
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
    rewritten, records = apply_passes(graph)
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
    """A network that no recipe knows.

    Args:
        graph: It, cut where it is to end.
        name: Name of its input.
        shape: Shape of its input, batch included.

    Raises:
        ConversionError: The shape is not that of a picture.
    """
    sizes = [size for size in shape[1:] if isinstance(size, int) and size > 0]
    if len(shape) != 4 or len(sizes) != 3:
        raise ConversionError(
            f"Caffe wants the size of a picture, not {', '.join(map(str, shape))}",
            where=graph.origin,
            hint="give --input-shape 1,3,112,112",
        )
    rewritten, records = apply_passes(graph)
    return CaffeSource(rewritten, tuple(records), name, (tuple(sizes),))


def export_caffe(
    source: CaffeSource, name: str, folder: Path, *, sources: Sequence[Mapping[str, Any]]
) -> Export:
    """Converts, proves and writes a network.

    Args:
        source: The network.
        name: Name of the files.
        folder: Where they go.
        sources: Path, hash and size of what it was read from.

    Raises:
        UnsupportedOperatorError: Caffe has no layers for it; names the node.
        ParityError: The result differs from the network.
        ConversionError: Any other step failed.
    """
    require_importer()
    shape = (1, *source.shapes[0])
    model = to_caffe(source.graph, {source.input: shape}, source.outputs, name=name)
    engine = CaffeNetwork(model, name)
    return write_export(
        folder,
        name,
        _describe(source, model),
        source.spec,
        agreement=_compare(source, model, engine),
        shapes=source.shapes,
        engine=engine.name,
        sources=sources,
    )


def _compare(source: CaffeSource, model: CaffeModel, engine: CaffeNetwork) -> Agreement:
    """Runs graph and network on the same pictures, one by one and in batches."""
    names, agreements = list(model.outputs), []
    oracle = f"ONNX Runtime {onnxruntime.__version__}"
    one_size = len(source.shapes) == 1
    sizes: tuple[int | str, ...] = source.shapes[0] if one_size else (source.shapes[0][0], "H", "W")
    session = open_model(to_onnx(source.graph, {source.input: ("N", *sizes)}, names))
    for pixels in probe_tensors(source.spec, source.shapes):
        tensor = scaled_pixels(pixels, source.mean, source.norm)
        expected = session.run(names, {source.input: tensor})
        for batch in BATCH_SIZES:
            parts = [
                engine.run({source.input: tensor[start : start + batch]}, names)
                for start in range(0, len(tensor), batch)
            ]
            found = [np.concatenate(rows) for rows in zip(*parts, strict=True)]
            agreements += compare_all(found, expected, oracle)
    return worst(agreements)


def _describe(source: CaffeSource, model: CaffeModel) -> Network:
    """The network with the facts of its sidecar."""
    sizes: tuple[int | None, ...] = source.shapes[0]
    shapes: list[list[int | None]] = [list(shape[1:]) for shape in model.outputs.values()]
    if source.detection is not None:
        sizes, shapes = (sizes[0], None, None), [[shape[0], None, None] for shape in shapes]
    return Network(
        target="caffe",
        contents={"prototxt": model.prototxt.encode(), "caffemodel": model.caffemodel},
        layers=model.layers,
        weights="float32",
        input=picture_input(source.input, sizes, source.spec, source.mean, source.norm),
        outputs=[
            {"blob": name, "name": name, "shape": shape}
            for name, shape in zip(model.outputs, shapes, strict=True)
        ],
        detection=source.detection,
        tools=("opencv-python-headless", "protobuf"),
        passes=source.passes,
    )
