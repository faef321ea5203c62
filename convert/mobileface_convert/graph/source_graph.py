"""The source graph: an immutable representation of an MXNet symbol before it is converted to ONNX.

A graph is a DAG. A pass that changes the network builds a new graph with `rebuild`, which visits
one node after the other and shares all unchanged nodes. Weights are a plain mapping from variable
name to array; a variable without an array is an input of the network.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from mobileface.errors import GraphError

from .mxnet_names import LABEL_POSITIONS

__all__ = [
    "VARIABLE",
    "Array",
    "Edge",
    "Graph",
    "Node",
    "Rewriter",
    "rebuild",
    "subgraph",
    "variable",
]

VARIABLE = "null"
"""MXNet's name for the operator of a variable: an input, a weight or an auxiliary state."""

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Edge:
    """One output of a node, as an input of another node.

    Attributes:
        node: The node that computes the value.
        index: Index of the output among the node's outputs.
    """

    node: Node
    index: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """An operator or a variable; two nodes are equal only if they are the same object.

    Attributes:
        op: MXNet operator name, or `VARIABLE`.
        name: Name in the symbol; unique among variables, not always among operators.
        attrs: Operator attributes as strings, unchanged from the symbol.
        inputs: The operator's inputs, in MXNet's order.
        origin: The file the node was read from, for error messages.
    """

    op: str
    name: str
    attrs: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[Edge, ...] = ()
    origin: str = ""

    @property
    def is_variable(self) -> bool:
        """True for inputs, weights and auxiliary states."""
        return self.op == VARIABLE

    @property
    def where(self) -> str:
        """The node's location in error messages: file, name and operator."""
        node = f"node '{self.name}' ({self.op})"
        return f"{self.origin}, {node}" if self.origin else node


@dataclass(frozen=True)
class Graph:
    """A network with its weights.

    Attributes:
        outputs: Outputs of the network (MXNet's heads).
        params: Weights and auxiliary states by variable name. Only arrays whose variable is
            reachable from the outputs are part of the network; see `Graph.weights`.
        auxiliary: Names in `params` that MXNet stores as auxiliary states (running statistics).
        origin: The file the graph was read from, for error messages.
    """

    outputs: tuple[Edge, ...]
    params: Mapping[str, Array]
    auxiliary: frozenset[str] = frozenset()
    origin: str = ""

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes that the outputs depend on, each after its inputs, in depth-first order."""
        return _topological(edge.node for edge in self.outputs)

    @cached_property
    def inference_nodes(self) -> tuple[Node, ...]:
        """The nodes that the outputs depend on at inference, where losses do not read labels."""
        return _topological((edge.node for edge in self.outputs), _read_at_inference)

    @cached_property
    def operators(self) -> tuple[Node, ...]:
        """All nodes except variables, in topological order."""
        return tuple(node for node in self.nodes if not node.is_variable)

    @cached_property
    def consumers(self) -> Mapping[Node, tuple[tuple[Node, int], ...]]:
        """For each node, the nodes that read it and the input position; outputs are not listed."""
        found: dict[Node, list[tuple[Node, int]]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for position, edge in enumerate(node.inputs):
                found[edge.node].append((node, position))
        return MappingProxyType({node: tuple(users) for node, users in found.items()})

    @cached_property
    def inputs(self) -> tuple[Node, ...]:
        """The network's inputs: variables without an array, in topological order.

        Variables that are only used as labels of losses are not included.
        """
        return tuple(n for n in self.inference_nodes if n.is_variable and n.name not in self.params)

    @cached_property
    def weights(self) -> Mapping[str, Array]:
        """The arrays that the graph uses, in topological order."""
        return MappingProxyType(
            {
                node.name: self.params[node.name]
                for node in self.nodes
                if node.is_variable and node.name in self.params
            }
        )

    @property
    def weight_bytes(self) -> int:
        """Size of all used arrays in bytes."""
        return sum(array.nbytes for array in self.weights.values())

    def weight(self, edge: Edge) -> Array | None:
        """The stored array of an edge; None if the edge is computed or is an input."""
        return self.params.get(edge.node.name) if edge.node.is_variable else None

    def weight_of(self, node: Node, position: int, role: str, shape: Sequence[int | None]) -> Array:
        """The stored array of a node's input, checked for shape and finite values.

        Args:
            node: The operator that reads the array.
            position: Position of the input.
            role: MXNet's name of the input, for error messages.
            shape: Expected shape; None accepts any size.

        Raises:
            GraphError: If the input is missing, is computed, has another shape or contains nan or
                inf.
        """
        if position >= len(node.inputs):
            raise GraphError(f"input '{role}' is missing", where=node.where)
        array = self.weight(node.inputs[position])
        name = node.inputs[position].node.name
        if array is None:
            missing = node.inputs[position].node.is_variable
            raise GraphError(
                f"{role} '{name}' is {'missing' if missing else 'computed, not stored'}",
                where=node.where,
                hint=f"the parameters hold {len(self.params)} arrays; do they belong to this"
                " network?",
            )
        if array.ndim != len(shape) or any(
            want not in (None, have) for want, have in zip(shape, array.shape, strict=True)
        ):
            expected = ", ".join("any" if size is None else str(size) for size in shape)
            raise GraphError(
                f"array '{name}' has shape {array.shape}, expected ({expected})",
                where=node.where,
                hint="the weights may belong to another model",
            )
        if not np.isfinite(array).all():
            raise GraphError(f"array '{name}' holds nan or inf", where=node.where)
        return array

    def missing(self, names: Sequence[str]) -> GraphError:
        """An error that lists the arrays that the network needs and the parameters do not hold."""
        listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        return GraphError(
            f"{len(names)} of {len(self.weights) + len(names)} arrays are missing: {listed}",
            where=self.origin,
            hint=f"the parameters hold {len(self.params)} arrays; do they belong to this symbol?",
        )

    def only_consumer(self, node: Node) -> Node | None:
        """The only reader of ``node``, if it reads output 0 once; otherwise None.

        None as well if ``node`` is an output of the network.
        """
        users = self.consumers[node]
        if len(users) != 1 or any(edge.node is node for edge in self.outputs):
            return None
        user, position = users[0]
        return user if user.inputs[position].index == 0 else None

    def find(self, name: str) -> Edge:
        """The edge with a name in MXNet's form: ``node``, ``node_output`` or ``node_output1``.

        Raises:
            GraphError: If no node has that name; the message lists similar names.
        """
        operators = {node.name: node for node in self.nodes}
        if name in operators:
            return Edge(operators[name])
        base, separator, index = name.rpartition("_output")
        if separator and base in operators and (not index or index.isdigit()):
            return Edge(operators[base], int(index or 0))
        near = difflib.get_close_matches(name, operators, n=3)
        hint = (
            f"did you mean: {', '.join(near)}"
            if near
            else f"the last nodes: {', '.join(list(operators)[-3:])}"
        )
        raise GraphError(f"no node named '{name}'", where=self.origin, hint=hint)


Rewriter = Callable[[Node, tuple[Edge, ...]], "Edge | Node"]
"""Maps a node of the old graph and its inputs in the new graph to the node's replacement."""


def rebuild(
    graph: Graph,
    rewrite: Rewriter,
    *,
    params: Mapping[str, Array] | None = None,
    auxiliary: frozenset[str] | None = None,
) -> Graph:
    """Builds a new graph by calling ``rewrite`` for each operator.

    Args:
        graph: The graph to rewrite.
        rewrite: Called for each operator after its inputs. If it returns an `Edge`, all consumers
            of output 0 read that edge; if it returns a `Node`, that node replaces all outputs. If
            it returns ``node`` itself, the node is kept and connected to its new inputs.
        params: Weights of the new graph; by default those of the old graph.
        auxiliary: Auxiliary names of the new graph; by default those of the old graph.

    Raises:
        GraphError: If a node reads a further output of an operator that became an edge.
    """
    replaced: dict[Node, Edge | Node] = {}

    def resolve(edge: Edge) -> Edge:
        target = replaced[edge.node]
        if isinstance(target, Node):
            return Edge(target, edge.index)
        if edge.index:
            raise GraphError(
                f"output {edge.index} is still in use but was removed", where=edge.node.where
            )
        return target

    for node in graph.nodes:
        if node.is_variable:
            replaced[node] = node
            continue
        inputs = tuple(resolve(edge) for edge in node.inputs)
        replacement = rewrite(node, inputs)
        if replacement is node and inputs != node.inputs:
            replacement = replace(node, inputs=inputs)
        replaced[node] = replacement
    return Graph(
        outputs=tuple(resolve(edge) for edge in graph.outputs),
        params=graph.params if params is None else params,
        auxiliary=graph.auxiliary if auxiliary is None else auxiliary,
        origin=graph.origin,
    )


def subgraph(graph: Graph, outputs: Sequence[Edge], inputs: Mapping[str, Edge]) -> Graph:
    """Extracts the part of a network between some of its edges.

    Args:
        graph: The network.
        outputs: Edges of the network that become the outputs.
        inputs: Edges of the network that become inputs, by input name.

    Raises:
        GraphError: If the outputs do not depend on one of the inputs.
    """
    whole = Graph(tuple(outputs), graph.params, graph.auxiliary, graph.origin)
    fed = {edge: variable(name) for name, edge in inputs.items()}

    def rewrite(node: Node, read: tuple[Edge, ...]) -> Node:
        edges = tuple(fed.get(old, new) for old, new in zip(node.inputs, read, strict=True))
        return node if edges == node.inputs else replace(node, inputs=edges)

    part = rebuild(whole, rewrite)
    for name, edge in inputs.items():
        if fed[edge].node not in part.nodes:
            raise GraphError(f"no output depends on '{name}'", where=edge.node.where)
    weights = dict(part.weights)
    return Graph(part.outputs, weights, part.auxiliary & set(weights), graph.origin)


def variable(name: str) -> Edge:
    """An edge to a new variable node."""
    return Edge(Node(VARIABLE, name))


def _read(node: Node) -> tuple[Edge, ...]:
    """All inputs of a node."""
    return node.inputs


def _read_at_inference(node: Node) -> tuple[Edge, ...]:
    """The inputs of a node without the label of a loss."""
    label = LABEL_POSITIONS.get(node.op)
    return tuple(edge for position, edge in enumerate(node.inputs) if position != label)


def _topological(
    roots: Iterable[Node], read: Callable[[Node], tuple[Edge, ...]] = _read
) -> tuple[Node, ...]:
    """The nodes that the roots depend on, in depth-first order.

    Uses a stack instead of recursion, so that the depth of a network is not limited. A node is
    pushed again before its inputs; when it is popped the second time, its inputs are in order.
    """
    order: dict[Node, None] = {}
    expanded: set[Node] = set()
    stack = list(reversed(list(roots)))
    while stack:
        node = stack.pop()
        if node in order:
            continue
        if node in expanded:
            order[node] = None
            continue
        expanded.add(node)
        stack.append(node)
        stack.extend(e.node for e in reversed(read(node)) if e.node not in order)
    return tuple(order)
