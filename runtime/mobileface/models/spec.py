"""The spec of a model: all facts about it, stored in its ONNX file.

The converter writes a `ModelSpec` as JSON to the metadata entry ``mobileface.spec``; the runtime
reads it and has no other information about a model. Code that depends on the kind of model is in
`mobileface.models.kinds`. Uses only the standard library.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from .. import fields
from ..errors import ModelError, SpecError
from ..vision.network_input import ImageInput
from .kinds import (
    KINDS,
    Kind,
    kind_of,
    kinds_for,
    task_names,
)
from .sections import LandmarkBox, License, SourceFileSpec, SourceSpec

__all__ = [
    "METADATA_KEY",
    "SCHEMA",
    "ImageInput",
    "LandmarkBox",
    "License",
    "ModelSpec",
    "SourceFileSpec",
    "SourceSpec",
]

METADATA_KEY = "mobileface.spec"
"""Name of the ONNX metadata entry."""

SCHEMA = 1
"""Version of the JSON format; newer versions are rejected."""

_S = TypeVar("_S")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """All facts about one model.

    Attributes:
        name: Identifier, e.g. "identification_v2".
        task: Task of the model, e.g. "embedding" or "detection".
        title: One-line description.
        license: Terms of use of the weights.
        source: Origin of the weights.
        section: Facts that depend on the kind of model, e.g. a `YoloSpec`. In JSON, the key is the
            name of the kind.
        preference: The model with the highest preference for a task is the default.
        input: The image input, if the network has one of fixed size.
        landmark_box: For detectors, the square that landmark models expect, if it is not the box.
    """

    name: str
    task: str
    title: str
    license: License
    source: SourceSpec
    section: Any
    preference: int = 0
    input: ImageInput | None = None
    landmark_box: LandmarkBox | None = None

    @property
    def kind(self) -> Kind[Any]:
        """The kind of model."""
        return kind_of(self.section)

    @property
    def crop(self) -> str | None:
        """Name of the crop that the network expects, see `mobileface.vision.crops`."""
        return self.kind.crop(self.section)

    def get(self, section: type[_S]) -> _S | None:
        """The section if it has this type, otherwise None."""
        return self.section if isinstance(self.section, section) else None

    def require(self, section: type[_S], where: str = "") -> _S:
        """The section, checked to have this type.

        Args:
            section: The type.
            where: Name of the model in error messages; by default its name.

        Raises:
            ModelError: If the model is of another kind.
        """
        found = self.get(section)
        if found is None:
            wanted = next(kind for kind in KINDS if kind.section is section)
            what = f"the model's task is '{self.task}', not '{wanted.task}'"
            if self.task == wanted.task:
                what = f"the model's kind is '{self.kind.name}', not '{wanted.name}'"
            raise ModelError(what, where=where or self.name)
        return found

    def require_input(self) -> ImageInput:
        """The image input.

        Raises:
            SpecError: If the spec has no image input.
        """
        if self.input is None:
            raise SpecError("field 'input' is missing", where=self.name)
        return self.input

    def replace_section(self, **changes: Any) -> ModelSpec:
        """A copy of the spec with changed fields of its section."""
        section = dataclasses.replace(self.section, **changes)
        return dataclasses.replace(self, section=section)

    def to_dict(self) -> dict[str, Any]:
        """The spec as JSON types; `from_dict` reads them."""
        facts = fields.plain(self)
        facts.pop("section")
        box = facts.pop("landmark_box", None)
        facts[self.kind.name] = fields.plain(self.section)
        if box is not None:
            facts["landmark_box"] = box
        return {"schema": SCHEMA, **facts}

    def to_json(self) -> str:
        """The spec as one line of JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False)

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits; models whose outputs can be compared have the same ones.

        It is a hash of the weights' source and of the facts that determine inputs and outputs. It
        does not depend on name, licence or storage of the weights, nor on whether the network or
        its caller scales pixels and normalizes embeddings, or on how many images it takes at once.
        """
        facts = self.to_dict()
        for way in ("dtype", "layout", "batch"):
            facts.get("input", {}).pop(way, None)
        kept = {
            "source": facts["source"],
            "input": facts.get("input"),
            "embedding": self.kind.fingerprint(facts[self.kind.name]),
        }
        text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "spec") -> ModelSpec:
        """Creates a spec from the result of `to_dict`.

        Args:
            data: The mapping.
            where: Name of the spec in error messages, usually a file.

        Raises:
            SpecError: If a field is missing, unknown, of the wrong type or out of range.
        """
        given = dict(fields.mapping(data, where))
        schema = given.pop("schema", None)
        if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
            raise SpecError("schema must be an integer", where=where)
        if schema > SCHEMA:
            raise SpecError(
                f"schema {schema} is newer than the supported {SCHEMA}",
                where=where,
                hint="upgrade mobileface",
            )
        sections = {kind.name: given.pop(kind.name) for kind in KINDS if kind.name in given}
        common = fields.build(_Common, given, where)
        kind = _kind_for(common.task, tuple(sections), where)
        place = f"{where}, {kind.name}"
        section = fields.build(kind.section, sections[kind.name], place)
        kind.check(section, place)
        if kind.needs_input and common.input is None:
            raise SpecError("field 'input' is missing", where=where)
        values = {field.name: getattr(common, field.name) for field in dataclasses.fields(common)}
        return cls(section=section, **values)

    @classmethod
    def from_json(cls, text: str, where: str = "spec") -> ModelSpec:
        """Creates a spec from the result of `to_json`.

        Raises:
            SpecError: If the text is not JSON, or not a valid spec.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"not JSON ({error})", where=where) from error
        return cls.from_dict(data, where)


@dataclass(frozen=True, slots=True)
class _Common:
    """The fields of a spec that all kinds of models have, with their checks."""

    name: fields.Identifier
    task: Annotated[str, fields.one_of(task_names())]
    title: fields.Text
    license: License
    source: SourceSpec
    preference: fields.NonNegative = 0
    input: ImageInput | None = None
    landmark_box: LandmarkBox | None = None


def _kind_for(task: str, present: tuple[str, ...], where: str) -> Kind[Any]:
    """The kind of model with a given task and section.

    Raises:
        SpecError: If there is not exactly one section, or it belongs to another task.
    """
    suitable = kinds_for(task)
    names = [kind.name for kind in suitable]
    if not present and len(names) == 1:
        raise SpecError(f"field '{names[0]}' is missing", where=where)
    if len(present) != 1 or present[0] not in names:
        one = " or ".join(f"'{name}'" for name in names)
        found = ", ".join(present) or "none"
        raise SpecError(
            f"task '{task}' needs exactly one section {one}, found: {found}", where=where
        )
    return next(kind for kind in suitable if kind.name == present[0])
