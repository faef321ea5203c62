"""``index.json``: which models a folder holds, and what their content must be.

::

    {"schema": 2,
     "models": {"identification_v2": {
         "file": "identification_v2.onnx", "sha256": "…", "bytes": 3517000,
         "task": "embedding", "preference": 30,
         "certificate": "identification_v2.certificate.json",
         "precision": "fp32",
         "variants": [{"name": "fp32_x86", "precision": "fp32",
                       "file": "identification_v2.fp32_x86.onnx", "sha256": "…", "bytes": …,
                       "certificate": "identification_v2.fp32_x86.certificate.json",
                       "condition": {"machines": ["x86_64"], "features": ["avx2"]}},
                      {"name": "int8", "precision": "int8", …, "condition": {}}]}}}

A model is one network in one or more files. Its own file, ``file``, runs everywhere. ``variants``
are other files with the same network, made for another precision or for some machines: the runtime
takes the first of them that has the precision asked for and whose ``condition`` this machine
fulfils (`mobileface.models.lookup`), and the model's own file where none does. ``condition`` names
kinds of machine, of which it must be one, and features of the CPU, which it must all have; without
either it holds everywhere. Embeddings of all variants of a model can be compared with each other.

To add a variant: one entry in ``variants`` with the file and its certificate beside it. The
converter does that for every variant that `mobileface_convert.build.variants` plans, the special
before the general.

Schema 1 had no ``precision`` and no ``variants``; it is read as fp32 without variants. The
converter writes the file, the runtime reads it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelIntegrityError
from ..host.files import write_aside
from ..host.machine import ANYWHERE, Condition

__all__ = ["INDEX_FILE", "PRECISIONS", "IndexEntry", "Variant", "read_index", "write_index"]

INDEX_FILE = "index.json"

PRECISIONS = ("fp32", "fp16", "int8")
"""What a network is stored in: fp32; fp16, computed in fp32; int8, computed in int8."""

_SCHEMA = 2
_FILE_TYPES: dict[str, type] = {"file": str, "sha256": str, "bytes": int, "certificate": str}
_OLD_TYPES = {**_FILE_TYPES, "task": str, "preference": int}
_TYPES = {
    1: _OLD_TYPES,
    2: {**_OLD_TYPES, "precision": str, "variants": list},
}
"""Fields of a model, by schema."""

_VARIANT_TYPES = {"name": str, "precision": str, **_FILE_TYPES, "condition": dict}
_CONDITION_FIELDS = ("machines", "features")


@dataclass(frozen=True, slots=True)
class Variant:
    """One file with a model's network.

    Attributes:
        name: What it is called among the variants of its model, e.g. "fp32_x86".
        precision: One of `PRECISIONS`.
        file: Name of the ONNX file in the folder.
        sha256: Hash of its content, in hexadecimal.
        bytes: Its size.
        certificate: Name of the certificate file in the folder.
        condition: Where it may be picked.
    """

    name: str
    precision: str
    file: str
    sha256: str
    bytes: int
    certificate: str
    condition: Condition = ANYWHERE


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One model of a folder.

    Attributes:
        file: Name of its own file in the folder: the variant that runs everywhere.
        sha256: Hash of its content, in hexadecimal.
        bytes: Its size.
        task: What the model does.
        preference: Of several models for a task, the highest is the default.
        certificate: Name of the certificate file in the folder.
        precision: What its own file is stored in, one of `PRECISIONS`.
        variants: Other files of it, in the order in which they are considered.
    """

    file: str
    sha256: str
    bytes: int
    task: str
    preference: int
    certificate: str
    precision: str = PRECISIONS[0]
    variants: tuple[Variant, ...] = ()

    @property
    def all_variants(self) -> tuple[Variant, ...]:
        """Every file of the model in the order in which they are considered, its own last."""
        own = Variant(
            self.precision, self.precision, self.file, self.sha256, self.bytes, self.certificate
        )
        return (*self.variants, own)


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
    if not isinstance(models, dict) or type(schema) is not int or schema not in _TYPES:
        raise ModelIntegrityError(
            f"not a model index of schema {' or '.join(map(str, _TYPES))}",
            where=str(path),
            hint="convert the models anew",
        )
    return {name: _entry(item, schema, f"{path}, {name}") for name, item in models.items()}


def write_index(folder: Path, models: Mapping[str, IndexEntry]) -> None:
    """Writes a folder's index, sorted by name.

    Raises:
        OutputError: It cannot be written.
    """
    items = {name: dataclasses.asdict(models[name]) for name in sorted(models)}
    for item in items.values():
        for variant in item["variants"]:
            condition = variant["condition"]
            variant["condition"] = {key: words for key, words in condition.items() if words}
    document = {"schema": _SCHEMA, "models": items}
    write_aside(folder / INDEX_FILE, json.dumps(document, indent=2) + "\n")


def _entry(item: Any, schema: int, where: str) -> IndexEntry:
    """One checked entry."""
    fields = _fields(item, _TYPES[schema], where)
    listed = fields.pop("variants", [])
    variants = tuple(
        _variant(variant, f"{where}, variants[{number}]") for number, variant in enumerate(listed)
    )
    entry = IndexEntry(**fields, variants=variants)
    for kind in ("name", "file"):
        values = [getattr(variant, kind) for variant in entry.all_variants]
        for value in values:
            if values.count(value) > 1:
                raise ModelIntegrityError(f"two variants have the {kind} {value!r}", where=where)
    return entry


def _variant(item: Any, where: str) -> Variant:
    """One checked variant."""
    fields = _fields(item, _VARIANT_TYPES, where)
    return Variant(**{**fields, "condition": _condition(fields["condition"], where)})


def _condition(item: Mapping[str, Any], where: str) -> Condition:
    """A checked condition.

    A field that this version does not know might be one that this machine does not fulfil.
    """
    for field, words in item.items():
        known = field in _CONDITION_FIELDS and isinstance(words, list)
        if not known or not all(isinstance(word, str) for word in words):
            raise ModelIntegrityError(
                f"condition {field!r} is none of {', '.join(_CONDITION_FIELDS)} with a list of "
                "words",
                where=where,
                hint="upgrade mobileface",
            )
    return Condition(**{field: tuple(words) for field, words in item.items()})


def _fields(item: Any, types: Mapping[str, type], where: str) -> dict[str, Any]:
    """Fields of the right types that name no file outside the folder."""
    if not isinstance(item, dict) or set(item) != set(types):
        raise ModelIntegrityError(f"must have the fields {', '.join(types)}", where=where)
    for field, kind in types.items():
        if not isinstance(item[field], kind) or isinstance(item[field], bool):
            raise ModelIntegrityError(f"{field} {item[field]!r} is no {kind.__name__}", where=where)
    for field in ("file", "certificate"):
        name = item[field]
        if Path(name).name != name or name in ("", "..") or not name.isprintable():
            raise ModelIntegrityError(f"{field} {name!r} is no plain name", where=where)
    if item.get("precision", PRECISIONS[0]) not in PRECISIONS:
        raise ModelIntegrityError(
            f"precision {item['precision']!r} is none of {', '.join(PRECISIONS)}", where=where
        )
    return dict(item)
