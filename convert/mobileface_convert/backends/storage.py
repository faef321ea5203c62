"""Stores weights as float16, in half the bytes; the network still computes in float32.

Each large float32 initializer W becomes::

    before   W (float32) ─ Conv          after   W (float16) ─ Cast ─ Conv

ONNX Runtime runs the Cast once, when it loads the model, so inference time does not change. Weights
are rounded to 11 significant bits; the effect on the outputs is measured.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mobileface.errors import ConversionError

from .onnx import read_onnx

__all__ = ["STORAGES", "store_float16", "stored_as"]

STORAGES = ("float32", "float16")
"""Element types for stored weights."""

_SMALLEST = 1024
"""Number of elements below which an array stays float32, as it would save next to nothing."""


def store_float16(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """A copy of the model with its large weights stored as float16.

    Args:
        model: An ONNX model with float32 weights.
        where: Name of the model in error messages.

    Raises:
        ConversionError: If a weight exceeds the range of float16, or no array is large enough.
    """
    stored = onnx.ModelProto()
    stored.CopyFrom(model)
    graph, casts, kept = stored.graph, [], []
    inputs = {value.name for value in graph.input}
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.size < _SMALLEST or tensor.name in inputs:
            kept.append(tensor)
            continue
        if np.abs(array).max() > np.finfo(np.float16).max:
            raise ConversionError(
                f"array '{tensor.name}' exceeds the range of float16", where=where
            )
        half = f"{tensor.name}_float16"
        kept.append(numpy_helper.from_array(array.astype(np.float16), half))
        casts.append(
            helper.make_node(
                "Cast", [half], [tensor.name], name=f"{tensor.name}_cast", to=TensorProto.FLOAT
            )
        )
    if not casts:
        raise ConversionError("the model has no weights to store as float16", where=where)
    nodes = [*casts, *graph.node]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    onnx.checker.check_model(stored, full_check=True)
    return stored


def stored_as(model: Path) -> str:
    """How the weights of a model file are stored, one of `STORAGES`.

    Raises:
        ConversionError: If the file is not an ONNX model.
    """
    loaded = read_onnx(model)
    half = {t.name for t in loaded.graph.initializer if t.data_type == TensorProto.FLOAT16}
    return "float16" if half else "float32"
