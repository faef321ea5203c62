"""The folders of a user's models, settings and caches. Standard library only."""

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
"""Environment variable with the path of a folder with models."""

MODELS_PACKAGE = "mobileface_models"
"""Import package of a wheel that contains only models."""


def user_models() -> Path | None:
    """The user's models folder by the convention of the system; None without a home folder."""
    folder = _user_folder("XDG_DATA_HOME", ".local/share")
    return None if folder is None else folder / "models"


def user_settings() -> Path | None:
    """The user's settings folder by the convention of the system; None without a home folder."""
    return _user_folder("XDG_CONFIG_HOME", ".config")


def tuning_file() -> Path | None:
    """The settings file of ``mobileface tune``; None without a home folder."""
    folder = user_settings()
    return None if folder is None else folder / "tuning.json"


def _user_folder(variable: str, below: str) -> Path | None:
    """The user's folder for mobileface: from an environment variable, or in the home folder."""
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
    """The folder of an installed models wheel, found without importing it; None if not found."""
    found = importlib.machinery.PathFinder.find_spec(MODELS_PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(next(iter(found.submodule_search_locations)))


def default_cache_dir() -> Path:
    """``MOBILEFACE_CACHE`` if set, else the folder ``mobileface`` in the user's cache folder."""
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
    # By the XDG specification, relative paths are ignored.
    return caches if caches.is_absolute() else Path.home() / ".cache"
