"""Fuse limits that follow each other into one Clip.

::

    before   x ─ Max(a) ─ Min(b) ─ y         or   x ─ Relu ─ Min(b) ─ y, x ─ Clip ─ Clip ─ y
    after    x ─ Clip(a, b) ─ y                                  min(max(x, a), b), a ≤ b
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from ..graph.report import Refusal, Report
from .layer_weights import data_of
from .onnx_graph import Network

__all__ = ["fuse_clip"]


def fuse_clip(network: Network) -> Report:
    """Fuses consecutive Relu, Clip, and Max and Min with one number."""
    changed, refused = [], []
    for outer in network.nodes:
        value = _limited(network, outer)
        inner = None if value is None else value.producer()
        limits = None if inner is None else _limits(network, inner)
        mine = _limits(network, outer)
        if value is None or inner is None or limits is None or mine is None:
            continue
        if network.only_reader(value) is not outer:
            refused.append(Refusal(str(outer.name), f"'{inner.name}' is also used elsewhere"))
            continue
        low, high = max(limits[0], mine[0]), min(limits[1], mine[1])
        if low > high:
            refused.append(Refusal(str(outer.name), "the lower limit is above the upper one"))
            continue
        source = _limited(network, inner)
        changed.append(f"{inner.name} + {outer.name}")
        made = _clip(network, outer, source, low, high)
        network.replace(outer, [made], made.outputs[0])
        network.graph.remove(inner, safe=True)
    return Report(tuple(changed), tuple(refused))


def _limited(network: Network, node: ir.Node) -> ir.Value | None:
    """The value that a node limits; None for other nodes."""
    if node.op_type in ("Relu", "Clip"):
        return node.inputs[0]
    found = data_of(network, node) if node.op_type in ("Max", "Min") else None
    return found[0] if found is not None and len(found[1]) == 1 else None


def _limits(network: Network, node: ir.Node) -> tuple[float, float] | None:
    """The lower and upper limit of a node; None for other nodes or computed limits."""
    if node.op_type == "Relu":
        return 0.0, math.inf
    if node.op_type == "Clip":
        found = [-math.inf, math.inf]
        for position, value in enumerate(node.inputs[1:]):
            stored = network.stored(value)
            if value is not None and (stored is None or stored.dtype.kind != "f"):
                return None
            if stored is not None:
                found[position] = float(stored.ravel()[0])
        return found[0], found[1]
    data = data_of(network, node) if node.op_type in ("Max", "Min") else None
    if data is None or len(data[1]) != 1:
        return None
    limit = float(data[1][0])
    return (limit, math.inf) if node.op_type == "Max" else (-math.inf, limit)


def _clip(
    network: Network, outer: ir.Node, source: ir.Value | None, low: float, high: float
) -> ir.Node:
    """The one node for two."""
    name, like = str(outer.name), outer.outputs[0]
    if (low, high) == (0.0, math.inf):
        return network.node("Relu", [source], name, like=like)
    bounds = [
        None if math.isinf(limit) else network.constant(np.float32(limit), f"{name}_{end}")
        for end, limit in (("low", low), ("high", high))
    ]
    inputs = [source, *bounds]
    while inputs[-1] is None:
        inputs.pop()
    return network.node("Clip", inputs, name, like=like)
