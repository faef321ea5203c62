"""Writes networks in dlib's format, and runs them layer by layer in MXNet: invented test cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mobileface_convert.frontends.dlib_network import (
    AddTag,
    Affine,
    Convolution,
    DlibNetwork,
    FullyConnected,
    Layer,
    Pool,
    Relu,
    Skip,
    Tag,
)
from tests.convert.frontends.dlib_writer import float_integers, integer_bytes, stream_bytes

MEAN = (122.782, 117.001, 104.298)


def real(value: float) -> bytes:
    return stream_bytes(float_integers(float(np.float32(value))))


def text(value: str) -> bytes:
    return integer_bytes(len(value)) + value.encode()


def sizes(shape: Sequence[int]) -> bytes:
    return b"".join(integer_bytes(size) for size in (*shape, 1, 1, 1, 1)[:4])


def tensor(array: npt.NDArray[np.float32]) -> bytes:
    values = array.astype("<f4").tobytes()
    return integer_bytes(2) + sizes(array.shape if array.size else (0, 0, 0, 0)) + values


def alias(shape: Sequence[int]) -> bytes:
    return integer_bytes(1) + b"".join(integer_bytes(size) for size in shape)


def pair(values: tuple[int, int]) -> bytes:
    return integer_bytes(values[0]) + integer_bytes(values[1])


RATES = real(1) * 3 + real(0)
EMPTY = np.zeros(0, np.float32)
REST = b"110" + tensor(EMPTY) * 3


def layer_bytes(layer: Layer) -> bytes:
    """Name and parameters of a computing layer."""
    if isinstance(layer, Convolution):
        count, _, rows, columns = layer.weights.shape
        parameters = np.concatenate([layer.weights.reshape(-1), layer.bias])
        return (
            text("con_4")
            + tensor(parameters)
            + b"".join(integer_bytes(value) for value in (count, rows, columns))
            + pair(layer.stride)
            + pair(layer.padding)
            + alias(layer.weights.shape)
            + alias((1, count, 1, 1))
            + RATES
        )
    if isinstance(layer, Affine):
        count = len(layer.gamma)
        parameters = np.concatenate([layer.gamma, layer.beta])
        return text("affine_") + tensor(parameters) + alias((1, count, 1, 1)) * 2 + integer_bytes(0)
    if isinstance(layer, Pool):
        name = "max_pool_2" if layer.kind == "max" else "avg_pool_2"
        return text(name) + pair(layer.window or (0, 0)) + pair(layer.stride) + pair(layer.padding)
    if isinstance(layer, FullyConnected):
        inputs, outputs = layer.weights.shape
        return (
            text("fc_2")
            + integer_bytes(outputs)
            + integer_bytes(inputs)
            + tensor(layer.weights)
            + alias((inputs, outputs, 1, 1))
            + alias((0, 0, 0, 0))
            + integer_bytes(1)
            + RATES
        )
    return text("relu_" if isinstance(layer, Relu) else "add_prev_")


def network_bytes(network: DlibNetwork) -> bytes:
    """A whole file."""
    versions, rests = [], b""
    for index, layer in enumerate(network.layers):
        computes = not isinstance(layer, (Tag, Skip))
        versions.append((3 if index == 0 else 2) if computes else 1)
        if computes:
            rests += layer_bytes(layer) + REST + (integer_bytes(1) if index == 0 else b"")
    return (
        integer_bytes(1)
        + text("loss_metric_2")
        + real(0.04)
        + real(0.6)
        + b"".join(integer_bytes(version) for version in reversed(versions))
        + text("input_rgb_image_sized")
        + b"".join(real(value) for value in network.mean)
        + integer_bytes(network.height)
        + integer_bytes(network.width)
        + rests
    )


def random_network(seed: int, height: int, width: int) -> DlibNetwork:
    """A small residual network; odd sizes, so that sums have parts of different sizes."""
    random = np.random.RandomState(seed)

    def convolution(inputs: int, filters: int, side: int, stride: int, padding: int) -> Layer:
        fan = inputs * side * side
        weights = random.standard_normal((filters, inputs, side, side)) / np.sqrt(fan)
        bias = 0.1 * random.standard_normal(filters)
        return Convolution(
            weights.astype(np.float32), bias.astype(np.float32), (stride,) * 2, (padding,) * 2
        )

    def affine(channels: int) -> Layer:
        gamma = random.uniform(0.5, 1.5, channels).astype(np.float32)
        return Affine(gamma, random.normal(0, 0.2, channels).astype(np.float32))

    def block(number: int, inputs: int, filters: int, stride: int) -> list[Layer]:
        layers: list[Layer] = [
            Tag(number),
            convolution(inputs, filters, 3, stride, 0 if stride > 1 else 1),
            affine(filters),
            Relu(),
            convolution(filters, filters, 3, 1, 1),
            affine(filters),
        ]
        if stride == 1:
            return [*layers, AddTag(number), Relu()]
        halved = Pool("average", (2, 2), (2, 2), (0, 0))
        return [*layers, Tag(number + 1), Skip(number), halved, AddTag(number + 1), Relu()]

    layers: list[Layer] = [
        convolution(3, 6, 5, 2, 0),
        affine(6),
        Relu(),
        Pool("max", (3, 3), (2, 2), (0, 0)),
        *block(0, 6, 6, 1),
        *block(1, 6, 9, 2),
        *block(3, 9, 12, 2),
        Pool("average", None, (1, 1), (0, 0)),
        FullyConnected((random.standard_normal((12, 7)) / 3).astype(np.float32)),
    ]
    mean = tuple(float(np.float32(value)) for value in MEAN)
    assert len(mean) == 3
    return DlibNetwork(mean, 256.0, height, width, tuple(layers))


def run_in_mxnet(network: DlibNetwork, pictures: npt.NDArray[np.float32]) -> Any:
    """The outputs for pictures (N, 3, height, width), 0..255, layer by layer, nothing folded."""
    import mxnet as mx

    nd, mean = mx.nd, np.array(network.mean, np.float32).reshape(1, 3, 1, 1)
    x = nd.array((pictures - mean) / np.float32(network.scale))
    tags = {}
    for layer in network.layers:
        if isinstance(layer, Tag):
            tags[layer.number] = x
        elif isinstance(layer, Skip):
            x = tags[layer.tag]
        elif isinstance(layer, AddTag):
            x = _sum(mx, x, tags[layer.tag])
        elif isinstance(layer, Relu):
            x = nd.relu(x)
        elif isinstance(layer, Affine):
            gamma, beta = (nd.array(v.reshape(1, -1, 1, 1)) for v in (layer.gamma, layer.beta))
            x = nd.broadcast_add(nd.broadcast_mul(x, gamma), beta)
        elif isinstance(layer, Convolution):
            x = nd.Convolution(
                x,
                nd.array(layer.weights),
                nd.array(layer.bias),
                kernel=layer.weights.shape[2:],
                num_filter=len(layer.weights),
                stride=layer.stride,
                pad=layer.padding,
            )
        elif isinstance(layer, Pool):
            kind = "max" if layer.kind == "max" else "avg"
            options = (
                {"global_pool": True, "kernel": (1, 1)}
                if layer.window is None
                else {"kernel": layer.window, "stride": layer.stride, "pad": layer.padding}
            )
            x = nd.Pooling(x, pool_type=kind, **options)
        else:
            weights = nd.array(layer.weights.T.copy())
            x = nd.FullyConnected(x, weights, num_hidden=len(weights), no_bias=True)
    return x.asnumpy()


def _sum(mx: Any, one: Any, other: Any) -> Any:
    """Zeros behind the smaller, on every axis."""
    shape = [max(sizes) for sizes in zip(one.shape, other.shape, strict=True)]
    parts = []
    for part in (one, other):
        whole = np.zeros(shape, np.float32)
        whole[tuple(slice(0, size) for size in part.shape)] = part.asnumpy()
        parts.append(mx.nd.array(whole))
    return parts[0] + parts[1]
