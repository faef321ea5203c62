"""MobileFace's identification networks with random weights, written in MXNet's file formats.

The topologies are those of the published V1, V2 and V3; the weights are seeded noise with realistic
statistics. V1 uses the symbol dialect and array layout of MXNet 0.9 (``attr``, arrays without a
magic number), V2 and V3 use those of 1.2. MXNet is not needed to write them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobileface_convert.frontends.mxnet_params import write_params

FloatArray = npt.NDArray[np.float32]
_DIALECTS = {905: "attr", 10200: "attrs"}


@dataclass
class NetworkWriter:
    """Builds a symbol and its weights; each method adds an operator and returns its node number."""

    version: int
    seed: int
    nodes: list[dict[str, object]] = field(default_factory=list)
    arrays: dict[str, FloatArray] = field(default_factory=dict)
    channels: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = np.random.RandomState(self.seed)

    def add(self, op: str, name: str, inputs: list[int], channels: int, **attrs: object) -> int:
        """Adds a node; inputs 3 and 4 of a batch normalisation, its states, have version 1."""
        node: dict[str, object] = {"op": op, "name": name}
        if attrs:
            node[_DIALECTS[self.version]] = {key: str(value) for key, value in attrs.items()}
        states = (3, 4) if op == "BatchNorm" else ()
        node["inputs"] = [[i, 0, 1 if at in states else 0] for at, i in enumerate(inputs)]
        self.nodes.append(node)
        self.channels[len(self.nodes) - 1] = channels
        return len(self.nodes) - 1

    def weight(self, name: str, values: npt.NDArray[np.float64], kind: str = "arg") -> int:
        """Adds a variable with an array."""
        self.arrays[f"{kind}:{name}"] = values.astype(np.float32)
        return self.add("null", name, [], 0)

    def data(self, channels: int) -> int:
        return self.add("null", "data", [], channels)

    def scalar(self, op: str, name: str, source: int, value: float) -> int:
        return self.add(op, name, [source], self.channels[source], scalar=value)

    def convolution(
        self,
        name: str,
        source: int,
        filters: int,
        kernel: int,
        stride: int,
        *,
        groups: int = 1,
        bias: bool = False,
    ) -> int:
        shape = (filters, self.channels[source] // groups, kernel, kernel)
        fan_in = shape[1] * kernel * kernel
        values = self.random.standard_normal(shape) * np.sqrt(2 / fan_in)
        inputs = [source, self.weight(f"{name}_weight", values)]
        if bias:
            values = self.random.standard_normal(filters) * 0.1
            inputs.append(self.weight(f"{name}_bias", values))
        attrs: dict[str, object] = {
            "kernel": (kernel, kernel),
            "num_filter": filters,
            "pad": (kernel // 2, kernel // 2),
            "stride": (stride, stride),
        }
        if not bias:
            attrs["no_bias"] = True
        if groups > 1:
            attrs["num_group"] = groups
        return self.add("Convolution", name, inputs, filters, **attrs)

    def batch_norm(self, name: str, source: int) -> int:
        channels = self.channels[source]
        draw = self.random
        inputs = [
            source,
            self.weight(f"{name}_gamma", draw.uniform(0.5, 1.5, channels)),
            self.weight(f"{name}_beta", draw.standard_normal(channels) * 0.2),
            self.weight(f"{name}_moving_mean", draw.standard_normal(channels) * 0.2, "aux"),
            self.weight(f"{name}_moving_var", draw.uniform(0.5, 2.0, channels), "aux"),
        ]
        return self.add(
            "BatchNorm", name, inputs, channels, fix_gamma=False, use_global_stats=False
        )

    def prelu(self, name: str, source: int) -> int:
        channels = self.channels[source]
        slopes = self.random.uniform(-0.2, 1.2, channels)
        gamma = self.weight(f"{name}_gamma", slopes)
        return self.add("LeakyReLU", name, [source, gamma], channels, act_type="prelu")

    def sum(self, name: str, a: int, b: int) -> int:
        return self.add("elemwise_add", name, [a, b], self.channels[a])

    def feature(self, source: int, cells: int) -> int:
        """Adds Flatten and the fully connected layer with 256 outputs."""
        flat = self.add("Flatten", "flatten0", [source], self.channels[source] * cells)
        weight = self.random.standard_normal((256, self.channels[flat])) / np.sqrt(
            self.channels[flat]
        )
        inputs = [flat, self.weight("fc5_weight", weight)]
        return self.add("FullyConnected", "fc5", inputs, 256, no_bias=True, num_hidden=256)

    def json(self) -> str:
        """The symbol as JSON; its head is the last node."""
        variables = [i for i, node in enumerate(self.nodes) if node["op"] == "null"]
        return json.dumps(
            {
                "nodes": self.nodes,
                "arg_nodes": variables,
                "heads": [[len(self.nodes) - 1, 0, 0]],
                "attrs": {"mxnet_version": ["int", self.version]},
            }
        )


def identification(version: int, seed: int = 0) -> NetworkWriter:
    """One of the three networks, by version: 1, 2 or 3."""
    return {1: _v1, 2: _v2, 3: _v3}[version](seed)


def save(network: NetworkWriter, folder: Path, prefix: str) -> tuple[Path, Path]:
    """Writes the checkpoint, with the array layout of the symbol's MXNet version."""
    folder.mkdir(parents=True, exist_ok=True)
    symbol, params = folder / f"{prefix}-symbol.json", folder / f"{prefix}-0000.params"
    symbol.write_text(network.json(), encoding="utf-8")
    old = network.version < 1000
    params.write_bytes(legacy_params(network.arrays) if old else write_params(network.arrays))
    return symbol, params


def legacy_params(arrays: Mapping[str, FloatArray]) -> bytes:
    """A parameter file in the layout before MXNet 0.10, where arrays start with their shape."""
    parts = [struct.pack("<QQQ", 0x112, 0, len(arrays))]
    for array in arrays.values():
        parts.append(struct.pack(f"<{array.ndim + 1}I", array.ndim, *array.shape))
        parts.append(struct.pack("<iii", 1, 0, 0) + array.astype("<f4").tobytes())
    parts.append(struct.pack("<Q", len(arrays)))
    parts += [struct.pack("<Q", len(name)) + name.encode() for name in arrays]
    return b"".join(parts)


def _v1(seed: int) -> NetworkWriter:
    network = NetworkWriter(905, seed)
    trunk = _bottlenecks(network, network.data(1))
    feature = network.feature(trunk, 16)
    network.add("L2Normalization", "l2normalization1", [feature], 256)
    return network


def _v2(seed: int) -> NetworkWriter:
    network = NetworkWriter(10200, seed)
    feature = network.feature(_bottlenecks(network, _scaled(network)), 16)
    network.batch_norm("fc5_bn", feature)
    return network


def _v3(seed: int) -> NetworkWriter:
    network = NetworkWriter(10200, seed)
    x = network.prelu("prelu1", network.convolution("conv1", _scaled(network), 32, 3, 2))
    for stage, filters in enumerate((32, 32, 64, 128), start=1):
        name = f"stage{stage}_unit1"
        x = network.convolution(f"{name}_conv0_0", x, filters, 1, 1)
        x = network.convolution(f"{name}_conv0_1", x, filters, 3, 2, groups=filters)
        shortcut = x = network.prelu(f"{name}_prelu0", x)
        for index in (1, 2):
            x = network.convolution(f"{name}_conv{index}", x, filters, 3, 1, groups=filters)
            x = network.prelu(f"{name}_prelu{index}", x)
        x = network.sum(f"_plus{stage - 1}", x, shortcut)
    network.batch_norm("batchnorm0", network.feature(x, 16))
    return network


def _scaled(network: NetworkWriter) -> int:
    """The network's own scaling of inputs in 0..255."""
    centred = network.scalar("_minus_scalar", "_minusscalar0", network.data(3), 127.5)
    return network.scalar("_mul_scalar", "_mulscalar0", centred, 0.0078125)


def _bottlenecks(network: NetworkWriter, data: int) -> int:
    """The trunk of V1 and V2: inverted residual blocks with expansion factor 3 and ReLU6."""
    count = {"convolution": 0, "clip": 0, "plus": 0}

    def layer(source: int, filters: int, kernel: int, stride: int, groups: int = 1) -> int:
        number = count["convolution"]
        count["convolution"] += 1
        x = network.convolution(
            f"convolution{number}", source, filters, kernel, stride, groups=groups
        )
        return network.batch_norm(f"batchnorm{number}", x)

    def clip(source: int) -> int:
        number = count["clip"]
        count["clip"] += 1
        low = network.scalar("_maximum_scalar", f"_maximumscalar{number}", source, 0)
        return network.scalar("_minimum_scalar", f"_minimumscalar{number}", low, 6)

    x = clip(network.batch_norm("bn1", network.convolution("conv1", data, 32, 3, 2, bias=True)))
    for filters in (32, 32, 64, 128):
        for stride in (2, 1, 1):
            wide = network.channels[x] * 3
            y = clip(layer(x, wide, 1, 1))
            y = clip(layer(y, wide, 3, stride, groups=wide))
            y = layer(y, filters, 1, 1)
            if stride == 1:
                y = network.sum(f"_plus{count['plus']}", x, y)
                count["plus"] += 1
            x = y
    return x
