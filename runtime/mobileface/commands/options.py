"""Options that several commands share, and their translation to arguments of `FaceAnalyzer`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..models.index import PRECISIONS
from ..models.kinds import Option, kinds_for
from ..tasks.face_choice import CHOICES, check_choice
from ..tasks.table import TASKS

__all__ = [
    "GALLERY_VARIABLE",
    "RenamedOption",
    "add_detector_options",
    "add_face_choice",
    "add_gallery_options",
    "add_images",
    "add_json",
    "add_model_choice",
    "add_models_folder",
    "add_precision",
    "add_thresholds",
    "chosen_models",
    "detector_options",
    "thresholds_given",
]

_THRESHOLDS = (
    (
        "threshold",
        "COSINE",
        "the same person at or above this cosine similarity; default: calibrated for the model",
    ),
    ("fmr", "RATE", "instead, set the threshold by its false match rate, e.g. 0.01"),
    (
        "fpir",
        "RATE",
        "instead, set the threshold by the false positive identification rate for a gallery of "
        "this size",
    ),
)

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


def add_thresholds(option: Any, *names: str) -> None:
    """Adds the options that set the similarity threshold; see `mobileface.matching.decisions`.

    Args:
        option: The ``add_argument`` method of the parser.
        names: Some of "threshold", "fmr" and "fpir"; all of them if none is named.
    """
    for name, metavar, text in _THRESHOLDS:
        if not names or name in names:
            option(f"--{name}", type=float, metavar=metavar, help=text)


class RenamedOption(argparse.Action):
    """A deprecated name of an option: stores the value under the new name, and says so."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Stores the value."""
        new = f"--{self.dest.replace('_', '-')}"
        print(f"mobileface: {option_string} is deprecated; use {new}", file=sys.stderr)
        setattr(namespace, self.dest, values)


def thresholds_given(options: argparse.Namespace) -> dict[str, Any]:
    """The values of the options of `add_thresholds` that were passed, by name."""
    values = {name: getattr(options, name, None) for name, *_ in _THRESHOLDS}
    return {name: value for name, value in values.items() if value is not None}


def add_face_choice(
    option: Any, default: str, *, name: str = "--face", dest: str = "face", **more: Any
) -> None:
    """Adds an option for images with several faces; see `mobileface.tasks.face_choice`.

    Args:
        option: The ``add_argument`` method of the parser.
        default: What happens without the choice, for the help text.
        name: Name of the option.
        dest: Attribute of its value.
        more: Further arguments of ``add_argument``.
    """
    option(
        name,
        dest=dest,
        type=_face_choice,
        metavar="CHOICE",
        help=f"face to use if a photo has several: {CHOICES}; default: {default}",
        **more,
    )


def _face_choice(text: str) -> str:
    try:
        return check_choice(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
