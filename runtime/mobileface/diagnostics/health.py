"""Health check: verifies, offline, that this machine has all that mobileface needs.

`examine` checks one area after the other and yields findings. No problem stops it, not even a
package that cannot be imported. At import time, this module therefore needs only the standard
library; it imports everything else where it is checked.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import MobileFaceError
from ..host.environment import PACKAGES, package_version, vector_units
from ..host.machine import this_machine
from ..host.memory import memory_limit
from ..host.threads import VARIABLE, available_cpus, default_threads, spins
from .findings import FAILED, NOTE, OK, Finding

__all__ = ["examine"]

_OPENCVS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
"""Distributions that contain the same import package and overwrite each other."""

_MIN_PYTHON = (3, 10)
_MIN_GLIBC = (2, 28)
_ENOUGH_MEMORY = 256 << 20
"""Bytes that are enough for all tasks together, on photos of up to 1280×720."""


def examine(models: Path | None = None) -> Iterator[Finding]:
    """Checks all areas.

    Args:
        models: The folder with the models to check; None checks all models that are found
            automatically.
    """
    packages = list(_guarded("packages", _packages))
    yield from _guarded("python", _python)
    yield from packages
    yield from _guarded("machine", _cpus)
    yield from _guarded("machine", _memory)
    if any(finding.state == FAILED for finding in packages):
        why = "not checked, because a package cannot be imported"
        yield Finding("tasks", "all", FAILED, why)
        return
    from . import selftest  # imports the packages

    yield from _guarded("models", lambda: selftest.examine_models(models))
    yield from _guarded("tasks", lambda: selftest.examine_tasks(models))


def _guarded(area: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """The findings of one area; an error ends them with a finding of its own."""
    try:
        yield from look()
    except MobileFaceError as error:
        yield Finding(area, "error", FAILED, str(error))
    except Exception as error:  # the other areas must still be checked
        yield Finding(area, "error", FAILED, f"{type(error).__name__}: {error}")


def _python() -> Iterator[Finding]:
    version, bits = platform.python_version(), 8 * struct.calcsize("P")
    text = f"{platform.python_implementation()} {version}, {bits} bits, {platform.platform()}"
    data = {"version": version, "bits": bits, "executable": sys.executable}
    state, hint = OK, ""
    if sys.version_info < _MIN_PYTHON:
        state, hint = FAILED, f"Python {'.'.join(map(str, _MIN_PYTHON))} or newer is needed"
    elif bits < 64:
        state, hint = FAILED, "ONNX Runtime has no wheels for 32 bits: install a 64-bit system"
    yield Finding("python", "python", state, text, hint, data)
    library, release = platform.libc_ver()
    numbers = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
    if sys.platform != "linux":
        return
    if library != "glibc":
        hint = "wheels of ONNX Runtime need glibc 2.28: use Debian, Raspberry Pi OS or Ubuntu"
        yield Finding("python", "libc", NOTE, library or "no glibc (musl?)", hint)
    elif numbers < _MIN_GLIBC:
        hint = "wheels of ONNX Runtime need glibc 2.28: upgrade the system"
        yield Finding("python", "libc", NOTE, f"glibc {release}", hint)
    else:
        yield Finding("python", "libc", OK, f"glibc {release}")


def _packages() -> Iterator[Finding]:
    wanted = _requirements()
    for distribution, module in PACKAGES.items():
        found = package_version(distribution)
        least = wanted.get(distribution, "")
        data = {"version": found, "required": least}
        try:
            importlib.import_module(module)
        except Exception as error:  # a wheel for another machine may raise any exception
            hint = f"pip install '{distribution}{'>=' if least else ''}{least}'"
            if "libGL" in str(error):
                hint = "pip uninstall opencv-python; " + hint
            yield Finding("packages", distribution, FAILED, f"{error}", hint, data)
            continue
        state, hint = OK, ""
        if found and least and _numbers(found) < _numbers(least):
            state, hint = FAILED, f"pip install '{distribution}>={least}'"
        text = found or "installed, unknown version"
        yield Finding("packages", distribution, state, text, hint, data)
    several = [name for name in _OPENCVS if package_version(name)]
    if len(several) > 1:
        hint = f"pip uninstall {' '.join(several)}, then pip install opencv-python-headless"
        text = f"{' and '.join(several)} overwrite each other's files"
        yield Finding("packages", "opencv", NOTE, text, hint)


def _requirements() -> dict[str, str]:
    """The minimum version of each package, as declared by the installed distribution."""
    try:
        lines = importlib.metadata.requires("mobileface") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    matches = (re.match(r"([\w.-]+)\s*>=\s*([\w.]+)", line) for line in lines if ";" not in line)
    return {match[1]: match[2] for match in matches if match}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _cpus() -> Iterator[Finding]:
    machine = this_machine()
    features = vector_units(machine)
    text = ", ".join(filter(None, [machine.name, machine.cpu, " ".join(features)]))
    data: dict[str, object] = {"machine": machine.name, "cpu": machine.cpu, "features": features}
    yield Finding("machine", "cpu", OK, text, data=data)
    there, usable = os.cpu_count() or 1, available_cpus()
    threads = default_threads()
    spinning = spins(threads)
    text = f"{usable} of {there} CPUs may be used; {threads} threads per model"
    text += f" ({VARIABLE})" if os.environ.get(VARIABLE) else ""
    data = {"cpus": there, "usable": usable, "threads": threads, "spinning": spinning}
    state, hint = OK, ""
    if threads > usable:
        state, hint = NOTE, f"more threads than CPUs make inference slower: unset {VARIABLE}"
    yield Finding("machine", "threads", state, text, hint, data)


def _memory() -> Iterator[Finding]:
    limit = memory_limit()
    if limit is None:
        return
    state, hint = OK, ""
    if limit < _ENOUGH_MEMORY:
        state = NOTE
        hint = (
            f"all tasks together need up to {_ENOUGH_MEMORY >> 20} MiB: "
            "use fewer tasks or smaller images"
        )
    yield Finding(
        "machine", "memory", state, f"{limit >> 20} MiB may be used", hint, {"bytes": limit}
    )
