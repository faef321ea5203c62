"""The interface of a pass on the source graph: it makes a new graph and reports its changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..graph.report import Refusal, Report
from ..graph.source_graph import Graph

__all__ = ["Pass", "PassResult", "Refusal"]


@dataclass(frozen=True)
class PassResult:
    """The result of a pass.

    Attributes:
        graph: The new graph, or the old graph if nothing changed.
        changed: One short line per change, in graph order.
        refused: Places that were left unchanged, with reasons.
    """

    graph: Graph
    changed: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()

    @property
    def report(self) -> Report:
        """What changed and what was left, without the graph."""
        return Report(self.changed, self.refused)


Pass = Callable[[Graph], PassResult]
