"""Changes the ends of an ONNX graph: what it reads, and what its outputs are called."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from mobileface.errors import ConversionError
from mobileface.models.spec import ImageInput

from ..graph.onnx_builder import free_name

__all__ = ["GraphEnds"]


class GraphEnds:
    """The ends of a graph with one input.

    ::

        before   float32, scaled ─ network ─ outputs
        after    uint8 (N, H, W, C) ─ Transpose ─ Cast ─ − mean ─ / std ─ network ─ Reshape ─ name

    Args:
        model: The graph; it is changed in place.
    """

    def __init__(self, model: ir.Model) -> None:
        self._graph = model.graph
        self._names = {str(value.name) for node in self._graph for value in node.outputs}
        self._names |= set(self._graph.initializers)
        self._names |= {str(value.name) for value in self._graph.inputs}
        self._batch: int | str = "N"

    def read(self, image: ImageInput, *, planes: bool) -> None:
        """Lets the graph read what the spec says, and scales it as the published network wants.

        Args:
            image: The input of the spec.
            planes: True if the network wants (N, C, height, width), False for (N, height, width,
                C).

        Raises:
            ConversionError: The spec wants another layout than the network, or bytes in planes.
        """
        old, self._batch = self._graph.inputs[0], image.batch or "N"
        first = self._graph[0]
        if image.dtype != "uint8":
            if image.layout != ("nchw" if planes else "nhwc"):
                raise ConversionError(f"the network does not read {image.layout}", where=image.name)
            if image.name != old.name:
                self._free(image.name)
                old.name = image.name
            return
        if image.layout != "nhwc":
            raise ConversionError("images of bytes must be nhwc", where=image.name)
        self._free(image.name)
        fed = ir.val(image.name, ir.DataType.UINT8, ir.Shape((self._batch, *image.shape)))
        nodes = []
        if planes:
            nodes.append(self._node("planes", "Transpose", [fed], perm=(0, 3, 1, 2)))
        last = nodes[-1].outputs if nodes else [fed]
        nodes.append(self._node("pixels", "Cast", last, to=int(ir.DataType.FLOAT)))
        sizes = (1, -1, 1, 1) if planes else (1, 1, 1, -1)
        for kind, values, neutral in (("Sub", image.mean, 0), ("Div", image.std, 1)):
            if any(value != neutral for value in values):
                constant = self._constant(np.array(values, np.float32).reshape(sizes))
                inputs = [nodes[-1].outputs[0], constant]
                nodes.append(self._node(kind.lower(), kind, inputs))
        scaled = nodes[-1].outputs[0]
        scaled.dtype, scaled.shape = ir.DataType.FLOAT, old.shape
        ir.convenience.replace_all_uses_with(old, scaled)
        self._graph.insert_before(first, nodes)
        self._graph.inputs[0] = fed

    def output(
        self, position: int, name: str, sizes: Sequence[int], *, sigmoid: bool = False
    ) -> None:
        """Gives an output its name and shape, and a sigmoid if wanted."""
        shape = self._constant(np.array([-1, *sizes], np.int64))
        inputs = [self._graph.outputs[position], shape]
        made = [self._node(f"{name}_rows", "Reshape", inputs)]
        if sigmoid:
            made.append(self._node(f"{name}_sigmoid", "Sigmoid", made[-1].outputs))
        value = made[-1].outputs[0]
        self._free(name)
        value.name, value.dtype = name, ir.DataType.FLOAT
        value.shape = ir.Shape((self._batch, *sizes))
        self._graph.extend(made)
        self._graph.outputs[position] = value

    def _node(self, name: str, kind: str, inputs: Sequence[ir.Value], **options: object) -> ir.Node:
        unique = self._unique(name)
        node = ir.node(kind, inputs, attributes=dict(options) or None, name=unique)
        node.outputs[0].name = unique
        return node

    def _constant(self, array: npt.NDArray[np.generic]) -> ir.Value:
        name = self._unique("const")
        value = ir.val(name, const_value=ir.tensor(array, name=name))
        self._graph.register_initializer(value)
        return value

    def _unique(self, name: str) -> str:
        found = free_name(name, self._names)
        self._names.add(found)
        return found

    def _free(self, name: str) -> None:
        """Renames the value that has a name, if there is one, and takes the name."""
        values = [*self._graph.inputs, *(v for node in self._graph for v in node.outputs)]
        for value in (*values, *list(self._graph.initializers.values())):
            if value.name == name:
                value.name = self._unique(name)
        self._names.add(name)
