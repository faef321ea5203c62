"""Maker for MXNet networks that read one face crop, verified against MXNet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from mobileface.errors import ConversionError
from mobileface.models.session import Session
from mobileface.models.spec import ImageInput, ModelSpec

from ..oracles.mxnet_oracle import mxnet_is_installed
from ..oracles.verify import (
    BATCH_SIZES,
    Agreement,
    compare_outputs,
    golden_path,
    probe_input,
    probe_tensor,
    read_golden,
    run_batches,
)
from ..recipes.recipe import Recipe
from ..source_passes import prune
from .base import Built, Files, Maker, PassRecord, with_spec
from .graph_ends import GraphEnds
from .network import FloatArray, Oracle, load_network, spec_passes, to_optimised_onnx, worst

__all__ = ["MAKER", "published_rows", "sections"]


def _build(recipe: Recipe, files: Files) -> Built:
    """Builds the ONNX model of a recipe.

    Raises:
        ConversionError: If a step fails, or an output differs from the spec.
    """
    spec = recipe.spec
    image, outputs = sections(spec)
    graph = load_network(recipe, files)
    pruned = []
    if spec.kind.cuts_classifier or recipe.cut is not None:
        cut = prune(graph, recipe.cut)
        pruned.append(PassRecord("prune", cut.report))
        graph = cut.graph
    model, records = to_optimised_onnx(
        graph,
        {image.name: ("N", image.channels, image.height, image.width)},
        list(outputs),
        target=recipe.target,
        first=spec_passes(spec),
        opset=recipe.opset,
        name=spec.name,
    )
    model = _as_rows(model, outputs)
    for value in model.graph.output:
        _check_output(value, spec.name, outputs[value.name])
    content = with_spec(model, spec)
    return Built(spec, content, nodes=len(model.graph.node), passes=[*pruned, *records])


def _agree(model: Path, recipe: Recipe, files: Files | None) -> Agreement:
    """Compares with MXNet if it is installed and the files are given, otherwise with records.

    Raises:
        ConversionError: If neither the files nor a record are available.
    """
    _, outputs = sections(recipe.spec)
    session = Session(model, intra_op_num_threads=1)
    own_image, _ = sections(session.spec)
    fed = probe_input(own_image)
    own = recipe.document is not None or golden_path(recipe.name) is None
    if files is not None and (mxnet_is_installed() or own):
        expected, name = published_rows(recipe, files)
    else:
        expected, name = read_golden(recipe.name)
    if session.spec.kind.normalizes(session.spec.section):
        expected = (expected / np.linalg.norm(expected, axis=1, keepdims=True)).astype(np.float32)
    names = list(outputs)
    return worst(
        [
            compare_outputs(run_batches(session, fed, batch, names), expected, name)
            for batch in BATCH_SIZES
        ]
    )


def published_rows(recipe: Recipe, files: Files) -> tuple[FloatArray, str]:
    """What the source files give for the probes, float32 (N, D), and who ran them."""
    image, _ = sections(recipe.spec)
    oracle = Oracle(recipe, files, recipe.cut)
    return _joined(oracle.run({image.name: probe_tensor(image)})), oracle.name


def _joined(outputs: list[FloatArray]) -> FloatArray:
    """Concatenates the flattened outputs of each image into one row."""
    return np.concatenate([output.reshape(len(output), -1) for output in outputs], axis=1)


def sections(spec: ModelSpec) -> tuple[ImageInput, dict[str, int]]:
    """The input of a model, and the number of elements of each output.

    Raises:
        ConversionError: If models of this task are not converted from a checkpoint.
    """
    shapes = spec.kind.tensors(spec.section).outputs
    if spec.input is None or not spec.kind.needs_input or not shapes:
        raise ConversionError(
            f"models of task '{spec.task}' are not converted from a checkpoint", where=spec.name
        )
    return spec.input, {name: int(shape[1] or 0) for name, shape in shapes.items()}


def _as_rows(model: onnx.ModelProto, sizes: Mapping[str, int]) -> onnx.ModelProto:
    """The model with outputs (N, …) of as many elements as the spec declares as (N, size)."""
    wrong = []
    for position, value in enumerate(model.graph.output):
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if len(dims) > 2 and math.prod(dims[1:]) == sizes[value.name]:
            wrong.append((position, value.name))
    if not wrong:
        return model
    made = ir.from_proto(model)
    for position, name in wrong:
        GraphEnds(made).output(position, name, [sizes[name]])
    return ir.to_proto(made)


def _check_output(value: onnx.ValueInfoProto, name: str, size: int) -> None:
    """Checks that an output has the size that the spec declares.

    Raises:
        ConversionError: If the output is not (N, size).
    """
    dims = value.type.tensor_type.shape.dim
    if len(dims) != 2 or dims[1].dim_value != size:
        found = [dim.dim_value or dim.dim_param for dim in dims]
        raise ConversionError(
            f"output '{value.name}' has shape {found}, the spec declares {size} elements",
            where=name,
        )


MAKER = Maker(_build, _agree, published_rows)
