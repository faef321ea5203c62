"""Creates, runs and saves MobileFace's detector and attribute network with random weights.

The networks themselves are in `tests.gluon_blocks`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.gluon_blocks import (
    MEAN,
    PREPROCESS,
    STD,
    VALUES,
    Block,
    FaceAttribute,
    FaceDetector,
    FloatArray,
    Preprocess,
    mxnet,
    per_colour,
)


def make_detector(version: int = 1, seed: int = 0, objectness: float = -5.0) -> Block:
    """A detector with random weights and plausible boxes and scores.

    Args:
        version: 1 or 2.
        seed: Random seed of the weights.
        objectness: Mean logit of the objectness. By default, about half of all rows are candidates
            with scores above 0.01; with -6.3 few are, with -20 none.
    """
    net = FaceDetector(version)
    return _fill(net, _detector_arrays(net, np.random.RandomState(seed), objectness))


def make_attribute(seed: int = 0) -> Block:
    """An attribute network with random weights and logits of about 1 in magnitude."""
    net = FaceAttribute()
    return _fill(net, _attribute_arrays(net, np.random.RandomState(seed)))


def structural_parameters(net: Block) -> dict[str, Any]:
    """Gluon's parameters by structural name; ``.name`` of each is its prefixed name."""
    return dict(net._collect_params_with_prefix())


def _fill(net: Block, arrays: dict[str, FloatArray]) -> Block:
    """Sets a network's weights and keeps a copy, because MXNet overwrites an unused gamma."""
    net.initialize()
    net.arrays = arrays
    _restore(net)
    return net


def _restore(net: Block) -> None:
    for name, parameter in structural_parameters(net).items():
        parameter.set_data(mxnet.nd.array(net.arrays[name]))


def _random_array(name: str, shape: tuple[int, ...], draw: np.random.RandomState) -> FloatArray:
    """Random weights that preserve the scale of activations, with realistic statistics."""
    kind = name.rpartition(".")[2]
    if kind == "weight":
        values = draw.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    elif kind in ("gamma", "running_var"):
        values = draw.uniform(0.7, 1.3, shape)
    else:
        values = draw.standard_normal(shape) * 0.1
    return values.astype(np.float32)


def _detector_arrays(
    net: Block, draw: np.random.RandomState, objectness: float
) -> dict[str, FloatArray]:
    arrays = {}
    for name, parameter in structural_parameters(net).items():
        if name.endswith((".anchors", ".offsets")):
            arrays[name] = parameter.value.asnumpy()
            continue
        array = _random_array(name, parameter.shape, draw)
        if ".body.1.1.gamma" in name and name.startswith("stages"):
            array *= np.float32(0.3)  # keeps the sums of residual branches from growing
        if name.endswith("prediction.weight"):
            # Per anchor: position, logarithm of the size, objectness, class.
            spread = np.tile(np.float32([0.3, 0.3, 0.07, 0.07, 0.2, 0.1]), len(array) // VALUES)
            array = _centred(array) * spread.reshape(-1, 1, 1, 1)
        if name.endswith("prediction.bias"):
            array += np.tile(np.float32([0, 0, 0, 0, objectness, 0]), len(array) // VALUES)
        arrays[name] = array
    return arrays


def _attribute_arrays(net: Block, draw: np.random.RandomState) -> dict[str, FloatArray]:
    arrays = {}
    for name, parameter in structural_parameters(net).items():
        array = _random_array(name, parameter.shape, draw)
        if name.endswith("bn2.gamma"):
            array *= np.float32(0.5)  # as in the detector
        if name.startswith("output") and name.endswith("weight"):
            array = _centred(array) * np.float32(0.5)
        arrays[name] = array
    return arrays


def _centred(weight: FloatArray) -> FloatArray:
    """Removes the mean of each filter, which all inputs excite, as they are positive."""
    axes = tuple(range(1, weight.ndim))
    return np.asarray(weight - weight.mean(axis=axes, keepdims=True), np.float32)


def normalise(images: npt.NDArray[Any]) -> FloatArray:
    """Converts RGB images (N, H, W, 3) in 0..255 to the networks' input, (N, 3, H, W)."""
    values = (images.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2), dtype=np.float32)


def run(net: Block, images: npt.NDArray[Any]) -> list[FloatArray]:
    """Gluon's outputs for RGB images (N, H, W, 3) in 0..255."""
    return [output.asnumpy() for output in net(mxnet.nd.array(normalise(images)))]


def save_structural(net: Block, path: Path) -> Path:
    """Saves with ``save_parameters``, which uses structural names."""
    _restore(net)
    net.save_parameters(str(path))
    return path


def save_prefixed(net: Block, path: Path, *, strip: bool = False) -> Path:
    """Saves with ``collect_params().save``, which uses prefixed names without dots.

    Args:
        net: The network.
        path: The file.
        strip: Whether to omit the network's own prefix, as ``save_params`` of gluon before 1.3
            did. This is not possible for the detector, whose backbone has another prefix.
    """
    _restore(net)
    net.collect_params().save(str(path), strip_prefix=net.prefix if strip else "")
    return path


def export_symbol(net: Block, prefix: Path) -> tuple[Path, Path]:
    """Writes ``PREFIX-symbol.json`` and ``PREFIX-0000.params`` as gluon exports a network.

    The detector's symbol includes its preprocessing, as the published symbol does.
    """
    _restore(net)
    before = Preprocess() if isinstance(net, FaceDetector) else None
    data = mxnet.sym.Variable("data")
    outputs = net(before(data) if before else data)
    network = mxnet.sym.Group(list(outputs))
    symbol = prefix.with_name(f"{prefix.name}-symbol.json")
    network.save(str(symbol))
    return symbol, _save_named(
        network, arrays_by_prefix(net), prefix.with_name(f"{prefix.name}-0000.params")
    )


def arrays_by_prefix(net: Block) -> dict[str, FloatArray]:
    """The arrays by their names in symbols; for the detector, including the preprocessing."""
    parameters = structural_parameters(net)
    arrays = {parameter.name: net.arrays[name] for name, parameter in parameters.items()}
    if isinstance(net, FaceDetector):
        arrays[f"{PREPROCESS}init_mean"] = per_colour(MEAN)
        arrays[f"{PREPROCESS}init_scale"] = per_colour(STD)
    return arrays


def arrays_for_published_symbol(net: Block) -> dict[str, FloatArray]:
    """The detector's arrays by the argument names of mobilefacedet_v1_mxnet-symbol.json."""
    return arrays_by_prefix(net)


def save_published_checkpoint(net: Block, path: Path, symbol: Path) -> Path:
    """Writes a ``.params`` file for the published symbol, with this network's weights."""
    return _save_named(mxnet.sym.load(str(symbol)), arrays_for_published_symbol(net), path)


def _save_named(network: Any, arrays: dict[str, FloatArray], path: Path) -> Path:
    """Writes the arrays that a symbol needs, prefixed with ``arg:`` or ``aux:``."""
    named = {
        f"{kind}:{name}": mxnet.nd.array(arrays[name])
        for kind, names in (
            ("arg", network.list_arguments()),
            ("aux", network.list_auxiliary_states()),
        )
        for name in names
        if name in arrays
    }
    mxnet.nd.save(str(path), named)
    return path


def symbol_names(path: Path) -> list[tuple[str, str]]:
    """Operator and name of every node of a symbol file."""
    nodes = json.loads(path.read_text())["nodes"]
    return [(node["op"], node["name"]) for node in nodes]
