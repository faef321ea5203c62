"""Reads what a recipe must say of a network from its files, whatever their format is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from mobileface.errors import ConversionError

from ..frontends.mxnet_checkpoint import load_checkpoint
from ..frontends.onnx_file import opset_of, read_onnx_file, value_shapes
from ..frontends.tflite import read_tflite
from ..graph.onnx_builder import DEFAULT_OPSET
from ..graph.shapes import known_shapes
from ..graph.source_graph import Edge, Graph
from ..oracles.litert_oracle import litert_is_installed
from ..source_passes import prune

__all__ = ["HALF_TOLERANCE", "Network", "adopted_opset", "read_network"]

HALF_TOLERANCE = 1e-2
"""Largest relative error where something is rounded to float16."""

_FLOAT16 = onnx.TensorProto.FLOAT16
_NEWEST_OPSET = 23
_FEATURE = "embedding"
_POINTS = "points"
_REGRESSIONS = ("LinearRegressionOutput", "MAERegressionOutput")
"""Losses that give their input unchanged."""
_CHANNELS = (1, 3)


@dataclass(frozen=True)
class Network:
    """What the files of a network say.

    Attributes:
        maker: Name of the maker that builds it.
        files: Its files by role.
        input: Name of the input that the made model has.
        channels: Number of channels; None if any.
        size: Height and width; None for any size.
        tolerance: Largest relative error that its verification allows.
        half: Whether it computes in float16.
        options: The recipe's table ``[convert]``.
        shapes: Sizes of the axes after the first of each output of the made model, as far as the
            file says them.
    """

    maker: str
    files: Mapping[str, Path]
    input: str
    channels: int | None
    size: tuple[int | None, int | None]
    tolerance: float
    half: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)


def read_network(files: Sequence[Path], outputs: Mapping[str, str | None]) -> Network:
    """Reads a network.

    Args:
        files: An ONNX or TensorFlow Lite file, or a symbol file and a parameter file of MXNet.
        outputs: The published output of each output of the made model; None if it is the only one,
            or can be detected.

    Raises:
        ConversionError: The files are of no known format, or are refused.
    """
    suffixes = [path.suffix.lower() for path in files]
    if suffixes == [".onnx"]:
        return _onnx(files[0], outputs)
    if suffixes == [".tflite"]:
        return _tflite(files[0], outputs)
    if sorted(suffixes) == [".json", ".params"]:
        symbol, params = sorted(files, key=lambda path: path.suffix.lower())
        return _mxnet(symbol, params, outputs)
    raise ConversionError(
        f"no network: {', '.join(path.name for path in files)}",
        hint="pass one .onnx or .tflite file, or a -symbol.json and a .params file, or a recipe",
    )


def adopted_opset(path: Path) -> int:
    """The operator set in which an ONNX file is read.

    Raises:
        ConversionError: It cannot be read, or its operator set is not known.
    """
    return min(max(DEFAULT_OPSET, opset_of(path)), _NEWEST_OPSET)


def _onnx(path: Path, outputs: Mapping[str, str | None]) -> Network:
    where = str(path)
    opset = adopted_opset(path)
    model = read_onnx_file(path, opset=opset)
    inputs = [value.name for value in model.graph.input]
    shapes = value_shapes(model)
    shape = _image_shape([shapes.get(name, ()) for name in inputs], where)
    chosen = _chosen([value.name for value in model.graph.output], outputs, where)
    half = any(value.type.tensor_type.elem_type == _FLOAT16 for value in model.graph.input)
    options: dict[str, Any] = {"opset": opset, "outputs": chosen}
    return Network(
        "onnx_network",
        {"model": path},
        "image",
        *shape,
        tolerance=HALF_TOLERANCE if half else 1e-5,
        half=half,
        options=options,
        shapes={name: shapes.get(found, ())[1:] for name, found in chosen.items()},
    )


def _image_shape(
    shapes: Sequence[tuple[int | None, ...]], where: str
) -> tuple[int | None, tuple[int | None, int | None]]:
    """Channels, and height and width, of the only input, whose pixels may be first or last.

    Raises:
        ConversionError: There are several inputs, or one that is no image.
    """
    if len(shapes) != 1:
        raise ConversionError(f"the network has {len(shapes)} inputs, not one image", where=where)
    (shape,) = shapes
    if len(shape) == 4 and (shape[1] in _CHANNELS or shape[1:] == (None, None, None)):
        return shape[1], (shape[2], shape[3])
    if len(shape) == 4 and shape[3] in _CHANNELS:
        return shape[3], (shape[1], shape[2])
    sizes = [size if size is not None else "any" for size in shape]
    raise ConversionError(f"the input of shape {sizes} is no image of 1 or 3 channels", where=where)


def _chosen(found: Sequence[str], outputs: Mapping[str, str | None], where: str) -> dict[str, str]:
    """The published output of each output of the made model.

    Raises:
        ConversionError: There are several and none is named, or none of that name.
    """
    chosen = {}
    for name, wanted in outputs.items():
        if wanted is None and len(found) == len(outputs) == 1:
            chosen[name] = found[0]
        elif wanted is not None and wanted in found:
            chosen[name] = wanted
        else:
            count = "1 output" if len(found) == 1 else f"{len(found)} outputs"
            what = f"has {count}" if wanted is None else f"has no output '{wanted}'"
            raise ConversionError(
                f"the network {what}: {', '.join(found)}",
                where=where,
                hint=f"name the one for {name}: --feature NAME, or --head NAME:{name}=…",
            )
    return chosen


def _tflite(path: Path, outputs: Mapping[str, str | None]) -> Network:
    where = str(path)
    if not litert_is_installed():
        raise ConversionError(
            "LiteRT is needed to verify the model",
            where=where,
            hint="pip install 'mobileface[reference]' on x86-64 Linux",
        )
    network = read_tflite(path)
    shape = _image_shape([network.tensors[number].shape for number in network.inputs], where)
    names = [network.tensors[number].name for number in network.outputs]
    chosen = _chosen(names, outputs, where)
    sizes = {
        network.tensors[number].name: network.tensors[number].shape[1:]
        for number in network.outputs
    }
    return Network(
        "tflite",
        {"model": path},
        "image",
        *shape,
        tolerance=1e-4,
        options={"outputs": chosen},
        shapes={name: sizes[found] for name, found in chosen.items()},
    )


def _mxnet(symbol: Path, params: Path, outputs: Mapping[str, str | None]) -> Network:
    if list(outputs) not in ([_FEATURE], [_POINTS]):
        raise ConversionError(
            "checkpoints of MXNet are adopted for embeddings and landmarks only",
            where=str(symbol),
            hint="mobileface-convert model converts it to ONNX, which can be adopted",
        )
    ((kept, feature),) = outputs.items()
    graph = load_checkpoint(symbol, params)
    if kept == _POINTS and feature is None:
        feature = _regressed(graph)
    graph = prune(graph, feature).graph
    (name, sizes), *others = known_shapes(graph, {}).items()
    shape = tuple(size if isinstance(size, int) else None for size in sizes)
    channels, size = _image_shape([shape, *((),) * len(others)], graph.origin)
    cut = _edge_name(graph.outputs[0])
    files = {"symbol": symbol, "params": params}
    return Network("mxnet", files, name, channels, size, tolerance=1e-5, options={"cut": cut})


def _regressed(graph: Graph) -> str:
    """The only output of a network, or what its regression loss reads.

    Raises:
        ConversionError: It has several.
    """
    if len(graph.outputs) != 1:
        names = ", ".join(_edge_name(edge) for edge in graph.outputs)
        raise ConversionError(
            f"the network has {len(graph.outputs)} outputs: {names}",
            where=graph.origin,
            hint="name the one for points: --feature NAME",
        )
    edge = graph.outputs[0]
    while edge.node.op in _REGRESSIONS:
        edge = edge.node.inputs[0]
    return _edge_name(edge)


def _edge_name(edge: Edge) -> str:
    """The name that `Graph.find` finds an edge by."""
    return edge.node.name if edge.index == 0 else f"{edge.node.name}_output{edge.index}"
