"""Shapes of a network's inputs: what the caller says, else what its layers tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mobileface.errors import ConversionError

from .attributes import Attributes
from .mxnet_names import arguments_of
from .source_graph import Graph, Node

__all__ = ["Shape", "known_shapes"]

Shape = tuple[int | str, ...]
"""Sizes; a text is any size."""


def known_shapes(graph: Graph, given: dict[str, Sequence[int]]) -> dict[str, Shape]:
    """What is known of each input; text stands for what is not.

    Args:
        graph: The network.
        given: Shape by name of an input, batch included; "" stands for the only input.

    Raises:
        ConversionError: A shape for no input, or of an input nothing is known.
    """
    names = [node.name for node in graph.inputs]
    if "" in given:
        if len(names) != 1:
            raise ConversionError(
                f"the network has {len(names)} inputs: {', '.join(names)}",
                where=graph.origin,
                hint="give each a shape: --input-shape NAME=1,3,112,112",
            )
        given[names[0]] = given.pop("")
    for name, shape in given.items():
        if name not in names:
            raise ConversionError(
                f"no input '{name}'",
                where=graph.origin,
                hint=f"its inputs: {', '.join(names) or 'none'}",
            )
        if not shape or min(shape) < 1:
            raise ConversionError(f"shape {tuple(shape)} of '{name}' has a size below 1")
    _refuse_missing(graph, given)
    found: dict[str, Shape] = {}
    for node in graph.inputs:
        if node.name in given:
            found[node.name] = ("N", *given[node.name][1:])
        else:
            found[node.name] = ("N", _channels(graph, node), "H", "W")
    return found


def _refuse_missing(graph: Graph, given: Mapping[str, object]) -> None:
    """A variable that is read as a weight is no input.

    Raises:
        GraphError: Its array is not in the file.
    """
    missing = []
    for node in graph.inputs:
        users = graph.consumers[node]
        as_weight = all(
            position > 0 and position < len(arguments_of(user.op, user.attrs))
            for user, position in users
        )
        if users and as_weight and node.name not in given:
            missing.append(f"{node.name} of {users[0][0].where}")
    if missing:
        raise graph.missing(missing)


def _channels(graph: Graph, node: Node) -> int:
    """Channels of a picture input, from the first convolution behind it.

    Raises:
        ConversionError: It cannot be inferred.
    """
    waiting, seen = [node], {node}
    while waiting:
        current = waiting.pop(0)
        for user, position in graph.consumers[current]:
            if user.op == "Convolution" and position == 0:
                weight = graph.weight_of(user, 1, "weight", (None,) * 4)
                groups = Attributes(user.attrs, user.where).integer("num_group", 1)
                return weight.shape[1] * groups
            if user.op in _SHAPE_KEEPING and user not in seen:
                seen.add(user)
                waiting.append(user)
    raise ConversionError(
        f"the shape of input '{node.name}' cannot be inferred",
        where=graph.origin,
        hint="give --input-shape, such as 1,3,112,112",
    )


_SHAPE_KEEPING = frozenset(
    {"BatchNorm", "_copy", "_div_scalar", "_minus_scalar", "_mul_scalar", "_plus_scalar", "clip"}
    | {f"broadcast_{name}" for name in ("add", "sub", "mul", "div")}
)
