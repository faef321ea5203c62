"""Maker for head pose from a mesh: a spec with the shape that the recipe states."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobileface.errors import ConversionError
from mobileface.models.kinds import RigidPoseSpec
from mobileface.models.spec import ModelSpec
from mobileface.vision.head_rotation import best_rotation, pose_of

from ..oracles.verify import PROBE_COUNT, PROBE_SEED, Agreement, compare_outputs
from ..recipes.recipe import Recipe
from .base import Built, Files, Maker

__all__ = ["MAKER"]


def _build(recipe: Recipe, _: Files) -> Built:
    """The spec of the recipe; there are no source files."""
    recipe.section(RigidPoseSpec)
    content = json.dumps(recipe.spec.to_dict(), indent=2, allow_nan=False) + "\n"
    return Built(recipe.spec, content.encode(), suffix=".json")


def _agree(model: Path, recipe: Recipe, _: Files | None) -> Agreement:
    """Turns the stored shape by known angles and compares what is measured of it.

    Raises:
        ConversionError: The written spec is not the recipe's.
    """
    spec = ModelSpec.from_json(model.read_text(encoding="utf-8"), str(model))
    if spec.section != recipe.spec.section:
        raise ConversionError("the written spec is another one", where=str(model))
    random = np.random.RandomState(PROBE_SEED)
    expected = random.uniform((-60, -180, -80), (60, 180, 80), (PROBE_COUNT, 3))
    section, found = recipe.section(RigidPoseSpec), []
    shape = np.asarray(spec.require(RigidPoseSpec).reference, np.float64)
    for pitch, roll, yaw in expected:
        rotation = best_rotation(shape, _turned(section, pitch, roll, yaw))
        if rotation is None:
            raise ConversionError("the points of the shape lie on a line", where=recipe.name)
        pose = pose_of(rotation)
        found.append((pose.pitch, pose.roll, pose.yaw))
    rows, wanted = (np.asarray(values, np.float32) for values in (found, expected))
    return compare_outputs(rows, wanted, "the angles that its shape was turned by")


def _turned(
    section: RigidPoseSpec, pitch: float, roll: float, yaw: float
) -> npt.NDArray[np.float64]:
    """The shape turned about x, then y, then z, one plane after the other, and moved."""
    points = 100 * np.asarray(section.reference, np.float64)
    for angle, (one, other) in ((pitch, (1, 2)), (yaw, (2, 0)), (roll, (0, 1))):
        cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        first, second = points[:, one].copy(), points[:, other].copy()
        points[:, one] = cosine * first - sine * second
        points[:, other] = sine * first + cosine * second
    return np.asarray(points + np.array([320, 240, 0]), np.float64)


MAKER = Maker(_build, _agree)
"""Head pose by a rigid fit."""
