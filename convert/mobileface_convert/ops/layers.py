"""Weight layers: convolution, fully connected, batch normalisation, PReLU."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from mobileface.errors import GraphError, UnsupportedOperatorError

from .registry import OpContext, operator

__all__: list[str] = []

_TUNING = ("workspace", "cudnn_tune", "cudnn_off")


@operator(
    "Convolution",
    attributes=(
        "kernel",
        "stride",
        "pad",
        "dilate",
        "num_filter",
        "num_group",
        "no_bias",
        "layout",
    ),
    ignored=_TUNING,
    restrictions="one or two spatial axes, layout NCW or NCHW",
)
def convolution(context: OpContext) -> ir.Value:
    """``Conv`` over one or two spatial axes, with groups and dilation; layout NCW or NCHW."""
    attrs = context.attrs
    kernel = attrs.integers("kernel")
    rank = len(kernel)
    layouts = {1: "NCW", 2: "NCHW"}
    if rank not in layouts:
        raise UnsupportedOperatorError(f"a {rank}-D kernel is not supported")
    attrs.choice("layout", layouts[rank], (layouts[rank],))
    filters, groups = attrs.integer("num_filter"), attrs.integer("num_group", 1)
    if groups < 1:
        raise GraphError(f"attribute num_group='{groups}' must be at least 1")
    pads = attrs.integers("pad", (0,) * rank, length=rank)
    channels = context.channels(context.data)
    if channels is not None and (channels % groups or filters % groups):
        raise GraphError(
            f"cannot convolve {channels} channels to {filters} filters in {groups} groups"
        )
    per_group = None if channels is None else channels // groups
    weight = context.weight(1, "weight", (filters, per_group, *kernel))
    inputs = [context.data, context.constant(weight, np.float32, "weight")]
    if not attrs.boolean("no_bias", False):
        bias = context.weight(2, "bias", (filters,))
        inputs.append(context.constant(bias, np.float32, "bias"))
    geometry = {
        "strides": (attrs.integers("stride", (1,) * rank, length=rank), 1),
        "dilations": (attrs.integers("dilate", (1,) * rank, length=rank), 1),
        "pads": (pads + pads, 0),
    }
    # Default values are omitted, which saves a tenth of a percent of a small model's bytes. The
    # kernel shape is always stored because OpenCV 4 does not infer it from the weights.
    stated: dict[str, object] = {
        name: values
        for name, (values, default) in geometry.items()
        if any(value != default for value in values)
    }
    if groups != 1:
        stated["group"] = groups
    return context.op("Conv", *inputs, kernel_shape=kernel, **stated)


@operator("FullyConnected", attributes=("num_hidden", "no_bias", "flatten"))
def fully_connected(context: OpContext) -> ir.Value:
    """``Gemm``, after ``Flatten`` if the input is not 2-D; ``MatMul`` for flatten=False."""
    attrs = context.attrs
    hidden = attrs.integer("num_hidden")
    weight = context.weight(1, "weight", (hidden, None))
    data = context.data
    rank = context.rank(data)
    flat = rank == 2
    if not flat and attrs.boolean("flatten", True):
        data = context.builder.op("Flatten", data, name=f"{context.node.name}_flatten", axis=1)
        flat = True
    width = data.shape[-1] if data.shape is not None and len(data.shape) else None
    if isinstance(width, int) and width != weight.shape[1]:
        raise GraphError(f"{width} inputs for a weight of shape {weight.shape} do not match")
    bias = None
    if not attrs.boolean("no_bias", False):
        bias = context.constant(context.weight(2, "bias", (hidden,)), np.float32, "bias")
    if flat:
        inputs = (data, context.constant(weight, np.float32, "weight"))
        return context.op("Gemm", *inputs, *([] if bias is None else [bias]), transB=1)
    product = context.op("MatMul", data, context.constant(weight.T, np.float32, "weight"))
    return product if bias is None else context.op("Add", product, bias)


@operator(
    "BatchNorm",
    attributes=("eps", "fix_gamma", "axis", "output_mean_var"),
    ignored=("momentum", "use_global_stats", "cudnn_off", "min_calib_range", "max_calib_range"),
    restrictions="axis 1; one output",
)
def batch_norm(context: OpContext) -> ir.Value:
    """``BatchNormalization`` with the running statistics, on axis 1; fix_gamma sets gamma to 1."""
    attrs = context.attrs
    rank = context.rank(context.data)
    axis = attrs.integer("axis", 1)
    if axis not in (1, 1 - rank):
        raise UnsupportedOperatorError(f"axis={axis} is not supported", hint="supported: 1")
    if attrs.boolean("output_mean_var", False):
        raise UnsupportedOperatorError("output_mean_var=True is not supported")
    channels = context.channels(context.data)
    roles = ("gamma", "beta", "moving_mean", "moving_var")
    arrays = [context.weight(i + 1, role, (channels,)) for i, role in enumerate(roles)]
    if attrs.boolean("fix_gamma", True):
        arrays[0] = np.ones_like(arrays[0])
    constants = [
        context.constant(array, np.float32, role) for array, role in zip(arrays, roles, strict=True)
    ]
    return context.op(
        "BatchNormalization", context.data, *constants, epsilon=attrs.number("eps", 1e-3)
    )


@operator("LeakyReLU", attributes=("act_type", "slope", "lower_bound", "upper_bound"))
def leaky_relu(context: OpContext) -> ir.Value:
    """``LeakyRelu`` (leaky, rrelu), ``PRelu`` (prelu), ``Elu``, ``Selu``, or gelu with ``Erf``."""
    attrs, data = context.attrs, context.data
    kinds = ("leaky", "prelu", "elu", "selu", "gelu", "rrelu")
    kind = attrs.choice("act_type", "leaky", kinds)
    if kind == "prelu":
        return _prelu(context)
    if kind == "selu":
        return context.op("Selu", data)
    if kind == "gelu":
        erf = context.op("Erf", context.op("Div", data, context.scalar(math.sqrt(2))))
        one_plus_erf = context.op("Add", erf, context.scalar(1))
        half = context.op("Mul", data, context.scalar(0.5))
        return context.op("Mul", half, one_plus_erf)
    if kind == "rrelu":  # random slope in training, mean slope at inference
        bounds = attrs.number("lower_bound", 0.125), attrs.number("upper_bound", 0.334)
        return context.op("LeakyRelu", data, alpha=sum(bounds) / 2)
    slope = attrs.number("slope", 0.25)
    return context.op("Elu" if kind == "elu" else "LeakyRelu", data, alpha=slope)


def _prelu(context: OpContext) -> ir.Value:
    """``PRelu`` with one slope for all channels, or one per channel."""
    slope = context.weight(1, "gamma", (None,))
    channels = context.channels(context.data)
    if channels is not None and slope.shape[0] not in (1, channels):
        raise GraphError(f"{slope.shape[0]} slopes for {channels} channels: expected 1 or all")
    broadcast = slope.reshape(-1, *(1,) * (context.rank(context.data) - 2))
    return context.op("PRelu", context.data, context.constant(broadcast, np.float32, "slope"))
