"""L2-normalise the rows of the output in the network itself, instead of in the runtime.

::

    before   x, (N, D) ─ output
    after    x ─┬────────────────────────────────── Div ─ output
                └─ ReduceL2 along D ─ Max(tiny) ────┘

A row of zeros stays zero, as it does in the runtime: tiny is the smallest normal float32.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from mobileface.errors import GraphError

from ..graph.report import Refusal, Report
from .layer_weights import whole
from .onnx_graph import Network, sizes_of

__all__ = ["unit_length"]

_BETWEEN = frozenset({"Add", "Clip", "Expand", "Max", "Sqrt"})
"""Operators between the sum of squares and the division."""


def unit_length(network: Network) -> Report:
    """L2-normalises the rows of the network's only output, unless they are already normalised.

    Raises:
        GraphError: If the network has more than one output, or that has no rows.
    """
    outputs = list(network.graph.outputs)
    if len(outputs) != 1:
        raise GraphError(
            f"only a single output can be L2-normalised, not {len(outputs)}", where=network.where
        )
    (value,) = outputs
    sizes = sizes_of(value)
    if sizes is not None and len(sizes) < 2:
        raise GraphError(f"output '{value.name}' has no rows to normalise", where=network.where)
    name, node = str(value.name), value.producer()
    if node is None or _is_normalised(node):
        return Report((), (Refusal(name, "it is already L2-normalised"),))
    norm = _reduce(network, value, f"{name}_length")
    tiny = network.constant(np.finfo(np.float32).tiny, f"{name}_tiny")
    divisor = network.node("Max", [norm.outputs[0], tiny], f"{name}_divisor")
    unit = network.node("Div", [value, divisor.outputs[0]], f"{name}_unit", like=value)
    network.graph.extend([norm, divisor, unit])
    network.redirect_output(value, unit.outputs[0])
    return Report((f"{name} is L2-normalised",))


def _reduce(network: Network, value: ir.Value, name: str) -> ir.Node:
    """The length of each row, for the operator set of the network."""
    if network.graph.opset_imports.get("", 0) < 18:
        return network.node("ReduceL2", [value], name, axes=(1,), keepdims=1)
    axes = network.constant(np.array([1], np.int64), f"{name}_axes")
    return network.node("ReduceL2", [value, axes], name, keepdims=1)


def _is_normalised(node: ir.Node) -> bool:
    """Whether a node divides rows by their length."""
    if node.op_type == "LpNormalization":
        return whole(node, "p", 2) == 2 and whole(node, "axis", -1) in (1, -1)
    value, divisor = (*node.inputs, None)[:2] if node.op_type == "Div" else (None, None)
    while divisor is not None and (before := divisor.producer()) is not None:
        if before.op_type in ("ReduceL2", "ReduceSum", "ReduceSumSquare"):
            return _squares(before) is value
        divisor = before.inputs[0] if before.op_type in _BETWEEN else None
    return False


def _squares(node: ir.Node) -> ir.Value | None:
    """The value of whose squares a node makes a sum, or its root."""
    value = node.inputs[0]
    if node.op_type != "ReduceSum":
        return value
    square = None if value is None else value.producer()
    if square is None or square.op_type not in ("Mul", "Pow"):
        return None
    return square.inputs[0]
