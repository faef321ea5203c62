"""The folders that models, settings and caches of one user lie in. Standard library only."""

from __future__ import annotations

import importlib.machinery
import os
import sys
from pathlib import Path

from ..errors import OutputError

__all__ = [
    "HOME_VARIABLE",
    "MODELS_PACKAGE",
    "default_cache_dir",
    "installed_models",
    "tuning_file",
    "user_models",
    "user_settings",
]

HOME_VARIABLE = "MOBILEFACE_HOME"
"""Environment variable that names a folder with models."""

MODELS_PACKAGE = "mobileface_models"
"""Import package of a wheel that holds models and nothing else."""


_FOLDERS = {
    "data": ("XDG_DATA_HOME", ".local/share", "Library/Application Support"),
    "settings": ("XDG_CONFIG_HOME", ".config", "Library/Application Support"),
    "caches": ("XDG_CACHE_HOME", ".cache", "Library/Caches"),
}
"""For each purpose the variable and the default of the XDG specification, and the folder of macOS;
Windows has one folder for all."""


def user_models() -> Path | None:
    """The user's own models folder by the custom of the system; None for a user without a home."""
    folder = _user_folder("data")
    return None if folder is None else folder / "models"


def user_settings() -> Path | None:
    """The folder of the user's settings by the custom of the system; None without a home."""
    return _user_folder("settings")


def tuning_file() -> Path | None:
    """Where ``mobileface tune`` stores its settings; None for a user without a home."""
    folder = user_settings()
    return None if folder is None else folder / "tuning.json"


def default_cache_dir() -> Path:
    """``MOBILEFACE_CACHE``, or the folder ``mobileface`` among the user's caches.

    Raises:
        OutputError: If the variable is not set and the user has no home folder.
    """
    if configured := os.environ.get("MOBILEFACE_CACHE"):
        return Path(configured).expanduser()
    folder = _user_folder("caches")
    if folder is None:
        raise OutputError("this user has no home folder", hint="set MOBILEFACE_CACHE")
    return folder


def installed_models() -> Path | None:
    """The folder of an installed wheel of models; None if there is none. Nothing is imported."""
    found = importlib.machinery.PathFinder.find_spec(MODELS_PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(next(iter(found.submodule_search_locations)))


def _user_folder(purpose: str) -> Path | None:
    """The user's folder for this project: by an environment variable, or below the home.

    A variable that holds a relative path is ignored, as the XDG specification demands.
    """
    variable, below, on_macos = _FOLDERS[purpose]
    if os.name == "nt" or sys.platform == "win32":
        variable, below = "LOCALAPPDATA", "AppData/Local"
    elif sys.platform == "darwin":
        variable, below = "", on_macos
    base = Path(os.environ.get(variable, ""))
    if base.is_absolute():
        return base / "mobileface"
    try:
        return Path.home() / below / "mobileface"
    except RuntimeError:
        return None
