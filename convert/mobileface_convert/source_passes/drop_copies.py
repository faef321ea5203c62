"""Remove operators that do nothing at inference, so that other passes see adjacent layers.

::

    before   x ─ Dropout ─ _copy ─ y
    after    x ─ y
"""

from __future__ import annotations

from ..graph.source_graph import Edge, Graph, Node, rebuild
from .base import PassResult

__all__ = ["drop_copies"]

_IDENTITIES = frozenset({"_copy", "BlockGrad"})


def drop_copies(graph: Graph) -> PassResult:
    """Drops ``_copy``, ``BlockGrad`` and ``Dropout`` (unless it drops at inference too)."""
    changed = []

    def rewrite(node: Node, inputs: tuple[Edge, ...]) -> Edge | Node:
        if node.op in _IDENTITIES or (
            node.op == "Dropout" and node.attrs.get("mode", "training") == "training"
        ):
            changed.append(f"{node.name} ({node.op})")
            return inputs[0]
        return node

    rewritten = rebuild(graph, rewrite)
    return PassResult(rewritten if changed else graph, tuple(changed))
