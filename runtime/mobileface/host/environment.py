"""The environment that timings depend on: machine, usable CPUs and package versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from types import MappingProxyType

from .. import __version__
from .machine import Machine, this_machine
from .threads import available_cpus

__all__ = ["PACKAGES", "describe_environment", "package_version", "vector_units"]

PACKAGES: Mapping[str, str] = MappingProxyType(
    {"numpy": "numpy", "onnxruntime": "onnxruntime", "opencv-python-headless": "cv2"}
)
"""Packages that the runtime needs: distribution name and import name."""

_VECTOR_UNITS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "asimd",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
)
"""CPU features that determine how fast networks run, as named by Linux."""


def describe_environment() -> dict[str, object]:
    """Describes the environment as JSON types, without paths, user names or host names.

    Returns:
        ``machine`` ("x86_64"), ``cpu``, ``features`` (see `vector_units`), ``cpus`` (number of CPUs
        of the machine), ``cpus_usable`` (by affinity and cgroup quota), ``system`` (with its
        release), ``python``, ``mobileface``, and the version of each package.
    """
    machine = this_machine()
    return {
        "machine": machine.name,
        "cpu": machine.cpu,
        "features": vector_units(machine),
        "cpus": os.cpu_count() or 1,
        "cpus_usable": available_cpus(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "mobileface": __version__,
        **{name: package_version(name) for name in PACKAGES},
    }


def vector_units(machine: Machine) -> list[str]:
    """The features of a machine's CPU that determine how fast networks run."""
    return [word for word in _VECTOR_UNITS if word in machine.features]


def package_version(distribution: str) -> str:
    """The version of an installed distribution; empty if it has no metadata."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
