"""Quantises networks to int8 with ONNX Runtime's static quantisation (QDQ, U8S8).

::

    before   x ─ Conv ─ Clip ─ y        after   x ─ Q ─ DQ ─ Conv ─ Clip ─ Q ─ DQ ─ y
                  W (float32)                         W (int8, one scale per filter) ─ DQ ┘

Activations are uint8, in the range that they have on the calibration images; weights are int8, with
one scale per filter; ONNX Runtime runs the operators between DQ and Q in int8.

These parts stay in float32, depending on the graph only:

- everything before the second weight layer: scaled pixels have more than 256 values, and the first
  layer costs little;
- everything after the last weight layers (decoding, non-maximum suppression, normalisation), and
  the output of a final fully connected layer: 256 levels are too coarse for an embedding;
- a final convolution as a whole: its few channels are predictions, where rounding would show;
- everything except the fully connected layers in a network with PReLU, which has no int8 operator:
  each one would cost a conversion to float32 and back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx

from mobileface.errors import ConversionError, MobileFaceError
from mobileface.host.files import scratch_folder

from .quiet import quiet

__all__ = ["METHOD", "Quantized", "dense_only", "quantize"]

METHOD = "static QDQ, activations uint8 (smallest and largest value), weights int8 per channel"
"""Description of the method, for certificates."""

_KNOWN_OPSET = 21
"""Newest opset whose QuantizeLinear and DequantizeLinear every supported ONNX Runtime has.

ONNX Runtime 1.23 has those of opset 21. For newer opsets, ONNX Runtime's contributed operators are
used, which are equivalent and available in every version.
"""

Feeds = Iterable[Mapping[str, npt.NDArray[Any]]]

_DENSE = ("Gemm", "MatMul")
_LAYERS = ("Conv", *_DENSE)
"""Operators of weight layers."""

_INTEGER = (
    *_LAYERS,
    *("Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "LeakyRelu"),
    *("MaxPool", "Relu", "Reshape", "Resize", "Transpose"),
)
"""Operators that ONNX Runtime can run in int8."""


@dataclass(frozen=True)
class Quantized:
    """A quantised network.

    Attributes:
        model: The network.
        layers: Number of weight layers that run in int8.
        kept: Names of the weight layers that stay in float32.
    """

    model: onnx.ModelProto
    layers: int
    kept: tuple[str, ...]


def dense_only(model: onnx.ModelProto) -> bool:
    """True if only the fully connected layers benefit from int8, as in networks with PReLU."""
    return any(node.op_type == "PRelu" for node in model.graph.node)


def quantize(
    model: onnx.ModelProto, feeds: Callable[[], Feeds], where: str, *, dense: bool = False
) -> Quantized:
    """Quantises a copy of a network.

    Args:
        model: A network in float32.
        feeds: Returns the calibration inputs, one mapping from input name to array per run.
        where: Name of the network in error messages.
        dense: Quantise the fully connected layers only; see `dense_only`.

    Raises:
        ConversionError: If no layer can be quantised, or ONNX Runtime's quantisation fails.
    """
    chosen = _dense_layers(model) if dense else _between_layers(model)
    layers = [node for node in model.graph.node if node.op_type in _LAYERS]
    kept = tuple(node.name for node in layers if node.name not in chosen)
    if len(kept) == len(layers):
        raise ConversionError("the network has no layers to quantise", where=where)
    # Importing the package takes half a second, and most commands do not need it.
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with scratch_folder() as folder, quiet():
        source, target = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)  # the package moves weights out of a model in memory
        try:
            quantize_static(
                source,
                target,
                _Reader(feeds()),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(_INTEGER),
                nodes_to_quantize=sorted(chosen),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={
                    "OpTypesToExcludeOutputQuantization": list(_DENSE),
                    "UseQDQContribOps": _opset(model) > _KNOWN_OPSET,
                },
            )
            quantized = onnx.load(target)
        except MobileFaceError:  # such as an unreadable calibration image
            raise
        except Exception as error:  # the package can raise any type of error
            text = " ".join(str(error).split()) or type(error).__name__
            raise ConversionError(f"cannot be quantised ({text})", where=where) from error
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(model.metadata_props)
    onnx.checker.check_model(quantized, full_check=True)
    return Quantized(quantized, len(layers) - len(kept), kept)


def _opset(model: onnx.ModelProto) -> int:
    versions = (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return int(next(versions))


def _dense_layers(model: onnx.ModelProto) -> set[str]:
    return {node.name for node in model.graph.node if node.op_type in _DENSE}


def _between_layers(model: onnx.ModelProto) -> set[str]:
    """Names of the nodes from the second weight layer to the last ones, without a last convolution.

    A node is included if it follows a weight layer and is, or leads to, another one.
    """
    nodes = list(model.graph.node)
    after: set[str] = set()  # values that depend on a weight layer
    following: list[onnx.NodeProto] = []
    for node in nodes:  # in topological order
        if any(name in after for name in node.input):
            following.append(node)
        if node.op_type in _LAYERS or any(name in after for name in node.input):
            after.update(node.output)
    needed: set[str] = set()  # values that a weight layer depends on
    chosen: set[str] = set()
    names = {node.name for node in following}
    for node in reversed(nodes):
        leads = any(name in needed for name in node.output)
        last_convolution = node.op_type == "Conv" and not leads
        if node.name in names and (leads or node.op_type in _DENSE) and not last_convolution:
            chosen.add(node.name)
        if leads or node.op_type in _LAYERS:
            needed.update(node.input)
    return chosen


class _Reader:
    """Calibration data reader for ONNX Runtime, over an iterable of inputs."""

    def __init__(self, feeds: Feeds) -> None:
        self._feeds: Iterator[Mapping[str, npt.NDArray[Any]]] = iter(feeds)

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        """The inputs of the next run; None at the end."""
        fed = next(self._feeds, None)
        return None if fed is None else dict(fed)
