"""From a recipe and a source to a verified model in a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from mobileface.errors import ConversionError
from mobileface.files import replacing
from mobileface.index import IndexEntry, read_index, write_index
from mobileface.session import Session
from mobileface.spec import METADATA_KEY, ModelSpec

from .backends.onnx import to_onnx
from .certificate import BATCH_SIZES, PassRecord, certificate, write_certificate
from .frontends.mxnet import load_checkpoint
from .graph import Graph
from .passes import PASSES, prune
from .recipe import Recipe
from .reference import MXNetReference, mxnet_is_installed
from .source import Source
from .verify import (
    Agreement,
    Bounds,
    compare_outputs,
    probe_tensor,
    read_golden,
    require,
    run_batches,
)

__all__ = ["Artefact", "apply_passes", "convert", "convert_all", "read_graph", "verify_model"]

Files = Mapping[str, Path]


@dataclass(frozen=True)
class Artefact:
    """A converted model.

    Attributes:
        name: Its name.
        path: The ONNX file.
        bytes: Its size.
        nodes: Number of ONNX nodes.
        agreement: How it compares with its oracle; None if that was not asked for.
    """

    name: str
    path: Path
    bytes: int
    nodes: int
    agreement: Agreement | None


def read_graph(recipe: Recipe, files: Files) -> Graph:
    """The source graph of a recipe.

    Raises:
        ConversionError: The recipe names an unknown front-end, or lacks a file that it reads.
    """
    frontend = _FRONTENDS.get(recipe.frontend)
    if frontend is None:
        raise ConversionError(
            f"no front-end '{recipe.frontend}'",
            where=recipe.name,
            hint=f"there are: {', '.join(_FRONTENDS)}",
        )
    try:
        return frontend(files)
    except KeyError as error:
        raise ConversionError(f"file {error} is missing", where=recipe.name) from error


def apply_passes(graph: Graph, cut: str | None = None) -> tuple[Graph, list[PassRecord]]:
    """Prunes the graph and runs every pass; returns what each did.

    Raises:
        GraphError: The cut is unknown or cannot be found.
    """
    records = [PassRecord("prune", prune(graph, cut))]
    for name, run in PASSES:
        records.append(PassRecord(name, run(records[-1].result.graph)))
    return records[-1].result.graph, records


def convert(recipe: Recipe, source: Source, folder: Path, *, verify: bool = True) -> Artefact:
    """Makes one model, its certificate and its entry in the folder's index.

    Nothing appears in the folder unless every step succeeded.

    Args:
        recipe: What to make.
        source: Where its files come from.
        folder: Where the model goes.
        verify: Compare with the oracle and refuse a model that misses its bounds.

    Raises:
        ConversionError: Any step failed; the message names it.
        OutputError: The folder cannot be written.
    """
    files = {role: source.fetch(file) for role, file in recipe.files.items()}
    graph, passes = apply_passes(read_graph(recipe, files), recipe.cut)
    model = _export(recipe, graph)
    bounds = Bounds(recipe.max_abs_error, recipe.min_cosine)
    target = folder / f"{recipe.name}.onnx"
    certificate_path = folder / f"{recipe.name}.certificate.json"
    with replacing(target) as temporary:
        temporary.write_bytes(model.SerializeToString())
        agreement = verify_model(temporary, recipe, files) if verify else None
        if agreement is not None:
            require(agreement, bounds, recipe.name)
        document = certificate(
            recipe.spec, temporary, target.name, len(model.graph.node), passes, agreement, bounds
        )
    write_certificate(certificate_path, document)
    entry = IndexEntry(
        file=target.name,
        sha256=document["sha256"],
        bytes=document["bytes"],
        task=recipe.spec.task,
        preference=recipe.spec.preference,
        certificate=certificate_path.name,
    )
    write_index(folder, {**read_index(folder), recipe.name: entry})
    return Artefact(recipe.name, target, entry.bytes, document["nodes"], agreement)


def convert_all(
    recipes: Sequence[Recipe], source: Source, folder: Path, *, verify: bool = True
) -> Iterator[Artefact]:
    """Makes one model after the other; see `convert`."""
    for recipe in recipes:
        yield convert(recipe, source, folder, verify=verify)


def verify_model(model: Path, recipe: Recipe, files: Files | None = None) -> Agreement:
    """Compares a model with MXNet if it is installed and the files are given, else with records.

    Args:
        model: The ONNX file.
        recipe: How it was made.
        files: The source files by role.

    Raises:
        ConversionError: There is neither MXNet nor a record.
    """
    session = Session(model, intra_op_num_threads=1)
    tensor = probe_tensor(recipe.spec.input)
    if files is not None and recipe.frontend == "mxnet" and mxnet_is_installed():
        reference = MXNetReference(files["symbol"], files["params"], recipe.cut)
        expected = reference.run({recipe.spec.input.name: tensor})[0]
        oracle = reference.name
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


def _export(recipe: Recipe, graph: Graph) -> onnx.ModelProto:
    """The ONNX model with its spec inside."""
    spec = recipe.spec
    image = spec.input
    shape = ("N", image.channels, image.height, image.width)
    model = to_onnx(
        graph, {image.name: shape}, [spec.embedding.output], opset=recipe.opset, name=spec.name
    )
    _check_output(model, spec)
    onnx.helper.set_model_props(model, {METADATA_KEY: spec.to_json(), "license": spec.license.name})
    return model


def _check_output(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """The network gives what the spec promises."""
    dims = model.graph.output[0].type.tensor_type.shape.dim
    if len(dims) != 2 or dims[1].dim_value != spec.embedding.size:
        found = [dim.dim_value or dim.dim_param for dim in dims]
        raise ConversionError(
            f"the output has shape {found}, the spec promises {spec.embedding.size} elements",
            where=spec.name,
        )


def _read_mxnet(files: Files) -> Graph:
    return load_checkpoint(files["symbol"], files["params"])


_FRONTENDS: dict[str, Callable[[Files], Graph]] = {"mxnet": _read_mxnet}
