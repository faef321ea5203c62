"""Options that several commands share, and their translation to arguments of `FaceAnalyzer`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..models.index import PRECISIONS
from ..models.kinds import Option, kinds_for
from ..tasks.table import TASKS

__all__ = [
    "GALLERY_VARIABLE",
    "add_detector_options",
    "add_fmr",
    "add_gallery_options",
    "add_images",
    "add_json",
    "add_model_choice",
    "add_models_folder",
    "add_precision",
    "add_thresholds",
    "chosen_models",
    "detector_options",
]

GALLERY_VARIABLE = "MOBILEFACE_GALLERY"
"""Environment variable with the path of the gallery."""


def add_images(parser: argparse.ArgumentParser) -> None:
    """Adds the image arguments of a command."""
    parser.add_argument(
        "images", nargs="+", metavar="IMG", help="image files, folders or glob patterns"
    )


def add_json(parser: argparse.ArgumentParser, text: str) -> None:
    """Adds ``--json`` with its help text."""
    parser.add_argument("--json", action="store_true", help=text)


def add_models_folder(parser: argparse.ArgumentParser) -> None:
    """Adds ``--models``."""
    parser.add_argument("--models", type=Path, metavar="DIR", help="folder to search for models")


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Adds ``--precision``."""
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="precision for models that offer it (see 'mobileface models'); default: fp32",
    )


def add_model_choice(parser: argparse.ArgumentParser, *arguments: str) -> None:
    """Adds a model option for each task whose model can be chosen.

    Args:
        parser: The parser that gets the options.
        arguments: Names of arguments of `FaceAnalyzer`, e.g. "detector".
    """
    for task in TASKS:
        if task.argument in arguments:
            parser.add_argument(
                f"--{task.argument}", metavar="NAME", help=f"{task.name} model, by name or path"
            )


def chosen_models(options: argparse.Namespace) -> dict[str, Any]:
    """The values of the options of `add_model_choice`, as arguments of `FaceAnalyzer`."""
    return {task.argument: getattr(options, task.argument, None) for task in TASKS}


def add_detector_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of all kinds of detectors; the help text lists the kinds of each."""
    kinds: dict[str, list[str]] = {}
    options: dict[str, Option] = {}
    for kind in kinds_for("detection"):
        for option in kind.options:
            options.setdefault(option.name, option)
            kinds.setdefault(option.name, []).append(kind.name)
    for name, option in options.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=option.type,
            metavar=option.metavar,
            help=f"{option.help} ({', '.join(kinds[name])} detectors)",
        )


def detector_options(options: argparse.Namespace) -> dict[str, Any]:
    """The values of the options of `add_detector_options`, as options of `FaceAnalyzer`."""
    names = {option.name for kind in kinds_for("detection") for option in kind.options}
    found = {name: getattr(options, name, None) for name in sorted(names)}
    return {name: value for name, value in found.items() if value is not None}


def add_fmr(parser: argparse.ArgumentParser) -> None:
    """Adds ``--fmr`` for commands that decide whether two faces show the same person."""
    parser.add_argument(
        "--fmr",
        type=float,
        metavar="RATE",
        help="decide whether it is the same person, at this false match rate, e.g. 0.001; "
        "needs a calibration of the model",
    )


def add_gallery_options(
    parser: argparse.ArgumentParser, text: str = f"gallery file; default: ${GALLERY_VARIABLE}"
) -> None:
    """Adds the options that select a gallery, with its help text, and its key file."""
    parser.add_argument("--gallery", type=Path, metavar="FILE", help=text)
    parser.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="file with the passphrase of an encrypted gallery",
    )


def add_thresholds(option: Any, prefix: str = "") -> None:
    """Adds the options that set the similarity threshold for identification."""
    option(
        f"--{prefix}threshold",
        type=float,
        metavar="COSINE",
        help="accept matches at or above this cosine similarity",
    )
    option(
        "--fmr",
        type=float,
        metavar="RATE",
        help="instead, accept matches at this false match rate",
    )
    option(
        "--fpir",
        type=float,
        metavar="RATE",
        help="instead, accept matches at this false positive identification rate, for a gallery "
        "of this size",
    )
