"""Operators with weights: convolutions and fully connected layers."""

from __future__ import annotations

import math
import struct

import onnx_ir as ir

from mobileface.errors import GraphError

from .tflite_registry import OpContext, channels_first, operator
from .tflite_windows import activated, padding_of, strides_of, windows

__all__: list[str] = []  # imported to register

_TRANSPOSE_OPTIONS = struct.Struct("<3i")
"""TfLiteTransposeConvParams of TensorFlow Lite's builtin_op_data.h: padding (1 is SAME, 2 VALID),
stride across, stride down. MediaPipe's custom operator stores its bytes."""


@operator("CONV_2D", restrictions="weights are stored")
def conv_2d(context: OpContext) -> ir.Value:
    """`Conv`, with groups if the weights have fewer channels than the image, and the activation."""
    weight = context.array(1, rank=4)
    channels, reads = context.data(0, rank=4).shape[3], weight.shape[3]
    groups, rest = divmod(channels, reads)
    if rest or weight.shape[0] % groups:
        raise GraphError(
            f"weights {list(weight.shape)} for {channels} channels", where=context.where
        )
    attributes = windows(context, weight.shape[1:3], _dilation(context))
    if groups > 1:
        attributes["group"] = groups
    parts = [context.constant(weight.transpose(0, 3, 1, 2), "weight"), *_bias(context, 2)]
    return activated(context, context.op("Conv", context.data().value, *parts, **attributes))


@operator("DEPTHWISE_CONV_2D", restrictions="weights are stored")
def depthwise_conv_2d(context: OpContext) -> ir.Value:
    """`Conv` with a group for each channel, and the activation."""
    weight = context.array(1, rank=4)
    channels = context.data(0, rank=4).shape[3]
    if weight.shape[0] != 1 or weight.shape[3] % channels:
        raise GraphError(
            f"weights {list(weight.shape)} for {channels} channels", where=context.where
        )
    attributes = windows(context, weight.shape[1:3], _dilation(context))
    # Output m of channel c is channel c · multiplier + m in both formats.
    parts = [context.constant(weight.transpose(3, 0, 1, 2), "weight"), *_bias(context, 2)]
    made = context.op("Conv", context.data().value, *parts, group=channels, **attributes)
    return activated(context, made)


@operator("TRANSPOSE_CONV", restrictions="weights and the output's size are stored")
def transpose_conv(context: OpContext) -> ir.Value:
    """`ConvTranspose`, and the activation."""
    size = context.integers(0).tolist()
    if tuple(size[1:]) != context.output.shape[1:]:
        raise GraphError(f"the output's size {size} is not that of the file", where=context.where)
    made = _transposed(context, strides_of(context), padding_of(context), (2, 1, 3))
    return activated(context, made)


@operator("Convolution2DTransposeBias", custom=True, restrictions="weights are stored")
def convolution_2d_transpose_bias(context: OpContext) -> ir.Value:
    """`ConvTranspose`: MediaPipe's custom operator, a `TRANSPOSE_CONV` with a bias."""
    options = context.operator.custom or b""
    if len(options) < _TRANSPOSE_OPTIONS.size:
        raise GraphError(f"{len(options)} bytes of options, expected 12", where=context.where)
    padding, across, down = _TRANSPOSE_OPTIONS.unpack_from(options)
    if min(across, down) < 1:
        raise GraphError("strides are not above zero", where=context.where)
    return _transposed(context, (down, across), padding_of(context, padding - 1), (0, 1, 2))


@operator("FULLY_CONNECTED", restrictions="weights are stored, in the default format")
def fully_connected(context: OpContext) -> ir.Value:
    """`Gemm`, or `MatMul` and `Add` if the axes are kept, and the activation."""
    weight = context.array(1, rank=2)
    if context.option("weights_format"):
        raise context.refuse("shuffled weights are not supported")
    if context.option("keep_num_dims", False) and len(context.output.shape) != 2:
        given = context.data()
        if len(given.shape) == 4 or len(given.shape) < 2:
            raise context.refuse(f"kept axes of {list(given.shape)} are not supported")
        made = context.op("MatMul", given.value, context.constant(weight.T, "weight"))
        for bias in _bias(context, 2):
            made = context.op("Add", made, bias)
        return activated(context, made)
    image = context.waiting(0)
    given = image or context.data()
    if math.prod(given.shape[1:]) != weight.shape[1]:
        raise GraphError(
            f"weights {list(weight.shape)} for {list(given.shape)}", where=context.where
        )
    value = given.value
    if len(given.shape) != 2:
        value = context.reshaped(value, (given.shape[0], weight.shape[1]))
    if len(given.shape) == 4:  # channels come first here, so the weights' columns move instead
        columns = weight.reshape(-1, *given.shape[1:]).transpose(0, 3, 1, 2)
        weight = columns.reshape(weight.shape)
    parts = [context.constant(weight, "weight"), *_bias(context, 2)]
    return activated(context, context.op("Gemm", value, *parts, transB=1))


def _transposed(
    context: OpContext, strides: tuple[int, int], padding: str, inputs: tuple[int, int, int]
) -> ir.Value:
    """``ConvTranspose``; the inputs are those of the image, the weights and the bias."""
    image, weights, bias = inputs
    given, weight = context.data(image, rank=4), context.array(weights, rank=4)
    output = channels_first(context.output.shape)
    if len(output) != 4 or weight.shape[3] != given.shape[3] or weight.shape[0] != output[1]:
        raise GraphError(
            f"weights {list(weight.shape)} from {list(given.shape)} to "
            f"{list(context.output.shape)}",
            where=context.where,
        )
    before, after, more = [], [], []
    for length, made, window, step in zip(
        given.shape[1:3], output[2:], weight.shape[1:3], strides, strict=True
    ):
        total = (length - 1) * step + window - made
        if total < 0 and padding == "VALID" and -total >= step:
            raise GraphError(f"{made} pixels cannot be made from {length}", where=context.where)
        if padding == "VALID" and total > 0:
            raise GraphError(f"{made} pixels cut off the result", where=context.where)
        if abs(total) > max(window, step):
            raise GraphError(f"{made} pixels cannot be made from {length}", where=context.where)
        cut = max(total, 0)
        before.append(cut // 2)
        after.append(cut - cut // 2)
        more.append(max(-total, 0))
    parts = [context.constant(weight.transpose(3, 0, 1, 2), "weight"), *_bias(context, bias)]
    return context.op(
        "ConvTranspose",
        given.value,
        *parts,
        kernel_shape=weight.shape[1:3],
        strides=strides,
        pads=(*before, *after),
        output_padding=more,
    )


def _dilation(context: OpContext) -> tuple[int, int]:
    return context.option("dilation_h", 1), context.option("dilation_w", 1)


def _bias(context: OpContext, position: int) -> list[ir.Value]:
    if not context.present(position):
        return []
    bias = context.array(position)
    if bias.shape != context.output.shape[-1:]:
        raise GraphError(
            f"a bias {list(bias.shape)} for {list(context.output.shape)}", where=context.where
        )
    return [context.constant(bias, "bias")]
