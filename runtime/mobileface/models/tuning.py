"""Stores and reads the settings that ``mobileface tune`` found to be the fastest.

All machines that share a home folder use one file::

    {"schema": 1,
     "machines": {"AMD EPYC, x86_64, 2 CPUs, onnxruntime 1.32.0": {
         "<sha256 of the model's own file>": {
             "model": "identification_v2", "variant": "fp32", "sha256": "<of that variant>",
             "threads": 2, "spinning": true, "batch": 8,
             "median_ms": 0.61, "default_ms": 0.95}}}}

A setting applies only to the machine, number of usable CPUs, version of ONNX Runtime and model that
it was measured with; if one of them differs, the default is used. The default is also used if the
caller passes a precision, a variant or any session option, or if ``MOBILEFACE_THREADS`` is set. An
invalid file is ignored with a warning; ``mobileface tune`` writes a new one, ``mobileface tune
--reset`` deletes it. Uses only the standard library.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import OutputError, TuningError
from ..host.files import reason, write_aside
from ..host.machine import this_machine
from ..host.places import tuning_file
from ..host.threads import VARIABLE, available_cpus
from .lookup import StoredModel

__all__ = [
    "Setting",
    "machine_key",
    "read_tuning",
    "remove_tuning",
    "setting_for",
    "store_tuning",
]

_SCHEMA = 1
_MAX_BYTES = 1 << 22
"""Maximum size of the file; a larger file is invalid."""

_MAX_COUNT = 9999
"""Maximum number of threads, and maximum batch size."""

Settings = dict[str, "Setting"]
"""Settings by the SHA-256 of a model's own file."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The fastest setting of a model on a machine.

    Attributes:
        model: Name of the model, for information.
        variant: Name of the variant to run.
        sha256: SHA-256 of the variant's file.
        threads: Number of threads per operator.
        spinning: Whether threads busy-wait for work.
        batch: Batch size, for tasks that support batches.
        median_ms: Milliseconds per face with this setting.
        default_ms: Milliseconds per face with the default setting.
    """

    model: str
    variant: str
    sha256: str
    threads: int
    spinning: bool
    batch: int
    median_ms: float
    default_ms: float

    @property
    def session_options(self) -> dict[str, Any]:
        """The keyword arguments of `Session`."""
        return {
            "intra_op_num_threads": self.threads,
            "spinning": self.spinning,
            "batch": self.batch,
        }


def machine_key(runtime: str) -> str:
    """The key of a machine's settings: CPU, number of usable CPUs and ONNX Runtime version."""
    machine = this_machine()
    name = machine.cpu or "unknown CPU"
    return f"{name}, {machine.name}, {available_cpus()} CPUs, onnxruntime {runtime}"


def setting_for(stored: StoredModel, runtime: str) -> Setting | None:
    """The stored setting for a model on this machine; None if there is no applicable setting.

    Warns about an invalid file, and about a setting for a variant that has changed since.

    Args:
        stored: The model.
        runtime: Version of ONNX Runtime.
    """
    path = tuning_file()
    if path is None or os.environ.get(VARIABLE) is not None or not path.is_file():
        return None
    try:
        setting = read_tuning().get(machine_key(runtime), {}).get(stored.entry.sha256)
    except TuningError as error:
        warnings.warn(f"{error}; ignored", stacklevel=2)
        return None
    if setting is None:
        return None
    for variant in stored.entry.all_variants:
        if (variant.name, variant.sha256) == (setting.variant, setting.sha256):
            return setting
    warnings.warn(
        f"{path}: ignored the setting of {stored.name}, because its '{setting.variant}' variant "
        "has changed; run 'mobileface tune' again",
        stacklevel=2,
    )
    return None


def read_tuning() -> dict[str, Settings]:
    """Reads all stored settings, by machine; empty if there is no file.

    Raises:
        TuningError: If the file cannot be read or is invalid.
    """
    path = tuning_file()
    if path is None:
        return {}
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise TuningError(f"cannot be read ({reason(error)})", where=str(path)) from error
    try:
        if len(content) > _MAX_BYTES:
            raise ValueError(f"more than {_MAX_BYTES} bytes")
        return _checked(json.loads(content))
    except (ValueError, TypeError, RecursionError) as error:
        raise TuningError(
            f"not a valid settings file ({error})",
            where=str(path),
            hint="'mobileface tune' writes a new one, 'mobileface tune --reset' deletes it",
        ) from error


def store_tuning(machine: str, settings: Mapping[str, Setting]) -> Path:
    """Adds settings of a machine to the stored ones; an invalid file is replaced.

    Returns:
        Path of the file.

    Raises:
        OutputError: If the file cannot be written.
    """
    path = tuning_file()
    if path is None:
        raise OutputError("this user has no home folder", hint="set XDG_CONFIG_HOME")
    try:
        machines = read_tuning()
    except TuningError:
        machines = {}
    machines[machine] = {**machines.get(machine, {}), **settings}
    document = {
        "schema": _SCHEMA,
        "machines": {
            name: {sha256: asdict(setting) for sha256, setting in sorted(known.items())}
            for name, known in sorted(machines.items())
        },
    }
    write_aside(path, json.dumps(document, indent=2) + "\n")
    return path


def remove_tuning() -> Path | None:
    """Deletes the stored settings.

    Returns:
        Path of the file; None if it did not exist.

    Raises:
        OutputError: If the file cannot be deleted.
    """
    path = tuning_file()
    if path is None:
        return None
    try:
        path.unlink()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"cannot be deleted ({reason(error)})", where=str(path)) from error
    return path


def _checked(document: Any) -> dict[str, Settings]:
    """Checks the content of a file and returns its settings.

    Raises:
        ValueError: If a value is invalid.
        TypeError: If a value is not an object.
    """
    if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
        raise ValueError(f"not of schema {_SCHEMA}")
    machines = _mapping(document.get("machines"))
    return {
        machine: {sha256: _setting(item) for sha256, item in _mapping(known).items()}
        for machine, known in machines.items()
    }


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {type(value).__name__}")
    return value


def _setting(item: Any) -> Setting:
    names = [field.name for field in fields(Setting)]
    if set(_mapping(item)) != set(names):
        raise ValueError(f"a setting must have the fields {', '.join(names)}")
    kinds = {"model": str, "variant": str, "sha256": str, "spinning": bool}
    for name in names:
        value = item[name]
        if name in kinds:
            valid = isinstance(value, kinds[name])
        else:
            valid = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        if name in ("threads", "batch"):
            valid = valid and isinstance(value, int) and value <= _MAX_COUNT
        if not valid:
            raise ValueError(f"invalid {name} {str(value)[:40]!r}")
    return Setting(**item)
