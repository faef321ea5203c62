"""Source graph to Caffe network: a ``prototxt`` with the layers, a ``caffemodel`` with weights.

Written after upstream's own MXNet2Caffe in purpose, not in code. Sizes are those of one picture;
batch normalisation that a pass could not fold becomes a ``Scale``.
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
from . import caffe_arithmetic, caffe_layers  # noqa: F401  they register their conversions
from .caffe_writer import CONVERSIONS, CaffeContext, CaffeWriter
from .onnx import static_shapes

__all__ = ["CaffeModel", "to_caffe"]


@dataclass(frozen=True)
class CaffeModel:
    """A network in Caffe's two files.

    Attributes:
        prototxt: Its layers, as text.
        caffemodel: Layers and weights, in protobuf's binary form.
        layers: Number of layers, the input's included.
        outputs: Shape of each output, batch included, by the name of its blob.
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
    """Converts a graph.

    Args:
        graph: The network, after the passes.
        input_shapes: Shape of each network input, batch included.
        outputs: Names of the outputs; by default those of the nodes that compute them.
        name: Name of the network.

    Raises:
        GraphError: A weight is missing, or shapes do not fit; names node and array.
        UnsupportedOperatorError: Something that Caffe has no layer for; names the node.
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
        UnsupportedOperatorError: There are none.
    """
    convert = CONVERSIONS.get(node.op)
    if convert is None:
        near = difflib.get_close_matches(node.op, CONVERSIONS, n=3)
        raise UnsupportedOperatorError(
            f"operator '{node.op}' has no Caffe layer",
            where=node.where,
            hint=("near to it: " + ", ".join(near) + "; " if near else "")
            + "supported: "
            + ", ".join(sorted(CONVERSIONS)),
        )
    found = convert(CaffeContext(writer, graph, node, Attributes(node.attrs, node.where)))
    blobs = (found,) if isinstance(found, str) else found
    writer.blobs.update({Edge(node, index): blob for index, blob in enumerate(blobs)})


def _name_outputs(writer: CaffeWriter, graph: Graph, names: Sequence[str]) -> None:
    """Gives layers and blobs of the outputs the names that are wanted.

    Raises:
        GraphError: Two outputs are one blob, or a name is another layer's.
    """
    blobs = [writer.blobs.get(edge) for edge in graph.outputs]
    made = {top: layer for layer in writer.net.layer for top in layer.top}
    if len(names) != len(blobs) or len(set(names)) < len(names) or len(set(blobs)) < len(blobs):
        raise GraphError(
            f"outputs {', '.join(names)} cannot be told apart",
            where=graph.origin,
            hint="give each output once, with a name of its own",
        )
    for blob, name in zip(blobs, names, strict=True):
        if blob is None or blob not in made or made[blob].type == "Input":
            raise GraphError(f"output '{name}' is nothing that is computed", where=graph.origin)
        if name != blob and name in made:
            raise GraphError(f"'{name}' is the name of another layer", where=graph.origin)
        _rename(writer.net, blob, name)


def _rename(net: Any, before: str, after: str) -> None:
    """Another name for a blob, and for the layer that makes nothing else."""
    for layer in net.layer:
        if layer.name == before:
            layer.name = after
        for blobs in (layer.bottom, layer.top):
            for position, blob in enumerate(blobs):
                if blob == before:
                    blobs[position] = after
