"""Maker for the head pose model, which consists of a spec with its coefficients."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from mobileface.errors import ConversionError
from mobileface.models.kinds import PoseSpec
from mobileface.models.spec import ModelSpec

from ..frontends.pose_pickle import read_pose_coefficients
from ..oracles.verify import Agreement, compare_outputs
from ..recipes.recipe import Recipe
from .base import Built, Files, Maker

__all__ = ["MAKER"]


def _build(recipe: Recipe, files: Files) -> Built:
    """Builds the spec with the coefficients of the source file.

    Raises:
        ConversionError: If the file is not a pose model.
    """
    recipe.section(PoseSpec)
    rows = read_pose_coefficients(files["model"].read_bytes(), str(files["model"]))
    spec = recipe.spec.replace_section(coefficients=rows)
    content = json.dumps(spec.to_dict(), indent=2, allow_nan=False) + "\n"
    return Built(spec, content.encode(), suffix=".json")


def _agree(model: Path, recipe: Recipe, files: Files | None) -> Agreement:
    """Compares the coefficients of the written spec with those of the source file.

    Raises:
        ConversionError: If the source file is not given.
    """
    if files is None:
        raise ConversionError("the .dat file is needed to compare", where=recipe.name)
    written = ModelSpec.from_json(model.read_text(encoding="utf-8"), str(model))
    rows = read_pose_coefficients(files["model"].read_bytes(), str(files["model"]))
    return compare_outputs(
        np.asarray(written.require(PoseSpec).coefficients),
        np.asarray(rows),
        "the numbers of the source file",
    )


MAKER = Maker(_build, _agree)
