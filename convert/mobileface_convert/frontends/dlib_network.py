"""Reader of dlib's deep networks, for the layers of its face recognition model.

A C++ type describes such a network, and the file only contains what the type does not determine.
Layers are nested like function calls, with the loss outermost and the input innermost::

    version · loss · (version of a layer)* · input · (body of a layer)*

The versions are ordered from the loss to the input, the bodies from the input to the loss. Version
2 is a layer that computes something. Version 1 is a *tag*, which names its input, or a *skip*,
which returns the value of a tag; both have no body. Only the C++ type specifies which tag an
``add_prev_`` or a skip refers to. This reader assumes the structure of dlib's residual networks
(dlib, examples, dnn_face_recognition_ex.cpp; He et al., arXiv 1512.03385)::

    residual:       x ── tag ── layers ── add_prev            layers(x) + x
    residual_down:  x ── tag ── layers ── tag ── skip ── pool ── add_prev   layers(x) + pool(x)

Therefore a single version 1 is a tag; of two consecutive ones, the inner is a tag and the outer is
a skip to the tag before it; an ``add_prev_`` adds the value of the closest tag before it.

The body of a layer is its name, its parameters, three flags and three tensors that are only used in
training and are empty. The innermost layer has version 3 and one more number: how many samples the
input creates per image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .dlib_bytes import DlibBytes

__all__ = [
    "AddTag",
    "Affine",
    "Convolution",
    "DlibNetwork",
    "Folded",
    "FullyConnected",
    "Layer",
    "Pool",
    "Relu",
    "Skip",
    "Tag",
    "read_dlib_network",
]

FloatArray = npt.NDArray[np.float32]

_MARK, _LAYER, _INNERMOST = 1, 2, 3
_LOSS = "loss_metric_2"
_INPUT = "input_rgb_image_sized"
_LARGEST_IMAGE = 4096
_LARGEST_WINDOW = 1024
_MOST_LAYERS = 10_000
_FULL_SCALE = 256.0
"""The number that dlib's RGB input layer divides by."""


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution: weights (filters, channels, rows, columns), bias (filters,)."""

    weights: FloatArray
    bias: FloatArray
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Affine:
    """x · gamma + beta, with one gamma and one beta per channel: (channels,)."""

    gamma: FloatArray
    beta: FloatArray


@dataclass(frozen=True)
class Relu:
    """max(x, 0)."""


@dataclass(frozen=True)
class Pool:
    """Maximum or average pooling; ``window`` is None for global pooling."""

    kind: str
    window: tuple[int, int] | None
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True)
class Tag:
    """Stores the current value under a number."""

    number: int


@dataclass(frozen=True)
class Skip:
    """Continues with the value of a tag."""

    tag: int


@dataclass(frozen=True)
class AddTag:
    """Adds the value of a tag; the smaller value is padded with zeros at the end of each axis."""

    tag: int


@dataclass(frozen=True, eq=False)
class FullyConnected:
    """A fully connected layer without bias: flattened x · weights (inputs, outputs)."""

    weights: FloatArray


@dataclass(frozen=True)
class Folded:
    """An empty layer: the original layer was folded into the one before."""


Layer = Convolution | Affine | Folded | Relu | Pool | Tag | Skip | AddTag | FullyConnected


@dataclass(frozen=True, eq=False)
class DlibNetwork:
    """A network for RGB images of a fixed size.

    Attributes:
        mean: Mean that is subtracted from the red, green and blue values, 0..255.
        scale: Number that the differences are divided by.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        layers: Layers in order, starting at the input.
    """

    mean: tuple[float, float, float]
    scale: float
    height: int
    width: int
    layers: tuple[Layer, ...]


def read_dlib_network(data: bytes, where: str) -> DlibNetwork:
    """Reads a network.

    Args:
        data: Content of the file.
        where: Name of the file in error messages.

    Raises:
        SourceFormatError: If the file is not such a network, is corrupt, or has a layer that is not
            supported; the message names the byte and the layer.
    """
    stream = DlibBytes(data, where)
    _read_loss(stream)
    versions, name = _read_versions(stream)
    if name != _INPUT:
        raise stream.error(
            f"its input is '{name}', not '{_INPUT}'",
            hint="only networks for RGB images of a fixed size are supported",
        )
    red, green, blue = (stream.real(f"mean of {color}") for color in ("red", "green", "blue"))
    height = stream.size("height of the input", least=1, most=_LARGEST_IMAGE)
    width = stream.size("width of the input", least=1, most=_LARGEST_IMAGE)
    layers = _read_layers(stream, versions)
    stream.end()
    return DlibNetwork((red, green, blue), _FULL_SCALE, height, width, layers)


def _read_loss(stream: DlibBytes) -> None:
    """Reads the version of the network and its loss, which is not used."""
    stream.size("version of the network", least=1, most=1)
    name = stream.text("name of the loss")
    if name != _LOSS:
        raise stream.error(f"its loss is '{name}', not '{_LOSS}'")
    stream.real("margin of the loss")
    stream.real("distance threshold of the loss")


def _read_versions(stream: DlibBytes) -> tuple[list[int], str]:
    """The versions of the layers, starting at the input, and the name of the input."""
    versions: list[int] = []
    while len(versions) < _MOST_LAYERS:
        start = stream.position
        version = stream.integer("version of a layer, or length of the input's name")
        if version > _INNERMOST:
            stream.position = start
            return versions[::-1], stream.text("name of the input")
        if version < _MARK or _INNERMOST in versions:
            raise stream.error(f"unexpected layer version {version}", at=start)
        versions.append(version)
    raise stream.error(f"more than {_MOST_LAYERS} layers")


def _read_layers(stream: DlibBytes, versions: list[int]) -> tuple[Layer, ...]:
    """The layers, starting at the input, with resolved tags."""
    layers: list[Layer] = []
    tags: list[int] = []
    for index, version in enumerate(versions):
        start = stream.position
        layer: Layer
        if version != _MARK:
            layer = _read_layer(stream, f"layer {index}", tags)
            _read_training_state(stream, f"layer {index}", version)
        elif index and versions[index - 1] == _MARK:
            if len(tags) < 2:
                raise stream.error(f"layer {index} skips to a tag that does not exist", at=start)
            layer = Skip(tags[-2])
        else:
            layer = Tag(len(tags))
            tags.append(layer.number)
        layers.append(layer)
    return tuple(layers)


def _read_layer(stream: DlibBytes, which: str, tags: list[int]) -> Layer:
    """Name and parameters of a layer that computes something."""
    start = stream.position
    name = stream.text(f"name of {which}")
    what = f"{which} ({name})"
    if name == "relu_":
        return Relu()
    if name == "add_prev_":
        if not tags:
            raise stream.error(f"{what} adds a tag that does not exist", at=start)
        return AddTag(tags[-1])
    if name not in _READERS:
        known = ", ".join(sorted((*_READERS, "relu_", "add_prev_")))
        raise stream.error(f"{what} is not supported", at=start, hint=f"supported: {known}")
    return _READERS[name](stream, what)


def _read_training_state(stream: DlibBytes, what: str, version: int) -> None:
    """Reads flags and tensors that are only used in training; the tensors must be empty."""
    for flag in ("setup", "gradient", "output"):
        stream.flag(f"{flag} flag of {what}")
    for part in ("gradient", "output", "parameter gradient"):
        if stream.tensor(f"{part} of {what}").size:
            raise stream.error(
                f"{what} contains the {part} of a training run",
                hint="call clean() before saving the network",
            )
    if version == _INNERMOST:
        stream.size(f"samples per image of {what}", least=1, most=1)


def _read_convolution(stream: DlibBytes, what: str) -> Convolution:
    start = stream.position
    parameters = stream.tensor(f"parameters of {what}").reshape(-1)
    filters = stream.size(f"filters of {what}", least=1, most=parameters.size)
    rows, columns = (
        stream.size(f"{side} of {what}", least=1, most=_LARGEST_WINDOW)
        for side in ("rows", "columns")
    )
    stride = _pair(stream, f"stride of {what}", least=1)
    padding = _pair(stream, f"padding of {what}")
    shape, bias = stream.alias(f"filters of {what}"), stream.alias(f"biases of {what}")
    _skip_rates(stream, what)
    weights = int(np.prod(shape))
    fits = shape[0] == filters and shape[2:] == (rows, columns) and bias == (1, filters, 1, 1)
    if not fits or parameters.size != weights + filters:
        raise stream.error(
            f"{what}: {parameters.size} parameters do not fit filters {shape} and biases {bias}",
            at=start,
        )
    if padding[0] >= rows or padding[1] >= columns:
        raise stream.error(
            f"{what}: padding {padding} must be less than the window {(rows, columns)}", at=start
        )
    return Convolution(parameters[:weights].reshape(shape), parameters[weights:], stride, padding)


def _read_affine(stream: DlibBytes, what: str) -> Affine:
    start = stream.position
    parameters = stream.tensor(f"parameters of {what}").reshape(-1)
    gamma, beta = stream.alias(f"gamma of {what}"), stream.alias(f"beta of {what}")
    mode = stream.size(f"mode of {what}", most=1)
    channels = gamma[1]
    if gamma != beta or gamma != (1, channels, 1, 1) or parameters.size != 2 * channels or mode:
        raise stream.error(
            f"{what}: expected one gamma and one beta per channel, got {parameters.size} "
            f"parameters, gamma {gamma}, beta {beta}, mode {mode}",
            at=start,
        )
    return Affine(parameters[:channels], parameters[channels:])


def _read_pool(stream: DlibBytes, what: str) -> Pool:
    start, kind = stream.position, "max" if "max" in what else "average"
    window = _pair(stream, f"window of {what}")
    stride = _pair(stream, f"stride of {what}", least=1)
    padding = _pair(stream, f"padding of {what}")
    if window == (0, 0) and padding == (0, 0):
        return Pool(kind, None, stride, padding)
    if any(pad >= side for pad, side in zip(padding, window, strict=True)):
        raise stream.error(
            f"{what}: padding {padding} must be less than the window {window}", at=start
        )
    return Pool(kind, window, stride, padding)


def _read_fully_connected(stream: DlibBytes, what: str) -> FullyConnected:
    start = stream.position
    outputs = stream.size(f"outputs of {what}", least=1, most=1 << 20)
    inputs = stream.size(f"inputs of {what}", least=1, most=1 << 20)
    parameters = stream.tensor(f"parameters of {what}")
    shape, bias = stream.alias(f"weights of {what}"), stream.alias(f"biases of {what}")
    mode = stream.size(f"mode of {what}", most=1)
    _skip_rates(stream, what)
    if mode != 1 or any(bias):
        raise stream.error(f"{what} has a bias, which is not supported", at=start)
    if parameters.size != inputs * outputs or shape != (inputs, outputs, 1, 1):
        raise stream.error(
            f"{what}: expected {inputs} × {outputs} weights, got {parameters.size} parameters",
            at=start,
        )
    return FullyConnected(parameters.reshape(inputs, outputs))


_READERS: dict[str, Callable[[DlibBytes, str], Layer]] = {
    "con_4": _read_convolution,
    "affine_": _read_affine,
    "max_pool_2": _read_pool,
    "avg_pool_2": _read_pool,
    "fc_2": _read_fully_connected,
}


def _pair(stream: DlibBytes, what: str, *, least: int = 0) -> tuple[int, int]:
    """The next two sizes, for rows and columns."""
    first = stream.size(what, least=least, most=_LARGEST_WINDOW)
    return first, stream.size(what, least=least, most=_LARGEST_WINDOW)


def _skip_rates(stream: DlibBytes, what: str) -> None:
    """Reads four learning rates, which are not used."""
    for rate in range(4):
        stream.real(f"learning rate {rate} of {what}")
