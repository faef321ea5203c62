"""Writes networks of FeatherCNN's layers as ncnn's two files, in the dialect that it reads."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph.onnx_builder import free_name
from .feathercnn_rules import NAME_LENGTH
from .ncnn import NcnnModel
from .ncnn_param import MAGIC, ParamLayer

__all__ = ["FeatherWriter"]

Array = npt.NDArray[Any]
Pair = tuple[int, int]

_TAG = b"\0\0\0\0"
"""Stands before the weights of convolutions and InnerProduct: they are stored as float32."""
_SUFFIX = 20
"""Characters that the names of a Split's outputs are longer than its input's, at most."""


@dataclass
class FeatherWriter:
    """A network that is being written.

    Blobs may be read by several layers; `finish` inserts a Split where they are.
    """

    _layers: list[ParamLayer] = field(default_factory=list)
    _weights: list[bytes] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)

    def add(
        self,
        kind: str,
        name: str,
        *bottoms: str,
        weights: bytes = b"",
        options: Mapping[int, int] | None = None,
    ) -> str:
        """Adds a layer with one output; returns its blob, which has the layer's name.

        Args:
            kind: Type of the layer.
            name: Name of the layer, without what the format does not allow; a number is appended
                if it is taken.
            bottoms: The blobs that it reads.
            weights: Its part of the bin file.
            options: Its options by number.
        """
        plain = re.sub(r"\s", "_", name)[: NAME_LENGTH - 2 * _SUFFIX] or "layer"
        unique = free_name(plain, self._names)
        self._names.add(unique)
        texts = {number: str(value) for number, value in (options or {}).items()}
        self._layers.append(ParamLayer(kind, unique, bottoms, (unique,), texts))
        self._weights.append(weights)
        return unique

    def scale(self, name: str, data: str, factor: Array, shift: Array | None = None) -> str:
        """Adds x · factor + shift, with one factor and shift per channel (C,)."""
        arrays = (factor,) if shift is None else (factor, shift)
        options = {0: factor.size, 1: len(arrays) - 1}
        return self.add("Scale", name, data, weights=_floats(*arrays), options=options)

    def convolution(
        self,
        name: str,
        data: str,
        weight: Array,
        bias: Array | None = None,
        *,
        stride: Pair = (1, 1),
        pad: Pair = (0, 0),
        depthwise: bool = False,
    ) -> str:
        """Adds a convolution over groups of all channels, or of one.

        The engine takes any convolution of one channel for a depthwise one, so a single channel is
        doubled, with zeros as weights of the copy.

        Args:
            name: Name of the layer.
            data: The blob that it reads.
            weight: (O, C, h, w); for depthwise convolutions (C, 1, h, w).
            bias: (O,); None for zeros.
            stride: Steps along height and width.
            pad: Rows above and below, columns left and right.
            depthwise: Whether each channel has its own kernel.
        """
        outputs, inputs, height, width = weight.shape
        if inputs == 1 != outputs and not depthwise:
            weight = np.concatenate([weight, np.zeros_like(weight)], axis=1)
            data = self.add("Concat", f"{name}_twice", data, data, options={0: 0})
        later = bias if depthwise else None
        arrays = (weight,) if bias is None or depthwise else (weight, bias)
        options = {0: outputs, 1: width, 11: height, 3: stride[1], 13: stride[0]}
        options |= {4: pad[1], 14: pad[0], 5: len(arrays) - 1, 6: weight.size}
        kind = "Convolution"
        if depthwise:
            kind, options[7] = "ConvolutionDepthWise", outputs
        found = self.add(kind, name, data, weights=_TAG + _floats(*arrays), options=options)
        if later is None:
            return found
        return self.scale(f"{name}_bias", found, np.ones(outputs), later)

    def is_vector(self, blob: str) -> bool:
        """Whether ncnn holds a blob as a vector, of which it reads no convolution's input."""
        made = {layer.tops[0]: layer for layer in self._layers}[blob]
        if made.kind in ("ReLU", "Scale", "Softmax"):
            return self.is_vector(made.bottoms[0])
        pooled = made.kind == "Pooling" and made.options.get(4) == "1"
        return pooled or made.kind == "InnerProduct"

    def inner_product(self, name: str, data: str, weight: Array, bias: Array | None) -> str:
        """Adds a fully connected layer: weight (O, I), bias (O,) or None for zeros."""
        outputs = len(weight)
        content = _TAG + _floats(weight, np.zeros(outputs) if bias is None else bias)
        options = {0: outputs, 1: 1, 2: weight.size}
        return self.add("InnerProduct", name, data, weights=content, options=options)

    def finish(self, inputs: Sequence[str], outputs: Mapping[str, str]) -> NcnnModel:
        """The network, with a Split behind each blob that is read more than once.

        Args:
            inputs: The input blobs.
            outputs: The blob of each output by the output's name, which its blob gets.
        """
        readers: dict[str, int] = defaultdict(int)
        for blob in (*(b for layer in self._layers for b in layer.bottoms), *outputs.values()):
            readers[blob] += 1
        names = {blob: name for name, blob in outputs.items() if readers[blob] == 1}
        parts: dict[str, list[str]] = {}
        layers, contents = [], []
        for layer, content in zip(self._layers, self._weights, strict=True):
            bottoms = tuple(parts[b].pop(0) if b in parts else b for b in layer.bottoms)
            (top,) = layer.tops
            layers.append(replace(layer, bottoms=bottoms, tops=(names.get(top, top),)))
            contents.append(content)
            if readers[top] > 1:
                wanted = [name for name, blob in outputs.items() if blob == top]
                count = readers[top] - len(wanted)
                parts[top] = [free_name(f"{top}_{n}", self._names) for n in range(count)]
                self._names.update(parts[top])
                split = free_name(f"{top}_split", self._names)
                self._names.add(split)
                layers.append(ParamLayer("Split", split, (top,), (*parts[top], *wanted)))
        blobs = sum(len(layer.tops) for layer in layers)
        lines = [MAGIC, f"{len(layers)} {blobs}", *(layer.line for layer in layers)]
        return NcnnModel(
            "\n".join(lines) + "\n",
            b"".join(contents),
            tuple(layer.kind for layer in layers),
            tuple(inputs),
            tuple(outputs),
        )

    def reserve(self, *names: str) -> None:
        """Keeps names for outputs."""
        self._names.update(names)


def _floats(*arrays: Array) -> bytes:
    return b"".join(np.ascontiguousarray(array, "<f4").tobytes() for array in arrays)
