"""What operators share: the activation that is fused into them, and windows over images."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from mobileface.errors import GraphError

from ...graph.same_padding import same_padding
from .tflite_options import PADDINGS
from .tflite_registry import OpContext

__all__ = ["activated", "padding_of", "strides_of", "windows"]

_NONE, _RELU, _RELU_ONE, _RELU6, _TANH = 0, 1, 2, 3, 4
_CLIPS = {_RELU_ONE: (-1.0, 1.0), _RELU6: (0.0, 6.0)}


def activated(context: OpContext, value: ir.Value) -> ir.Value:
    """A result with the activation that is fused into the operator.

    Raises:
        UnsupportedOperatorError: The activation has no conversion.
    """
    kind = context.option("activation")
    if kind == _NONE:
        return value
    if kind in _CLIPS:
        low, high = _CLIPS[kind]
        return context.op(
            "Clip", value, context.constant(low, "low"), context.constant(high, "high")
        )
    if kind not in (_RELU, _TANH):
        raise context.refuse(f"activation {kind} is not supported")
    return context.op("Relu" if kind == _RELU else "Tanh", value)


def padding_of(context: OpContext, number: int | None = None) -> str:
    """The padding's name in the schema, one of `PADDINGS`.

    Raises:
        UnsupportedOperatorError: The number of the padding is neither.
    """
    found = context.option("padding") if number is None else number
    if not 0 <= found < len(PADDINGS):
        raise context.refuse(f"padding {found} is not supported")
    return PADDINGS[found]


def strides_of(context: OpContext) -> tuple[int, int]:
    """Pixels from one window to the next, down and across.

    Raises:
        GraphError: They are not above zero.
    """
    strides = (context.option("stride_h"), context.option("stride_w"))
    if min(strides) < 1:
        raise GraphError(f"strides {list(strides)} are not above zero", where=context.where)
    return strides


def windows(
    context: OpContext, kernel: tuple[int, ...], dilation: tuple[int, int] = (1, 1)
) -> dict[str, Any]:
    """The ONNX attributes of windows that move over the first input.

    Raises:
        GraphError: Sizes are not above zero, or a window is larger than the padded image.
        UnsupportedOperatorError: The padding has no conversion.
    """
    strides, padding = strides_of(context), padding_of(context)
    if min(*kernel, *dilation) < 1:
        raise GraphError("sizes of windows are not above zero", where=context.where)
    before, after = [], []
    lengths = context.data(0, rank=4).shape[1:3]
    for length, size, step, apart in zip(lengths, kernel, strides, dilation, strict=True):
        span = (size - 1) * apart + 1
        pads = same_padding(length, span, step) if padding == "SAME" else (0, 0)
        if length + sum(pads) < span:
            raise GraphError(
                f"{length} pixels are fewer than a window of {span}", where=context.where
            )
        before.append(pads[0])
        after.append(pads[1])
    found: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": strides,
        "pads": (*before, *after),
    }
    if dilation != (1, 1):
        found["dilations"] = dilation
    return found
