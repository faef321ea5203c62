"""What `mobileface doctor` finds. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["FAILED", "MISSING", "NOTE", "OK", "Finding"]

OK, NOTE, MISSING, FAILED = "ok", "note", "missing", "failed"
"""What a finding says: as it should be; worth knowing; absent, but the rest works; broken."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: "python", "packages", "machine", "models" or "tasks".
        name: What it is.
        state: `OK`, `NOTE`, `MISSING` or `FAILED`.
        text: What was found, one line.
        hint: What to do about it; may be empty.
        data: The same for programs, as JSON types.
    """

    area: str
    name: str
    state: str
    text: str
    hint: str = ""
    data: Mapping[str, object] = field(default_factory=dict)
