"""``index.json``: which models a folder holds, and what their content must be.

::

    {"schema": 1,
     "models": {"identification_v2": {"file": "identification_v2.onnx",
                                      "sha256": "…", "bytes": 3517000,
                                      "task": "embedding", "preference": 30,
                                      "certificate": "identification_v2.certificate.json"}}}

The converter writes it, the runtime reads it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ModelIntegrityError
from .files import write_aside

__all__ = ["INDEX_FILE", "IndexEntry", "read_index", "write_index"]

INDEX_FILE = "index.json"
_SCHEMA = 1
_TYPES: dict[str, type] = {
    "file": str,
    "sha256": str,
    "bytes": int,
    "task": str,
    "preference": int,
    "certificate": str,
}


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One model of a folder.

    Attributes:
        file: Name of the ONNX file in the folder.
        sha256: Hash of its content, in hexadecimal.
        bytes: Its size.
        task: What the model does.
        preference: Of several models for a task, the highest is the default.
        certificate: Name of the certificate file in the folder.
    """

    file: str
    sha256: str
    bytes: int
    task: str
    preference: int
    certificate: str


def read_index(folder: Path) -> dict[str, IndexEntry]:
    """The models that a folder's index lists, by name; none if there is no index.

    Raises:
        ModelIntegrityError: The index is no index, or names a file outside the folder.
    """
    path = folder / INDEX_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except NotADirectoryError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ModelIntegrityError(f"cannot be read ({error})", where=str(path)) from error
    models = document.get("models") if isinstance(document, dict) else None
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(models, dict) or type(schema) is not int or schema != _SCHEMA:
        raise ModelIntegrityError(
            f"not a model index of schema {_SCHEMA}",
            where=str(path),
            hint="convert the models anew",
        )
    return {name: _entry(item, f"{path}, {name}") for name, item in models.items()}


def write_index(folder: Path, models: Mapping[str, IndexEntry]) -> None:
    """Writes a folder's index, sorted by name.

    Raises:
        OutputError: It cannot be written.
    """
    items = {name: dataclasses.asdict(models[name]) for name in sorted(models)}
    document = {"schema": _SCHEMA, "models": items}
    write_aside(folder / INDEX_FILE, json.dumps(document, indent=2) + "\n")


def _entry(item: Any, where: str) -> IndexEntry:
    """One checked entry."""
    if not isinstance(item, dict) or set(item) != set(_TYPES):
        raise ModelIntegrityError(f"must have the fields {', '.join(_TYPES)}", where=where)
    for field, kind in _TYPES.items():
        if not isinstance(item[field], kind) or isinstance(item[field], bool):
            raise ModelIntegrityError(f"{field} {item[field]!r} is no {kind.__name__}", where=where)
    for field in ("file", "certificate"):
        name = item[field]
        if Path(name).name != name or name in ("", "..") or not name.isprintable():
            raise ModelIntegrityError(f"{field} {name!r} is no plain name", where=where)
    return IndexEntry(**item)
