"""The folders of a user's models, settings and caches. Standard library only."""

from __future__ import annotations

import contextlib
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
"""Environment variable with the path of a folder with models."""

MODELS_PACKAGE = "mobileface_models"
"""Import package of a wheel that contains only models."""


_FOLDERS = {
    "data": ("XDG_DATA_HOME", ".local/share", "Library/Application Support"),
    "settings": ("XDG_CONFIG_HOME", ".config", "Library/Application Support"),
    "caches": ("XDG_CACHE_HOME", ".cache", "Library/Caches"),
}
"""By purpose: the variable and the default folder of the XDG specification, and the folder on
macOS; Windows has one folder for all."""


def user_models() -> Path | None:
    """The user's models folder by the convention of the system; None without a home folder."""
    folder = _user_folder("data")
    return None if folder is None else folder / "models"


def user_settings() -> Path | None:
    """The user's settings folder by the convention of the system; None without a home folder."""
    return _user_folder("settings")


def tuning_file() -> Path | None:
    """The settings file of ``mobileface tune``; None without a home folder."""
    folder = user_settings()
    return None if folder is None else folder / "tuning.json"


def default_cache_dir() -> Path:
    """``MOBILEFACE_CACHE`` if set, else the folder ``mobileface`` in the user's cache folder.

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
    """The folder of an installed models wheel, found without importing it; None if not found."""
    found = importlib.machinery.PathFinder.find_spec(MODELS_PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(next(iter(found.submodule_search_locations)))


def _user_folder(purpose: str) -> Path | None:
    """The user's folder for mobileface: from an environment variable, or in the home folder.

    A variable with a relative path is ignored, as required by the XDG specification. A home folder
    that the process may not enter counts as none: systemd's ``ProtectHome=yes`` makes it so.
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
        folder = Path.home() / below / "mobileface"
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            folder.lstat()
    except (RuntimeError, PermissionError):
        return None
    return folder
