"""MXNet checkpoints: prune, rewrite, export; compared with MXNet or with its recorded outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import onnx

from mobileface.errors import ConversionError
from mobileface.session import Session
from mobileface.spec import EmbeddingSpec, ImageInput, ModelSpec

from ..backends.onnx import to_onnx
from ..frontends.mxnet import load_checkpoint
from ..graph import Graph
from ..passes import PASSES, prune
from ..recipe import Recipe
from ..reference import MXNetReference, mxnet_is_installed
from ..verify import BATCH_SIZES, Agreement, compare_outputs, probe_tensor, read_golden, run_batches
from .base import Built, Files, Maker, PassRecord, with_spec

__all__ = ["MAKER", "apply_passes"]


def apply_passes(graph: Graph, cut: str | None = None) -> tuple[Graph, list[PassRecord]]:
    """Prunes the graph and runs every pass; returns what each did.

    Raises:
        GraphError: The cut is unknown or cannot be found.
    """
    records = [PassRecord("prune", prune(graph, cut))]
    for name, run in PASSES:
        records.append(PassRecord(name, run(records[-1].result.graph)))
    return records[-1].result.graph, records


def _build(recipe: Recipe, files: Files) -> Built:
    """The ONNX model of a recipe.

    Raises:
        ConversionError: Any step failed, or the network does not give what the spec promises.
    """
    spec = recipe.spec
    image, embedding = _sections(spec)
    graph, passes = apply_passes(load_checkpoint(files["symbol"], files["params"]), recipe.cut)
    shape = ("N", image.channels, image.height, image.width)
    model = to_onnx(
        graph, {image.name: shape}, [embedding.output], opset=recipe.opset, name=spec.name
    )
    _check_output(model, spec.name, embedding.size)
    return Built(spec, with_spec(model, spec), nodes=len(model.graph.node), passes=passes)


def _agree(model: Path, recipe: Recipe, files: Files | None) -> Agreement:
    """Compares with MXNet if it is installed and the files are given, else with records.

    Raises:
        ConversionError: There is neither MXNet nor a record.
    """
    image, _ = _sections(recipe.spec)
    session = Session(model, intra_op_num_threads=1)
    tensor = probe_tensor(image)
    if files is not None and mxnet_is_installed():
        reference = MXNetReference(files["symbol"], files["params"], recipe.cut)
        expected, oracle = reference.run({image.name: tensor})[0], reference.name
    else:
        expected, oracle = read_golden(recipe.name)
    agreements = [
        compare_outputs(run_batches(session, tensor, batch), expected, oracle)
        for batch in BATCH_SIZES
    ]
    return _worst(agreements)


def _worst(agreements: Sequence[Agreement]) -> Agreement:
    """The largest error and the smallest cosine of several comparisons."""
    return dataclasses.replace(
        agreements[0],
        max_abs_error=max(agreement.max_abs_error for agreement in agreements),
        min_cosine=min(agreement.min_cosine for agreement in agreements),
    )


def _sections(spec: ModelSpec) -> tuple[ImageInput, EmbeddingSpec]:
    if spec.input is None or spec.embedding is None:
        raise ConversionError(f"task '{spec.task}' is not made from a checkpoint", where=spec.name)
    return spec.input, spec.embedding


def _check_output(model: onnx.ModelProto, name: str, size: int) -> None:
    """The network gives what the spec promises."""
    dims = model.graph.output[0].type.tensor_type.shape.dim
    if len(dims) != 2 or dims[1].dim_value != size:
        found = [dim.dim_value or dim.dim_param for dim in dims]
        raise ConversionError(
            f"the output has shape {found}, the spec promises {size} elements", where=name
        )


MAKER = Maker(_build, _agree)
