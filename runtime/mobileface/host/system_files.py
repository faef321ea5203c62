"""Reads files of the operating system: /proc, /sys and cgroups. Standard library only."""

from __future__ import annotations

from pathlib import Path

__all__ = ["read_system_file"]


def read_system_file(path: Path) -> str:
    """The text of a system file; empty if it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except (OSError, ValueError):  # ValueError: an invalid file name
        return ""
