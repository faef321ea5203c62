"""The folders that models and settings of one user lie in. Standard library only."""

from __future__ import annotations

import importlib.machinery
import os
import sys
from pathlib import Path

__all__ = ["HOME_VARIABLE", "MODELS_PACKAGE", "installed_models", "user_models", "user_settings"]

HOME_VARIABLE = "MOBILEFACE_HOME"
"""Environment variable that names a folder with models."""

MODELS_PACKAGE = "mobileface_models"
"""Import package of a wheel that holds models and nothing else."""


def user_models() -> Path | None:
    """The user's own models folder by the custom of the system; None for a user without a home."""
    folder = _user_folder("XDG_DATA_HOME", ".local/share")
    return None if folder is None else folder / "models"


def user_settings() -> Path | None:
    """The folder of the user's settings by the custom of the system; None without a home."""
    return _user_folder("XDG_CONFIG_HOME", ".config")


def _user_folder(variable: str, below: str) -> Path | None:
    """The user's folder for this project: by an environment variable, or below the home."""
    if os.name == "nt":
        variable, below = "LOCALAPPDATA", "AppData/Local"
    elif sys.platform == "darwin":
        variable, below = "", "Library/Application Support"
    if os.environ.get(variable):
        return Path(os.environ[variable]) / "mobileface"
    try:
        return Path.home() / below / "mobileface"
    except RuntimeError:
        return None


def installed_models() -> Path | None:
    """The folder of an installed wheel of models; None if there is none. Nothing is imported."""
    found = importlib.machinery.PathFinder.find_spec(MODELS_PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(next(iter(found.submodule_search_locations)))
