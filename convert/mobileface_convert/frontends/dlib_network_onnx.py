"""Builds the ONNX graph of a dlib network and folds layers in the process.

Three exact rewrites are applied; weights are computed in float64 and rounded once:

- an affine layer after a convolution is folded into it:
  gamma · (W ∗ x + b) + beta = (gamma · W) ∗ x + (gamma · b + beta);
- the input layer is folded into the first convolution, which must not have padding, because padding
  is zero after the input layer and not before it:
  W ∗ (x − mean) / scale + b = (W / scale) ∗ x + (b − Σ W · mean / scale);
- rows and columns of a filter that only see padding at the network's fixed image size are removed:
  of a 3×3 filter on a single padded pixel, one weight remains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from mobileface.errors import GraphError

from ..graph.onnx_builder import DEFAULT_OPSET, GraphBuilder
from .dlib_network import (
    AddTag,
    Affine,
    Convolution,
    DlibNetwork,
    Folded,
    FullyConnected,
    Layer,
    Pool,
    Relu,
    Skip,
    Tag,
)

__all__ = ["build_dlib_network", "fold_network"]

Shape = tuple[int, int, int]
"""Channels, rows and columns of a value."""


@dataclass(frozen=True)
class _Value:
    """A value of the ONNX graph, and its shape without the batch axis."""

    value: ir.Value
    shape: Shape


def fold_network(network: DlibNetwork) -> DlibNetwork:
    """Folds the affine layers and the input layer into convolutions.

    Each layer keeps its number: a `Folded` replaces an affine layer.

    Raises:
        GraphError: If an affine layer does not follow a convolution, or the first layer is not a
            convolution without padding.
    """
    layers: list[Layer] = []
    for index, layer in enumerate(network.layers):
        if not isinstance(layer, Affine):
            layers.append(layer)
            continue
        before = layers[-1] if layers else None
        if not isinstance(before, Convolution):
            raise GraphError("an affine layer without a convolution before it", where=_at(index))
        if len(layer.gamma) != len(before.weights):
            counts = f"expected {len(before.weights)} factors, got {len(layer.gamma)}"
            raise GraphError(counts, where=_at(index))
        layers[-1:] = [_scaled(before, layer), Folded()]
    first = layers[0] if layers else None
    if not isinstance(first, Convolution) or first.padding != (0, 0):
        raise GraphError("the first layer must be a convolution without padding")
    layers[0] = _shifted(first, network)
    return replace(network, mean=(0.0, 0.0, 0.0), scale=1.0, layers=tuple(layers))


def build_dlib_network(
    network: DlibNetwork, *, name: str, image: str, output: str, opset: int = DEFAULT_OPSET
) -> ir.Model:
    """Builds the ONNX model of a network.

    Args:
        network: The network, as returned by `read_dlib_network`.
        name: Name of the graph.
        image: Name of the input, float32 (N, 3, height, width), RGB, 0..255.
        output: Name of the output, float32 (N, outputs).
        opset: Version of the ONNX operator set.

    Raises:
        GraphError: If the layers do not fit together; the message names the layer.
    """
    network = fold_network(network)
    builder = GraphBuilder(name, opset)
    shape = (3, network.height, network.width)
    current = _Value(builder.input(image, np.float32, ("N", *shape)), shape)
    tags: dict[int, _Value] = {}
    for index, layer in enumerate(network.layers):
        where = _at(index)
        if isinstance(layer, Folded):
            continue
        if isinstance(layer, Tag):
            tags[layer.number] = current
        elif isinstance(layer, Skip):
            current = tags[layer.tag]
        elif isinstance(layer, AddTag):
            current = _add(builder, current, tags[layer.tag])
        elif isinstance(layer, Relu):
            current = _Value(builder.op("Relu", current.value), current.shape)
        elif isinstance(layer, Convolution):
            current = _convolution(builder, current, layer, where)
        elif isinstance(layer, Pool):
            current = _pool(builder, current, layer, where)
        elif isinstance(layer, FullyConnected):
            current = _fully_connected(builder, current, layer, where)
        else:
            raise GraphError(f"{type(layer).__name__} was not folded", where=where)
    if current.shape[1:] != (1, 1):
        raise GraphError(f"the output must be one vector per image, not {current.shape}")
    flat = builder.op("Flatten", current.value, axis=1)
    return builder.build({output: flat}, shapes={output: ("N", current.shape[0])})


def _at(index: int) -> str:
    """The location of a layer in error messages."""
    return f"layer {index}, counted from the input"


def _scaled(layer: Convolution, affine: Affine) -> Convolution:
    """The convolution with an affine layer folded into it."""
    gamma = affine.gamma.astype(np.float64)
    weights = layer.weights * gamma[:, None, None, None]
    bias = layer.bias * gamma + affine.beta
    return replace(layer, weights=weights, bias=bias)


def _shifted(layer: Convolution, network: DlibNetwork) -> Convolution:
    """The convolution with the network's input layer folded into it."""
    weights = layer.weights.astype(np.float64) / network.scale
    bias = layer.bias - np.einsum("oiyx,i->o", weights, np.array(network.mean))
    return replace(layer, weights=weights, bias=bias)


def _convolution(builder: GraphBuilder, given: _Value, layer: Convolution, where: str) -> _Value:
    channels, *sides = given.shape
    if layer.weights.shape[1] != channels:
        raise GraphError(
            f"expected filters for {channels} channels, got {layer.weights.shape[1]}", where=where
        )
    cuts = [
        _seen(side, layer.weights.shape[2 + axis], layer.stride[axis], layer.padding[axis], where)
        for axis, side in enumerate(sides)
    ]
    weights = layer.weights[:, :, cuts[0].kept, cuts[1].kept]
    value = builder.op(
        "Conv",
        given.value,
        builder.constant(weights, np.float32, name="weights"),
        builder.constant(layer.bias, np.float32, name="bias"),
        kernel_shape=weights.shape[2:],
        strides=layer.stride,
        pads=[*(cut.before for cut in cuts), *(cut.after for cut in cuts)],
    )
    return _Value(value, (len(weights), cuts[0].outputs, cuts[1].outputs))


@dataclass(frozen=True)
class _Axis:
    """One axis of a convolution: the part of the filter to keep, its padding, and the outputs."""

    kept: slice
    before: int
    after: int
    outputs: int


def _seen(side: int, window: int, stride: int, padding: int, where: str) -> _Axis:
    """The part of a filter that sees the image at any position, and the padding that it needs."""
    outputs = _outputs(side, window, stride, padding, where)
    last = (outputs - 1) * stride - padding  # the last position of the filter
    seen = [tap for tap in range(window) if tap + last >= 0 and tap - padding < side]
    kept = slice(seen[0], seen[-1] + 1)
    # The tap at `padding` sees the first pixel, so seen[0] is at most `padding`.
    return _Axis(kept, padding - kept.start, max(0, last + kept.stop - side), outputs)


def _outputs(side: int, window: int, stride: int, padding: int, where: str) -> int:
    """Number of positions of a window along an axis."""
    if side + 2 * padding < window:
        raise GraphError(f"a window of {window} pixels exceeds {side} pixels", where=where)
    return 1 + (side + 2 * padding - window) // stride


def _pool(builder: GraphBuilder, given: _Value, layer: Pool, where: str) -> _Value:
    if layer.window is None:
        operator = "GlobalMaxPool" if layer.kind == "max" else "GlobalAveragePool"
        return _Value(builder.op(operator, given.value), (given.shape[0], 1, 1))
    rows, columns = (
        _outputs(side, window, stride, padding, where)
        for side, window, stride, padding in zip(
            given.shape[1:], layer.window, layer.stride, layer.padding, strict=True
        )
    )
    value = builder.op(
        "MaxPool" if layer.kind == "max" else "AveragePool",
        given.value,
        kernel_shape=layer.window,
        strides=layer.stride,
        pads=[*layer.padding, *layer.padding],
    )
    return _Value(value, (given.shape[0], rows, columns))


def _add(builder: GraphBuilder, one: _Value, other: _Value) -> _Value:
    """The sum of two values; the smaller is padded with zeros at the end of each axis."""
    pairs = zip(one.shape, other.shape, strict=True)
    channels, rows, columns = (max(pair) for pair in pairs)
    shape = (channels, rows, columns)
    parts = [_padded(builder, part, shape) for part in (one, other)]
    return _Value(builder.op("Add", *parts), shape)


def _padded(builder: GraphBuilder, part: _Value, shape: Shape) -> ir.Value:
    """A value padded with zeros at the end of each axis to a shape."""
    missing = [want - have for want, have in zip(shape, part.shape, strict=True)]
    if not any(missing):
        return part.value
    pads: npt.NDArray[np.int64] = np.array([0, 0, 0, 0, 0, *missing], np.int64)
    return builder.op("Pad", part.value, builder.constant(pads, name="pads"))


def _fully_connected(
    builder: GraphBuilder, given: _Value, layer: FullyConnected, where: str
) -> _Value:
    inputs, outputs = layer.weights.shape
    if inputs != _product(given.shape):
        raise GraphError(f"{inputs} weights do not fit a value of {given.shape}", where=where)
    # A convolution over the whole map: the same sums, and the value keeps its four axes.
    weights = np.ascontiguousarray(layer.weights.T).reshape(outputs, *given.shape)
    value = builder.op("Conv", given.value, builder.constant(weights, np.float32, name="weights"))
    return _Value(value, (outputs, 1, 1))


def _product(shape: Sequence[int]) -> int:
    return int(np.prod(shape))
