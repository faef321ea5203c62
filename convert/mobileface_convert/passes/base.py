"""The interface of a pass: a function that rewrites a graph and reports its changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..graph.source_graph import Graph

__all__ = ["Pass", "PassResult", "Refusal"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A place where a pass could have acted but did not.

    Attributes:
        node: Name of the MXNet node.
        reason: Why the rewrite would not be exact.
    """

    node: str
    reason: str


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


Pass = Callable[[Graph], PassResult]
