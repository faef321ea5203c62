"""A folder laid out like the upstream repository, whose large files hold seeded random weights.

The published detector and attribute files are too large to keep. These have the same arrays under
the same names, so that the recipes convert them by the same commands.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from mobileface_convert.recipes.recipe import load_recipe
from tests import gluon_networks
from tests.gluon_networks import Block

__all__ = ["make_random_source", "source_file"]


def make_random_source(folder: Path, published: Path) -> dict[str, Block]:
    """Writes the files of detection_v1 (both kinds), detection_v2 and attribute_v1.

    Args:
        folder: Where they go.
        published: The published files; detection_v1's symbol comes from there.

    Returns:
        The networks whose weights they hold, by recipe.
    """
    networks = {
        "detection_v1": gluon_networks.make_detector(1, seed=1),
        "detection_v2": gluon_networks.make_detector(2, seed=2),
        "attribute_v1": gluon_networks.make_attribute(seed=3),
    }
    for name, network in networks.items():
        gluon_networks.save_structural(network, source_file(folder, name, "gluon"))
    symbol = source_file(folder, "detection_v1", "symbol")
    shutil.copyfile(published / symbol.relative_to(folder), symbol)
    params = source_file(folder, "detection_v1", "params")
    gluon_networks.save_published_checkpoint(networks["detection_v1"], params, symbol)
    return networks


def source_file(folder: Path, name: str, role: str) -> Path:
    """Where a recipe expects one of its files; the folder of it is made."""
    recipe = load_recipe(name)
    for candidate in (recipe, *recipe.alternatives):
        if role in candidate.files:
            path = folder / candidate.files[role].path
            path.parent.mkdir(parents=True, exist_ok=True)
            return path
    raise KeyError(f"{name} has no file '{role}'")
