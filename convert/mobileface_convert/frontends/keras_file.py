"""Reads a network from a Keras file (HDF5): layers from its configuration, arrays beside them.

Nothing in the file is executed: a layer whose class is not known here is refused by its name. Every
array must have the shape that its layer states, before it is read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mobileface.errors import (
    ConversionError,
    SourceError,
    SourceFormatError,
    UnsupportedOperatorError,
)

from .rehearsed import rehearse

if TYPE_CHECKING:
    import h5py

__all__ = ["MAX_BYTES", "KerasLayer", "KerasNetwork", "Shape", "read_keras"]

MAX_BYTES = 256 << 20
"""Largest file that is read."""

_MAX_CONFIG = 4 << 20
_SECONDS = 2
"""CPU time for a small file; HDF5 loops for ever on some damaged ones."""

_MAX_LAYERS = 10_000
_MAX_ELEMENTS = 1 << 26

FloatArray = npt.NDArray[np.float32]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class KerasLayer:
    """One layer.

    Attributes:
        name: Its name in the file.
        kind: Its class, e.g. "Conv2D".
        config: Its settings as the file has them.
        inputs: Names of the layers that it reads.
        arrays: Its weights by name, e.g. "kernel".
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    inputs: tuple[str, ...]
    arrays: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True)
class KerasNetwork:
    """A network with one input and one output.

    Attributes:
        origin: The file.
        layers: Its layers; each comes after those that it reads.
        shape: Height, width and channels of the input.
        output: Name of the last layer.
    """

    origin: str
    layers: tuple[KerasLayer, ...]
    shape: tuple[int, int, int]
    output: str


def read_keras(path: Path) -> KerasNetwork:
    """Reads a functional model with one input and one output.

    Raises:
        ConversionError: h5py is not installed.
        SourceError: The file cannot be read.
        SourceFormatError: The file is no Keras model, contradicts itself, or HDF5 does not end or
            crashes on it.
        UnsupportedOperatorError: A layer is of a class that has no conversion; names it.
    """
    try:
        import h5py
    except ImportError as error:
        raise ConversionError(
            "h5py is needed to read it", where=str(path), hint="pip install h5py"
        ) from error
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        text = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"cannot be read ({text})", where=str(path)) from error
    if size > MAX_BYTES:
        raise SourceFormatError(f"larger than {MAX_BYTES >> 20} MiB", where=str(path))

    def read() -> KerasNetwork:
        with h5py.File(path, "r") as file:
            return _Reader(file, str(path)).read()

    rehearse(read, str(path), _SECONDS + (size >> 23))
    try:
        return read()
    except ConversionError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:  # what h5py raises
        text = " ".join(str(error).split())[:200]
        raise SourceFormatError(f"not a Keras file ({text})", where=str(path)) from error


class _Reader:
    """Reads an open file."""

    def __init__(self, file: h5py.File, where: str) -> None:
        self._file = file
        self._where = where

    def read(self) -> KerasNetwork:
        config = self._config()
        listed = config.get("layers")
        if not isinstance(listed, list) or not 0 < len(listed) <= _MAX_LAYERS:
            raise self._error("no list of layers")
        layers, sizes = [], dict[str, Shape]()
        for entry in listed:
            layer = self._layer(entry, sizes)
            layers.append(layer)
        first = [layer for layer in layers if layer.kind == "InputLayer"]
        output = self._only(config, "output_layers")
        if [layer.name for layer in first] != [self._only(config, "input_layers")]:
            raise self._error("one input is expected")
        if output not in sizes:
            raise self._error(f"no layer '{output}', which should be the output")
        height, width, channels = sizes[first[0].name]
        return KerasNetwork(self._where, tuple(layers), (height, width, channels), output)

    def _config(self) -> Mapping[str, Any]:
        """The configuration of the model."""
        text = self._file.attrs.get("model_config")
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        if not isinstance(text, str) or len(text) > _MAX_CONFIG:
            raise self._error("no model_config in it, or a huge one")
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._error("its model_config is no JSON") from error
        if not isinstance(found, dict) or found.get("class_name") not in ("Model", "Functional"):
            raise self._error("no functional model")
        config = found.get("config")
        if not isinstance(config, dict):
            raise self._error("no configuration of a model")
        return config

    def _only(self, config: Mapping[str, Any], key: str) -> str:
        """The name of the only input or output layer."""
        found = config.get(key)
        if not isinstance(found, list) or len(found) != 1 or not isinstance(found[0], list):
            raise self._error(f"one entry of {key} is expected")
        return str(found[0][0])

    def _layer(self, entry: Any, sizes: dict[str, Shape]) -> KerasLayer:
        """One layer; notes the channels that come out of it, with sizes for the input layer."""
        if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict):
            raise self._error("a layer without a configuration")
        name, kind, config = str(entry.get("name")), str(entry.get("class_name")), entry["config"]
        if kind not in _CLASSES:
            raise UnsupportedOperatorError(
                f"layers of the class {kind} have no conversion",
                where=f"{self._where}, layer '{name}'",
                hint=f"known: {', '.join(_CLASSES)}",
            )
        if name in sizes:
            raise self._error("a second layer of this name", name)
        if config.get("data_format", "channels_last") != "channels_last":
            raise self._error("channels_last is expected", name)
        inputs = self._inputs(entry.get("inbound_nodes"), name, sizes)
        if kind == "InputLayer":
            sizes[name] = self._input_shape(config, name)
            return KerasLayer(name, kind, config, ())
        wanted_inputs = 2 if kind == "Add" else 1
        if len(inputs) != wanted_inputs:
            raise self._error(f"{len(inputs)} inputs, {wanted_inputs} expected", name)
        channels = sizes[inputs[0]][-1]
        try:
            shapes = _CLASSES[kind](config, channels)
        except (KeyError, TypeError, ValueError) as error:
            raise self._error(f"a setting is missing or not valid ({error})", name) from error
        sizes[name] = (int(config["filters"]),) if "filters" in shapes else (channels,)
        arrays = {
            array: self._array(name, array, shape)
            for array, shape in shapes.items()
            if array != "filters"
        }
        return KerasLayer(name, kind, config, inputs, arrays)

    def _input_shape(self, config: Mapping[str, Any], name: str) -> Shape:
        shape = config.get("batch_input_shape", config.get("batch_shape"))
        numbers = shape[1:] if isinstance(shape, list) and len(shape) == 4 else ()
        if len(numbers) != 3 or not all(
            type(size) is int and 0 < size < 1 << 14 for size in numbers
        ):
            raise self._error(f"a batch of images is expected, not {shape}", name)
        return tuple(numbers)

    def _inputs(self, nodes: Any, name: str, sizes: Mapping[str, Shape]) -> tuple[str, ...]:
        """The layers that a layer reads; each must have been read before."""
        if not isinstance(nodes, list) or len(nodes) > 1:
            raise self._error("it is used more than once", name)
        found = []
        for node in nodes[0] if nodes else ():
            if not isinstance(node, list) or len(node) < 3 or node[1:3] != [0, 0]:
                raise self._error("it reads something else than a layer's output", name)
            if str(node[0]) not in sizes:
                raise self._error(f"it reads '{node[0]}', which does not come before it", name)
            found.append(str(node[0]))
        return tuple(found)

    def _array(self, layer: str, name: str, shape: Shape) -> FloatArray:
        """An array of a layer, whose shape is checked before it is read."""
        import h5py

        group = self._plain(self._file, "model_weights", layer)
        group = self._plain(group, layer, layer)
        # Keras puts the weights into a group of the layer's name, with a number behind it at times.
        inner = [key for key in group if isinstance(key, str)]
        if len(inner) != 1:
            raise self._error(f"{len(inner)} groups of arrays, one expected", layer)
        data = self._plain(self._plain(group, inner[0], layer), f"{name}:0", layer)
        if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
            raise self._error(f"'{name}' is no array of this file", layer)
        if data.dtype != np.float32 or data.shape != shape or math.prod(shape) > _MAX_ELEMENTS:
            raise self._error(
                f"array '{name}' is {data.dtype} {list(data.shape)}, "
                f"float32 {list(shape)} expected",
                layer,
            )
        array = np.asarray(data[()], np.float32)
        if not np.isfinite(array).all():
            raise self._error(f"array '{name}' has values that are no numbers", layer)
        return array

    def _plain(self, group: Any, name: str, layer: str) -> Any:
        """A member of a group that lies in this file: no link to somewhere else."""
        import h5py

        if not isinstance(group, h5py.Group) or name not in group:
            raise self._error(f"no '{name}' among its arrays", layer)
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise self._error(f"'{name}' is a link to somewhere else", layer)
        return group[name]

    def _error(self, what: str, layer: str = "") -> SourceFormatError:
        place = f"{self._where}, layer '{layer}'" if layer else self._where
        return SourceFormatError(what, where=place)


def _pair(value: Any) -> tuple[int, int]:
    rows, columns = (int(size) for size in value)
    if not (0 < rows < 64 and 0 < columns < 64):
        raise ValueError(f"{value} is no size of a window")
    return rows, columns


def _count(value: Any) -> int:
    if type(value) is not int or not 0 < value < 1 << 16:
        raise ValueError(f"{value!r} is no number of channels")
    return value


def _convolution(config: Mapping[str, Any], channels: int) -> dict[str, Shape]:
    filters = _count(config["filters"])
    found: dict[str, Shape] = {"kernel": (*_pair(config["kernel_size"]), channels, filters)}
    return found | _bias(config, filters)


def _separable(config: Mapping[str, Any], channels: int) -> dict[str, Shape]:
    filters, depth = _count(config["filters"]), _count(config["depth_multiplier"])
    found: dict[str, Shape] = {
        "depthwise_kernel": (*_pair(config["kernel_size"]), channels, depth),
        "pointwise_kernel": (1, 1, channels * depth, filters),
    }
    return found | _bias(config, filters)


def _bias(config: Mapping[str, Any], filters: int) -> dict[str, Shape]:
    """The bias if there is one; and that the layer changes the number of channels."""
    bias: dict[str, Shape] = {"bias": (filters,)} if config["use_bias"] else {}
    return bias | {"filters": ()}


def _normalization(config: Mapping[str, Any], channels: int) -> dict[str, Shape]:
    if config["axis"] not in (-1, 3, [-1], [3]):
        raise ValueError(f"axis {config['axis']}")
    names = ["moving_mean", "moving_variance"]
    names += ["gamma"] * bool(config["scale"]) + ["beta"] * bool(config["center"])
    return dict.fromkeys(names, (channels,))


def _nothing(*_: object) -> dict[str, Shape]:
    return {}


_CLASSES: Mapping[str, Callable[[Mapping[str, Any], int], dict[str, Shape]]] = {
    "InputLayer": _nothing,
    "Conv2D": _convolution,
    "SeparableConv2D": _separable,
    "BatchNormalization": _normalization,
    "Activation": _nothing,
    "MaxPooling2D": _nothing,
    "Add": _nothing,
    "GlobalAveragePooling2D": _nothing,
}
"""The arrays of each class of layer, from its settings and the channels that come in."""
