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
    """A detector with random weights whose boxes and scores could be those of faces.

    Args:
        version: 1 or 2.
        seed: Of the weights.
        objectness: Mean logit of it. By default about half of all rows are candidates, scores
            above 0.01; with -6.3 few are, with -20 none.
    """
    net = FaceDetector(version)
    return _fill(net, _detector_arrays(net, np.random.RandomState(seed), objectness))


def make_attribute(seed: int = 0) -> Block:
    """An attribute network with random weights and logits of about 1."""
    net = FaceAttribute()
    return _fill(net, _attribute_arrays(net, np.random.RandomState(seed)))


def structural_parameters(net: Block) -> dict[str, Any]:
    """gluon's parameters by structural name; ``.name`` of each is the name by prefixes."""
    return dict(net._collect_params_with_prefix())


def _fill(net: Block, arrays: dict[str, FloatArray]) -> Block:
    """Gives a network its weights, and keeps them: MXNet overwrites a gamma that it ignores."""
    net.initialize()
    net.arrays = arrays
    _restore(net)
    return net


def _restore(net: Block) -> None:
    for name, parameter in structural_parameters(net).items():
        parameter.set_data(mxnet.nd.array(net.arrays[name]))


def _random_array(name: str, shape: tuple[int, ...], draw: np.random.RandomState) -> FloatArray:
    """Weights that keep the scale of activations, statistics as training leaves them."""
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
            array *= np.float32(0.3)  # a residual branch at full scale would let sums grow
        if name.endswith("prediction.weight"):
            # By anchor: place, size, objectness, class; exp makes pixels of the size.
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
    """Without the part that answers to all inputs alike: those are positive, at every place."""
    axes = tuple(range(1, weight.ndim))
    return np.asarray(weight - weight.mean(axis=axes, keepdims=True), np.float32)


def normalise(pictures: npt.NDArray[Any]) -> FloatArray:
    """RGB pictures (N, H, W, 3) in 0..255 as the networks take them: (N, 3, H, W)."""
    values = (pictures.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2), dtype=np.float32)


def run(net: Block, pictures: npt.NDArray[Any]) -> list[FloatArray]:
    """What gluon computes for RGB pictures (N, H, W, 3) in 0..255."""
    return [output.asnumpy() for output in net(mxnet.nd.array(normalise(pictures)))]


def save_structural(net: Block, path: Path) -> Path:
    """As ``save_parameters`` does: bare structural names."""
    _restore(net)
    net.save_parameters(str(path))
    return path


def save_prefixed(net: Block, path: Path, *, strip: bool = False) -> Path:
    """As ``collect_params().save`` does: names by prefixes, without dots.

    Args:
        net: The network.
        path: The file.
        strip: Leave the network's own prefix out, as ``save_params`` of gluon before 1.3 did. It
            could not do so for the detector, whose backbone has another prefix.
    """
    _restore(net)
    net.collect_params().save(str(path), strip_prefix=net.prefix if strip else "")
    return path


def export_symbol(net: Block, prefix: Path) -> tuple[Path, Path]:
    """``PREFIX-symbol.json`` and ``PREFIX-0000.params`` as gluon exports a network.

    The detector gets its preprocessing in front, as the published symbol has it.
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
    """The arrays by the names that symbols use; for the detector, preprocessing included."""
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
    """A ``.params`` file that belongs to the published symbol, with this network's weights."""
    return _save_named(mxnet.sym.load(str(symbol)), arrays_for_published_symbol(net), path)


def _save_named(network: Any, arrays: dict[str, FloatArray], path: Path) -> Path:
    """Writes what a symbol needs as ``arg:`` and ``aux:``."""
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
