"""``mobileface-convert export``: networks to ONNX or, verified, to ncnn, FeatherCNN or Caffe.

There are three kinds of input: the files of a checkpoint; recipes, whose files come from a source;
and, for ncnn and FeatherCNN, ONNX models.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import onnx

from mobileface.errors import ConversionError, MobileFaceError, shown
from mobileface.host.files import write_aside
from mobileface.host.output_options import OutputPlace
from mobileface.host.outputs import check_folder, check_outputs
from mobileface.models.spec import METADATA_KEY

from ..backends.ncnn import TIME_LIMIT
from ..backends.onnx import read_onnx
from ..backends.storage import STORAGES
from ..build.collection import agreement_text, open_upstream
from ..build.pipeline import choose
from ..exports.caffe_export import export_caffe, source_of_graph, source_of_recipe, why_not_caffe
from ..exports.export_table import export_table
from ..exports.feathercnn_export import export_feathercnn
from ..exports.interface import Interface, adapted, add_interface
from ..exports.ncnn_export import export_ncnn
from ..exports.network_export import load_network_files
from ..exports.onnx_part import known_agreement
from ..exports.sidecar import (
    ENGINES,
    Export,
    check_exportable,
    export_paths,
    source_file,
    why_not_exported,
)
from ..frontends.mxnet_checkpoint import load_checkpoint
from ..graph.onnx_builder import DEFAULT_OPSET
from ..graph.source_graph import Graph
from ..makers import MAKERS, Files, PassRecord, spec_passes, to_optimised_onnx
from ..recipes.recipe import Recipe, Upstream, load_recipe
from ..source_passes import prune
from ..sources.files import Source

__all__ = ["add_export", "add_export_table"]

Job = tuple[str, Callable[[], Export]]
Opened = dict[Upstream, "Source | None"]
"""Sources that are already open."""


def add_export(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface-convert export``."""
    add = parser.add_argument
    add("--target", choices=tuple(_TARGETS), default="onnx", help="default: %(default)s")
    add("--symbol", type=Path, help="the -symbol.json file")
    add("--params", type=Path, help="the .params file")
    add(
        "--model",
        nargs="+",
        type=Path,
        default=[],
        metavar="MODEL.onnx",
        help="for ncnn and feathercnn: ONNX models to export",
    )
    add(
        "--recipe",
        nargs="+",
        default=[],
        metavar="NAME",
        help="use cut, input, opset and spec of a recipe, and its files from --source unless "
        "--params is given; all targets but onnx accept several",
    )
    add("--source", metavar="DIR_OR_URL", help="same as for 'all'")
    add(
        "--output",
        action=OutputPlace,
        required=True,
        metavar="OUT.onnx|DIR",
        help="output file; for other targets than onnx a folder",
    )
    add(
        "--input-shape",
        metavar="SHAPE",
        help="e.g. N,3,112,112 or data=N,3,112,112; letters are dynamic dimensions in ONNX",
    )
    add("--at", metavar="NAME", help="output to keep; default: detected")
    add(
        "--opset",
        type=int,
        default=DEFAULT_OPSET,
        choices=range(17, 24),
        help="version of the ONNX operator set; default: %(default)s",
    )
    add(
        "--weights",
        choices=STORAGES,
        default="float32",
        help="for ncnn: how to store weights; default: %(default)s",
    )
    add(
        "--time-limit",
        type=float,
        default=TIME_LIMIT,
        metavar="SECONDS",
        help="for ncnn: time limit for pnnx; default: %(default)g",
    )
    add_interface(parser)
    parser.set_defaults(run=_export)


def add_export_table(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface-convert export-table``."""
    parser.add_argument(
        "folders", nargs="*", type=Path, metavar="DIR", help="folders with exports to measure"
    )
    parser.set_defaults(run=_export_table)


def _export_table(options: argparse.Namespace) -> int:
    print(export_table(options.folders), end="")
    return 0


def _export(options: argparse.Namespace) -> int:
    if options.symbol and not options.params:
        raise ConversionError("--symbol needs --params")
    takes_onnx = options.target in ("ncnn", "feathercnn")
    if options.model and (options.params or options.recipe or not takes_onnx):
        raise ConversionError(
            "--model is for --target ncnn or feathercnn and excludes --params and --recipe",
            hint="an ONNX model needs no source",
        )
    if not (options.model or options.params or options.recipe):
        raise ConversionError(
            "nothing to export", hint="pass --symbol and --params, --recipe NAME or --model FILE"
        )
    if len(options.recipe) > 1 and (options.params or options.target == "onnx"):
        raise ConversionError("a checkpoint belongs to one recipe", hint="pass one --recipe")
    if options.weights != "float32" and options.target != "ncnn":
        raise ConversionError(f"--weights {options.weights} is for --target ncnn")
    if options.target != "onnx" and (options.input != "float32" or options.normalize):
        raise ConversionError("--input and --normalize are for --target onnx")
    if options.target == "onnx":
        check_outputs([options.output], [options.symbol, options.params])
    else:
        check_folder(options.output)
    return _TARGETS[options.target](options)


def _to_onnx(options: argparse.Namespace) -> int:
    if not options.params or not options.symbol:
        raise ConversionError(
            "--target onnx needs --symbol and --params",
            hint="'model' and 'all' accept other files too",
        )
    recipe = adapted(load_recipe(options.recipe[0]), options) if options.recipe else None
    cut = options.at or (recipe.cut if recipe else None)
    pruned = prune(load_checkpoint(options.symbol, options.params), cut)
    name, shape = _input(options, recipe, pruned.graph)
    interface = Interface(name if options.input == "uint8" else None, options.normalize)
    first = spec_passes(recipe.spec) if recipe else interface.passes
    outputs = None
    if recipe and recipe.spec.kind.cuts_classifier:
        outputs = list(recipe.spec.kind.tensors(recipe.spec.section).outputs)
    opset = recipe.opset if recipe else options.opset
    model, records = to_optimised_onnx(
        pruned.graph,
        {name: shape},
        outputs,
        target=options.machine,
        first=first,
        opset=opset,
        name=options.output.stem,
    )
    if recipe:
        entry = model.metadata_props.add()
        entry.key, entry.value = METADATA_KEY, recipe.spec.to_json()
    write_aside(options.output, model.SerializeToString())
    for record in (PassRecord("prune", pruned.report), *records):
        print(shown(f"{record.name}: {len(record.result.changed)} changes"))
    print(
        shown(f"{options.output}: {len(model.graph.node)} nodes, {model.ByteSize() / 1e6:.3f} MB")
    )
    return 0


def _from_onnx(options: argparse.Namespace) -> int:
    """Exports to ncnn or FeatherCNN, from ONNX models that may be converted first."""
    jobs: list[Job] = [
        (path.stem, partial(_engine_of_model, options, path)) for path in options.model
    ]
    opened: Opened = {}
    jobs += [(name, partial(_engine_of_recipe, options, name, opened)) for name in options.recipe]
    return _run(jobs or [(_stem(options), partial(_engine_of_checkpoint, options))])


def _exporter(options: argparse.Namespace) -> Callable[..., Export]:
    """The function that exports an ONNX model to the target."""
    if options.target == "feathercnn":
        return export_feathercnn
    return partial(export_ncnn, weights=options.weights, time_limit=options.time_limit)


def _engine_of_model(options: argparse.Namespace, path: Path) -> Export:
    """Exports an ONNX model."""
    _check_written(options, path.stem, [path])
    return _exporter(options)(
        read_onnx(path),
        path.stem,
        options.output,
        sources=[source_file(path)],
        known=known_agreement(path),
        shape=_sizes(options.input_shape) if options.input_shape else None,
    )


def _engine_of_recipe(options: argparse.Namespace, name: str, opened: Opened) -> Export:
    """Exports the model of a recipe, with the passes for ncnn."""
    recipe = load_recipe(name).targeting("ncnn")
    title = ENGINES[options.target]
    check_exportable(why_not_exported(recipe.spec, title), title, name)
    recipe, files = _files(recipe, options, opened)
    _check_written(options, name, files.values())
    built = MAKERS[recipe.maker].build(recipe, files)
    return _exporter(options)(
        onnx.load_from_string(built.content),
        name,
        options.output,
        sources=[source_file(path) for path in files.values()],
        passes=built.passes,
    )


def _engine_of_checkpoint(options: argparse.Namespace) -> Export:
    """Exports a checkpoint without a recipe."""
    _check_written(options, _stem(options), [options.symbol, options.params])
    graph = prune(load_network_files(options.symbol, options.params), options.at).graph
    name, shape = _input(options, None, graph)
    model, records = to_optimised_onnx(graph, {name: shape}, target="ncnn", opset=options.opset)
    return _exporter(options)(
        model,
        _stem(options),
        options.output,
        sources=_sources(options),
        shape=shape,
        passes=records,
    )


def _to_caffe(options: argparse.Namespace) -> int:
    opened: Opened = {}
    jobs: list[Job] = [
        (name, partial(_caffe_of_recipe, options, name, opened)) for name in options.recipe
    ]
    return _run(jobs or [(_stem(options), partial(_caffe_of_checkpoint, options))])


def _caffe_of_recipe(options: argparse.Namespace, name: str, opened: Opened) -> Export:
    """Exports the network of a recipe to Caffe."""
    recipe = load_recipe(name)
    check_exportable(why_not_caffe(recipe), "Caffe", name)
    recipe, files = _files(recipe, options, opened)
    _check_written(options, name, files.values())
    sources = [source_file(path) for path in files.values()]
    return export_caffe(source_of_recipe(recipe, files), name, options.output, sources=sources)


def _caffe_of_checkpoint(options: argparse.Namespace) -> Export:
    """Exports a checkpoint without a recipe to Caffe."""
    _check_written(options, _stem(options), [options.symbol, options.params])
    graph = prune(load_network_files(options.symbol, options.params), options.at).graph
    source = source_of_graph(graph, *_input(options, None, graph))
    return export_caffe(source, _stem(options), options.output, sources=_sources(options))


def _check_written(options: argparse.Namespace, name: str, files: Iterable[Path | None]) -> None:
    """Checks that an export replaces none of its own source files."""
    check_outputs(export_paths(options.output, name, options.target, options.weights), files)


def _run(jobs: Sequence[Job]) -> int:
    """Runs exports one after the other and prints the results; continues after a failure.

    Raises:
        MobileFaceError: If the only export fails.
        ConversionError: If some of several exports fail; their errors have been printed.
    """
    failed = []
    for name, job in jobs:
        try:
            export = job()
        except MobileFaceError as error:
            if len(jobs) == 1:
                raise
            place = f"{error.where}: " if error.where not in ("", name) else ""
            print(shown(f"{name}: {place}{error.what}"), file=sys.stderr, flush=True)
            failed.append(name)
            continue
        print(
            f"{name}: {export.layers} layers, {export.bytes / 1e6:.3f} MB, "
            f"{agreement_text(export.agreement)}, run by {export.engine}",
            flush=True,
        )
        print("  " + ", ".join(str(path) for path in export.paths), flush=True)
    if failed:
        raise ConversionError(
            f"{len(failed)} of {len(jobs)} were not exported: {', '.join(failed)}"
        )
    return 0


def _files(recipe: Recipe, options: argparse.Namespace, opened: Opened) -> tuple[Recipe, Files]:
    """The files of a recipe, from the options or from its source.

    Returns:
        The recipe, or the one of its alternatives that uses these files, and the files by role.

    Raises:
        ConversionError: If the recipe needs other files than the given ones.
        SourceError: If the source does not have the files.
    """
    if not options.params:
        if recipe.upstream not in opened:
            opened[recipe.upstream] = open_upstream(recipe.upstream, options.source)
        return choose(recipe, opened[recipe.upstream])
    given: dict[str, Path] = {"gluon": options.params}
    if options.symbol:
        given = {"symbol": options.symbol, "params": options.params}
    for candidate in (recipe, *recipe.alternatives):
        if set(candidate.files) == set(given):
            return candidate, given
    needed = " or ".join(", ".join(c.files) for c in (recipe, *recipe.alternatives))
    raise ConversionError(
        f"the recipe needs {needed}, not {', '.join(given)}",
        where=recipe.name,
        hint="--symbol and --params are MXNet's two files; a gluon file is --params only",
    )


def _stem(options: argparse.Namespace) -> str:
    """File name for the export of a checkpoint without a recipe."""
    path: Path = options.symbol or options.params
    return path.stem.removesuffix("-symbol")


def _sources(options: argparse.Namespace) -> list[dict[str, Any]]:
    return [source_file(path) for path in (options.symbol, options.params) if path]


def _input(
    options: argparse.Namespace, recipe: Recipe | None, graph: Graph
) -> tuple[str, tuple[int | str, ...]]:
    """Name and shape of the network's input, from the options or the recipe.

    Raises:
        ConversionError: If neither specifies a shape.
    """
    image = recipe.spec.input if recipe else None
    if options.input_shape is None and image is not None:
        return image.name, ("N", image.channels, image.height, image.width)
    if options.input_shape is None:
        raise ConversionError("no input shape", hint="pass --input-shape N,C,H,W or --recipe NAME")
    name, equals, _ = options.input_shape.rpartition("=")
    if not equals:
        free = [node.name for node in graph.inputs]
        name = free[0] if free else "data"
    return name, _sizes(options.input_shape)


def _is_size(text: str) -> bool:
    return text.isdecimal() and len(text) < 10


def _sizes(text: str) -> tuple[int | str, ...]:
    """Parses the sizes of an --input-shape.

    Raises:
        ConversionError: If the text is not a shape.
    """
    parts = [part.strip() for part in text.rpartition("=")[2].split(",")]
    if not all(_is_size(part) or part.isidentifier() for part in parts):
        raise ConversionError(f"--input-shape '{text}' is not like N,3,112,112")
    return tuple(int(part) if _is_size(part) else part for part in parts)


_TARGETS: dict[str, Callable[[argparse.Namespace], int]] = {
    "onnx": _to_onnx,
    "ncnn": _from_onnx,
    "feathercnn": _from_onnx,
    "caffe": _to_caffe,
}
