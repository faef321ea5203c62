"""The ``mobileface-convert`` command."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from mobileface import __version__
from mobileface.errors import ConversionError, shown
from mobileface.host.output_options import OutputFolder, OutputPlace, run_checked
from mobileface.host.outputs import check_outputs
from mobileface.host.program import run_program
from mobileface.models.index import PRECISIONS

from ..backends.storage import STORAGES, stored_as
from ..build.bundle import add_bundle
from ..build.cards import write_cards
from ..build.collection import agreement_text, convert_recipes, open_upstream
from ..build.inspection import describe, format_description
from ..build.pipeline import fetch_all, verify_model
from ..frontends.checkpoint import checkpoint_paths, save_checkpoint
from ..frontends.mxnet_checkpoint import load_checkpoint
from ..frontends.tflite import tflite_json, tflite_markdown
from ..graph.source_graph import Graph
from ..ops.table import operators_json, operators_markdown
from ..oracles.verify import require
from ..recipes.recipe import load_recipe, recipe_names
from ..source_passes import PassResult, merge_batchnorm, prune
from .adopt import add_adopt
from .adopted_recipe import recipe_for
from .export import add_export, add_export_table
from .model_command import add_model
from .models_folder import add_models_folder, models_folder
from .optimize import add_optimize
from .variant_options import add_variants, finish, plan_of

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: Command-line arguments; by default those of the process.

    Returns:
        The exit code: 0 on success, 2 after an error, or as `run_program` says.
    """

    def run() -> int:
        return run_checked(_parser().parse_args(arguments))

    return run_program("mobileface-convert", run)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mobileface-convert",
        description="Converts MXNet, dlib and TensorFlow Lite models to verified ONNX models.",
    )
    parser.add_argument("--version", action="version", version=f"mobileface {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_all(commands.add_parser("all", help="convert all of MobileFace's models"))
    _add_starter(
        commands.add_parser("starter", help="convert the freely licensed models of the starter set")
    )
    add_adopt(commands.add_parser("adopt", help="make any network a model that runs by its name"))
    add_bundle(commands.add_parser("bundle", help="pack a folder of models into a wheel"))
    _add_inspect(commands.add_parser("inspect", help="show layers, weights and shapes"))
    _add_prune(
        commands.add_parser("prune", help="cut a network at its feature, drop classifier and loss")
    )
    _add_merge(commands.add_parser("merge-bn", help="fold batch normalisation into other layers"))
    add_export(commands.add_parser("export", help="export a network to ONNX, ncnn or Caffe"))
    add_export_table(
        commands.add_parser(
            "export-table", help="print which models can be exported, with size and accuracy"
        )
    )
    add_model(
        commands.add_parser(
            "model", help="convert and verify any MXNet checkpoint or TensorFlow Lite file"
        )
    )
    add_optimize(
        commands.add_parser(
            "optimize", help="rewrite any ONNX or TensorFlow Lite network so that it runs faster"
        )
    )
    _add_verify(commands.add_parser("verify", help="compare an ONNX model with its source"))
    _add_operators(commands.add_parser("operators", help="list the supported operators"))
    return parser


def _add_all(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source",
        metavar="DIR_OR_URL",
        help="folder or address with the layout of the upstream repository; default: "
        "MOBILEFACE_SOURCE, otherwise the upstream repository at the pinned commit",
    )
    add_models_folder(parser)
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        help=f"models to convert, some of: {', '.join(recipe_names())}",
    )
    parser.add_argument("--no-verify", action="store_true", help="do not compare with the source")
    add_variants(parser, PRECISIONS)
    parser.set_defaults(run=_all)


def _add_starter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output",
        action=OutputFolder,
        required=True,
        metavar="DIR",
        help="models folder, e.g. models_onnx",
    )
    parser.add_argument(
        "--weights",
        choices=STORAGES,
        help="how to store weights, where the recipe allows it; default: as the recipe specifies",
    )
    parser.add_argument("--no-verify", action="store_true", help="do not compare with dlib")
    add_variants(parser, ())
    parser.set_defaults(run=_starter)


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="-symbol.json, .params, .nd, .onnx, .tflite",
    )
    parser.add_argument(
        "--size",
        nargs=2,
        type=int,
        metavar=("H", "W"),
        help="height and width of images, for multiply-adds, if the network leaves them open",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object to stdout")
    parser.set_defaults(run=_inspect)


def _add_checkpoint(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    parser.add_argument("--symbol", type=Path, required=required, help="the -symbol.json file")
    parser.add_argument("--params", type=Path, required=required, help="the .params file")


def _add_prune(parser: argparse.ArgumentParser) -> None:
    _add_checkpoint(parser)
    parser.add_argument("--at", metavar="NAME", help="output to keep; default: detected")
    parser.add_argument(
        "--output",
        action=OutputPlace,
        required=True,
        metavar="PREFIX",
        help="prefix of the new checkpoint",
    )
    parser.set_defaults(run=_prune)


def _add_merge(parser: argparse.ArgumentParser) -> None:
    _add_checkpoint(parser)
    parser.add_argument(
        "--output",
        action=OutputPlace,
        required=True,
        metavar="PREFIX",
        help="prefix of the new checkpoint",
    )
    parser.set_defaults(run=_merge)


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL.onnx")
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        help="recipe of the model, or its TOML file; default: the name of the file, or what the "
        "certificate of an adopted model says",
    )
    parser.add_argument(
        "--source",
        type=Path,
        metavar="DIR",
        help="folder with the files of an adopted model; default: that of its TOML file",
    )
    _add_checkpoint(parser, required=False)
    parser.set_defaults(run=_verify)


def _add_operators(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print a JSON list to stdout")
    parser.set_defaults(run=_operators)


def _all(options: argparse.Namespace) -> int:
    recipes = [load_recipe(name) for name in options.only or recipe_names()]
    plan, folder = plan_of(options), models_folder(options)
    converted = convert_recipes(
        [recipe for recipe in recipes if options.only or recipe.collection is None],
        folder,
        location=options.source,
        # A source may have only some of the models, but a missing one from --only is an error.
        complete=bool(options.only),
        verify=not options.no_verify,
        plan=plan,
    )
    finish(options, folder, converted)
    return 0


def _starter(options: argparse.Namespace) -> int:
    recipes = [load_recipe(name) for name in recipe_names()]
    chosen = [recipe for recipe in recipes if recipe.collection == "starter"]
    if options.weights:
        chosen = [
            recipe.storing(options.weights) if options.weights in recipe.bounds else recipe
            for recipe in chosen
        ]
    plan, verify = plan_of(options), not options.no_verify
    converted = convert_recipes(chosen, options.output, complete=True, verify=verify, plan=plan)
    finish(options, options.output, converted)
    for path in write_cards(chosen, options.output):
        print(shown(f"written: {path}"))
    return 0


def _inspect(options: argparse.Namespace) -> int:
    size = None if options.size is None else (options.size[0], options.size[1])
    description = describe(options.files, size)
    print(json.dumps(description) if options.json else format_description(description))
    return 0


def _prune(options: argparse.Namespace) -> int:
    _check_checkpoint(options)
    graph = load_checkpoint(options.symbol, options.params)
    result = prune(graph, options.at)
    for line in result.changed:
        print(shown(f"dropped {line}"))
    print(shown(f"output: {result.graph.outputs[0].node.name}"))
    _save(graph, result, options.output)
    return 0


def _merge(options: argparse.Namespace) -> int:
    _check_checkpoint(options)
    graph = load_checkpoint(options.symbol, options.params)
    result = merge_batchnorm(graph)
    for line in result.changed:
        print(shown(f"folded {line}"))
    for refused in result.refused:
        print(shown(f"kept {refused.node}: {refused.reason}"))
    _save(graph, result, options.output)
    return 0


def _check_checkpoint(options: argparse.Namespace) -> None:
    """Checks that the new checkpoint does not replace the one that is read."""
    check_outputs(checkpoint_paths(options.output), [options.symbol, options.params])


def _save(before: Graph, result: PassResult, prefix: Path) -> None:
    """Writes the new checkpoint and prints how much smaller it is."""
    after = result.graph
    paths = save_checkpoint(after, prefix)
    layers = len(before.operators) - len(after.operators)
    stored = sum(array.nbytes for array in before.params.values())
    saved = stored - after.weight_bytes
    print(
        f"{layers} of {len(before.operators)} layers and {saved} of {stored} weight bytes saved: "
        f"{paths[0]}, {paths[1]}"
    )


def _verify(options: argparse.Namespace) -> int:
    recipe = recipe_for(options.model, options.recipe, options.source)
    if options.symbol and not options.params:
        raise ConversionError("--symbol needs --params")
    files = None
    if recipe.document is not None:
        files = fetch_all(recipe, open_upstream(recipe.upstream, None))
    if options.params:
        files = {"gluon": options.params}
        if options.symbol:
            files = {"symbol": options.symbol, "params": options.params}
    agreement = verify_model(options.model, recipe, files)
    print(shown(f"{options.model}: {agreement_text(agreement)}"))
    require(agreement, recipe.bounds[stored_as(options.model)], str(options.model))
    return 0


def _operators(options: argparse.Namespace) -> int:
    if options.json:
        frameworks = {"mxnet": operators_json(), "tflite": tflite_json()}
        entries = [
            {"framework": name, **entry} for name in frameworks for entry in frameworks[name]
        ]
        print(json.dumps(entries), end="")
    else:
        print(f"{operators_markdown()}\n{tflite_markdown()}", end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
