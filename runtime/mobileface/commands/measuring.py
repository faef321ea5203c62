"""Options, models and images that ``mobileface bench`` and ``mobileface tune`` share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..analyzer import FaceAnalyzer
from ..diagnostics.workloads import Scene, make_scenes
from ..errors import InputError, ModelNotFoundError
from ..models.lookup import StoredModel, candidate_models
from .inputs import ImageFiles, find_pictures

__all__ = ["add_common", "check_seconds", "pipeline_of", "scenes_from", "wanted_models"]

_MAX_PHOTOS = 32


def add_common(parser: argparse.ArgumentParser, seconds: float, which: str) -> None:
    """Adds the options of commands that measure models.

    Args:
        parser: The parser that gets the options.
        seconds: Default of ``--seconds``.
        which: Help text of ``--model``.
    """
    add = parser.add_argument
    add("--models", type=Path, metavar="DIR", help="folder to search for models")
    add("--model", nargs="+", metavar="NAME", help=which)
    add(
        "--images",
        nargs="+",
        metavar="IMG",
        help="photos to measure on; default: synthetic face images",
    )
    add(
        "--seconds",
        type=float,
        default=seconds,
        metavar="S",
        help="time to spend, in seconds; default: %(default)g",
    )
    add("--json", action="store_true", help="print one JSON object")


def check_seconds(seconds: float) -> None:
    """Checks the value of ``--seconds``.

    Raises:
        InputError: If it is not above 0 and below 1e6.
    """
    if not 0 < seconds < 1e6:
        raise InputError(f"--seconds must be above 0 and below 1e6, not {seconds:g}")


def scenes_from(images: Sequence[str] | None, analyzer: FaceAnalyzer | None) -> list[Scene]:
    """The images to measure on: the user's photos, or synthetic face images.

    Raises:
        InputError: If none of the photos can be read.
    """
    if images is None:
        return make_scenes(analyzer)
    files = ImageFiles(find_pictures(images)[:_MAX_PHOTOS])
    frames = [image for _, image in files]
    if not frames:
        raise InputError("none of the images can be read", where=images[0])
    return make_scenes(analyzer, frames)


def wanted_models(folder: Path | None, names: Sequence[str] | None) -> list[StoredModel]:
    """The models to measure: those with the given names, or all.

    Raises:
        ModelNotFoundError: If a name is unknown.
    """
    found = candidate_models(folder)
    if names is None:
        return found
    for name in names:
        if name not in {model.name for model in found}:
            known = ", ".join(model.name for model in found)
            raise ModelNotFoundError(f"no model '{name}'; available: {known}")
    return [model for model in found if model.name in names]


def pipeline_of(folder: Path | None, session: dict[str, Any]) -> FaceAnalyzer | None:
    """The whole pipeline; None if no detector is available."""
    try:
        return FaceAnalyzer(folder, **session)
    except ModelNotFoundError:
        return None
