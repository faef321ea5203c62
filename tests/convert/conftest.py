"""A source folder made of random networks, laid out like the upstream repository."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from tests import networks

from mobileface_convert.recipe import Recipe, load_recipe
from mobileface_convert.source import SourceFile, git_blob_sha1

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
