"""Adds nodes of an ONNX file to a model that is being built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from mobileface.errors import GraphError

from .onnx_builder import GraphBuilder

__all__ = ["add_nodes", "node_attributes"]


def add_nodes(
    builder: GraphBuilder,
    graph: onnx.GraphProto,
    known: Mapping[str, ir.Value],
    wanted: Sequence[str],
    *,
    where: str = "",
) -> list[ir.Value]:
    """Adds the nodes that compute some values of a graph.

    Args:
        builder: The model.
        graph: A cleaned graph of the builder's operator set.
        known: Values by name that are there already; nodes before them are left out.
        wanted: Names of the values to compute.
        where: The file, for errors.

    Returns:
        The wanted values.

    Raises:
        GraphError: A value is neither stored nor computed, an array holds nan or inf, or shapes do
            not fit together.
    """
    needed, names = [], set(wanted).difference(known)
    for node in reversed(graph.node):
        if names.intersection(node.output):
            needed.append(node)
            names.update(name for name in node.input if name not in known)
    stored = {tensor.name: tensor for tensor in graph.initializer}
    values = dict(known)

    def value_of(name: str) -> ir.Value | None:
        if not name:
            return None
        if name not in values:
            if name not in stored:
                raise GraphError(f"'{name}' is neither stored nor computed", where=where)
            array = onnx.numpy_helper.to_array(stored[name])
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise GraphError(f"array '{name}' holds nan or inf", where=where)
            values[name] = builder.constant(array, name="weight")
        return values[name]

    for node in reversed(needed):
        made = builder.op_multi(
            node.op_type,
            *map(value_of, node.input),
            outputs=len(node.output),
            name=node.name or None,
            **node_attributes(node),
        )
        values.update(zip(node.output, made, strict=True))
    found = [value_of(name) for name in wanted]
    return [value for value in found if value is not None]


def node_attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes in the form that the builder accepts."""
    found: dict[str, Any] = {}
    for item in node.attribute:
        value = onnx.helper.get_attribute_value(item)
        if isinstance(value, onnx.TensorProto):
            value = ir.tensor(onnx.numpy_helper.to_array(value))
        elif isinstance(value, list) and value and isinstance(value[0], bytes):
            value = [text.decode() for text in value]
        found[item.name] = value.decode() if isinstance(value, bytes) else value
    return found
