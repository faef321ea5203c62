"""Shapes of a network's inputs: given by the caller, or inferred from its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mobileface.errors import ConversionError

from .attributes import Attributes
from .mxnet_names import arguments_of
from .source_graph import Graph, Node

__all__ = ["Shape", "known_shapes", "reads_as_weight"]

Shape = tuple[int | str, ...]
"""Sizes of the axes; a text names an axis of any size."""


def known_shapes(graph: Graph, given: dict[str, Sequence[int]]) -> dict[str, Shape]:
    """Shape of each input, with names for the axes of unknown size.

    Args:
        graph: The network.
        given: Shapes by input name, batch axis included; "" means the only input.

    Raises:
        ConversionError: If a shape is given for an unknown input or is invalid, or the shape of an
            input cannot be inferred.
        GraphError: If the network reads a weight that the parameter file does not contain.
    """
    names = [node.name for node in graph.inputs]
    if "" in given:
        if len(names) != 1:
            raise ConversionError(
                f"the network has {len(names)} inputs: {', '.join(names)}",
                where=graph.origin,
                hint="pass a shape for each: --input-shape NAME=1,3,112,112",
            )
        given[names[0]] = given.pop("")
    for name, shape in given.items():
        if name not in names:
            raise ConversionError(
                f"no input '{name}'",
                where=graph.origin,
                hint=f"available: {', '.join(names) or 'none'}",
            )
        if not shape or min(shape) < 1:
            raise ConversionError(f"shape {tuple(shape)} of '{name}' must have sizes of at least 1")
    _check_weights(graph, given)
    found: dict[str, Shape] = {}
    for node in graph.inputs:
        if node.name in given:
            found[node.name] = ("N", *given[node.name][1:])
        else:
            found[node.name] = ("N", _channels(graph, node), "H", "W")
    return found


def reads_as_weight(graph: Graph, node: Node) -> bool:
    """Whether all layers that read an input read it as a weight."""
    users = graph.consumers[node]
    return bool(users) and all(
        0 < position < len(arguments_of(user.op, user.attrs)) for user, position in users
    )


def _check_weights(graph: Graph, given: Mapping[str, object]) -> None:
    """Checks that no input is read as a weight, which means that its array is missing.

    Raises:
        GraphError: If the array of a weight is not in the parameter file.
    """
    missing = []
    for node in graph.inputs:
        if reads_as_weight(graph, node) and node.name not in given:
            missing.append(f"{node.name} of {graph.consumers[node][0][0].where}")
    if missing:
        raise graph.missing(missing)


def _channels(graph: Graph, node: Node) -> int:
    """Number of channels of an image input, from the first convolution that reads it.

    Raises:
        ConversionError: If the number of channels cannot be inferred.
    """
    queue, seen = [node], {node}
    while queue:
        current = queue.pop(0)
        for user, position in graph.consumers[current]:
            if user.op == "Convolution" and position == 0:
                weight = graph.weight_of(user, 1, "weight", (None,) * 4)
                groups = Attributes(user.attrs, user.where).integer("num_group", 1)
                return weight.shape[1] * groups
            if user.op in _SHAPE_KEEPING and user not in seen:
                seen.add(user)
                queue.append(user)
    raise ConversionError(
        f"the shape of input '{node.name}' cannot be inferred",
        where=graph.origin,
        hint="pass --input-shape, such as 1,3,112,112",
    )


_SHAPE_KEEPING = frozenset(
    {"BatchNorm", "_copy", "_div_scalar", "_minus_scalar", "_mul_scalar", "_plus_scalar", "clip"}
    | {f"broadcast_{name}" for name in ("add", "sub", "mul", "div")}
)
