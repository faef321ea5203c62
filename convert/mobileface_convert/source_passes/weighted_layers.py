"""Access to weight layers for passes that fold into them: float64, rounded once when stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mobileface.errors import GraphError

from ..graph.attributes import Attributes
from ..graph.source_graph import Array, Edge, Graph, Node, variable

__all__ = [
    "LAYERS",
    "Doubles",
    "Layer",
    "along_outputs",
    "flattens",
    "layer_of",
    "output_axis",
    "per_input",
    "store_arrays",
    "store_layer",
    "tidy",
]

LAYERS = frozenset({"Convolution", "Deconvolution", "FullyConnected"})
"""Operators with a weight and an optional bias."""

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """Weight and bias of a layer in float64."""

    weight: Doubles
    bias: Doubles


def flattens(node: Node) -> bool:
    """True if a FullyConnected layer flattens its input to one row per sample."""
    return Attributes(node.attrs, node.where).boolean("flatten", True)


def layer_of(graph: Graph, node: Node) -> Layer:
    """Weight and bias of a layer; the bias is zero if the layer has none."""
    attrs = Attributes(node.attrs, node.where)
    shape: tuple[int | None, ...]
    if node.op == "FullyConnected":
        outputs, shape = attrs.integer("num_hidden"), (attrs.integer("num_hidden"), None)
    else:
        kernel, outputs = attrs.integers("kernel"), attrs.integer("num_filter")
        groups = attrs.integer("num_group", 1)
        by_output = (outputs, None, *kernel)
        shape = by_output if node.op == "Convolution" else (None, outputs // groups, *kernel)
    weight = graph.weight_of(node, 1, "weight", shape).astype(np.float64)
    if attrs.boolean("no_bias", node.op == "Deconvolution"):
        return Layer(weight, np.zeros(outputs))
    return Layer(weight, graph.weight_of(node, 2, "bias", (outputs,)).astype(np.float64))


def output_axis(node: Node) -> int:
    """The axis of a layer's weight that runs over its outputs."""
    return 1 if node.op == "Deconvolution" else 0


def along_outputs(values: Doubles, weight: Doubles, axis: int) -> Doubles:
    """Values per output channel, shaped to multiply the weight."""
    if axis == 0:
        return values.reshape(-1, *(1,) * (weight.ndim - 1))
    # A deconvolution's weight is (inputs, outputs per group, ...), with inputs group by group.
    per_group = weight.shape[1]
    groups = len(values) // per_group
    blocks = np.repeat(values.reshape(groups, per_group), weight.shape[0] // groups, axis=0)
    return blocks.reshape(*blocks.shape, *(1,) * (weight.ndim - 2))


def per_input(node: Node, weight: Doubles, values: Doubles) -> Doubles:
    """Values per input channel, shaped to multiply the weight.

    After a Flatten each channel covers a contiguous range of inputs.

    Raises:
        GraphError: If the layer reads a different number of channels.
    """
    groups = Attributes(node.attrs, node.where).integer("num_group", 1)
    inputs = weight.shape[1] * groups
    if inputs % len(values) or (node.op == "Convolution" and inputs != len(values)):
        raise GraphError(f"{len(values)} channels do not match {inputs} inputs", where=node.where)
    runs = np.repeat(values, inputs // len(values)).reshape(groups, -1)
    blocks = np.repeat(runs, weight.shape[0] // groups, axis=0)
    return blocks.reshape(*blocks.shape, *(1,) * (weight.ndim - 2))


def store_layer(
    graph: Graph,
    params: dict[str, Array],
    node: Node,
    inputs: tuple[Edge, ...],
    weight: Doubles,
    bias: Doubles,
) -> Node:
    """The layer with new weights, stored in ``params`` under names that no other layer reads.

    A layer without a bias does not get one if the new bias is zero.
    """
    arrays = {1: weight}
    if len(node.inputs) > 2 or bias.any():
        arrays[2] = bias
    attrs: Mapping[str, str] = {**node.attrs, "no_bias": str(2 not in arrays)}
    return replace(store_arrays(graph, params, node, inputs, arrays), attrs=attrs)


def store_arrays(
    graph: Graph,
    params: dict[str, Array],
    node: Node,
    inputs: tuple[Edge, ...],
    arrays: Mapping[int, Doubles],
) -> Node:
    """The node with new arrays for some of its inputs, under names that no other node reads.

    Args:
        graph: The network that the node is part of.
        params: Mapping that the arrays are stored in, as float32.
        node: The node.
        inputs: Inputs of the node in the new network.
        arrays: New arrays by input position; the position after the last input adds a bias.
    """
    own = {edge.node for edge in node.inputs[1:] if len(graph.consumers[edge.node]) == 1}
    taken = {n.name for n in graph.nodes if n.is_variable and n not in own}
    # Also exclude arrays that this pass has already stored for other layers, and unused ones.
    taken |= params.keys() - {node.name for node in own}
    edges = list(inputs)
    for position, values in arrays.items():
        known = position < len(node.inputs)
        name = node.inputs[position].node.name if known else f"{node.name}_bias"
        while name in taken:
            name += "_folded"
        taken.add(name)
        params[name] = values.astype(np.float32)
        edges[position : position + 1] = [variable(name)]
    return replace(node, inputs=tuple(edges))


def tidy(graph: Graph) -> Graph:
    """Drops unused arrays."""
    weights = dict(graph.weights)
    return Graph(graph.outputs, weights, graph.auxiliary & set(weights), graph.origin)
