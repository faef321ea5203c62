"""``mobileface-convert adopt``: anyone's network becomes a model that runs by its name."""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path

from mobileface.errors import ConversionError, shown
from mobileface.host.files import write_aside
from mobileface.host.output_options import OutputFile
from mobileface.models.index import read_index
from mobileface.vision.crops import CROPS

from ..backends.storage import STORAGES
from ..build.adopted_detectors import adopt_detector
from ..build.adopted_document import Adopted, License
from ..build.adopted_points import PointsTask, read_point_names
from ..build.adopted_tasks import AttributesTask, EmbeddingTask, Task, parse_head
from ..build.adoption import Request, adopt
from ..build.cards import write_cards
from ..build.collection import convert_recipes
from ..build.detector_document import DetectorRequest
from ..heads.single_shot_layouts import LAYOUTS
from ..recipes.recipe import Recipe, load_recipe, recipe_names
from ..recipes.toml_text import toml_text
from .models_folder import add_models_folder, models_folder
from .variant_options import add_variants, finish, plan_of

__all__ = ["add_adopt"]

_OPTIONS_OF = {
    "embedding": ("crop", "feature"),
    "attributes": ("crop", "head"),
    "landmarks": ("crop", "feature", "points_names", "points_range", "points_order", "margin"),
    "detection": ("layout",),
}
"""Options that are for some tasks only."""

_MAX_LICENSE = 1 << 20
_FACTS = (
    "task",
    "layout",
    "name",
    "crop",
    "color",
    "mean",
    "std",
    "size",
    "feature",
    "head",
    "points_names",
    "points_range",
    "points_order",
    "margin",
    "weights",
    "tolerance",
)
"""Options that state what a recipe states."""


def add_adopt(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface-convert adopt``."""
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="a .onnx or .tflite file, a -symbol.json and a .params file, or a recipe (.toml)",
    )
    _add_facts(parser)
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="X",
        help="largest error, relative to the largest value if that exceeds 1; default: 1e-5, for "
        "TensorFlow Lite 1e-4, for float16 arithmetic 1e-2",
    )
    parser.add_argument(
        "--weights", choices=STORAGES, help="how to store weights; default: as the network computes"
    )
    parser.add_argument(
        "--license", metavar="TEXT_OR_FILE", help="terms of use: their name, or a file with them"
    )
    parser.add_argument("--origin", metavar="TEXT", help="where the network comes from")
    add_models_folder(parser)
    add_variants(parser, ("fp32",))
    parser.add_argument(
        "--replace", action="store_true", help="replace a model of this name, or hide a shipped one"
    )
    parser.add_argument(
        "--write-recipe",
        action=OutputFile,
        metavar="FILE.toml",
        help="also write the recipe, with paths relative to it and hashes",
    )
    parser.set_defaults(run=_adopt)


def _add_facts(parser: argparse.ArgumentParser) -> None:
    """Adds what a file does not say of its network."""
    parser.add_argument("--task", choices=tuple(_OPTIONS_OF), help="what the network does")
    parser.add_argument(
        "--layout", choices=LAYOUTS, help="for detection: what the outputs of the network are"
    )
    parser.add_argument("--name", metavar="NAME", help="name of the model; default: of the file")
    parser.add_argument("--crop", choices=tuple(CROPS), help="how faces are cut out for it")
    parser.add_argument("--color", choices=("rgb", "bgr", "gray"), help="channel order of pixels")
    for name, help_text in (
        ("mean", "subtracted from pixels 0..255, one number or one per channel"),
        ("std", "what the difference is divided by"),
    ):
        parser.add_argument(f"--{name}", nargs="+", type=float, metavar="X", help=help_text)
    parser.add_argument(
        "--size",
        type=int,
        metavar="PIXELS",
        help="side of the crop, or of a detector's pictures, if the network leaves it open",
    )
    parser.add_argument(
        "--feature",
        metavar="NAME",
        help="the output that is the embedding or the points, if the network has several",
    )
    parser.add_argument(
        "--head",
        action="append",
        metavar="[OUTPUT:]ATTRIBUTE=CLASSES",
        help="for attributes, once for each: gender=female,male, expression=neutral,happy,… or "
        "age=0-100; with the name of its output if the network has several",
    )
    _add_points(parser)


def _add_points(parser: argparse.ArgumentParser) -> None:
    """Adds the options of networks for landmarks."""
    add = parser.add_argument_group("landmarks").add_argument
    add(
        "--points-names",
        metavar="SET_OR_FILE",
        help="what the points are: 5 (eyes, nose, corners of the mouth; the viewer's left first), "
        "68 (iBUG), 98 (WFLW), 106, 468 (MediaPipe), or a file with one name a line",
    )
    add(
        "--points-range",
        choices=("unit", "signed", "pixels"),
        help="what coordinates are: 0 to 1 across the crop, -1 to 1, or pixels of it",
    )
    add(
        "--points-order",
        choices=("interleaved", "planar"),
        help="x y x y … (interleaved, the default), or all x, then all y",
    )
    add(
        "--margin",
        type=float,
        metavar="M",
        help="what the crop shows around the detector's box on each side, in longer sides of it: "
        "0.25 for a square 1.5 times as long",
    )


def _adopt(options: argparse.Namespace) -> int:
    folder = models_folder(options)
    plan = dataclasses.replace(plan_of(options), timed=True)
    if [path.suffix.lower() for path in options.files] == [".toml"]:
        recipe = _own_recipe(options)
        _check_free(recipe.name, folder, options)
    else:
        _check_options(options)
        _check_free(options.name or options.files[0].stem, folder, options)
        adopted = _adopted(options)
        recipe = adopted.recipe
        for note in adopted.notes:
            print(shown(f"{recipe.name}: {note}"), flush=True)
    made = convert_recipes([recipe], folder, complete=True, plan=plan)
    finish(options, folder, made)
    for path in write_cards([recipe], folder):
        print(shown(f"written: {path}"))
    if options.write_recipe is not None:
        assert recipe.document is not None
        write_aside(options.write_recipe, toml_text(recipe.document))
        print(shown(f"written: {options.write_recipe}"))
    return 0


def _own_recipe(options: argparse.Namespace) -> Recipe:
    """The recipe in a file.

    Raises:
        ConversionError: It is one of the package's kind, has no card, or an option contradicts it.
    """
    path = options.files[0]
    given = [name for name in (*_FACTS, "license", "origin") if getattr(options, name) is not None]
    if given or options.write_recipe is not None:
        name = given[0] if given else "write_recipe"
        raise ConversionError(
            f"{_option(name)} is for networks: the recipe says it", where=str(path)
        )
    recipe = load_recipe(str(path))
    if recipe.document is None:
        raise ConversionError(
            "'upstream' must be a table with 'repository' and 'license'",
            where=str(path),
            hint="mobileface-convert adopt FILE … --write-recipe FILE.toml writes such a recipe",
        )
    if recipe.card is None:
        raise ConversionError("field 'card' is missing", where=str(path))
    return recipe


def _check_options(options: argparse.Namespace) -> None:
    """Checks that what the task needs is given, and nothing that is not for it.

    Raises:
        ConversionError: One is missing, or not for the task.
    """
    where, task = str(options.files[0]), options.task
    others = {name for names in _OPTIONS_OF.values() for name in names}
    others -= {*_OPTIONS_OF.get(task, others)}
    given = sorted(name for name in others if getattr(options, name) is not None)
    if given:
        raise ConversionError(f"{_option(given[0])} is not for --task {task}", where=where)
    needed: tuple[str, ...] = ("task", "crop", "color", "mean", "std")
    if task == "detection" or options.layout is not None:
        needed = ("task", "layout")
    missing = [f"--{name}" for name in needed if getattr(options, name) is None]
    if missing:
        raise ConversionError(
            f"{', '.join(missing)} must be given: the file does not say it", where=where
        )
    for path in options.files:
        if not path.is_file():
            raise ConversionError("no such file", where=str(path))


def _adopted(options: argparse.Namespace) -> Adopted:
    """The recipe of the network."""
    if options.task != "detection":
        return adopt(_request(options), _base(options))
    request = DetectorRequest(
        files=tuple(options.files),
        name=options.name or options.files[0].stem,
        layout=options.layout,
        color=options.color,
        mean=None if options.mean is None else tuple(options.mean),
        std=None if options.std is None else tuple(options.std),
        size=options.size,
        weights=options.weights,
        tolerance=options.tolerance,
        license=_license(options),
        origin=options.origin or "not stated",
    )
    return adopt_detector(request, _base(options))


def _request(options: argparse.Namespace) -> Request:
    """What the options say of a network that reads a crop."""
    return Request(
        files=tuple(options.files),
        name=options.name or options.files[0].stem,
        crop=options.crop,
        color=options.color,
        mean=tuple(options.mean),
        std=tuple(options.std),
        task=_task(options),
        size=options.size,
        weights=options.weights,
        tolerance=options.tolerance,
        license=_license(options),
        origin=options.origin or "not stated",
    )


def _task(options: argparse.Namespace) -> Task:
    """What the network does.

    Raises:
        ConversionError: No heads are given, or two for one attribute.
    """
    where, task = str(options.files[0]), options.task
    if task == "landmarks":
        return _points_task(options)
    if task == "embedding":
        return EmbeddingTask(options.feature)
    if not options.head:
        raise ConversionError(
            "--head must be given for each attribute", where=where, hint="--head gender=female,male"
        )
    heads = tuple(parse_head(text) for text in options.head)
    if len({head.attribute for head in heads}) < len(heads):
        raise ConversionError("two --head tell the same attribute", where=where)
    return AttributesTask(heads)


def _points_task(options: argparse.Namespace) -> PointsTask:
    """What the options say of a network for landmarks.

    Raises:
        ConversionError: One is missing, or the crop needs landmarks.
    """
    where = str(options.files[0])
    if options.crop != "box":
        raise ConversionError(
            f"--crop {options.crop} needs the landmarks that the network is to find",
            where=where,
            hint="pass --crop box, and what it shows around the box with --margin",
        )
    wanted = ("points_names", "points_range", "margin")
    missing = [_option(name) for name in wanted if getattr(options, name) is None]
    if missing:
        raise ConversionError(
            f"{', '.join(missing)} must be given: the file does not say it", where=where
        )
    return PointsTask(
        read_point_names(options.points_names),
        options.points_range,
        options.margin,
        options.points_order or "interleaved",
        options.feature,
    )


def _option(name: str) -> str:
    """An option as it is written."""
    return f"--{name.replace('_', '-')}"


def _license(options: argparse.Namespace) -> License | None:
    """The terms of use, from a file if there is one of that name.

    Raises:
        ConversionError: The file cannot be read as text.
    """
    if options.license is None:
        return None
    path = Path(options.license)
    if not (len(options.license) < 4096 and path.is_file()):
        name = " ".join(options.license.split())
        return License(name[:200], f"{options.license}\n")
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_LICENSE + 1)
        words = content.decode("utf-8")
    except (OSError, ValueError) as error:
        raise ConversionError(f"cannot be read ({error})", where=str(path)) from error
    if len(content) > _MAX_LICENSE or not words.strip():
        raise ConversionError("too large, or empty, for a licence", where=str(path))
    return License(f"see {path.name}", words)


def _check_free(name: str, folder: Path, options: argparse.Namespace) -> None:
    """Checks that no model has the name.

    Raises:
        ConversionError: One has, and it shall not be replaced.
    """
    if options.replace:
        return
    taken = ""
    if name in recipe_names():
        taken = "a model of the package has this name"
    elif name in read_index(folder) or (folder / f"{name}.onnx").exists():
        taken = f"{folder} has a model of this name"
    if taken:
        raise ConversionError(
            taken, where=name, hint="pass another --name, or --replace to use it anyway"
        )


def _base(options: argparse.Namespace) -> Path:
    """The folder that the recipe's paths are relative to."""
    if options.write_recipe is not None:
        parent: Path = options.write_recipe.parent
        return parent
    return Path(os.path.commonpath([path.resolve().parent for path in options.files]))
