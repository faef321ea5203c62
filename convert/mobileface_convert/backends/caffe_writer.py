"""Writes Caffe layers: the network writer, the conversion context and the conversion registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mobileface.errors import GraphError, UnsupportedOperatorError

from ..graph.attributes import Attributes
from ..graph.onnx_builder import free_name
from ..graph.source_graph import Edge, Graph, Node
from .caffe_proto import net_parameter

__all__ = ["CONVERSIONS", "CaffeContext", "CaffeWriter", "conversion"]

Shape = tuple[int, ...]
FloatArray = npt.NDArray[np.float32]
Layer = Any
"""A ``LayerParameter``, whose class protobuf creates at run time."""


@dataclass
class CaffeWriter:
    """A network that is being written.

    Attributes:
        net: The ``NetParameter`` with the layers so far.
        blobs: Name of the blob that holds each edge.
        shapes: Shape of each edge.
    """

    net: Any
    blobs: dict[Edge, str]
    shapes: Mapping[Edge, Shape]
    _names: set[str] = field(default_factory=set)

    @classmethod
    def start(cls, name: str, shapes: Mapping[Edge, Shape]) -> CaffeWriter:
        """An empty network."""
        return cls(net_parameter()(name=name), {}, shapes)

    def add(
        self,
        kind: str,
        name: str,
        bottoms: Sequence[str],
        blobs: Sequence[FloatArray] = (),
        tops: int = 1,
    ) -> tuple[Layer, tuple[str, ...]]:
        """Adds a layer; its output blobs have the layer's name, numbered if there are several.

        Args:
            kind: Type of the layer.
            name: Name of the layer; a number is appended if it is taken.
            bottoms: Names of the input blobs.
            blobs: Weights.
            tops: Number of output blobs.

        Returns:
            The layer, for setting its options, and the names of its output blobs.
        """
        unique = free_name(name, self._names)
        self._names.add(unique)
        outputs = (unique,) if tops == 1 else tuple(f"{unique}_{n}" for n in range(tops))
        layer = self.net.layer.add(name=unique, type=kind, bottom=bottoms, top=outputs)
        for array in blobs:
            blob = layer.blobs.add()
            blob.shape.dim.extend(array.shape)
            blob.data.extend(array.astype(np.float32).ravel().tolist())
        return layer, outputs


@dataclass(frozen=True)
class CaffeContext:
    """What a conversion function works with.

    Attributes:
        writer: The network that layers are added to.
        graph: The network that is being converted.
        node: The operator to convert.
        attrs: Attributes of the operator.
    """

    writer: CaffeWriter
    graph: Graph
    node: Node
    attrs: Attributes

    @property
    def data(self) -> str:
        """The blob of the first input."""
        return self.blob(0)

    @property
    def data_shape(self) -> Shape:
        """Shape of the first input."""
        return self.shape(0)

    @property
    def output_shape(self) -> Shape:
        """Shape of the first output.

        Raises:
            GraphError: If the shape cannot be inferred.
        """
        return self._known(Edge(self.node))

    def shape(self, position: int) -> Shape:
        """Shape of an input, which may be a stored array.

        Raises:
            GraphError: If the shape cannot be inferred.
        """
        edge = self.node.inputs[position]
        stored = self.graph.weight(edge)
        return tuple(stored.shape) if stored is not None else self._known(edge)

    def is_stored(self, position: int) -> bool:
        """Whether an input is a stored array."""
        return self.graph.weight(self.node.inputs[position]) is not None

    def blob(self, position: int) -> str:
        """The blob of an input.

        Raises:
            UnsupportedOperatorError: If the input is a stored array, which layers cannot read.
        """
        if self.is_stored(position):
            name = self.node.inputs[position].node.name
            raise self.unsupported(f"its input '{name}' is a stored array")
        return self.writer.blobs[self.node.inputs[position]]

    def weight(self, position: int, role: str, shape: Sequence[int | None]) -> FloatArray:
        """The stored array of an input, as float32; see `Graph.weight_of`."""
        return self.graph.weight_of(self.node, position, role, shape).astype(np.float32)

    def layer(
        self, kind: str, *bottoms: str, blobs: Sequence[FloatArray] = (), role: str = ""
    ) -> Layer:
        """Adds a layer with one output blob, whose name is ``layer.top[0]``."""
        name = f"{self.node.name}_{role}" if role else self.node.name
        return self.writer.add(kind, name, bottoms, blobs)[0]

    def unsupported(self, what: str, hint: str = "") -> UnsupportedOperatorError:
        """The error for a node that Caffe has no layer for."""
        return UnsupportedOperatorError(
            f"{what}: Caffe has no such layer",
            where=self.node.where,
            hint=hint or "cut the network before it, or export to onnx or ncnn",
        )

    def _known(self, edge: Edge) -> Shape:
        if edge not in self.writer.shapes:
            raise GraphError(f"the shape of '{edge.node.name}' is unknown", where=self.node.where)
        return self.writer.shapes[edge]


Conversion = Callable[[CaffeContext], "str | Sequence[str]"]
"""Adds the layers of an operator; returns the blob of its output, or of each output."""

CONVERSIONS: dict[str, Conversion] = {}
"""Conversions by MXNet operator name."""


def conversion(*operators: str) -> Callable[[Conversion], Conversion]:
    """Decorator that registers a conversion for some operators.

    Raises:
        ValueError: If an operator already has a conversion.
    """

    def register(convert: Conversion) -> Conversion:
        for name in operators:
            if name in CONVERSIONS:
                raise ValueError(f"operator '{name}' is registered twice")
            CONVERSIONS[name] = convert
        return convert

    return register
