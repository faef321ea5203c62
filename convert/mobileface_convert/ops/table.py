"""Which MXNet operators have a conversion, as the registry knows it: for readers and programs.

OPERATORS.md is written by ``mobileface-convert operators > OPERATORS.md``; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from ..graph.mxnet_names import old_spellings
from . import Operator, registered

__all__ = ["operators_json", "operators_markdown"]

_HEAD = """# Operators

MXNet operators that `mobileface-convert` converts to ONNX, written by
`mobileface-convert operators > OPERATORS.md` from the conversions themselves. An operator, an
attribute or a value that is not listed is refused with the name of its node. Attributes without
influence on the result at inference (memory, tuning, training) are accepted and not listed.
"""

_COLUMNS = ("Operator", "Also written", "ONNX", "Attributes", "Restrictions")


def operators_json() -> list[dict[str, Any]]:
    """One entry an operator: name, family, spellings, onnx, attributes, ignored, restrictions."""
    return [
        {
            "name": found.name,
            "family": _family(found),
            "spellings": list(old_spellings(found.name)),
            "onnx": _summary(found),
            "attributes": list(found.attributes),
            "ignored": list(found.ignored),
            "restrictions": found.restrictions,
        }
        for found in registered().values()
    ]


def operators_markdown() -> str:
    """The content of OPERATORS.md: a table a family."""
    by_family = sorted(registered().values(), key=lambda found: (_family(found), found.name))
    tables = [
        f"## {family.capitalize()}\n\n{_table(list(members))}"
        for family, members in groupby(by_family, _family)
    ]
    return "\n".join([_HEAD, *tables])


def _table(members: list[Operator]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in _rows(members))


def _rows(members: list[Operator]) -> Iterator[tuple[str, ...]]:
    yield _COLUMNS
    yield ("---",) * len(_COLUMNS)
    for found in members:
        yield (
            f"`{found.name}`",
            _code(old_spellings(found.name)),
            _summary(found).replace("``", "`").replace("|", "\\|"),
            _code(found.attributes),
            found.restrictions,
        )


def _code(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _family(found: Operator) -> str:
    """The module that holds the conversion."""
    return found.convert.__module__.rpartition(".")[2]


def _summary(found: Operator) -> str:
    """The first line of the conversion's docstring."""
    return (found.convert.__doc__ or "").strip().partition("\n")[0]
