"""Describes a TensorFlow Lite file, also one that computes with integers."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from mobileface.errors import ConversionError

from ..frontends.tflite import (
    TfliteNetwork,
    TfliteOperator,
    build_tflite,
    free_batch,
    read_tflite,
    unsupported_operators,
)
from ..graph.multiply_adds import convolution, product, transposed_convolution
from .description import Description, End, Layer, Sizes

__all__ = ["describe_tflite"]

_NOT_COUNTED = (
    *("CONV_3D", "CONV_3D_TRANSPOSE", "RNN", "LSTM", "SVDF", "BIDIRECTIONAL_SEQUENCE_LSTM"),
    *("BIDIRECTIONAL_SEQUENCE_RNN", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"),
)


def describe_tflite(path: Path, size: tuple[int, int] | None) -> Description:
    """Describes a file.

    Args:
        path: The file.
        size: Must be None: such files fix the size of images.

    Raises:
        ConversionError: If it cannot be read, is no TensorFlow Lite file, has control flow or
            sizes that are open; or a size is given.
    """
    network = read_tflite(path, any_ends=True)
    if size is not None:
        raise ConversionError("--size is for images of open size; none is open", where=str(path))
    unsupported = unsupported_operators(network)
    refused = ""
    if not unsupported:
        try:
            build_tflite(network, batch=free_batch(network))
        except ConversionError as error:
            refused = str(error)
    layers = [_layer(network, operator) for operator in network.operators]
    weights = Counter[str]()
    for tensor in network.tensors:
        if tensor.data is not None:
            weights[tensor.dtype] += tensor.data.nbytes
    batch = _batch(network)
    return Description(
        "tflite",
        (path,),
        layers,
        inputs=[_end(network, number) for number in network.inputs],
        outputs=[_end(network, number) for number in network.outputs],
        parameters=network.parameters,
        weights=weights,
        macs_reason="" if all(layer.macs is not None for layer in layers) else "a shape is unusual",
        not_counted=Counter(x.kind for x in network.operators if x.kind in _NOT_COUNTED),
        batch=batch,
        freeable=None if batch is None else free_batch(network),
        unsupported=unsupported,
        refused=refused,
    )


def _end(network: TfliteNetwork, number: int) -> End:
    tensor = network.tensors[number]
    shape: Sizes = ("N", *tensor.shape[1:]) if tensor.batch_open else tensor.shape
    return End(tensor.name, shape, tensor.dtype)


def _batch(network: TfliteNetwork) -> int | None:
    """The first size of all inputs if it is fixed."""
    inputs = [network.tensors[number] for number in network.inputs]
    sizes = {tensor.shape[0] for tensor in inputs if len(tensor.shape) > 1}
    if len(sizes) != 1 or any(tensor.batch_open for tensor in inputs):
        return None
    return sizes.pop()


def _layer(network: TfliteNetwork, operator: TfliteOperator) -> Layer:
    tensors, computed = network.tensors, network.computed
    runs = bool(computed.intersection(operator.inputs))
    return Layer(
        operator.kind,
        tensors[operator.outputs[0]].name if operator.outputs else "",
        [tensors[number].name for number in operator.inputs if number in computed],
        {
            tensors[number].name: tensors[number].shape
            for number in operator.inputs
            if number >= 0 and number not in computed
        },
        _macs(network, operator) if runs else 0,
    )


def _macs(network: TfliteNetwork, operator: TfliteOperator) -> int | None:
    """Multiply-adds of an operator; weights are (out, height, width, in)."""
    shapes = [network.tensors[number].shape for number in operator.inputs if number >= 0]
    output = network.tensors[operator.outputs[0]].shape if operator.outputs else ()
    kind = operator.kind
    if kind == "CONV_2D" and len(shapes) > 1:
        return convolution(output, shapes[1])
    if kind == "DEPTHWISE_CONV_2D" and len(shapes) > 1:  # weights (1, height, width, out)
        return convolution(output, shapes[1][:3])
    if kind == "FULLY_CONNECTED" and len(shapes) > 1:
        return product(output, shapes[1][-1] if shapes[1] else None)
    if kind == "BATCH_MATMUL" and len(shapes) > 1 and len(output) > 1:
        first = shapes[0]  # (…, rows, inner), or the other way round
        return product(output, math.prod(first[-2:]) // output[-2])
    if kind == "TRANSPOSE_CONV" and len(shapes) > 2:  # reads its size first
        return transposed_convolution(shapes[2], (1, *shapes[1][:3]))
    if kind == "Convolution2DTransposeBias" and len(shapes) > 1:
        return transposed_convolution(shapes[0], (1, *shapes[1][:3]))
    return 0
