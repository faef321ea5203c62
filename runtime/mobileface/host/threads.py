"""The number of CPUs that this process may use, and of threads to start.

A container or a systemd unit often allows fewer CPUs than the machine has. Starting one thread per
CPU of the machine then makes inference slower, not faster.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from ..errors import InputError
from .system_files import read_system_file

__all__ = [
    "VARIABLE",
    "available_cpus",
    "cgroup_folders",
    "check_threads",
    "default_threads",
    "most_threads",
    "spins",
]

VARIABLE = "MOBILEFACE_THREADS"
"""Environment variable that overrides the number of threads."""


def default_threads() -> int:
    """Number of threads of a session: `VARIABLE` if set, otherwise `available_cpus`.

    Raises:
        InputError: If the variable is not a whole number from 1 to `most_threads`.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        return available_cpus()
    most = most_threads()
    if not text.isdecimal() or len(text) > _DIGITS or not 1 <= int(text) <= most:
        raise InputError(
            f"'{text[:20]}' is not a whole number from 1 to {most}",
            where=VARIABLE,
            hint=f"at most {_PER_CPU} for each CPU; more only cost time and memory",
        )
    return int(text)


_PER_CPU = 4
"""Threads for each CPU that may be asked for: more than that gains nothing anywhere."""

_DIGITS = 9
"""Python reads longer numbers slowly, or refuses them."""


def most_threads() -> int:
    """The largest number of threads that a session may have on this machine."""
    return _PER_CPU * max(os.cpu_count() or 1, available_cpus())


def check_threads(number: int, name: str) -> int:
    """Checks a number of threads that a caller gives.

    Args:
        number: The number.
        name: Name of the argument, for messages.

    Raises:
        InputError: If it is below 1 or above `most_threads`.
    """
    if number < 1:
        raise InputError(f"{name} must be at least 1, not {number}")
    if number > (most := most_threads()):
        raise InputError(f"{name} must be at most {most} ({_PER_CPU} for each CPU), not {number}")
    return number


_FEW = 2
"""Up to this many threads, a spinning thread takes CPU time from threads that have work."""


def spins(threads: int, wanted: bool | None = None) -> bool:
    """Whether a session's threads spin (busy-wait for work) while a model runs.

    Args:
        threads: Number of threads of the session.
        wanted: The requested setting; None enables spinning for more than `_FEW` threads.
    """
    return threads > _FEW if wanted is None else wanted and threads > 1


def available_cpus(root: Path = Path("/")) -> int:
    """Number of CPUs that this process may use: CPU affinity, limited by the cgroup CPU quota.

    Args:
        root: Folder that contains ``proc`` and ``sys``.

    Returns:
        At least 1; a quota of 1.5 CPUs counts as 2.
    """
    # The standard library does not provide the affinity on macOS and Windows.
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    cpus = len(affinity) or os.cpu_count() or 1
    quota = _cgroup_quota(root)
    return max(1, cpus if quota is None else min(cpus, math.ceil(quota)))


def _cgroup_quota(root: Path) -> float | None:
    """The smallest CPU quota from the process's cgroup up to the root group, in CPUs."""
    quotas = [
        quota
        for folder in cgroup_folders(root, "cpu")
        for quota in (_quota_v2(folder), _quota_v1(folder))
        if quota is not None
    ]
    return min(quotas, default=None)


def cgroup_folders(root: Path, controller: str) -> list[Path]:
    """The folders of this process's cgroups, each followed by its parents up to the root group.

    Args:
        root: Folder that contains ``proc`` and ``sys``.
        controller: Hierarchy of cgroup version 1: "cpu" or "memory"; version 2 has only one.
    """
    found: list[Path] = []
    for line in read_system_file(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:  # version 2
            base = root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            base = root / "sys/fs/cgroup" / controller
        else:
            continue
        # In a container the path may be the host's: then only the base folder exists.
        group = base / path.strip("/")
        for folder in (group, *group.parents):
            found.append(folder)
            if folder == base:
                break
    return found


def _quota_v2(folder: Path) -> float | None:
    """``cpu.max``: quota and period in microseconds, or "max"."""
    return _ratio(*read_system_file(folder / "cpu.max").split())


def _quota_v1(folder: Path) -> float | None:
    """``cpu.cfs_quota_us`` over ``cpu.cfs_period_us``; -1 means no limit."""
    return _ratio(
        *read_system_file(folder / "cpu.cfs_quota_us").split(),
        *read_system_file(folder / "cpu.cfs_period_us").split(),
    )


def _ratio(*words: str) -> float | None:
    """Quota divided by period, or None without a limit."""
    if len(words) != 2 or not all(word.isdecimal() for word in words):
        return None
    quota, period = int(words[0]), int(words[1])
    return quota / period if quota > 0 and period > 0 else None
