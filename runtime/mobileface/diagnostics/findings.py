"""Findings of `mobileface doctor`. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .. import __version__

__all__ = ["FAILED", "MISSING", "NOTE", "OK", "Finding", "findings_document"]

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


_SCHEMA = 1


def findings_document(findings: Sequence[Finding]) -> dict[str, Any]:
    """What ``mobileface doctor --json`` prints, see `mobileface.commands.doctor`, as JSON types."""
    return {
        "schema": _SCHEMA,
        "version": __version__,
        "healthy": all(finding.state != FAILED for finding in findings),
        "findings": [asdict(finding) for finding in findings],
    }
