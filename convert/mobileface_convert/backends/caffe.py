"""Converts a source graph to Caffe: a ``prototxt`` with layers, a ``caffemodel`` with weights.

Has the same purpose as upstream's MXNet2Caffe but shares no code with it. Input sizes are fixed;
batch normalisation that no pass could fold becomes a ``Scale`` layer.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import text_format

from mobileface.errors import GraphError, UnsupportedOperatorError

from ..graph.attributes import Attributes
from ..graph.source_graph import Edge, Graph, Node
from . import caffe_arithmetic, caffe_layers  # noqa: F401  they register the conversions
from .caffe_writer import CONVERSIONS, CaffeContext, CaffeWriter
from .onnx import static_shapes

__all__ = ["CaffeModel", "to_caffe"]


@dataclass(frozen=True)
class CaffeModel:
    """A network as the contents of Caffe's two files.

    Attributes:
        prototxt: The layers, as text.
        caffemodel: Layers and weights, in protobuf's binary format.
        layers: Number of layers, including the input layer.
        outputs: Shape of each output, including the batch, by blob name.
    """

    prototxt: str
    caffemodel: bytes
    layers: int
    outputs: Mapping[str, tuple[int, ...]]


def to_caffe(
    graph: Graph,
    input_shapes: Mapping[str, Sequence[int]],
    outputs: Sequence[str] | None = None,
    *,
    name: str = "network",
) -> CaffeModel:
    """Converts a graph to Caffe.

    Args:
        graph: The network, after the passes.
        input_shapes: Shape of each network input, including the batch.
        outputs: Names of the outputs; by default the names of the nodes that compute them.
        name: Name of the network.

    Raises:
        GraphError: If a weight is missing or shapes do not match; names node and array.
        UnsupportedOperatorError: If Caffe has no layer for an operator; names the node.
    """
    writer = CaffeWriter.start(name, static_shapes(graph, input_shapes))
    for node in graph.inference_nodes:
        if node.is_variable and node.name in input_shapes:
            layer, (blob,) = writer.add("Input", node.name, ())
            layer.input_param.shape.add().dim.extend(input_shapes[node.name])
            writer.blobs[Edge(node)] = blob
        elif not node.is_variable:
            _convert(writer, graph, node)
    names = list(outputs or (edge.node.name for edge in graph.outputs))
    _name_outputs(writer, graph, names)
    bare = type(writer.net)()
    bare.CopyFrom(writer.net)
    for layer in bare.layer:
        del layer.blobs[:]
    return CaffeModel(
        prototxt=text_format.MessageToString(bare),
        caffemodel=writer.net.SerializeToString(),
        layers=len(writer.net.layer),
        outputs={n: writer.shapes[e] for n, e in zip(names, graph.outputs, strict=True)},
    )


def _convert(writer: CaffeWriter, graph: Graph, node: Node) -> None:
    """Adds the layers of one operator.

    Raises:
        UnsupportedOperatorError: If Caffe has no layer for the operator.
    """
    convert = CONVERSIONS.get(node.op)
    if convert is None:
        near = difflib.get_close_matches(node.op, CONVERSIONS, n=3)
        raise UnsupportedOperatorError(
            f"operator '{node.op}' has no Caffe layer",
            where=node.where,
            hint=("similar: " + ", ".join(near) + "; " if near else "")
            + "supported: "
            + ", ".join(sorted(CONVERSIONS)),
        )
    found = convert(CaffeContext(writer, graph, node, Attributes(node.attrs, node.where)))
    blobs = (found,) if isinstance(found, str) else found
    writer.blobs.update({Edge(node, index): blob for index, blob in enumerate(blobs)})


def _name_outputs(writer: CaffeWriter, graph: Graph, names: Sequence[str]) -> None:
    """Renames the output blobs, and their layers, to the requested names.

    Raises:
        GraphError: If two outputs share a blob or a name, or a name belongs to another layer.
    """
    blobs = [writer.blobs.get(edge) for edge in graph.outputs]
    producers = {top: layer for layer in writer.net.layer for top in layer.top}
    if len(names) != len(blobs) or len(set(names)) < len(names) or len(set(blobs)) < len(blobs):
        raise GraphError(
            f"outputs {', '.join(names)} are not distinct",
            where=graph.origin,
            hint="list each output once, with a unique name",
        )
    for blob, name in zip(blobs, names, strict=True):
        if blob is None or blob not in producers or producers[blob].type == "Input":
            raise GraphError(f"output '{name}' is not computed by a layer", where=graph.origin)
        if name != blob and name in producers:
            raise GraphError(f"'{name}' is the name of another layer", where=graph.origin)
        _rename(writer.net, blob, name)


def _rename(net: Any, before: str, after: str) -> None:
    """Renames a blob, and the layer of the same name."""
    for layer in net.layer:
        if layer.name == before:
            layer.name = after
        for blobs in (layer.bottom, layer.top):
            for position, blob in enumerate(blobs):
                if blob == before:
                    blobs[position] = after
