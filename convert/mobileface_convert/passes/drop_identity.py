"""Remove operators that do nothing at inference, so that other passes see adjacent layers.

::

    before   x ─ Dropout ─ Identity ─ y
    after    x ─ y
"""

from __future__ import annotations

import onnx_ir as ir

from ..graph.report import Report
from .layer_weights import attribute
from .onnx_graph import Network

__all__ = ["drop_identity"]


def drop_identity(network: Network) -> Report:
    """Drops ``Identity``, ``Dropout`` that is not training, and ``Cast`` to the same type."""
    changed = []
    for node in network.nodes:
        if _does_nothing(network, node):
            line = f"{node.name} ({node.op_type})"
            before = node.op_type
            network.drop(node)
            if node.graph is None or node.op_type != before:
                changed.append(line)
    return Report(tuple(changed))


def _does_nothing(network: Network, node: ir.Node) -> bool:
    source, value = node.inputs[0] if node.inputs else None, node.outputs[0]
    if source is None or node.domain:
        return False
    if node.op_type == "Identity":
        return not (value.is_graph_output() and _is_end(source))
    if node.op_type == "Cast":
        return source.dtype is not None and source.dtype == attribute(node, "to")
    if node.op_type != "Dropout" or any(output.uses() for output in node.outputs[1:]):
        return False
    training = node.inputs[2] if len(node.inputs) > 2 else None
    stored = network.stored(training)
    return training is None or (stored is not None and not stored.any())


def _is_end(value: ir.Value) -> bool:
    """Whether a value is fed, stored or an output, so that an Identity must give it a name."""
    return value.producer() is None or value.is_graph_output()
