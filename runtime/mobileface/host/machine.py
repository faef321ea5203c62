"""Detects the machine's architecture and CPU features, which select the variant of a model.

The sources are ``/proc/cpuinfo`` on Linux, ``sysctl`` on macOS and ``IsProcessorFeaturePresent`` on
Windows. Features that cannot be read count as absent, so that the portable variant is selected.
Standard library only.
"""

from __future__ import annotations

import functools
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from .system_files import read_system_file

__all__ = [
    "ANYWHERE",
    "Condition",
    "Machine",
    "integer_sums_overflow",
    "read_machine",
    "this_machine",
]

_NAMES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
"""Alternative names of architectures."""

_MACOS = {"hw.optional.avx2_0": "avx2", "hw.optional.avx512f": "avx512f"}
_WINDOWS = {40: "avx2", 41: "avx512f"}
"""Feature numbers of ``IsProcessorFeaturePresent``."""


_VNNI = frozenset({"avx512_vnni", "avx_vnni"})
"""Features of x86 CPUs that accumulate products of uint8 and int8 in 32 bits."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Architecture and CPU of a machine.

    Attributes:
        name: The architecture: "x86_64", "aarch64" or another name given by the system.
        features: CPU features, as named by Linux: "avx2", "avx512f", "asimd".
        cpu: Human-readable name of the CPU or board; may be empty.
    """

    name: str
    features: frozenset[str] = frozenset()
    cpu: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """The machines that a variant runs on.

    Attributes:
        machines: Allowed architectures; empty allows any.
        features: CPU features that are all required.
    """

    machines: tuple[str, ...] = ()
    features: tuple[str, ...] = ()

    def refusal(self, machine: Machine) -> str:
        """Why a machine does not meet the condition; empty if it does."""
        if self.machines and machine.name not in self.machines:
            return f"for {' or '.join(self.machines)}, this is {machine.name or 'unknown'}"
        absent = [feature for feature in self.features if feature not in machine.features]
        return f"needs a CPU with {', '.join(absent)}" if absent else ""

    def __str__(self) -> str:
        words = [" or ".join(self.machines), " and ".join(self.features)]
        return " with ".join(filter(None, words)) or "any machine"


def integer_sums_overflow(machine: Machine) -> bool:
    """True if int8 arithmetic may overflow: x86 without VNNI accumulates in 16 bits."""
    return machine.name == "x86_64" and not machine.features & _VNNI


ANYWHERE = Condition()
"""The condition of a portable variant."""


@functools.lru_cache(maxsize=1)
def this_machine() -> Machine:
    """The machine that this process runs on."""
    return read_machine(_machine_name(), sys.platform)


def _machine_name() -> str:
    """The result of `platform.machine`, if possible without importing that module."""
    if hasattr(os, "uname"):
        return os.uname().machine
    import platform

    return platform.machine()


def read_machine(name: str, system: str, root: Path = Path("/")) -> Machine:
    """Reads the CPU and its features.

    Args:
        name: Value of `platform.machine`.
        system: Value of `sys.platform`.
        root: Folder that contains ``proc`` and ``sys``.
    """
    name = _NAMES.get(name.lower(), name.lower())
    if system == "darwin":
        features = frozenset(word for key, word in _MACOS.items() if _sysctl(key))
        return Machine(name, features, _sysctl_text("machdep.cpu.brand_string"))
    if system == "win32":
        import platform

        return Machine(name, _windows_features(), platform.processor())
    fields = _cpuinfo(root)
    # The field is "flags" on x86 and "Features" on ARM; in an emulator the file is the host's.
    words = fields.get("flags", "") if name == "x86_64" else fields.get("features", "")
    board = read_system_file(root / "sys/firmware/devicetree/base/model").strip("\0\n ")
    cpu = board or fields.get("model name", "") or _arm_part(fields)
    return Machine(name, frozenset(words.split()), cpu)


def _cpuinfo(root: Path) -> dict[str, str]:
    """The fields of the first CPU, by their lower-case names."""
    first = read_system_file(root / "proc/cpuinfo").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _arm_part(fields: dict[str, str]) -> str:
    """Name of an ARM CPU by its implementer and part numbers; empty if unknown."""
    numbers = [fields.get("cpu implementer", ""), fields.get("cpu part", "")]
    return f"ARM {' '.join(numbers)}" if all(numbers) else ""


def _sysctl(name: str) -> int:
    """An integer value of macOS's ``sysctl``; 0 if the name is unknown."""
    import ctypes

    value, size = ctypes.c_int(0), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int))
    library = ctypes.CDLL(None)
    failed = library.sysctlbyname(
        name.encode(), ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0)
    )
    return 0 if failed else value.value


def _sysctl_text(name: str) -> str:
    """A text value of macOS's ``sysctl``; empty if the name is unknown."""
    import ctypes

    value = ctypes.create_string_buffer(256)
    size = ctypes.c_size_t(len(value))
    library = ctypes.CDLL(None)
    failed = library.sysctlbyname(
        name.encode(), value, ctypes.byref(size), None, ctypes.c_size_t(0)
    )
    return "" if failed else value.value.decode("ascii", "replace")


def _windows_features() -> frozenset[str]:
    import ctypes

    kernel = getattr(ctypes, "windll", None)  # Windows only
    if kernel is None:
        return frozenset()
    present = kernel.kernel32.IsProcessorFeaturePresent
    return frozenset(word for number, word in _WINDOWS.items() if present(number))
