"""What measured times depend on: the machine, what of it this process may use, and versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform

from .. import __version__
from .machine import this_machine
from .threads import available_cpus

__all__ = ["describe_environment"]

_PACKAGES = ("numpy", "onnxruntime", "opencv-python-headless")
_VECTOR_UNITS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "asimd", "asimddp", "i8mm", "sve")
"""Features of CPUs that decide how fast networks run, in the words of Linux."""


def describe_environment() -> dict[str, object]:
    """The machine as JSON types; names no path, user or host.

    Returns:
        ``machine`` ("x86_64"), ``cpu``, ``features`` (those that matter), ``cpus`` (in the
        machine), ``cpus_usable`` (by affinity and cgroup quota), ``system`` (with its release),
        ``python``, and the version of each package.
    """
    machine = this_machine()
    return {
        "machine": machine.name,
        "cpu": machine.cpu,
        "features": [word for word in _VECTOR_UNITS if word in machine.features],
        "cpus": os.cpu_count() or 1,
        "cpus_usable": available_cpus(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "mobileface": __version__,
        **{name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str:
    """The version of an installed package; empty if it was installed otherwise (from a system)."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
