"""What the conversion tests share: oracles, and a source folder made of random networks."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest

from mobileface_convert.recipes.recipe import Recipe, load_recipe
from mobileface_convert.sources.files import SourceFile, git_blob_sha1
from tests import networks
from tests.conftest import unavailable

RandomRecipe = Callable[[int], Recipe]


@pytest.fixture(scope="session")
def random_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random V1, V2 and V3 checkpoints under the paths of the real ones."""
    root = tmp_path_factory.mktemp("upstream")
    for version in (1, 2, 3):
        folder = root / "MobileFace_Identification"
        networks.save(
            networks.identification(version), folder, f"MobileFace_Identification_V{version}"
        )
    return root


@pytest.fixture(scope="session")
def random_recipe(random_source: Path) -> RandomRecipe:
    """The recipe of a version with the hashes of the random files in place of the real ones."""

    def make(version: int) -> Recipe:
        recipe = load_recipe(f"identification_v{version}")
        files = {}
        for role, file in recipe.files.items():
            path = random_source / file.path
            files[role] = SourceFile(file.path, git_blob_sha1(path), path.stat().st_size)
        return dataclasses.replace(recipe, files=files)

    return make


@pytest.fixture(scope="session")
def dlib() -> ModuleType:
    """dlib, the oracle of its own models; ``pip install dlib-bin`` needs no compiler."""
    try:
        return importlib.import_module("dlib")
    except ImportError:
        unavailable("no dlib: pip install '.[reference]' on x86-64 Linux")


@pytest.fixture(scope="session")
def source_root(source: Path) -> Path:
    """The folder with the real files; skips, or fails in CI, where it is absent."""
    if not source.is_dir():
        unavailable("no MobileFace files: set MOBILEFACE_SOURCE to a checkout")
    return source


@pytest.fixture(scope="session")
def noise() -> npt.NDArray[np.uint8]:
    """(120, 160) uint8, smooth enough that neighbouring pixels resemble each other."""
    waves = np.random.default_rng(0).standard_normal((120, 160)).cumsum(axis=0).cumsum(axis=1)
    waves -= waves.min()
    return np.asarray(255 * waves / waves.max(), np.uint8)
