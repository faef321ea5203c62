"""Files that the system writes: /proc, /sys and cgroups. Standard library only."""

from __future__ import annotations

from pathlib import Path

__all__ = ["read_system_file"]


def read_system_file(path: Path) -> str:
    """The text of a file of the system; empty if it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return ""
