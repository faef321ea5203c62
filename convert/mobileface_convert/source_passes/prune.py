"""Cut the network at its feature output and drop everything that only the removed part used.

::

    before   data ─ trunk ─ fc5 ─ bn ─ fc7 ─ SoftmaxOutput ─ head
                                              label ┘
    after    data ─ trunk ─ fc5 ─ bn ─ head

If no name is given, the feature is detected. Everything that depends on a label or computes a loss
belongs to training. If a fully connected layer feeds it (possibly through scalings and reshapes),
that layer is the classifier and the network is cut at its input, otherwise right before the loss.
"""

from __future__ import annotations

from mobileface.errors import GraphError

from ..graph.mxnet_names import LABEL_OPERATORS
from ..graph.source_graph import Edge, Graph, Node
from .base import PassResult

__all__ = ["find_feature", "prune"]

_PROBABILITIES = frozenset({"softmax", "log_softmax", "SoftmaxActivation"})
_TRANSPARENT = frozenset(
    {"Reshape", "Flatten", "_copy", "BlockGrad", "Dropout", "_mul_scalar", "_div_scalar", "Cast"}
)


def prune(graph: Graph, at: str | None = None) -> PassResult:
    """Makes one feature the network's only output.

    Args:
        graph: The network, with or without its training head.
        at: Name of the output to keep (``fc5``, ``fc5_bn_output``); None detects it.

    Raises:
        GraphError: If no node has that name, or no name is given and there are several features.
    """
    feature = graph.find(at) if at else find_feature(graph)
    if graph.outputs == (feature,) and len(graph.weights) == len(graph.params):
        return PassResult(graph)
    cut = Graph((feature,), {}, graph.auxiliary, graph.origin)
    names = {node.name for node in cut.nodes if node.is_variable}
    params = {name: array for name, array in graph.params.items() if name in names}
    pruned = Graph((feature,), params, graph.auxiliary & names, graph.origin)
    kept = set(pruned.operators)
    changed = [f"{n.name} ({n.op})" for n in graph.operators if n not in kept]
    changed += [f"array {name}" for name in graph.params if name not in params]
    return PassResult(pruned, tuple(changed))


def find_feature(graph: Graph) -> Edge:
    """The output of the last layer before classifier, loss and labels.

    Raises:
        GraphError: If several layers or none could be the feature; the message names them.
    """
    training = _training_nodes(graph)
    read_in_training = dict.fromkeys(
        edge
        for node in graph.operators
        if node in training
        for edge in node.inputs
        if not edge.node.is_variable and edge.node not in training
    )
    features = {_before_classifier(edge) for edge in read_in_training}
    found: dict[Edge, None] = {}
    for output in graph.outputs:
        if output.node not in training:
            found[_strip_probabilities(output)] = None
    for edge in read_in_training:
        # A layer that feeds a classifier is not a classifier, even if a loss reads it as well.
        found[edge if edge in features else _before_classifier(edge)] = None
    if len(found) > 1:
        names = ", ".join(edge.node.name for edge in found)
        raise GraphError(
            f"the network has {len(found)} outputs that could be the feature: {names}",
            where=graph.origin,
            hint="specify the one to keep",
        )
    if not found:
        raise GraphError("all layers depend on labels", where=graph.origin)
    return next(iter(found))


def _training_nodes(graph: Graph) -> set[Node]:
    """Losses, and everything that reads a label or a loss."""
    training: set[Node] = set()
    for node in graph.nodes:
        if node.is_variable:
            if node.name not in graph.params and node.name.endswith("label"):
                training.add(node)
        elif node.op in LABEL_OPERATORS or any(edge.node in training for edge in node.inputs):
            training.add(node)
    return training


def _strip_probabilities(edge: Edge) -> Edge:
    """The feature of an output: the classifier's input if the output is a softmax over classes."""
    return _before_classifier(edge.node.inputs[0]) if edge.node.op in _PROBABILITIES else edge


def _before_classifier(edge: Edge) -> Edge:
    """The input of the fully connected layer that computes an edge, otherwise the edge itself."""
    current = edge
    while current.node.op in _TRANSPARENT:
        current = current.node.inputs[0]
    return current.node.inputs[0] if current.node.op == "FullyConnected" else edge
