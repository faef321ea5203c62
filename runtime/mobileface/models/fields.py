"""Checks of JSON values: each takes a value and the place it stands at, and returns it typed.

Every check raises `mobileface.errors.SpecError` that names the place. Standard library only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..errors import SpecError

__all__ = [
    "LATER",
    "Check",
    "build",
    "hexadecimal",
    "list_of",
    "mapping",
    "name",
    "number",
    "numbers",
    "one_of",
    "plain",
    "text",
    "truth",
    "whole",
]

Check = Callable[[Any, str], Any]
"""(value, place) → the checked value."""

LATER: Mapping[str, bool] = {"later": True}
"""Metadata of a dataclass field that is younger than files without it."""

_T = TypeVar("_T")

_LARGEST = 3.4028234e38
_SMALLEST = 1.1754944e-38
"""Limits of float32, in which pictures are scaled."""


def build(kind: type[_T], data: Any, where: str, checks: Mapping[str, Check]) -> _T:
    """Makes a dataclass from a mapping, each field through its check."""
    given = mapping(data, where)
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


def plain(value: Any) -> Any:
    """Dataclasses and tuples as mappings and lists.

    Fields at None are left out, and fields at their default whose metadata is `LATER`.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {
            field.name: plain(item)
            for field, item in pairs
            if item is not None and not (field.metadata == LATER and item == field.default)
        }
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def mapping(data: Any, where: str) -> Mapping[str, Any]:
    """A JSON object."""
    if not isinstance(data, Mapping):
        raise SpecError("must be a table of fields", where=where)
    return data


def text(value: Any, where: str) -> str:
    """Text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise SpecError(f"must be text, not {value!r}", where=where)
    return value


def name(value: Any, where: str) -> str:
    """A name that is also a safe file name."""
    word = text(value, where)
    if not word.replace("_", "").isalnum() or not word.isascii() or len(word) > 64:
        raise SpecError(f"'{word[:64]}' must be letters, digits and underscores", where=where)
    return word


def one_of(words: tuple[str, ...]) -> Check:
    """One of the given words."""

    def check(value: Any, where: str) -> str:
        if value not in words:
            raise SpecError(f"{value!r} is not one of {', '.join(words)}", where=where)
        return str(value)

    return check


def whole(minimum: int) -> Check:
    """A whole number from a minimum on."""

    def check(value: Any, where: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise SpecError(f"{value!r} is not a whole number from {minimum}", where=where)
        return value

    return check


def truth(value: Any, where: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise SpecError(f"{value!r} is not true or false", where=where)
    return value


def number(value: Any, where: str) -> float:
    """A number that float32 can hold."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if not known or not abs(value) <= _LARGEST:  # false for nan
        raise SpecError(f"{value!r} is not a number that float32 can hold", where=where)
    return float(value)


def numbers(lengths: tuple[int, ...], *, positive: bool = False) -> Check:
    """A list of finite numbers of one of the given lengths, all above zero if so asked."""

    def check(value: Any, where: str) -> tuple[float, ...]:
        listed = value if isinstance(value, list | tuple) else ()
        items = tuple(number(item, where) for item in listed)
        if len(items) not in lengths:
            allowed = " or ".join(str(length) for length in lengths)
            raise SpecError(f"{len(items)} numbers instead of {allowed}", where=where)
        if positive and min(items) < _SMALLEST:
            raise SpecError(f"{value!r} must be above zero", where=where)
        return items

    return check


def list_of(check: Check, *, empty: bool = False) -> Check:
    """A list whose items pass a check."""

    def check_all(value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or not (value or empty):
            raise SpecError(f"{value!r} is not a list", where=where)
        return tuple(check(item, f"{where}[{index}]") for index, item in enumerate(value))

    return check_all


def hexadecimal(value: Any, where: str) -> str:
    """A SHA-1 in hexadecimal."""
    word = text(value, where)
    if len(word) != 40 or set(word) - set("0123456789abcdef"):
        raise SpecError(f"'{word}' is not a SHA-1 in hexadecimal", where=where)
    return word
