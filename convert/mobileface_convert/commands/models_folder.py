"""The models folder of commands that convert: where the runtime finds the user's models."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from mobileface.errors import ConversionError, shown
from mobileface.host.output_options import OutputFolder
from mobileface.host.places import HOME_VARIABLE, user_models

__all__ = ["add_models_folder", "models_folder"]


def add_models_folder(parser: argparse.ArgumentParser) -> None:
    """Adds --output for a models folder with a default."""
    parser.add_argument(
        "--output",
        action=OutputFolder,
        metavar="DIR",
        help="models folder; default: MOBILEFACE_HOME, otherwise the user's data folder, where "
        "the runtime finds models automatically",
    )


def models_folder(options: argparse.Namespace) -> Path:
    """The folder of --output, or the one where the runtime finds the user's models; prints that.

    Raises:
        ConversionError: If the user has no home folder.
    """
    if options.output is not None:
        given: Path = options.output
        return given
    home = os.environ.get(HOME_VARIABLE)
    folder = Path(home) if home else user_models()
    if folder is None:
        raise ConversionError("no home folder for models found", hint="pass --output DIR")
    print(shown(f"models folder: {folder}"), flush=True)
    return folder
