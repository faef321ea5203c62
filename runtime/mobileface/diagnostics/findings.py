"""Findings of `mobileface doctor`. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["FAILED", "MISSING", "NOTE", "OK", "Finding"]

OK, NOTE, MISSING, FAILED = "ok", "note", "missing", "failed"
"""States of a finding: works; works with a remark; not available, but the rest works; broken."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        area: "python", "packages", "machine", "models" or "tasks".
        name: Name of the checked item.
        state: `OK`, `NOTE`, `MISSING` or `FAILED`.
        text: The result in one line.
        hint: What to do about it; may be empty.
        data: Machine-readable details, as JSON types.
    """

    area: str
    name: str
    state: str
    text: str
    hint: str = ""
    data: Mapping[str, object] = field(default_factory=dict)
