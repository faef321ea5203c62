"""Extracts the network and the heads of the published YuNet, starting at its twelve outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from mobileface.errors import GraphError

from ..graph.onnx_builder import GraphBuilder
from ..graph.onnx_nodes import add_nodes, node_attributes

__all__ = ["POINTS", "STRIDES", "WIDTH", "YuNetHead", "YuNetSource"]

STRIDES = (8, 16, 32)
"""Width of a cell of each grid in pixels; images are padded to multiples of the last."""

POINTS = 5
"""Number of landmarks: right and left eye, nose tip, right and left corner of the mouth."""

_HEADS = {"bbox": 4, "kps": 2 * POINTS, "cls": 1, "obj": 1}

WIDTH = sum(_HEADS.values())
"""Values per cell: centre, size, landmarks, class score, objectness."""

_CHANNELS = 3
_HINT = "expected YuNet of 2023, face_detection_yunet_2023mar.onnx"

FloatArray = npt.NDArray[np.float32]


class YuNetHead:
    """The four heads of one stride, with their channels concatenated.

    Args:
        parts: First and second convolution of the heads for box, landmarks, class and objectness.
        source: The graph that contains their weights.

    Attributes:
        feature: Name of the value that all heads read.
        pointwise: Weights (16, C, 1, 1) and biases (16,) of the first convolutions.
        depthwise: Weights (16, 1, 3, 3) and biases (16,) of the second convolutions.

    Raises:
        GraphError: If the convolutions do not have the structure of YuNet's heads.
    """

    def __init__(self, parts: Sequence[tuple[onnx.NodeProto, onnx.NodeProto]], source: YuNetSource):
        self.feature = source.feature(parts[0][0])
        pairs = [[source.weights(node) for node in nodes] for nodes in parts]
        channels = pairs[0][0][0].shape[1:]
        for (node, _), width, stored in zip(parts, _HEADS.values(), pairs, strict=True):
            sizes = [array.shape for pair in stored for array in pair]
            if sizes != [(width, *channels), (width,), (width, 1, 3, 3), (width,)]:
                raise source.error(f"weights of {sizes} do not fit {width} values per cell", node)
            if channels[1:] != (1, 1):
                raise source.error(f"expected a 1×1 convolution, got {channels[1:]}", node)
            if node.input[0] != self.feature:
                raise source.error("the heads of one stride read different features", node)
        first, second = zip(*pairs, strict=True)
        self.pointwise, self.depthwise = _stacked(first), _stacked(second)


class YuNetSource:
    """Access to the parts of the published graph.

    Args:
        graph: Graph of the cleaned model.
        where: Name of the file in error messages.

    Raises:
        GraphError: If the graph does not have exactly one input.
    """

    def __init__(self, graph: onnx.GraphProto, where: str) -> None:
        self._graph, self._where = graph, where
        self._made = {name: node for node in graph.node for name in node.output}
        self._stored = {tensor.name: tensor for tensor in graph.initializer}
        inputs = [value.name for value in graph.input if value.name not in self._stored]
        if len(inputs) != 1:
            raise GraphError(f"expected 1 input, got {len(inputs)}", where=where)
        self._input = inputs[0]

    def head(self, stride: int) -> YuNetHead:
        """The heads of a stride.

        Raises:
            GraphError: If they do not have the structure of YuNet's heads.
        """
        parts = []
        for kind in _HEADS:
            name, tail = f"{kind}_{stride}", ["Reshape", "Transpose", "Conv", "Conv"]
            if kind in ("cls", "obj"):
                tail.insert(0, "Sigmoid")
            nodes = self._chain(name, tail)
            if node_attributes(nodes[-3]).get("perm") != [0, 2, 3, 1]:
                raise self.error("channels are not moved to the end", nodes[-3])
            self._check_convolutions(nodes[-1], nodes[-2])
            parts.append((nodes[-1], nodes[-2]))
        return YuNetHead(parts, self)

    def add(self, builder: GraphBuilder, rows: ir.Value, features: Sequence[str]) -> list[ir.Value]:
        """Adds the network up to the given features and returns their values.

        The first convolution reads rows of pixels, (N, 1, H, 3·W).
        """
        first = {
            node.output[0]: self._add_first(builder, rows, node)
            for node in self._graph.node
            if self._input in node.input
        }
        return add_nodes(builder, self._graph, first, features, where=self._where)

    def _add_first(self, builder: GraphBuilder, rows: ir.Value, node: onnx.NodeProto) -> ir.Value:
        """Adds the first convolution, on pixels in their memory layout, (N, 1, H, 3·W).

        The three values of a pixel are three adjacent columns. The kernel, its stride and its
        padding become three times as wide, so that no transposition of channels is needed.
        """
        given = node_attributes(node)
        weights, biases = self.weights(node)
        plain = given.get("group", 1) == 1 and given.get("dilations", [1, 1]) == [1, 1]
        known = {"group", "dilations", "kernel_shape", "strides", "pads"}
        if node.op_type != "Conv" or not plain or not known.issuperset(given):
            raise self.error("the image is not read by a plain convolution", node)
        if weights.ndim != 4 or weights.shape[1] != _CHANNELS:
            raise self.error(f"weights of {weights.shape} do not read three channels", node)
        outputs, _, height, width = weights.shape
        flat = weights.transpose(0, 2, 3, 1).reshape(outputs, 1, height, width * _CHANNELS)
        down, right = given.get("strides", [1, 1])
        top, left, bottom, end = given.get("pads", [0] * 4)
        return builder.op(
            "Conv",
            rows,
            builder.constant(flat, np.float32, name="weight"),
            builder.constant(biases, np.float32, name="weight"),
            name=node.name or None,
            kernel_shape=(height, width * _CHANNELS),
            strides=(down, right * _CHANNELS),
            pads=(top, left * _CHANNELS, bottom, end * _CHANNELS),
        )

    def feature(self, node: onnx.NodeProto) -> str:
        """Name of the value that a head's first convolution reads.

        Raises:
            GraphError: If no node computes this value.
        """
        if node.input[0] not in self._made:
            raise self.error("the head does not read a computed feature", node)
        return str(node.input[0])

    def weights(self, node: onnx.NodeProto) -> tuple[FloatArray, FloatArray]:
        """Weights and biases of a convolution.

        Raises:
            GraphError: If the convolution has no biases, or they are not stored.
        """
        if len(node.input) != 3:
            raise self.error("the convolution has no biases", node)
        return self._array(node.input[1]), self._array(node.input[2])

    def error(self, what: str, node: onnx.NodeProto) -> GraphError:
        """An error that names a node, for the caller to raise."""
        place = f"node '{node.name}' ({node.op_type})"
        return GraphError(
            what,
            where=f"{self._where}, {place}" if self._where else place,
            hint=_HINT,
        )

    def _array(self, name: str) -> FloatArray:
        if name not in self._stored:
            raise GraphError(f"'{name}' is not a stored array", where=self._where, hint=_HINT)
        array = np.asarray(onnx.numpy_helper.to_array(self._stored[name]))
        if not np.isfinite(array).all():
            raise GraphError(f"array '{name}' holds nan or inf", where=self._where)
        return array

    def _chain(self, name: str, kinds: Sequence[str]) -> list[onnx.NodeProto]:
        """The chain of nodes that computes an output, last node first."""
        nodes = []
        for kind in kinds:
            node = self._made.get(name)
            if node is None or node.op_type != kind:
                found = "nothing" if node is None else f"{node.op_type} '{node.name}'"
                raise GraphError(
                    f"'{name}' must be computed by {kind}, not {found}",
                    where=self._where,
                    hint="expected outputs cls, obj, bbox and kps at strides 8, 16 and 32",
                )
            nodes.append(node)
            name = node.input[0]
        return nodes

    def _check_convolutions(self, first: onnx.NodeProto, second: onnx.NodeProto) -> None:
        """Checks for a 1×1 convolution and a depthwise 3×3 convolution that keep the map's size."""
        outputs = len(self.weights(second)[0])
        for node, (group, side, pad) in ((first, (1, 1, 0)), (second, (outputs, 3, 1))):
            expected = {
                "group": group,
                "kernel_shape": [side, side],
                "pads": [pad] * 4,
                "strides": [1, 1],
                "dilations": [1, 1],
            }
            found = {"group": 1, "strides": [1, 1], "dilations": [1, 1], "pads": [0] * 4}
            found |= {"kernel_shape": [side, side]} | node_attributes(node)
            if found != expected:
                raise self.error(f"expected a convolution with {expected}, got {found}", node)


def _stacked(parts: Sequence[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    weights, biases = zip(*parts, strict=True)
    return np.concatenate(weights), np.concatenate(biases)
