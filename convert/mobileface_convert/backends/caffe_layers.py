"""Caffe conversions of MXNet's layers: convolutions, pooling, and layers that change shape.

Layers that every Caffe has are preferred over those of one fork: clipping is built from ReLU and
Power, a weight per channel is a Scale with two inputs, upsampling is a deconvolution with ones.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mobileface.errors import GraphError

from .caffe_writer import CaffeContext, FloatArray, Layer, Shape, conversion

__all__: list[str] = []

_PAIR = 2

Doubles = npt.NDArray[np.floating[Any]]


def _top(layer: Layer) -> str:
    return str(layer.top[0])


@conversion("Convolution", "Deconvolution")
def convolution(context: CaffeContext) -> str:
    """``Convolution`` or ``Deconvolution`` over two axes."""
    attrs, kind = context.attrs, context.node.op
    kernel = attrs.integers("kernel")
    if len(kernel) != _PAIR:
        raise context.unsupported(f"a {len(kernel)}-D kernel")
    filters, groups = attrs.integer("num_filter"), attrs.integer("num_group", 1)
    stride, pad, dilation = (
        attrs.integers(name, (default,) * _PAIR, length=_PAIR)
        for name, default in (("stride", 1), ("pad", 0), ("dilate", 1))
    )
    weight = context.weight(1, "weight", (None, None, *kernel))
    blobs = [weight]
    biased = not attrs.boolean("no_bias", kind == "Deconvolution")
    if biased:
        blobs.append(context.weight(2, "bias", (filters,)))
    if kind == "Deconvolution":
        whole = tuple(
            step * (size - 1) + spread * (k - 1) + 1 - 2 * border
            for size, k, step, border, spread in zip(
                context.data_shape[2:], kernel, stride, pad, dilation, strict=True
            )
        )
        if context.output_shape[2:] != whole:
            raise context.unsupported("an output that adj or target_shape makes larger")
    layer = context.layer(kind, context.data, blobs=blobs)
    options = layer.convolution_param
    options.num_output, options.bias_term, options.group = filters, biased, groups
    options.kernel_size.extend(kernel)
    for field, values, default in (
        (options.stride, stride, 1),
        (options.pad, pad, 0),
        (options.dilation, dilation, 1),
    ):
        if any(value != default for value in values):
            field.extend(values)
    return _top(layer)


@conversion("FullyConnected")
def fully_connected(context: CaffeContext) -> str:
    """``InnerProduct``, which flattens its input."""
    attrs = context.attrs
    hidden = attrs.integer("num_hidden")
    if not attrs.boolean("flatten", True) and len(context.data_shape) > _PAIR:
        raise context.unsupported(f"flatten=False for data of shape {context.data_shape}")
    blobs = [context.weight(1, "weight", (hidden, math.prod(context.data_shape[1:])))]
    biased = not attrs.boolean("no_bias", False)
    if biased:
        blobs.append(context.weight(2, "bias", (hidden,)))
    layer = context.layer("InnerProduct", context.data, blobs=blobs)
    layer.inner_product_param.num_output = hidden
    layer.inner_product_param.bias_term = biased
    return _top(layer)


@conversion("BatchNorm")
def batch_norm(context: CaffeContext) -> str:
    """``Scale`` with factor and shift per channel, from running statistics, gamma and beta."""
    channels = context.data_shape[1]
    roles = ("gamma", "beta", "moving_mean", "moving_var")
    gamma, beta, mean, var = (
        context.weight(position, role, (channels,)).astype(np.float64)
        for position, role in enumerate(roles, start=1)
    )
    if context.attrs.boolean("fix_gamma", True):
        gamma = np.ones_like(gamma)
    factor = gamma / np.sqrt(var + context.attrs.number("eps", 1e-3))
    return scaled(context, context.data, factor, beta - mean * factor)


def scaled(context: CaffeContext, data: str, factor: Doubles, shift: Doubles | None = None) -> str:
    """Adds a ``Scale`` layer with a factor, and optionally a shift, per channel."""
    blobs: list[FloatArray] = [factor.astype(np.float32)]
    if shift is not None:
        blobs.append(shift.astype(np.float32))
    layer = context.layer("Scale", data, blobs=blobs)
    layer.scale_param.bias_term = shift is not None
    return _top(layer)


@conversion("Pooling")
def pooling(context: CaffeContext) -> str:
    """``Pooling`` MAX or AVE, over windows or global.

    Caffe rounds the number of windows up, MXNet rounds it down unless the convention is 'full'.
    Where the numbers differ, the layer is not supported.
    """
    attrs = context.attrs
    kind = attrs.choice("pool_type", "max", ("max", "avg"))
    spatial = context.data_shape[2:]
    if len(spatial) != _PAIR:
        raise context.unsupported(f"pooling of data of shape {context.data_shape}")
    if attrs.boolean("global_pool", False):
        layer = context.layer("Pooling", context.data)
        layer.pooling_param.global_pooling = True
    else:
        kernel = attrs.integers("kernel")
        stride = attrs.integers("stride", (1,) * _PAIR, length=_PAIR)
        pad = attrs.integers("pad", (0,) * _PAIR, length=_PAIR)
        windows = tuple(map(_windows, spatial, kernel, stride, pad))
        if windows != context.output_shape[2:]:
            raise context.unsupported(
                f"pooling to {context.output_shape[2:]} windows, where Caffe has {windows}",
                "Caffe rounds the number of windows up: try another input size",
            )
        if kind == "avg" and any(pad) and not attrs.boolean("count_include_pad", True):
            raise context.unsupported("average pooling that excludes the padding")
        layer = context.layer("Pooling", context.data)
        options = layer.pooling_param
        (options.kernel_h, options.kernel_w) = kernel
        (options.stride_h, options.stride_w) = stride
        (options.pad_h, options.pad_w) = pad
    layer.pooling_param.pool = int(kind == "avg")
    return _top(layer)


def _windows(size: int, kernel: int, stride: int, pad: int) -> int:
    """Number of pooling windows along an axis in Caffe; none starts in the trailing padding."""
    count = math.ceil((size + 2 * pad - kernel) / stride) + 1
    return count - 1 if pad and (count - 1) * stride >= size + pad else count


@conversion("Flatten")
def flatten(context: CaffeContext) -> str:
    """``Flatten``; no layer if the input is already (N, C)."""
    if len(context.data_shape) == _PAIR:
        return context.data
    return _top(context.layer("Flatten", context.data))


@conversion("Reshape", "expand_dims", "squeeze")
def reshape(context: CaffeContext) -> str:
    """``Reshape`` that keeps the batch axis."""
    before, after = context.data_shape, context.output_shape
    if not after or after[0] != before[0]:
        raise context.unsupported(f"a reshape from {before} to {after}, across the batch axis")
    layer = context.layer("Reshape", context.data)
    layer.reshape_param.shape.dim.extend((0, *after[1:]))
    return _top(layer)


@conversion("Concat")
def concat(context: CaffeContext) -> str:
    """``Concat`` along one axis."""
    blobs = [context.blob(position) for position in range(len(context.node.inputs))]
    layer = context.layer("Concat", *blobs)
    layer.concat_param.axis = context.attrs.integer("dim", 1) % len(context.data_shape)
    return _top(layer)


@conversion("SliceChannel")
def slice_channel(context: CaffeContext) -> tuple[str, ...]:
    """``Slice`` into equal parts."""
    count = context.attrs.integer("num_outputs")
    if context.attrs.boolean("squeeze_axis", False):
        raise context.unsupported("squeeze_axis=True")
    axis = context.attrs.integer("axis", 1) % len(context.data_shape)
    part = context.data_shape[axis] // count
    layer, tops = context.writer.add("Slice", context.node.name, [context.data], tops=count)
    layer.slice_param.axis = axis
    layer.slice_param.slice_point.extend(range(part, part * count, part))
    return tops


@conversion("UpSampling")
def up_sampling(context: CaffeContext) -> str:
    """Nearest-neighbour upsampling as a ``Deconvolution`` with a kernel of ones per channel."""
    attrs = context.attrs
    attrs.choice("sample_type", "nearest", ("nearest",))
    if len(context.node.inputs) != 1:
        raise context.unsupported("upsampling of several inputs to one size")
    scale, channels = attrs.integer("scale"), context.data_shape[1]
    ones = np.ones((channels, 1, scale, scale), np.float32)
    layer = context.layer("Deconvolution", context.data, blobs=[ones])
    options = layer.convolution_param
    options.num_output, options.group, options.bias_term = channels, channels, False
    options.kernel_size.extend((scale, scale))
    options.stride.extend((scale, scale))
    return _top(layer)


@conversion("slice_like")
def slice_like(context: CaffeContext) -> str:
    """``Crop`` to height and width of another blob; no layer if they are equal."""
    before, after = context.data_shape, context.output_shape
    if before == after:
        return context.data
    if len(before) != 4 or before[:2] != after[:2] or after[2:] != context.shape(1)[2:]:
        raise context.unsupported(f"a crop from {before} to {after}")
    layer = context.layer("Crop", context.data, context.blob(1))
    layer.crop_param.axis = 2
    layer.crop_param.offset.append(0)
    return _top(layer)


@conversion("Dropout", "_copy", "BlockGrad", "identity", "Cast")
def same(context: CaffeContext) -> str:
    """Identity: adds no layer."""
    return context.data


@conversion("L2Normalization")
def l2_normalization(context: CaffeContext) -> str:
    """Caffe-SSD's ``Normalize``, over the whole image or over the channels of each pixel."""
    mode = context.attrs.choice("mode", "instance", ("instance", "channel"))
    layer = context.layer("Normalize", context.data, blobs=[np.ones(1, np.float32)])
    options = layer.norm_param
    options.across_spatial, options.channel_shared = mode == "instance", True
    options.eps = context.attrs.number("eps", 1e-10)
    return _top(layer)


@conversion("softmax", "SoftmaxActivation", "SoftmaxOutput")
def softmax(context: CaffeContext) -> str:
    """``Softmax`` along one axis."""
    attrs, rank = context.attrs, len(context.data_shape)
    if "temperature" in attrs or attrs.boolean("use_length", False):
        raise context.unsupported("softmax with temperature or length")
    axis = attrs.integer("axis", -1) % rank
    if attrs.text("mode", "") == "channel" or attrs.boolean("multi_output", False):
        axis = 1
    elif context.node.op == "SoftmaxOutput" and rank != _PAIR:
        raise context.unsupported(f"SoftmaxOutput of data of shape {context.data_shape}")
    layer = context.layer("Softmax", context.data)
    layer.softmax_param.axis = axis
    return _top(layer)


def per_channel(context: CaffeContext, position: int, shape: Shape) -> FloatArray | None:
    """A stored array as one value per channel of a blob.

    Args:
        context: The operator.
        position: Index of the input that is the stored array.
        shape: Shape of the blob.

    Returns:
        float32 (C,), or None if the array does not hold one value per channel or a single value.

    Raises:
        GraphError: If the array contains nan or inf.
    """
    array = context.graph.weight(context.node.inputs[position])
    if array is None or array.ndim != len(shape) or array.size not in (1, shape[1]):
        return None
    if array.size > 1 and array.shape[1] != shape[1]:
        return None
    if not np.isfinite(array).all():
        name = context.node.inputs[position].node.name
        raise GraphError(f"array '{name}' holds nan or inf", where=context.node.where)
    numbers: FloatArray = np.broadcast_to(array.astype(np.float32).ravel(), (shape[1],))
    return numbers
