"""The recipe that ``mobileface-convert verify`` compares a model by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mobileface.errors import ConversionError
from mobileface.models.sealed import read_certificate

from ..recipes.recipe import Recipe, load_recipe, recipe_from

__all__ = ["recipe_for"]


def recipe_for(model: Path, named: str | None, source: Path | None) -> Recipe:
    """The named recipe, the one in the model's certificate, or the one with the file's name.

    Args:
        model: The model file.
        named: Name or TOML file of a recipe; None if not given.
        source: Folder with the files of an adopted model; None for that of its TOML file.

    Raises:
        ConversionError: There is no such recipe, it is invalid, or its files are nowhere.
        ModelIntegrityError: The model's certificate cannot be read.
    """
    if named is None:
        path = model.with_name(f"{model.stem}.certificate.json")
        document = _document(path)
        if document is None:
            return _from(load_recipe(model.stem), model.stem, source)
        if source is None:
            raise ConversionError(
                "the files that the model was made from are needed",
                where=str(model),
                hint="pass --source DIR, or its TOML file with --recipe",
            )
        return recipe_from(document, f"{path}, recipe", source)
    return _from(load_recipe(named), named, source)


def _from(recipe: Recipe, named: str, source: Path | None) -> Recipe:
    """The recipe with the folder of its files, if one is given.

    Raises:
        ConversionError: It is one of the package, whose files are given otherwise.
    """
    if source is None:
        return recipe
    if recipe.document is None:
        raise ConversionError(
            "--source is for adopted models", where=named, hint="pass --symbol and --params"
        )
    return recipe_from(recipe.document, named, source)


def _document(certificate: Path) -> dict[str, Any] | None:
    """The recipe in a certificate; None if it has none, or if there is no certificate.

    Raises:
        ModelIntegrityError: The certificate cannot be read.
    """
    if not certificate.exists():
        return None
    recipe = read_certificate(certificate).get("recipe")
    return recipe if isinstance(recipe, dict) else None
