"""Networks in float16, read as networks in float32 with the same weights.

::

    before   data (float16) ─ Conv W (float16) ─ y (float16)
    after    data (float32) ─ Conv W (float32, the same numbers) ─ y (float32)

ONNX Runtime has few float16 kernels for CPUs: it casts to float32 and back around every operator.
The weights are numbers of float16 still, so `backends.storage` stores them in half the bytes again
without rounding.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

__all__ = ["widened"]


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model, as returned by `onnx_file.parse_onnx`, that computes in float32."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    graph = wide.graph
    for tensor in graph.initializer:
        _widen(tensor)
    for node in graph.node:
        for item in node.attribute:
            if item.HasField("t"):
                _widen(item.t)
            elif item.name in ("to", "dtype") and item.i == TensorProto.FLOAT16:
                item.i = TensorProto.FLOAT
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    return wide


def _widen(tensor: TensorProto) -> None:
    """Makes a stored array of float16 one of float32, in place."""
    if tensor.data_type == TensorProto.FLOAT16:
        array = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
