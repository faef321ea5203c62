"""Reads dataclasses from JSON and checks each field.

The annotation of a field contains its check, as in ``size: Annotated[int, integer(1)]``; `build`
applies it. A check takes a value and its location, and returns the converted value or raises
`mobileface.errors.SpecError` with the location. Uses only the standard library.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from .errors import SpecError

__all__ = [
    "OMIT_AT_DEFAULT",
    "AtLeastTwo",
    "Boolean",
    "Check",
    "Count",
    "Identifier",
    "Names",
    "NonNegative",
    "Number",
    "Sha1",
    "Sha256",
    "Text",
    "boolean",
    "build",
    "hexadecimal",
    "integer",
    "list_of",
    "mapping",
    "name",
    "nested",
    "number",
    "numbers",
    "one_of",
    "plain",
    "text",
]

Check = Callable[[Any, str], Any]
"""(value, location) → checked value."""

OMIT_AT_DEFAULT: Mapping[str, bool] = {"omit_at_default": True}
"""Metadata of fields that `plain` omits at their default, so that older files stay the same."""

_T = TypeVar("_T")

_FLOAT32_MAX = 3.4028234e38
_FLOAT32_MIN = 1.1754944e-38
"""Limits of float32, the type in which images are scaled."""


def build(kind: type[_T], data: Any, where: str, checks: Mapping[str, Check] | None = None) -> _T:
    """Creates a dataclass from a mapping and checks each field.

    Args:
        kind: The dataclass.
        data: The mapping.
        where: Location in error messages.
        checks: The check of each field; by default those in the annotations.

    Raises:
        SpecError: If a field is missing, unknown or invalid.
    """
    known: Mapping[str, Check] = field_checks(kind) if checks is None else checks  # type: ignore[arg-type]
    given = mapping(data, where)
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise SpecError(
            f"unknown field '{unknown[0]}'", where=where, hint=f"available: {', '.join(known)}"
        )
    values = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name in given:
            place = f"{where}, {field.name}"
            values[field.name] = known[field.name](given[field.name], place)
        elif field.default is dataclasses.MISSING:
            raise SpecError(f"field '{field.name}' is missing", where=where)
    return kind(**values)


@functools.cache
def field_checks(kind: Any) -> Mapping[str, Check]:
    """The checks in the annotations of a dataclass, by field.

    Raises:
        TypeError: If an annotation contains no check.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    return {
        field.name: _check_of(hints[field.name], f"{kind.__name__}.{field.name}")
        for field in dataclasses.fields(kind)
    }


def _check_of(hint: Any, field: str) -> Check:
    """The check in an annotation; for a dataclass, `nested`."""
    if typing.get_origin(hint) is Annotated:
        found: Check = hint.__metadata__[0]
        return found
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return nested(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [item for item in typing.get_args(hint) if item is not type(None)]
        if len(inner) == 1:
            return _check_of(inner[0], field)
    raise TypeError(f"{field} has no check in its annotation")


def nested(kind: type[Any]) -> Check:
    """Checks a mapping and converts it to a dataclass; calls its method ``check``, if any."""

    def check(value: Any, where: str) -> Any:
        made = build(kind, value, where)
        if hasattr(made, "check"):
            made.check(where)
        return made

    return check


def plain(value: Any) -> Any:
    """Converts dataclasses and tuples to dicts and lists.

    Omits fields that are None, and fields with `OMIT_AT_DEFAULT` that have their default.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {
            field.name: plain(item)
            for field, item in pairs
            if item is not None
            and not (field.metadata == OMIT_AT_DEFAULT and item == field.default)
        }
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def mapping(data: Any, where: str) -> Mapping[str, Any]:
    """Checks for a JSON object."""
    if not isinstance(data, Mapping):
        raise SpecError("must be a table of fields", where=where)
    return data


def text(value: Any, where: str) -> str:
    """Checks for text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise SpecError(f"must be text, not {value!r}", where=where)
    return value


def name(value: Any, where: str) -> str:
    """Checks for a name that is also a safe file name."""
    word = text(value, where)
    if not word.replace("_", "").isalnum() or not word.isascii() or len(word) > 64:
        raise SpecError(f"'{word[:64]}' must be letters, digits and underscores", where=where)
    return word


def one_of(words: tuple[str, ...]) -> Check:
    """Checks for one of the allowed values."""

    def check(value: Any, where: str) -> str:
        if value not in words:
            raise SpecError(f"{value!r} is not one of {', '.join(words)}", where=where)
        return str(value)

    return check


def integer(minimum: int) -> Check:
    """Checks for an integer that is at least ``minimum``."""

    def check(value: Any, where: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise SpecError(f"{value!r} is not an integer of at least {minimum}", where=where)
        return value

    return check


def boolean(value: Any, where: str) -> bool:
    """Checks for true or false."""
    if not isinstance(value, bool):
        raise SpecError(f"{value!r} is not true or false", where=where)
    return value


def number(value: Any, where: str) -> float:
    """Checks for a number in the range of float32."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if not known or not abs(value) <= _FLOAT32_MAX:  # false for nan
        raise SpecError(f"{value!r} is not a number in the range of float32", where=where)
    return float(value)


def numbers(lengths: tuple[int, ...], *, positive: bool = False) -> Check:
    """Checks for a list of numbers with one of the given lengths, optionally all positive."""

    def check(value: Any, where: str) -> tuple[float, ...]:
        listed = value if isinstance(value, list | tuple) else ()
        items = tuple(number(item, where) for item in listed)
        if len(items) not in lengths:
            allowed = " or ".join(str(length) for length in lengths)
            raise SpecError(f"expected {allowed} numbers, got {len(items)}", where=where)
        if positive and min(items) < _FLOAT32_MIN:
            raise SpecError(f"{value!r} must be positive", where=where)
        return items

    return check


def list_of(check: Check, *, empty: bool = False) -> Check:
    """Checks for a list, and each item with the given check."""

    def check_all(value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or not (value or empty):
            raise SpecError(f"{value!r} is not a list", where=where)
        return tuple(check(item, f"{where}[{index}]") for index, item in enumerate(value))

    return check_all


def hexadecimal(value: Any, where: str, digits: int = 40, what: str = "SHA-1") -> str:
    """Checks for a hash in hexadecimal: a SHA-1, unless other digits are wanted."""
    word = text(value, where)
    if len(word) != digits or set(word) - set("0123456789abcdef"):
        raise SpecError(f"'{word}' is not a {what} in hexadecimal", where=where)
    return word


_sha256 = functools.partial(hexadecimal, digits=64, what="SHA-256")


Text = Annotated[str, text]
Identifier = Annotated[str, name]
Sha1 = Annotated[str, hexadecimal]
Sha256 = Annotated[str, _sha256]
Boolean = Annotated[bool, boolean]
Number = Annotated[float, number]
NonNegative = Annotated[int, integer(0)]
Count = Annotated[int, integer(1)]
AtLeastTwo = Annotated[int, integer(2)]
Names = Annotated[tuple[str, ...], list_of(name)]
