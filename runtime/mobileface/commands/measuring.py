"""What ``mobileface bench`` and ``mobileface tune`` share: options, models and pictures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..analyzer import FaceAnalyzer
from ..diagnostics.workloads import Scene, make_scenes
from ..errors import InputError, ModelNotFoundError
from ..models.lookup import StoredModel, candidate_models
from .inputs import Pictures, find_pictures

__all__ = ["add_common", "check_seconds", "pipeline_of", "scenes_from", "wanted_models"]

_MOST_PHOTOS = 32


def add_common(parser: argparse.ArgumentParser, seconds: float, which: str) -> None:
    """Adds the options of everything that measures models.

    Args:
        parser: Where.
        seconds: Default of ``--seconds``.
        which: What ``--model`` is for.
    """
    add = parser.add_argument
    add("--models", type=Path, metavar="DIR", help="folder to look for models in")
    add("--model", nargs="+", metavar="NAME", help=which)
    add("--images", nargs="+", metavar="IMG", help="your photos; default: drawn faces")
    add(
        "--seconds",
        type=float,
        default=seconds,
        metavar="S",
        help="time to spend; default: %(default)g",
    )
    add("--json", action="store_true", help="print one JSON object")


def check_seconds(seconds: float) -> None:
    """Refuses a time to spend that is none.

    Raises:
        InputError: It is not above 0.
    """
    if not 0 < seconds < 1e6:
        raise InputError(f"--seconds {seconds:g} is not above 0")


def scenes_from(images: Sequence[str] | None, analyzer: FaceAnalyzer | None) -> list[Scene]:
    """The pictures to measure on: the user's photos, or drawn faces.

    Raises:
        InputError: None of the photos can be read.
    """
    if images is None:
        return make_scenes(analyzer)
    pictures = Pictures(find_pictures(images)[:_MOST_PHOTOS])
    frames = [image for _, image in pictures]
    if not frames:
        raise InputError("none of the pictures can be read", where=images[0])
    return make_scenes(analyzer, frames)


def wanted_models(folder: Path | None, names: Sequence[str] | None) -> list[StoredModel]:
    """The models to measure.

    Raises:
        ModelNotFoundError: There is none of a name.
    """
    found = candidate_models(folder)
    if names is None:
        return found
    for name in names:
        if name not in {model.name for model in found}:
            known = ", ".join(model.name for model in found)
            raise ModelNotFoundError(f"no model '{name}'; there are: {known}")
    return [model for model in found if model.name in names]


def pipeline_of(folder: Path | None, session: dict[str, Any]) -> FaceAnalyzer | None:
    """The whole pipeline; None without a detector."""
    try:
        return FaceAnalyzer(folder, **session)
    except ModelNotFoundError:
        return None
