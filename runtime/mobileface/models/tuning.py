"""The settings that ``mobileface tune`` found best for this machine, stored and used.

One file for all machines that share a home folder::

    {"schema": 1,
     "machines": {"AMD EPYC, x86_64, 2 CPUs, onnxruntime 1.32.0": {
         "<sha256 of the model's own file>": {
             "model": "identification_v2", "variant": "fp32", "sha256": "<of that variant>",
             "threads": 2, "spinning": true, "batch": 8,
             "median_ms": 0.61, "default_ms": 0.95}}}}

A setting counts for the machine, the number of usable CPUs, the version of ONNX Runtime and the
model that it was measured with, and for nothing else: where one of them is another, the default is
used. So it is where the caller names a precision, a variant or any session option, or
``MOBILEFACE_THREADS`` is set. A file that cannot be used is ignored with a warning; ``mobileface
tune`` writes a new one, ``mobileface tune --reset`` removes it. Standard library only.
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
_MOST_BYTES = 1 << 22
"""Of the file; more is damage."""

_LARGEST = 9999

Settings = dict[str, "Setting"]
"""Settings by the SHA-256 of a model's own file."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How one model runs best on one machine.

    Attributes:
        model: Its name, for people.
        variant: Name of the variant to run.
        sha256: Hash of that variant's file.
        threads: Threads inside an operator.
        spinning: Whether they wait for work in a busy loop.
        batch: Faces a run, for tasks that take several.
        median_ms: Milliseconds that a face took with it.
        default_ms: Milliseconds that a face took without.
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
        """What a session is told."""
        return {
            "intra_op_num_threads": self.threads,
            "spinning": self.spinning,
            "batch": self.batch,
        }


def machine_key(runtime: str) -> str:
    """What settings belong to, in one line: CPU, usable CPUs, ONNX Runtime's version."""
    machine = this_machine()
    name = machine.cpu or "unknown CPU"
    return f"{name}, {machine.name}, {available_cpus()} CPUs, onnxruntime {runtime}"


def setting_for(stored: StoredModel, runtime: str) -> Setting | None:
    """The stored setting for a model on this machine; None if there is none that counts.

    Warns of a file that cannot be used, and of a setting for a variant that has changed since.

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
        f"{path}: {stored.name} was tuned with another '{setting.variant}' variant; ignored, "
        "run 'mobileface tune' again",
        stacklevel=2,
    )
    return None


def read_tuning() -> dict[str, Settings]:
    """All stored settings, by machine; none if there is no file.

    Raises:
        TuningError: The file cannot be read, or is no such file.
    """
    path = tuning_file()
    if path is None:
        return {}
    try:
        with path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise TuningError(f"cannot be read ({reason(error)})", where=str(path)) from error
    try:
        if len(content) > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES} bytes")
        return _checked(json.loads(content))
    except (ValueError, TypeError, RecursionError) as error:
        raise TuningError(
            f"no stored settings ({error})",
            where=str(path),
            hint="'mobileface tune' writes new ones, 'mobileface tune --reset' removes them",
        ) from error


def store_tuning(machine: str, settings: Mapping[str, Setting]) -> Path:
    """Stores settings of one machine beside those that are there; a damaged file is replaced.

    Returns:
        The file.

    Raises:
        OutputError: It cannot be written.
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
    """Removes the file.

    Returns:
        The file; None if there was none.

    Raises:
        OutputError: It cannot be removed.
    """
    path = tuning_file()
    if path is None:
        return None
    try:
        path.unlink()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"cannot be removed ({reason(error)})", where=str(path)) from error
    return path


def _checked(document: Any) -> dict[str, Settings]:
    """The settings of a file's content.

    Raises:
        ValueError: It is not of this form.
        TypeError: The same.
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
        raise TypeError(f"a {type(value).__name__} in place of an object")
    return value


def _setting(item: Any) -> Setting:
    names = [field.name for field in fields(Setting)]
    if set(_mapping(item)) != set(names):
        raise ValueError(f"a setting must have the fields {', '.join(names)}")
    kinds = {"model": str, "variant": str, "sha256": str, "spinning": bool}
    for name in names:
        value = item[name]
        if name in kinds:
            right = isinstance(value, kinds[name])
        else:
            right = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        if name in ("threads", "batch"):
            right = right and isinstance(value, int) and value <= _LARGEST
        if not right:
            raise ValueError(f"{name} is {str(value)[:40]!r}")
    return Setting(**item)
