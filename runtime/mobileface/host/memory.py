"""The memory that this process may use. Standard library only."""

from __future__ import annotations

from pathlib import Path

from .system_files import read_system_file
from .threads import cgroup_folders

__all__ = ["memory_limit"]


def memory_limit(root: Path = Path("/")) -> int | None:
    """Memory that this process may use, in bytes: the available memory, limited by its cgroups.

    Args:
        root: Folder that contains ``proc`` and ``sys``.

    Returns:
        None if the system does not provide this value.
    """
    found = [_available(root), *(_group(folder) for folder in cgroup_folders(root, "memory"))]
    return min((value for value in found if value is not None), default=None)


def _available(root: Path) -> int | None:
    """``MemAvailable`` of ``/proc/meminfo``."""
    for line in read_system_file(root / "proc/meminfo").splitlines():
        words = line.split()
        if words[:1] == ["MemAvailable:"] and len(words) > 1 and words[1].isdecimal():
            return int(words[1]) * 1024
    return None


def _group(folder: Path) -> int | None:
    """Remaining memory of a cgroup (version 2 or 1) in bytes; None without a limit."""
    pairs = (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    )
    for most, used in pairs:
        limit, current = (read_system_file(folder / name).strip() for name in (most, used))
        if limit.isdecimal() and current.isdecimal():
            return max(0, int(limit) - int(current))
    return None
