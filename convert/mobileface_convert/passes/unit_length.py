"""Rows of unit length, computed by the network instead of by who runs it.

::

    before   x, (N, D) ─ output
    after    x ─┬──────────────────────────────────────── broadcast_div ─ output
                └─ norm along D ─ _maximum_scalar(tiny) ──┘

A row of zeros stays zero, as it does in the runtime: tiny is the smallest normal float32.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mobileface.errors import GraphError

from ..graph.source_graph import Edge, Graph, Node
from .base import PassResult, Refusal

__all__ = ["unit_length"]


def unit_length(graph: Graph) -> PassResult:
    """Scales the rows of the network's only output to unit length; nothing if they have it.

    Raises:
        GraphError: The network has several outputs.
    """
    if len(graph.outputs) != 1:
        raise GraphError(f"{len(graph.outputs)} outputs; rows of which?", where=graph.origin)
    edge = graph.outputs[0]
    name = edge.node.name
    if edge.node.op == "L2Normalization":
        return PassResult(graph, (), (Refusal(name, "it has unit length already"),))
    attrs = {"ord": "2", "axis": "1", "keepdims": "True"}
    length = Node("norm", f"{name}_length", attrs, (edge,))
    tiny = {"scalar": repr(float(np.finfo(np.float32).tiny))}
    safe = Node("_maximum_scalar", f"{name}_divisor", tiny, (Edge(length),))
    unit = Node("broadcast_div", f"{name}_unit", {}, (edge, Edge(safe)))
    return PassResult(replace(graph, outputs=(Edge(unit),)), (f"{name} has unit length",))
