"""Typed access to the text attributes of an MXNet operator."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mobileface.errors import GraphError, UnsupportedOperatorError

__all__ = ["Attributes"]

_TRUE, _FALSE = ("True", "true", "1"), ("False", "false", "0")
_TUPLE = re.compile(r"^[\(\[]\s*(.*?)\s*,?\s*[\)\]]$")


class Attributes:
    """The attributes of one node, parsed on demand.

    Args:
        values: Attribute text by name.
        where: The node, for error messages.
    """

    def __init__(self, values: Mapping[str, str], where: str) -> None:
        self._values = values
        self._where = where

    def __contains__(self, name: str) -> bool:
        return self._values.get(name, "None") != "None"

    def text(self, name: str, default: str) -> str:
        """A text, such as a mode."""
        return self._values[name] if name in self else default

    def boolean(self, name: str, default: bool) -> bool:
        """A boolean in any of MXNet's spellings.

        Raises:
            GraphError: If the text is not a boolean.
        """
        text = self.text(name, str(default))
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        raise self._error(name, text, "a boolean")

    def integer(self, name: str, default: int | None = None) -> int:
        """An integer; required if there is no default.

        Raises:
            GraphError: If the attribute is missing or is not an integer.
        """
        text = self._required(name, default)
        try:
            return int(text.rstrip("L"))
        except ValueError:
            raise self._error(name, text, "an integer") from None

    def number(self, name: str, default: float | None = None) -> float:
        """A floating-point number; required if there is no default.

        Raises:
            GraphError: If the attribute is missing or is not a number.
        """
        text = self._required(name, default)
        try:
            return float(text)
        except ValueError:
            raise self._error(name, text, "a number") from None

    def integers(
        self, name: str, default: tuple[int, ...] | None = None, *, length: int | None = None
    ) -> tuple[int, ...]:
        """A tuple of integers: ``(1, 1)``, ``[1,1]``, ``(1L, 1L)``, or a single number.

        Args:
            name: Name of the attribute.
            default: Value of an absent attribute; None if the attribute is required.
            length: Expected number of elements. If given, a single number is repeated, and an empty
                tuple means the default.

        Raises:
            GraphError: If the attribute is missing, is not a tuple of integers or has the wrong
                length.
        """
        text = self._required(name, default).strip()
        match = _TUPLE.match(text)
        body = match.group(1) if match else text
        try:
            values = tuple(int(part.strip().rstrip("L")) for part in body.split(",") if part)
        except ValueError:
            raise self._error(name, text, "a tuple of integers") from None
        if length is not None and match is None:
            values *= length
        if length is not None and not values and default is not None:
            values = default
        if length is not None and len(values) != length:
            raise self._error(name, text, f"a tuple of {length} integers")
        return values

    def optional_integers(self, name: str) -> tuple[int | None, ...]:
        """A tuple of integers or ``None``, such as ``(0, None)``; empty if it is absent.

        Raises:
            GraphError: If the attribute is not such a tuple.
        """
        text = self.text(name, "()").strip()
        match = _TUPLE.match(text)
        parts = [part.strip() for part in (match.group(1) if match else text).split(",")]
        try:
            return tuple(None if p == "None" else int(p.rstrip("L")) for p in parts if p)
        except ValueError:
            raise self._error(name, text, "a tuple of integers") from None

    def choice(self, name: str, default: str, supported: tuple[str, ...]) -> str:
        """A text that must be one of the supported values.

        Raises:
            UnsupportedOperatorError: If the value is not supported.
        """
        text = self.text(name, default)
        if text not in supported:
            raise UnsupportedOperatorError(
                f"{name}='{text}' is not supported",
                where=self._where,
                hint=f"supported: {', '.join(supported)}",
            )
        return text

    def _required(self, name: str, default: object) -> str:
        if name in self:
            return self._values[name]
        if default is None:
            raise GraphError(f"attribute '{name}' is missing", where=self._where)
        return str(default)

    def _error(self, name: str, text: str, expected: str) -> GraphError:
        return GraphError(f"attribute {name}='{text}' is not {expected}", where=self._where)
