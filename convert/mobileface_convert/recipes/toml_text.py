"""Writes tables as TOML, as far as recipes need it; the standard library only reads TOML."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mobileface.errors import ConversionError

__all__ = ["toml_text"]


def toml_text(tables: Mapping[str, Any]) -> str:
    """The TOML text of nested tables; ``tomllib.loads`` gives them back.

    Args:
        tables: Text, integers, finite numbers, truth values, lists of these or of tables, and
            tables, by name.

    Raises:
        ConversionError: If a value has no form in TOML, or is not finite.
    """
    return "\n".join(_lines(tables, ())).lstrip("\n") + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """The lines of a table: its values first, then the tables in it."""
    inner = {name: value for name, value in table.items() if _is_table(value)}
    for name, value in table.items():
        if name not in inner:
            yield f"{_key(name)} = {_value(value)}"
    for name, value in inner.items():
        place = (*path, name)
        header = ".".join(map(_key, place))
        for part in [value] if isinstance(value, Mapping) else value:
            if not (isinstance(value, Mapping) and value and all(map(_is_table, value.values()))):
                yield ""
                yield f"[{header}]" if isinstance(value, Mapping) else f"[[{header}]]"
            yield from _lines(part, place)


def _is_table(value: object) -> bool:
    """Whether a value is a table, or a list of tables."""
    if isinstance(value, list | tuple) and value:
        return all(isinstance(item, Mapping) for item in value)
    return isinstance(value, Mapping)


def _key(name: str) -> str:
    plain = name.replace("_", "").replace("-", "")
    return name if plain.isalnum() and plain.isascii() else _text(name)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return repr(value)
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_value, value))}]"
    raise ConversionError(f"{value!r} cannot be written as TOML")


def _text(text: str) -> str:
    """A basic string: JSON's escapes are those of TOML, which escapes the delete character too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
