"""What makers of MXNet networks share: reading either kind of file, rewriting, and the oracle."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobileface.errors import ConversionError
from mobileface.host.files import scratch_folder
from mobileface.models.spec import ModelSpec

from ..frontends.checkpoint import save_checkpoint
from ..frontends.gluon import load_gluon
from ..frontends.mxnet_checkpoint import load_checkpoint
from ..graph.source_graph import Graph
from ..oracles.mxnet_oracle import MXNetReference, mxnet_is_installed
from ..oracles.onnx_reference import ReferenceNetwork
from ..oracles.verify import Agreement
from ..passes import TARGETS, Pass, read_uint8, unit_length
from ..recipes.recipe import Recipe
from .base import Files, PassRecord

__all__ = ["Oracle", "apply_passes", "load_network", "spec_passes", "worst"]

FloatArray = npt.NDArray[np.float32]


def load_network(recipe: Recipe, files: Files) -> Graph:
    """The source graph of a recipe, as its files hold it.

    Raises:
        ConversionError: A file is not what it should be.
    """
    if "gluon" in files:
        network = recipe.options.get("network")
        if not isinstance(network, str):
            raise ConversionError("field 'network' is missing", where=f"{recipe.name}, convert")
        return load_gluon(files["gluon"], network)
    return load_checkpoint(files["symbol"], files["params"])


def apply_passes(
    graph: Graph, target: str = "portable", first: Sequence[tuple[str, Pass]] = ()
) -> tuple[Graph, list[PassRecord]]:
    """Runs the passes for a kind of machine; returns what each did.

    Args:
        graph: The network.
        target: A key of `passes.TARGETS`.
        first: Passes that run before those.

    Raises:
        ConversionError: No such kind of machine.
    """
    if target not in TARGETS:
        raise ConversionError(
            f"no target '{target}'", where=graph.origin, hint=f"there are: {', '.join(TARGETS)}"
        )
    records: list[PassRecord] = []
    for name, run in (*first, *TARGETS[target]):
        records.append(PassRecord(name, run(graph)))
        graph = records[-1].result.graph
    return graph, records


def spec_passes(spec: ModelSpec) -> list[tuple[str, Pass]]:
    """What makes the network read and give what its spec says, where the source does not."""
    image, passes = spec.input, list[tuple[str, Pass]]()
    if image is not None and image.dtype == "uint8":
        scaling = partial(read_uint8, name=image.name, mean=image.mean, std=image.std)
        passes.append(("read_uint8", scaling))
    if spec.kind.normalizes(spec.section):
        passes.append(("unit_length", unit_length))
    return passes


class Oracle:
    """A network as its source files describe it, run by somebody else.

    MXNet runs it where it is installed: from the files themselves or, for a file without layers,
    from the symbol that its graph is written to. Elsewhere the ONNX project's own evaluator runs
    the graph as it was read, before any rewriting.

    Args:
        recipe: What is made.
        files: Its source files.
        output: Name of an internal output to read instead of the heads.
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
        """The network's outputs for inputs by name."""
        return self._runner.run(inputs)


def worst(agreements: Sequence[Agreement]) -> Agreement:
    """The largest error and the smallest cosine of several comparisons."""
    return dataclasses.replace(
        agreements[0],
        inputs=max(agreement.inputs for agreement in agreements),
        max_abs_error=max(agreement.max_abs_error for agreement in agreements),
        min_cosine=min(agreement.min_cosine for agreement in agreements),
        scale=max(agreement.scale for agreement in agreements),
        mean_cosine=min(agreement.mean_cosine for agreement in agreements),
    )
