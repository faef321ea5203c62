"""The passphrase of an encrypted gallery; other users can see command lines."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import InputError
from ..host.files import reason
from .database import KEY_VARIABLE

__all__ = ["read_passphrase"]


def read_passphrase(path: Path | None) -> str | None:
    """The passphrase in a file, or without a file that of the environment; None without either.

    Raises:
        InputError: If the file cannot be read, or is empty.
    """
    if path is None:
        return os.environ.get(KEY_VARIABLE) or None
    try:
        key = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({reason(error)})", where=str(path)) from error
    if not key:
        raise InputError("contains no passphrase", where=str(path))
    return key
