"""Let the first convolution read interleaved channels, without transposing them to planes.

A row of W pixels with C channels equals a row of W·C values of one channel. A kernel that is C
times as wide, with C times the stride, reads from it what the old kernel read from C planes::

    before   x (N, H, W, C) ─ transpose ─ − m ─ Convolution(kh × kw, stride (a, b), pad (p, q))
    after    x (N, H, W, C) ─ Reshape (N, 1, H, W·C) ─ − m ─
                          Convolution(kh × C·kw, stride (a, C·b), pad (p, C·q))

The zero padding is as wide in pixels as before. Pointwise operators, which apply the same function
to every value, are allowed between the two.
"""

from __future__ import annotations

from dataclasses import replace

from ..graph.attributes import Attributes
from ..graph.source_graph import Edge, Graph, Node, rebuild
from .base import PassResult, Refusal
from .channels import POINTWISE, is_dense
from .weighted_layers import layer_of, store_layer, tidy

__all__ = ["interleave"]

_TO_PLANES = (0, 3, 1, 2)


def interleave(graph: Graph) -> PassResult:
    """Removes transpositions between the network's pixels and the first convolution."""
    plan: dict[Node, Node] = {}
    refused = []
    for node in graph.operators:
        if node.op != "transpose" or _axes(node) != _TO_PLANES or not _reads_input(graph, node):
            continue
        found = _convolution(graph, node)
        if isinstance(found, Node):
            plan[node] = found
        else:
            refused.append(Refusal(node.name, found))
    if not plan:
        return PassResult(graph, (), tuple(refused))
    params = dict(graph.params)

    def rewrite(node: Node, inputs: tuple[Edge, ...]) -> Edge | Node:
        if node in plan:
            # (N, H, W, C): copy N, split H into 1 and H, merge W and C
            return replace(node, op="Reshape", attrs={"shape": "(0, -4, 1, -1, -3)"})
        if node not in plan.values():
            return node
        layer = layer_of(graph, node)
        outputs, channels, height, width = layer.weight.shape
        weight = layer.weight.transpose(0, 2, 3, 1).reshape(outputs, 1, height, width * channels)
        wide = replace(node, attrs={**node.attrs, **_widened(node, channels)})
        return store_layer(graph, params, wide, inputs, weight, layer.bias)

    rewritten = tidy(rebuild(graph, rewrite, params=params))
    changed = tuple(f"{before.name} into {after.name}" for before, after in plan.items())
    return PassResult(rewritten, changed, tuple(refused))


def _axes(node: Node) -> tuple[int, ...]:
    return Attributes(node.attrs, node.where).integers("axes", ())


def _reads_input(graph: Graph, node: Node) -> bool:
    """True if a node reads an input of the network, directly or through a Cast."""
    before = node.inputs[0].node
    before = before.inputs[0].node if before.op == "Cast" else before
    return before in graph.inputs


def _convolution(graph: Graph, node: Node) -> Node | str:
    """The convolution that can read the pixels directly, or the reason why there is none."""
    previous, reader = node, graph.only_consumer(node)
    while reader is not None and reader.op in POINTWISE:
        previous, reader = reader, graph.only_consumer(reader)
    if reader is None:
        return f"'{previous.name}' is read by several layers, or is an output"
    if reader.op != "Convolution" or not is_dense(graph, reader):
        return f"its reader '{reader.name}' ({reader.op}) is not a convolution without groups"
    if reader.inputs[0].node is not previous or layer_of(graph, reader).weight.ndim != 4:
        return f"'{reader.name}' does not read it as an image"
    if _pair(reader, "dilate", 1)[1] != 1:
        return f"the kernel of '{reader.name}' is dilated along columns"
    return reader


def _widened(node: Node, channels: int) -> dict[str, str]:
    """Kernel, stride and padding of the convolution over values instead of pixels."""
    found = {"kernel": _pair(node, "kernel"), "stride": _pair(node, "stride", 1)}
    found["pad"] = _pair(node, "pad", 0)
    return {name: f"({rows}, {columns * channels})" for name, (rows, columns) in found.items()}


def _pair(node: Node, name: str, default: int | None = None) -> tuple[int, int]:
    """An attribute with one value for rows and one for columns."""
    absent = None if default is None else (default, default)
    rows, columns = Attributes(node.attrs, node.where).integers(name, absent, length=2)
    return rows, columns
