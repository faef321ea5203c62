"""What a model is: the facts that travel inside its ONNX file.

The converter writes a `ModelSpec` as JSON into the metadata entry ``mobileface.spec``; the runtime
reads it from there and knows nothing else about a model. Standard library only.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from .errors import SpecError

__all__ = [
    "METADATA_KEY",
    "SCHEMA",
    "EmbeddingSpec",
    "ImageInput",
    "License",
    "ModelSpec",
    "SourceFileSpec",
    "SourceSpec",
]

METADATA_KEY = "mobileface.spec"
"""Name of the ONNX metadata entry."""

SCHEMA = 1
"""Version of the JSON form; a runtime refuses a newer one."""

Color = Literal["gray", "rgb", "bgr"]
_COLORS = ("gray", "rgb", "bgr")
_TASKS = ("embedding",)
_LARGEST = 3.4028234e38  # of float32, in which pictures are scaled
_SMALLEST = 1.1754944e-38


@dataclass(frozen=True, slots=True)
class License:
    """Under which terms a model may be used.

    Attributes:
        name: SPDX identifier, e.g. "MIT".
        url: Where the text stands.
    """

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class SourceFileSpec:
    """One file that the model was made from.

    Attributes:
        path: Path in the upstream repository, with forward slashes.
        git_blob_sha1: Git's name for its content, 40 hexadecimal digits.
        bytes: Size of the file, if known.
    """

    path: str
    git_blob_sha1: str
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """Where the model comes from.

    Attributes:
        repository: Address of the upstream repository.
        commit: The commit that the file hashes belong to.
        files: The source files.
    """

    repository: str
    commit: str
    files: tuple[SourceFileSpec, ...]


@dataclass(frozen=True, slots=True)
class ImageInput:
    """How a picture becomes the network's input tensor, float32 (N, C, height, width).

    Attributes:
        name: Name of the ONNX input.
        height: Pixels.
        width: Pixels.
        color: Order of the channels; "gray" is one channel.
        mean: Subtracted from the 0..255 value of each channel, one value a channel or one for all.
        std: Divides what is left after that.
    """

    name: str
    height: int
    width: int
    color: Color
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def channels(self) -> int:
        """1 for gray, else 3."""
        return 1 if self.color == "gray" else 3


@dataclass(frozen=True, slots=True)
class EmbeddingSpec:
    """What an identification network gives.

    Attributes:
        output: Name of the ONNX output, float32 (N, size).
        size: Number of elements.
        normalized: True if the network itself scales it to unit length.
    """

    output: str
    size: int
    normalized: bool


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """All facts about one model.

    Attributes:
        name: Identifier, e.g. "identification_v2".
        task: What it does: "embedding".
        title: One line for people.
        license: Terms of use of the weights.
        source: What it was made from.
        input: Its picture input.
        embedding: Its result, for task "embedding".
        preference: Of several models for a task, the one with the highest number is the default.
    """

    name: str
    task: str
    title: str
    license: License
    source: SourceSpec
    input: ImageInput
    embedding: EmbeddingSpec
    preference: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The spec as JSON types; `from_dict` reads it back."""
        return {"schema": SCHEMA, **_plain(self)}

    def to_json(self) -> str:
        """The spec as one line of JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "spec") -> ModelSpec:
        """Reads what `to_dict` wrote.

        Args:
            data: The mapping.
            where: What error messages call it, usually a file.

        Raises:
            SpecError: A field is missing, unknown, of the wrong type or out of range; names it.
        """
        fields = dict(_mapping(data, where))
        schema = fields.pop("schema", None)
        if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
            raise SpecError("schema must be a whole number", where=where)
        if schema > SCHEMA:
            raise SpecError(
                f"schema {schema} is newer than {SCHEMA}", where=where, hint="upgrade mobileface"
            )
        return _build(
            cls,
            fields,
            where,
            {
                "name": _name,
                "task": _one_of(_TASKS),
                "title": _text,
                "license": _license,
                "source": _source,
                "input": _input,
                "embedding": _embedding,
                "preference": _whole(0),
            },
        )

    @classmethod
    def from_json(cls, text: str, where: str = "spec") -> ModelSpec:
        """Reads what `to_json` wrote.

        Raises:
            SpecError: Not JSON, or not a spec.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"not JSON ({error})", where=where) from error
        return cls.from_dict(data, where)


Check = Callable[[Any, str], Any]
_T = TypeVar("_T")


def _build(kind: type[_T], data: Any, where: str, checks: Mapping[str, Check]) -> _T:
    """Makes a dataclass from a mapping, each field through its check."""
    given = _mapping(data, where)
    unknown = sorted(set(given) - set(checks))
    if unknown:
        raise SpecError(
            f"unknown field '{unknown[0]}'", where=where, hint=f"known: {', '.join(checks)}"
        )
    values = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name in given:
            place = f"{where}, {field.name}"
            values[field.name] = checks[field.name](given[field.name], place)
        elif field.default is dataclasses.MISSING:
            raise SpecError(f"field '{field.name}' is missing", where=where)
    return kind(**values)


def _plain(value: Any) -> Any:
    """Dataclasses and tuples as mappings and lists; fields at None are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: _plain(item) for name, item in pairs if item is not None}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _mapping(data: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise SpecError("must be a table of fields", where=where)
    return data


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SpecError(f"must be text, not {value!r}", where=where)
    return value


def _name(value: Any, where: str) -> str:
    """A name that is also a safe file name."""
    text = _text(value, where)
    if not text.replace("_", "").isalnum() or not text.isascii() or len(text) > 64:
        raise SpecError(f"'{text[:64]}' must be letters, digits and underscores", where=where)
    return text


def _one_of(words: tuple[str, ...]) -> Check:
    def check(value: Any, where: str) -> str:
        if value not in words:
            raise SpecError(f"{value!r} is not one of {', '.join(words)}", where=where)
        return str(value)

    return check


def _whole(minimum: int) -> Check:
    def check(value: Any, where: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise SpecError(f"{value!r} is not a whole number from {minimum}", where=where)
        return value

    return check


def _truth(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise SpecError(f"{value!r} is not true or false", where=where)
    return value


def _numbers(value: Any, where: str) -> tuple[float, ...]:
    """One or three numbers that float32 can hold."""
    if (
        not isinstance(value, list | tuple)
        or len(value) not in (1, 3)
        or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
        or not all(abs(v) <= _LARGEST for v in value)  # false for nan
    ):
        raise SpecError(f"{value!r} is not one or three numbers", where=where)
    return tuple(float(v) for v in value)


def _divisors(value: Any, where: str) -> tuple[float, ...]:
    """One or three numbers above zero."""
    numbers = _numbers(value, where)
    if min(numbers) < _SMALLEST:
        raise SpecError(f"{value!r} must be above zero", where=where)
    return numbers


def _hash(value: Any, where: str) -> str:
    text = _text(value, where)
    if len(text) != 40 or set(text) - set("0123456789abcdef"):
        raise SpecError(f"'{text}' is not a SHA-1 in hexadecimal", where=where)
    return text


def _license(value: Any, where: str) -> License:
    return _build(License, value, where, {"name": _text, "url": _text})


def _source(value: Any, where: str) -> SourceSpec:
    checks: dict[str, Check] = {"repository": _text, "commit": _hash, "files": _files}
    return _build(SourceSpec, value, where, checks)


def _files(value: Any, where: str) -> tuple[SourceFileSpec, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise SpecError("must be a list of files", where=where)
    checks: dict[str, Check] = {"path": _text, "git_blob_sha1": _hash, "bytes": _whole(0)}
    return tuple(
        _build(SourceFileSpec, item, f"{where}[{index}]", checks)
        for index, item in enumerate(value)
    )


def _input(value: Any, where: str) -> ImageInput:
    found = _build(
        ImageInput,
        value,
        where,
        {
            "name": _text,
            "height": _whole(1),
            "width": _whole(1),
            "color": _one_of(_COLORS),
            "mean": _numbers,
            "std": _divisors,
        },
    )
    for field, numbers in (("mean", found.mean), ("std", found.std)):
        if len(numbers) not in (1, found.channels):
            raise SpecError(
                f"{len(numbers)} numbers for {found.channels} channels", where=f"{where}, {field}"
            )
    return found


def _embedding(value: Any, where: str) -> EmbeddingSpec:
    checks: dict[str, Check] = {"output": _text, "size": _whole(1), "normalized": _truth}
    return _build(EmbeddingSpec, value, where, checks)
