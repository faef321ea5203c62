"""Layers with weights, as passes that fold into them see them: in float64, rounded once."""

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
"""Operators with a weight and perhaps a bias."""

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """Weight and bias of a layer in float64."""

    weight: Doubles
    bias: Doubles


def flattens(node: Node) -> bool:
    """True if a FullyConnected layer sees one row of inputs a picture."""
    return Attributes(node.attrs, node.where).boolean("flatten", True)


def layer_of(graph: Graph, node: Node) -> Layer:
    """Weight and bias of a layer; no bias is a bias of zero."""
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
    """One value an output, shaped to multiply the weight."""
    if axis == 0:
        return values.reshape(-1, *(1,) * (weight.ndim - 1))
    # A deconvolution's weight is (inputs, outputs a group, ...): inputs run group by group.
    per_group = weight.shape[1]
    groups = len(values) // per_group
    blocks = np.repeat(values.reshape(groups, per_group), weight.shape[0] // groups, axis=0)
    return blocks.reshape(*blocks.shape, *(1,) * (weight.ndim - 2))


def per_input(node: Node, weight: Doubles, values: Doubles) -> Doubles:
    """One value an input channel, for each element of a layer's weight that reads the channel.

    Behind a Flatten each channel covers a run of inputs.

    Raises:
        GraphError: The layer reads another number of channels.
    """
    groups = Attributes(node.attrs, node.where).integer("num_group", 1)
    inputs = weight.shape[1] * groups
    if inputs % len(values) or (node.op == "Convolution" and inputs != len(values)):
        raise GraphError(f"{len(values)} channels for {inputs} inputs", where=node.where)
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
    """The layer with new weights, in ``params`` under names that no other layer reads.

    A layer without a bias stays so if the new one is zero.
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
    """The node with new arrays behind some of its inputs, under names that no other node reads.

    Args:
        graph: The network that the node is part of.
        params: Where the arrays go, as float32.
        node: The node.
        inputs: What it reads in the new network.
        arrays: The new arrays by the number of the input; the first one after the last input is a
            bias.
    """
    own = {edge.node for edge in node.inputs[1:] if len(graph.consumers[edge.node]) == 1}
    taken = {n.name for n in graph.nodes if n.is_variable and n not in own}
    # Arrays that this pass has stored for other layers already, and those that nothing reads yet.
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
    """Drops the arrays that nothing names any more."""
    weights = dict(graph.weights)
    return Graph(graph.outputs, weights, graph.auxiliary & set(weights), graph.origin)
