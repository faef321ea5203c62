"""What the recipes of all adopted networks have in common: where they come from, by whose terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobileface.errors import ConversionError
from mobileface.host.files import sha256

from ..recipes.recipe import Recipe
from ..sources.files import git_blob_sha1

__all__ = ["Adopted", "License", "check_numbers", "origin_tables"]


@dataclass(frozen=True)
class License:
    """Terms of use as stated by whoever adopts a network.

    Attributes:
        name: One line, e.g. an SPDX identifier.
        words: The whole text.
    """

    name: str
    words: str


@dataclass(frozen=True)
class Adopted:
    """A recipe for a network.

    Attributes:
        recipe: The recipe; its ``document`` can be written as TOML.
        notes: What was found out about the network, one sentence each.
    """

    recipe: Recipe
    notes: tuple[str, ...]


def check_numbers(
    name: str, size: int | None, tolerance: float | None, std: Sequence[float]
) -> None:
    """Checks the numbers that were given for a network.

    Args:
        name: Of the model.
        size: Side of its input in pixels, if given.
        tolerance: Largest error, if given.
        std: What pixels 0..255 are divided by.

    Raises:
        ConversionError: They are for pixels 0..1, or not positive.
    """
    for option, number in (("size", size), ("tolerance", tolerance)):
        if number is not None and not number > 0:  # nan is not
            raise ConversionError(f"--{option} {number:g} must be above 0", where=name)
    if 0 < min(std) < 1:
        raise ConversionError(
            f"--std {' '.join(f'{value:g}' for value in std)} is not for pixels 0..255",
            where=name,
            hint="multiply mean and std by 255 if the network was trained on pixels 0..1",
        )


def origin_tables(
    terms: License | None, origin: str, files: Mapping[str, Path], folder: Path
) -> dict[str, Any]:
    """The tables "upstream" and "files" of a recipe.

    Args:
        terms: Terms of use; None if not stated.
        origin: Where the network comes from.
        files: Its files by role.
        folder: The folder that the recipe's paths are relative to.

    Raises:
        ConversionError: A file lies outside of the folder.
    """
    stated = terms or License(
        "not stated", "The terms of use were not stated when the model was adopted.\n"
    )
    license_table = {"name": stated.name, "url": origin, "words": stated.words}
    return {
        "upstream": {"repository": origin, "license": license_table},
        "files": {role: _pinned(path, folder) for role, path in files.items()},
    }


def _pinned(path: Path, folder: Path) -> dict[str, Any]:
    """A source file with its hashes.

    Raises:
        ConversionError: It lies outside of the recipe's folder.
    """
    try:
        place = path.resolve().relative_to(folder.resolve())
    except ValueError:
        raise ConversionError(
            "lies outside of the folder of the recipe",
            where=str(path),
            hint="write the recipe into the folder of the file, or one above it",
        ) from None
    return {
        "path": place.as_posix(),
        "git_blob_sha1": git_blob_sha1(path),
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
    }
