"""``index.json``: the models of a folder, with the hashes of their files.

::

    {"schema": 2,
     "models": {"identification_v2": {
         "file": "identification_v2.onnx", "sha256": "…", "bytes": 3517000,
         "task": "embedding", "preference": 30,
         "certificate": "identification_v2.certificate.json",
         "precision": "fp32", "reason": "ranks a pair of one person …",
         "variants": [{"name": "fp32_x86", "precision": "fp32",
                       "file": "identification_v2.fp32_x86.onnx", "sha256": "…", "bytes": …,
                       "certificate": "identification_v2.fp32_x86.certificate.json",
                       "condition": {"machines": ["x86_64"], "features": ["avx2"]}},
                      {"name": "int8", "precision": "int8", …, "condition": {}}]}},
     "checksum": "…"}

A model is one network in one or more files. Its own file, ``file``, runs on every machine.
``variants`` are other files with the same network, for another precision or for certain machines.
The runtime uses the first variant with the requested precision whose ``condition`` this machine
meets (`mobileface.models.lookup`), otherwise the model's own file. ``condition`` lists the machines
that a variant is for, and the CPU features that it needs; an empty condition is always met.
Embeddings of all variants of a model can be compared with each other.

``reason`` says in a sentence which measured accuracy and time the preference rests on; it is left
out if the model was not measured against others.

To add a variant, add an entry to ``variants`` and put the file and its certificate next to the
index. The converter does this for the variants that `mobileface_convert.build.variants` plans,
specialised variants first. ``checksum`` (`mobileface.models.sealed`) finds damage; remove it from
an index that is edited by hand.

Schema 1 has no ``precision`` and no ``variants``; it is read as fp32 without variants. The
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
from ..host.files import check_inside, is_plain_name, write_aside
from ..host.machine import ANYWHERE, Condition
from .sealed import check_seal, sealed

__all__ = [
    "INDEX_FILE",
    "PRECISIONS",
    "IndexEntry",
    "Variant",
    "index_text",
    "read_index",
    "write_index",
]

INDEX_FILE = "index.json"

PRECISIONS = ("fp32", "fp16", "int8")
"""How a network is stored: fp32; fp16, computed in fp32; int8, computed in int8."""

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
        name: Name of the variant, e.g. "fp32_x86".
        precision: One of `PRECISIONS`.
        file: Name of the ONNX file in the folder.
        sha256: SHA-256 of the file, in hexadecimal.
        bytes: Size of the file.
        certificate: Name of the certificate file in the folder.
        condition: Machines that the variant can run on.
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
        file: Name of the model's own file, the variant that runs on every machine.
        sha256: SHA-256 of the file, in hexadecimal.
        bytes: Size of the file.
        task: Task of the model.
        preference: The model with the highest preference for a task is the default.
        certificate: Name of the certificate file in the folder.
        precision: Precision of the model's own file, one of `PRECISIONS`.
        variants: Other files of the model, in the order in which they are considered.
        reason: The measurements that the preference rests on, in a sentence; empty if none.
    """

    file: str
    sha256: str
    bytes: int
    task: str
    preference: int
    certificate: str
    precision: str = PRECISIONS[0]
    variants: tuple[Variant, ...] = ()
    reason: str = ""

    @property
    def all_variants(self) -> tuple[Variant, ...]:
        """All files in the order in which they are considered; the model's own file is last."""
        own = Variant(
            self.precision, self.precision, self.file, self.sha256, self.bytes, self.certificate
        )
        return (*self.variants, own)


def read_index(folder: Path) -> dict[str, IndexEntry]:
    """Reads the models in a folder's index, by name; empty without an index.

    Raises:
        ModelIntegrityError: If the index is invalid, its checksum is wrong, or it lists a file
            outside the folder, also by a symbolic link.
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
            hint="convert the models again",
        )
    check_seal(document, path)
    found = {}
    for name, item in models.items():
        if not is_plain_name(name):
            raise ModelIntegrityError(f"{name!r} is not a plain name", where=str(path))
        found[name] = _entry(item, schema, f"{path}, {name}")
        for variant in found[name].all_variants:
            for file in (variant.file, variant.certificate):
                check_inside(folder / file, folder)
    return found


def write_index(folder: Path, models: Mapping[str, IndexEntry]) -> None:
    """Writes the index of a folder, sorted by name.

    Raises:
        OutputError: If the index cannot be written.
    """
    write_aside(folder / INDEX_FILE, index_text(models))


def index_text(models: Mapping[str, IndexEntry]) -> str:
    """The text of an index, sorted by name."""
    items = {name: dataclasses.asdict(models[name]) for name in sorted(models)}
    for item in items.values():
        if not item["reason"]:
            del item["reason"]
        for variant in item["variants"]:
            condition = variant["condition"]
            variant["condition"] = {key: words for key, words in condition.items() if words}
    document = sealed({"schema": _SCHEMA, "models": items})
    return json.dumps(document, indent=2) + "\n"


def _entry(item: Any, schema: int, where: str) -> IndexEntry:
    """Checks one entry."""
    types = _TYPES[schema]
    if schema == _SCHEMA and isinstance(item, dict) and "reason" in item:
        types = {**types, "reason": str}
    fields = _fields(item, types, where)
    if not fields.get("reason", "").isprintable():
        raise ModelIntegrityError("the reason has unprintable characters", where=where)
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
    """Checks one variant."""
    fields = _fields(item, _VARIANT_TYPES, where)
    return Variant(**{**fields, "condition": _condition(fields["condition"], where)})


def _condition(item: Mapping[str, Any], where: str) -> Condition:
    """Checks a condition.

    Unknown fields are errors, because this machine may not meet them.
    """
    for field, words in item.items():
        known = field in _CONDITION_FIELDS and isinstance(words, list)
        if not known or not all(isinstance(word, str) for word in words):
            raise ModelIntegrityError(
                f"condition {field!r} is not one of {', '.join(_CONDITION_FIELDS)} with a list of "
                "strings",
                where=where,
                hint="upgrade mobileface",
            )
    return Condition(**{field: tuple(words) for field, words in item.items()})


def _fields(item: Any, types: Mapping[str, type], where: str) -> dict[str, Any]:
    """Checks the types of the fields, and that files are inside the folder."""
    if not isinstance(item, dict) or set(item) != set(types):
        raise ModelIntegrityError(f"must have the fields {', '.join(types)}", where=where)
    for field, kind in types.items():
        if not isinstance(item[field], kind) or isinstance(item[field], bool):
            raise ModelIntegrityError(
                f"{field} {item[field]!r} is not of type {kind.__name__}", where=where
            )
    for field in ("file", "certificate"):
        name = item[field]
        if not is_plain_name(name):
            raise ModelIntegrityError(f"{field} {name!r} is not a plain file name", where=where)
    if not is_plain_name(item.get("name", "-")):
        raise ModelIntegrityError(f"name {item['name']!r} is not a plain name", where=where)
    if item.get("precision", PRECISIONS[0]) not in PRECISIONS:
        raise ModelIntegrityError(
            f"precision {item['precision']!r} is not one of {', '.join(PRECISIONS)}", where=where
        )
    return dict(item)
