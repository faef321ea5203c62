"""What a pass is: a function from a graph to a graph that says what it did and what it left."""

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
    """What a pass returns.

    Attributes:
        graph: The new graph, or the old one if nothing changed.
        changed: A short line for each change, in graph order.
        refused: Places left alone, with reasons.
    """

    graph: Graph
    changed: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()


Pass = Callable[[Graph], PassResult]
