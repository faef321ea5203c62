"""The folders that models of one user lie in. Standard library only."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["HOME_VARIABLE", "user_models"]

HOME_VARIABLE = "MOBILEFACE_HOME"
"""Environment variable that names a folder with models."""


def user_models() -> Path | None:
    """The user's own models folder by the custom of the system; None for a user without a home."""
    variable, below = "XDG_DATA_HOME", ".local/share"
    if os.name == "nt":
        variable, below = "LOCALAPPDATA", "AppData/Local"
    elif sys.platform == "darwin":
        variable, below = "", "Library/Application Support"
    if os.environ.get(variable):
        return Path(os.environ[variable]) / "mobileface" / "models"
    try:
        return Path.home() / below / "mobileface" / "models"
    except RuntimeError:
        return None
