"""The options that several commands share, and what they mean for an analyzer."""

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
"""Environment variable that names the gallery."""


def add_images(parser: argparse.ArgumentParser) -> None:
    """Adds the images that a command reads."""
    parser.add_argument("images", nargs="+", metavar="IMG", help="image files, folders or patterns")


def add_json(parser: argparse.ArgumentParser, text: str) -> None:
    """Adds ``--json``; the text says what is printed."""
    parser.add_argument("--json", action="store_true", help=text)


def add_models_folder(parser: argparse.ArgumentParser) -> None:
    """Adds ``--models``."""
    parser.add_argument("--models", type=Path, metavar="DIR", help="folder to look for models in")


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Adds ``--precision``."""
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="run models in it that have it; 'mobileface models' lists which; default: fp32",
    )


def add_model_choice(parser: argparse.ArgumentParser, *arguments: str) -> None:
    """Adds an option for each task whose model can be chosen.

    Args:
        parser: Where.
        arguments: Arguments of `FaceAnalyzer`, e.g. "detector".
    """
    for task in TASKS:
        if task.argument in arguments:
            parser.add_argument(
                f"--{task.argument}", metavar="NAME", help=f"model for {task.name}: name or path"
            )


def chosen_models(options: argparse.Namespace) -> dict[str, Any]:
    """What `add_model_choice` read, as arguments of `FaceAnalyzer`."""
    return {task.argument: getattr(options, task.argument, None) for task in TASKS}


def add_detector_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of all kinds of detectors; the help says which kinds have one."""
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
            help=f"{option.help} (detectors of kind {', '.join(kinds[name])})",
        )


def detector_options(options: argparse.Namespace) -> dict[str, Any]:
    """What `add_detector_options` read, as options of `FaceAnalyzer`."""
    names = {option.name for kind in kinds_for("detection") for option in kind.options}
    found = {name: getattr(options, name, None) for name in sorted(names)}
    return {name: value for name, value in found.items() if value is not None}


def add_fmr(parser: argparse.ArgumentParser) -> None:
    """Adds the option of commands that decide who is who."""
    parser.add_argument(
        "--fmr",
        type=float,
        metavar="RATE",
        help="say whether they are one person, with a threshold that this share of pairs of "
        "different people reaches, e.g. 0.001; needs a calibration of the model",
    )


def add_gallery_options(parser: argparse.ArgumentParser) -> None:
    """Adds which gallery is meant, and its key."""
    parser.add_argument(
        "--gallery", type=Path, metavar="FILE", help=f"the gallery; default: {GALLERY_VARIABLE}"
    )
    parser.add_argument(
        "--key-file", type=Path, metavar="FILE", help="with the passphrase of an encrypted gallery"
    )


def add_thresholds(option: Any, prefix: str = "") -> None:
    """Adds from which similarity on somebody is known."""
    option(
        f"--{prefix}threshold", type=float, metavar="COSINE", help="known from this similarity on"
    )
    option(
        "--fmr",
        type=float,
        metavar="RATE",
        help="known from the similarity with this false match rate on",
    )
    option(
        "--fpir",
        type=float,
        metavar="RATE",
        help="known with this rate of false identifications of strangers, in a gallery of its size",
    )
