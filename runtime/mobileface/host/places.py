"""The folders that models, settings and caches of one user lie in. Standard library only."""

from __future__ import annotations

import importlib.machinery
import os
import sys
from pathlib import Path

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


def user_models() -> Path | None:
    """The user's own models folder by the custom of the system; None for a user without a home."""
    folder = _user_folder("XDG_DATA_HOME", ".local/share")
    return None if folder is None else folder / "models"


def user_settings() -> Path | None:
    """The folder of the user's settings by the custom of the system; None without a home."""
    return _user_folder("XDG_CONFIG_HOME", ".config")


def tuning_file() -> Path | None:
    """Where ``mobileface tune`` stores its settings; None for a user without a home."""
    folder = user_settings()
    return None if folder is None else folder / "tuning.json"


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


def default_cache_dir() -> Path:
    """Returns ``MOBILEFACE_CACHE``, or the folder ``mobileface`` among the user's caches."""
    if configured := os.environ.get("MOBILEFACE_CACHE"):
        return Path(configured).expanduser()
    return _user_caches() / "mobileface"


def _user_caches() -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) if local else Path.home() / "AppData" / "Local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    caches = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification has relative paths ignored.
    return caches if caches.is_absolute() else Path.home() / ".cache"
