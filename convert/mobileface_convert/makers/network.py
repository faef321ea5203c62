"""Shared code of the makers for MXNet networks: loading, passes and the reference network."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from mobileface.errors import ConversionError, GraphError, MobileFaceError
from mobileface.host.files import scratch_folder
from mobileface.models.session import Session
from mobileface.models.spec import ModelSpec

from ..backends.onnx import build_onnx, clean
from ..frontends.checkpoint import save_checkpoint
from ..frontends.gluon import load_gluon
from ..frontends.mxnet_checkpoint import load_checkpoint
from ..graph.onnx_builder import DEFAULT_OPSET
from ..graph.source_graph import Graph
from ..ops.registry import UNFIT
from ..oracles.mxnet_oracle import MXNetReference, mxnet_is_installed
from ..oracles.onnx_reference import ReferenceNetwork
from ..oracles.verify import (
    BATCH_SIZES,
    Agreement,
    compare_outputs,
    probe_input,
    run_batches,
)
from ..passes import TARGETS, Network, Pass, read_uint8, unit_length
from ..recipes.recipe import Recipe
from ..source_passes import BEFORE_ONNX
from ..source_passes import Pass as SourcePass
from .base import Files, PassRecord

__all__ = [
    "Oracle",
    "agree_with_rows",
    "apply_passes",
    "apply_source_passes",
    "load_network",
    "optimise",
    "spec_passes",
    "to_optimised_onnx",
    "worst",
]

FloatArray = npt.NDArray[np.float32]


def load_network(recipe: Recipe, files: Files) -> Graph:
    """Loads the source graph of a recipe, before any pass.

    Raises:
        ConversionError: If a file is invalid, or the recipe lacks the field 'network'.
    """
    if "gluon" in files:
        network = recipe.options.get("network")
        if not isinstance(network, str):
            raise ConversionError("field 'network' is missing", where=f"{recipe.name}, convert")
        return load_gluon(files["gluon"], network)
    return load_checkpoint(files["symbol"], files["params"])


def to_optimised_onnx(
    graph: Graph,
    shapes: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str] | None = None,
    *,
    target: str = "portable",
    first: Sequence[tuple[str, Pass]] = (),
    opset: int = DEFAULT_OPSET,
    name: str = "network",
) -> tuple[onnx.ModelProto, list[PassRecord]]:
    """Converts a source graph to ONNX and rewrites it for a kind of machine.

    Args:
        graph: The network.
        shapes: Shape of each of its inputs; a string is a dynamic dimension.
        outputs: See `build_onnx`.
        target: See `apply_passes`.
        first: See `apply_passes`.
        opset: Version of the ONNX operator set.
        name: Name of the ONNX graph.

    Returns:
        The model and the result of each pass.

    Raises:
        ConversionError: If a step fails; names the pass or the node.
    """
    graph, records = apply_source_passes(graph, BEFORE_ONNX)
    model = build_onnx(graph, shapes, outputs, opset=opset, name=name)
    optimised, more = optimise(model, graph.origin, target=target, first=first)
    return optimised, [*records, *more]


def optimise(
    model: onnx.ModelProto,
    where: str,
    *,
    target: str = "portable",
    first: Sequence[tuple[str, Pass]] = (),
) -> tuple[onnx.ModelProto, list[PassRecord]]:
    """Rewrites an ONNX model for a kind of machine, and simplifies it; see `apply_passes`.

    Raises:
        ConversionError: If a step fails.
    """
    network = Network(model, where)
    records = apply_passes(network, target, first)
    return clean(network.proto(), where), records


def apply_source_passes(
    graph: Graph, passes: Sequence[tuple[str, SourcePass]]
) -> tuple[Graph, list[PassRecord]]:
    """Runs passes on a source graph; returns the new graph and the result of each pass.

    Raises:
        GraphError: If attributes or weights are such that a pass fails; names the pass.
    """
    records = []
    for name, run in passes:
        with _named(name, graph.origin):
            result = run(graph)
        graph = result.graph
        records.append(PassRecord(name, result.report))
    return graph, records


def apply_passes(
    network: Network, target: str = "portable", first: Sequence[tuple[str, Pass]] = ()
) -> list[PassRecord]:
    """Runs the passes for a kind of machine.

    Args:
        network: The network, which is changed.
        target: A key of `passes.TARGETS`.
        first: Passes that run before those of the target, with their names.

    Returns:
        The result of each pass.

    Raises:
        ConversionError: If the target is unknown.
        GraphError: If attributes or weights are such that a pass fails; names the pass.
    """
    if target not in TARGETS:
        raise ConversionError(
            f"unknown target '{target}'",
            where=network.where,
            hint=f"available: {', '.join(TARGETS)}",
        )
    records = []
    for name, run in (*first, *TARGETS[target]):
        with _named(name, network.where):
            records.append(PassRecord(name, run(network)))
    return records


@contextlib.contextmanager
def _named(name: str, where: str) -> Iterator[None]:
    """Turns what a pass fails with into an error of the project that names the pass."""
    try:
        yield
    except MobileFaceError:
        raise
    except UNFIT as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise GraphError(f"pass {name} fails ({text[:200]})", where=where) from error


def spec_passes(spec: ModelSpec) -> list[tuple[str, Pass]]:
    """The passes that adapt a network to its spec: uint8 input and L2-normalised output."""
    image, passes = spec.input, list[tuple[str, Pass]]()
    if image is not None and image.dtype == "uint8":
        scaling = partial(read_uint8, name=image.name, mean=image.mean, std=image.std)
        passes.append(("read_uint8", scaling))
    if spec.kind.normalizes(spec.section):
        passes.append(("unit_length", unit_length))
    return passes


class Oracle:
    """The reference for a converted model: the original network in another engine.

    If MXNet is installed, it runs the source files or, for a parameter file without a symbol, a
    symbol that is written from the graph. Otherwise the ONNX project's reference evaluator runs the
    graph before any pass.

    Args:
        recipe: The recipe of the model.
        files: The source files.
        output: Name of an internal output to return instead of the network's own outputs.
    """

    def __init__(self, recipe: Recipe, files: Files, output: str | None = None) -> None:
        self._runner: MXNetReference | ReferenceNetwork
        if not mxnet_is_installed():
            graph = load_network(recipe, files)
            if output is not None:
                graph = dataclasses.replace(graph, outputs=(graph.find(output),))
            self._runner = ReferenceNetwork(graph)
        elif "symbol" in files:
            self._runner = MXNetReference(files["symbol"], files["params"], output)
        else:
            with scratch_folder() as folder:
                prefix = Path(folder) / "network"
                paths = save_checkpoint(load_network(recipe, files), prefix)
                self._runner = MXNetReference(*paths, output)
        self.name = self._runner.name

    def run(self, inputs: Mapping[str, FloatArray]) -> list[FloatArray]:
        """Returns the network's outputs for inputs by name, all float32."""
        return self._runner.run(inputs)


def agree_with_rows(
    model: Path, recipe: Recipe, outputs: Sequence[str], expected: FloatArray, name: str
) -> Agreement:
    """Compares a network on one crop with what is expected for the probes, at each batch size.

    Args:
        model: The converted model.
        recipe: Its recipe.
        outputs: Names of its outputs, in the order of the columns.
        expected: float32 (N, D): the rows of the oracle.
        name: Name of the oracle.
    """
    tensor = probe_input(recipe.spec.require_input())
    session = Session(model, intra_op_num_threads=1)
    found = (run_batches(session, tensor, batch, list(outputs)) for batch in BATCH_SIZES)
    return worst([compare_outputs(rows, expected, name) for rows in found])


def worst(agreements: Sequence[Agreement]) -> Agreement:
    """Combines comparisons: the largest error and the smallest cosines of all of them."""
    return dataclasses.replace(
        agreements[0],
        inputs=max(agreement.inputs for agreement in agreements),
        max_abs_error=max(agreement.max_abs_error for agreement in agreements),
        min_cosine=min(agreement.min_cosine for agreement in agreements),
        scale=max(agreement.scale for agreement in agreements),
        mean_cosine=min(agreement.mean_cosine for agreement in agreements),
    )
