"""What a pass reports: what it changed, and what it left and why."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Refusal", "Report"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A place where a pass could have acted but did not.

    Attributes:
        node: Name of the node.
        reason: Why the rewrite would not be exact, or not pay.
    """

    node: str
    reason: str


@dataclass(frozen=True)
class Report:
    """What a pass did.

    Attributes:
        changed: One short line per change, in graph order.
        refused: Places that were left unchanged, with reasons.
    """

    changed: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()
