"""Synthetic networks in the style of other published face networks.

Each uses operators that MobileFace's networks do not use, so a converter that supports only
MobileFace's operators fails. The weights are seeded noise of a scale that keeps activations from
vanishing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobileface_convert.oracles.mxnet_oracle import import_mxnet

__all__ = ["NETWORKS", "Invented", "save"]

FloatArray = npt.NDArray[np.float32]
Symbol = Any


@dataclass(frozen=True)
class Invented:
    """A network.

    Attributes:
        build: Builds the symbol.
        shape: Shape of the input "data", including the batch.
        dynamic: Whether the network accepts images of any size.
        spelling: Rewrites the saved symbol as an older MXNet would have written it.
    """

    build: Callable[[], Symbol]
    shape: tuple[int, ...]
    dynamic: bool
    spelling: Callable[[dict[str, Any]], None] | None = None


def _conv(
    x: Symbol, name: str, filters: int, kernel: int = 3, stride: int = 1, **more: Any
) -> Symbol:
    sym = import_mxnet().sym
    given = {"pad": (kernel // 2,) * 2, "stride": (stride,) * 2, **more}
    return sym.Convolution(x, kernel=(kernel,) * 2, num_filter=filters, name=name, **given)


def _cell(x: Symbol, name: str, filters: int, kernel: int = 3, stride: int = 1) -> Symbol:
    sym = import_mxnet().sym
    x = _conv(x, f"{name}_conv", filters, kernel, stride, no_bias=True)
    x = sym.BatchNorm(x, fix_gamma=False, eps=2e-5, name=f"{name}_bn")
    return sym.Activation(x, act_type="relu", name=f"{name}_relu")


def pyramid() -> Symbol:
    """A feature pyramid with anchors on three levels, a context module, and softmax by reshape."""
    sym = import_mxnet().sym
    x = sym.Variable("data")
    levels = []
    for index, filters in enumerate((8, 12, 16, 16)):
        x = _cell(x, f"stage{index}", filters, stride=2)
        levels.append(x)
    top = None
    heads = []
    for index in (3, 2, 1):
        side = _cell(levels[index], f"lateral{index}", 8, kernel=1)
        if top is not None:
            up = sym.UpSampling(top, scale=2, sample_type="nearest", name=f"up{index}")
            side = side + sym.Crop(up, side, name=f"crop{index}")
        top = _cell(side, f"merge{index}", 8)
        wide = _conv(top, f"wide{index}", 4)
        deep = _conv(sym.relu(_conv(top, f"deep{index}a", 2)), f"deep{index}b", 4)
        context = sym.Activation(sym.concat(wide, deep, dim=1), act_type="relu")
        scores = _conv(context, f"score{index}", 4, kernel=1)
        pairs = sym.reshape(scores, shape=(0, 2, -1, 0), name=f"pairs{index}")
        shares = sym.SoftmaxActivation(pairs, mode="channel", name=f"shares{index}")
        heads.append(sym.reshape(shares, shape=(0, 4, -1, 0), name=f"prob{index}"))
        heads.append(_conv(context, f"bbox{index}", 8, kernel=1))
    return sym.Group(heads)


def cascade() -> Symbol:
    """Three small convolutions with PReLU, pooling that rounds up, three fully connected heads."""
    sym = import_mxnet().sym
    x = sym.Variable("data")
    for index, (filters, kernel) in enumerate(((8, 3), (12, 3), (16, 2))):
        x = _conv(x, f"conv{index}", filters, kernel, pad=(0, 0))
        x = sym.LeakyReLU(x, act_type="prelu", name=f"prelu{index}")
        x = sym.Pooling(x, kernel=(3, 3), stride=(2, 2), pooling_convention="full", pool_type="max")
    x = sym.Dropout(sym.FullyConnected(x, num_hidden=32, name="fc"), p=0.25)
    x = sym.LeakyReLU(x, act_type="prelu", name="prelu_fc")
    faces = sym.FullyConnected(x, num_hidden=2, name="face")
    boxes = sym.FullyConnected(x, num_hidden=4, name="box")
    marks = sym.FullyConnected(x, num_hidden=10, name="mark")
    return sym.Group(
        [sym.SoftmaxOutput(faces, name="prob"), boxes, sym.LinearRegressionOutput(marks)]
    )


def residual() -> Symbol:
    """Pre-activation with PReLU and squeeze and excitation; BN, dropout, FC, BN; unit vectors."""
    sym = import_mxnet().sym
    x = sym._internal._minus_scalar(sym.Variable("data"), scalar=127.5)
    x = sym._internal._mul_scalar(x, scalar=0.0078125)
    x = _conv(x, "first", 8, no_bias=True)
    for index, stride in enumerate((2, 1, 2)):
        name, filters = f"unit{index}", 8 * (index + 1) if stride > 1 or index == 0 else 8
        y = sym.BatchNorm(x, fix_gamma=False, eps=2e-5, name=f"{name}_bn1")
        y = _conv(y, f"{name}_conv1", filters, no_bias=True)
        y = sym.BatchNorm(y, fix_gamma=False, eps=2e-5, name=f"{name}_bn2")
        y = sym.LeakyReLU(y, act_type="prelu", name=f"{name}_prelu")
        y = _conv(y, f"{name}_conv2", filters, stride=stride, no_bias=True)
        y = sym.BatchNorm(y, fix_gamma=True, eps=2e-5, name=f"{name}_bn3")
        weight = sym.mean(y, axis=(2, 3), keepdims=True)
        weight = sym.Activation(_conv(weight, f"{name}_se1", 4, 1), act_type="relu")
        weight = sym.sigmoid(_conv(weight, f"{name}_se2", filters, 1))
        y = sym.broadcast_mul(y, weight)
        shortcut = x if stride == 1 else _conv(x, f"{name}_sc", filters, 1, stride, no_bias=True)
        x = sym.elemwise_add(y, shortcut)
    x = sym.Dropout(sym.BatchNorm(x, fix_gamma=False, eps=2e-5, name="bn1"), p=0.4)
    x = sym.FullyConnected(x, num_hidden=32, name="pre_fc1")
    x = sym.BatchNorm(x, fix_gamma=True, eps=2e-5, name="fc1")
    return sym.L2Normalization(x, name="unit")


def light() -> Symbol:
    """Split channels, a deconvolution parallel to the trunk, clipping, reductions, arithmetic."""
    sym = import_mxnet().sym
    x = sym._internal._div_scalar(sym.Variable("data"), scalar=64.0)
    x = _cell(x, "first", 12, kernel=3, stride=2)
    left, middle, right = sym.SliceChannel(x, num_outputs=3, axis=1, name="split")
    left = sym.clip(_conv(left, "left", 4), a_min=0.0, a_max=6.0)
    middle = sym.LeakyReLU(_conv(middle, "middle", 4, num_group=4), act_type="elu", slope=0.5)
    right = sym.Pad(right, mode="edge", pad_width=(0, 0, 0, 0, 1, 1, 1, 1))
    right = sym.tanh(_conv(right, "right", 4, pad=(0, 0)))
    x = sym.concat(left, middle, right, dim=1) * x
    small = _cell(x, "small", 8, stride=2)
    large = sym.Deconvolution(
        small, kernel=(4, 4), stride=(2, 2), pad=(1, 1), num_filter=12, num_group=4, name="large"
    )
    x = x + sym.slice_like(large, x, axes=(2, 3))
    x = sym.SwapAxis(sym.SwapAxis(x, dim1=1, dim2=3), dim1=1, dim2=3)
    mean = sym.mean(x, axis=(2, 3))
    peak = sym.max(x, axis=(2, 3))
    energy = sym.sqrt(sym.sum(sym.square(x), axis=(2, 3)) + 1.0)
    summary = sym.concat(mean, sym.broadcast_div(peak, energy), dim=1)
    scores = sym.softmax(sym.FullyConnected(summary, num_hidden=5, name="five"), temperature=2.0)
    heat = sym.sigmoid(_conv(x, "heat", 1, kernel=1), name="heat_sigmoid")
    return sym.Group([heat, scores])


def respell(document: dict[str, Any]) -> None:
    """Rewrites a symbol as MXNet 0.8 wrote it: old names, `param` for `attrs`, no version."""
    old = {
        "_minus_scalar": "_MinusScalar",
        "_mul_scalar": "_MulScalar",
        "elemwise_add": "_Plus",
        "Flatten": "flatten",
    }
    for node in document["nodes"]:
        node["op"] = old.get(node["op"], node["op"])
        node["param"] = node.pop("attrs", {})
        node["inputs"] = [edge[:2] for edge in node["inputs"]]
    document["heads"] = [head[:2] for head in document["heads"]]
    document.pop("attrs", None)
    document.pop("node_row_ptr", None)


NETWORKS = {
    "pyramid": Invented(pyramid, (1, 3, 64, 96), dynamic=True),
    "cascade": Invented(cascade, (1, 3, 48, 48), dynamic=False),
    "residual": Invented(residual, (1, 3, 32, 32), dynamic=False),
    "residual, as MXNet 0.8 wrote it": Invented(residual, (1, 3, 32, 32), False, respell),
    "light": Invented(light, (1, 3, 40, 56), dynamic=True),
}


def save(network: Invented, folder: Path, seed: int = 3) -> tuple[Path, Path]:
    """Writes the checkpoint of a network; its files are named ``net``."""
    mxnet = import_mxnet()
    symbol = network.build()
    arguments, _, states = symbol.infer_shape(data=network.shape)
    draw = np.random.RandomState(seed)
    arrays = {}
    for kind, names, shapes in (
        ("arg", symbol.list_arguments(), arguments),
        ("aux", symbol.list_auxiliary_states(), states),
    ):
        for name, shape in zip(names, shapes, strict=True):
            if name != "data" and not name.endswith("_label"):
                arrays[f"{kind}:{name}"] = mxnet.nd.array(_weights(name, shape, draw))
    folder.mkdir(parents=True, exist_ok=True)
    document = json.loads(symbol.tojson())
    if network.spelling is not None:
        network.spelling(document)
    paths = folder / "net-symbol.json", folder / "net-0000.params"
    paths[0].write_text(json.dumps(document))
    mxnet.nd.save(str(paths[1]), arrays)
    return paths


def _weights(name: str, shape: tuple[int, ...], draw: np.random.RandomState) -> FloatArray:
    if name.endswith("_weight"):
        values = draw.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
    elif name.endswith(("_gamma", "_var")):
        values = draw.uniform(0.7, 1.3, shape)
    else:
        values = draw.standard_normal(shape) * 0.1
    return values.astype(np.float32)
