"""Networks in int8, by ONNX Runtime's static quantisation (QDQ, U8S8).

::

    before   x ─ Conv ─ Clip ─ y        after   x ─ Q ─ DQ ─ Conv ─ Clip ─ Q ─ DQ ─ y
                  W (float32)                         W (int8, a scale for each filter) ─ DQ ┘

Activations are uint8, in the range that they have on the pictures of the calibration; weights are
int8, with a scale for each filter; ONNX Runtime computes what stands between DQ and Q in integers.

What stays in float32, by what the graph is and not by whose it is:

- what stands before the second layer with weights: pictures have more than 256 shades once they are
  scaled, and the first layer costs little;
- what stands behind the last layers with weights (decoding, suppression, normalisation), and what a
  last fully connected layer gives: an embedding in 256 steps would be coarser than it need be;
- a last convolution as a whole: it predicts in a few channels, whose steps are seen in the result;
- all but the fully connected layers in a network with PReLU, for which there is no integer
  operator: between two of them there would be nothing but conversions.
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
"""How it is done, for certificates."""

_KNOWN_OPSET = 21
"""Newest operator set whose own Q and DQ every supported ONNX Runtime has (1.23 has those of 21).

In newer ones ONNX Runtime's own operators stand for them: the same, and in every version.
"""

Feeds = Iterable[Mapping[str, npt.NDArray[Any]]]

_DENSE = ("Gemm", "MatMul")
_LAYERS = ("Conv", *_DENSE)
"""Operators with weights."""

_INTEGER = (
    *_LAYERS,
    *("Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "LeakyRelu"),
    *("MaxPool", "Relu", "Reshape", "Resize", "Transpose"),
)
"""Operators that ONNX Runtime computes in integers."""


@dataclass(frozen=True)
class Quantized:
    """A network in int8.

    Attributes:
        model: The network.
        layers: Layers with weights that are computed in int8.
        kept: Names of those that are not.
    """

    model: onnx.ModelProto
    layers: int
    kept: tuple[str, ...]


def dense_only(model: onnx.ModelProto) -> bool:
    """True for a network of which only the fully connected layers gain by int8."""
    return any(node.op_type == "PRelu" for node in model.graph.node)


def quantize(
    model: onnx.ModelProto, feeds: Callable[[], Feeds], where: str, *, dense: bool = False
) -> Quantized:
    """A copy of a network in int8.

    Args:
        model: A network in float32.
        feeds: Gives the network's inputs, one mapping a run, for the calibration.
        where: What error messages call it.
        dense: Only the fully connected layers; see `dense_only`.

    Raises:
        ConversionError: There is nothing to quantise, or ONNX Runtime refuses.
    """
    chosen = _dense_layers(model) if dense else _between_layers(model)
    layers = [node for node in model.graph.node if node.op_type in _LAYERS]
    kept = tuple(node.name for node in layers if node.name not in chosen)
    if len(kept) == len(layers):
        raise ConversionError("it has no layers that int8 is for", where=where)
    # The loaded package costs half a second; most commands do without.
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with scratch_folder() as folder, quiet():
        source, target = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)  # of a model in memory the package moves the weights away
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
        except MobileFaceError:  # a picture that cannot be read
            raise
        except Exception as error:  # the package raises whatever it meets
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
    """Names of the nodes from the second layer with weights to the last ones, inclusive.

    A node stands between if a layer comes before it and it is, or leads to, a layer with weights.
    """
    nodes = list(model.graph.node)
    after: set[str] = set()  # values that a layer with weights leads to
    following: list[onnx.NodeProto] = []
    for node in nodes:  # in the order in which they are computed
        if any(name in after for name in node.input):
            following.append(node)
        if node.op_type in _LAYERS or any(name in after for name in node.input):
            after.update(node.output)
    needed: set[str] = set()  # values that lead to a layer with weights
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
    """Hands inputs to the calibration, one after the other."""

    def __init__(self, feeds: Feeds) -> None:
        self._feeds: Iterator[Mapping[str, npt.NDArray[Any]]] = iter(feeds)

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        """The next inputs; None at the end."""
        fed = next(self._feeds, None)
        return None if fed is None else dict(fed)
