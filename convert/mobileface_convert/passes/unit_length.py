"""L2-normalise the rows of the output in the network itself, instead of in the runtime.

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
    """L2-normalises the rows of the network's only output, unless they are already normalised.

    Raises:
        GraphError: If the network has more than one output.
    """
    if len(graph.outputs) != 1:
        raise GraphError(
            f"only a single output can be L2-normalised, not {len(graph.outputs)}",
            where=graph.origin,
        )
    edge = graph.outputs[0]
    name = edge.node.name
    if edge.node.op == "L2Normalization":
        return PassResult(graph, (), (Refusal(name, "it is already L2-normalised"),))
    attrs = {"ord": "2", "axis": "1", "keepdims": "True"}
    norm = Node("norm", f"{name}_length", attrs, (edge,))
    tiny = {"scalar": repr(float(np.finfo(np.float32).tiny))}
    divisor = Node("_maximum_scalar", f"{name}_divisor", tiny, (Edge(norm),))
    unit = Node("broadcast_div", f"{name}_unit", {}, (edge, Edge(divisor)))
    return PassResult(replace(graph, outputs=(Edge(unit),)), (f"{name} is L2-normalised",))
