"""Normalisation by the data's own statistics: mean and variance, L2 norm, adjacent channels."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from mobileface.errors import GraphError, UnsupportedOperatorError

from .registry import OpContext, operator

__all__: list[str] = []


@operator("InstanceNorm", attributes=("eps",))
def instance_norm(context: OpContext) -> ir.Value:
    """``InstanceNormalization``."""
    if context.rank(context.data) < 3:
        raise GraphError(f"data of shape {context.data.shape} has no spatial axis")
    scale, bias = _gamma_and_beta(context, context.channels(context.data))
    eps = context.attrs.number("eps", 1e-3)
    return context.op("InstanceNormalization", context.data, scale, bias, epsilon=eps)


@operator("LayerNorm", attributes=("axis", "eps", "output_mean_var"), restrictions="one output")
def layer_norm(context: OpContext) -> ir.Value:
    """``LayerNormalization``, between two ``Transpose`` if the axis is not the last."""
    _require_one_output(context)
    rank = context.rank(context.data)
    axis = context.attrs.integer("axis", -1)
    if not -rank <= axis < rank:
        raise GraphError(f"axis={axis} is out of range for data of shape {context.data.shape}")
    axis %= rank
    data, swapped = context.data, list(range(rank))
    swapped[axis], swapped[-1] = swapped[-1], swapped[axis]
    size = None if data.shape is None else data.shape[axis]
    scale, bias = _gamma_and_beta(context, size if isinstance(size, int) else None)
    eps = context.attrs.number("eps", 1e-5)
    if axis == rank - 1:
        return context.op("LayerNormalization", data, scale, bias, axis=-1, epsilon=eps)
    data = context.op("Transpose", data, perm=swapped)
    data = context.op("LayerNormalization", data, scale, bias, axis=-1, epsilon=eps)
    return context.op("Transpose", data, perm=swapped)


@operator(
    "GroupNorm", attributes=("num_groups", "eps", "output_mean_var"), restrictions="one output"
)
def group_norm(context: OpContext) -> ir.Value:
    """``InstanceNormalization`` of groups, with one gamma and one beta per group as in MXNet."""
    _require_one_output(context)
    groups = context.attrs.integer("num_groups", 1)
    channels = context.channels(context.data)
    if context.rank(context.data) < 3:
        raise GraphError(f"data of shape {context.data.shape} has no spatial axis")
    if groups < 1 or (channels is not None and channels % groups):
        raise GraphError(f"cannot split {channels} channels in {groups} groups")
    scale, bias = _gamma_and_beta(context, groups)
    rows = context.constant([0, groups, -1], np.int64, "groups")
    grouped = context.op("Reshape", context.data, rows)
    eps = context.attrs.number("eps", 1e-5)
    normal = context.op("InstanceNormalization", grouped, scale, bias, epsilon=eps)
    return context.op("Reshape", normal, context.op("Shape", context.data))


def _gamma_and_beta(context: OpContext, size: int | None) -> tuple[ir.Value, ir.Value]:
    """Scale and bias of each channel or group, as initializers."""
    gamma, beta = context.weight(1, "gamma", (size,)), context.weight(2, "beta", (size,))
    return context.constant(gamma, np.float32, "gamma"), context.constant(beta, np.float32, "beta")


def _require_one_output(context: OpContext) -> None:
    """Checks that mean and variance, which only training uses, are not further outputs.

    Raises:
        UnsupportedOperatorError: If output_mean_var is set.
    """
    if context.attrs.boolean("output_mean_var", False):
        raise UnsupportedOperatorError("output_mean_var=True is not supported")


@operator(
    "LRN", attributes=("alpha", "beta", "knorm", "nsize"), restrictions="four axes; nsize odd"
)
def local_response(context: OpContext) -> ir.Value:
    """``LRN`` across channels."""
    attrs, rank = context.attrs, context.rank(context.data)
    if rank != 4:
        raise UnsupportedOperatorError(f"LRN of data of {rank} axes is not supported")
    size = attrs.integer("nsize")
    if size < 1 or size % 2 == 0:
        raise UnsupportedOperatorError(
            f"nsize={size} is not supported", hint="supported: odd numbers"
        )
    return context.op(
        "LRN",
        context.data,
        size=size,
        alpha=attrs.number("alpha", 1e-4),
        beta=attrs.number("beta", 0.75),
        bias=attrs.number("knorm", 2.0),
    )


@operator("L2Normalization", attributes=("eps", "mode"))
def l2_normalization(context: OpContext) -> ir.Value:
    """``RMSNormalization`` of vectors with opset 23 or newer, otherwise five nodes.

    x / sqrt(sum(x²) + eps) over n elements is root-mean-square normalisation with scale 1/sqrt(n)
    and epsilon eps/n: both equal x / sqrt(n · (mean(x²) + eps/n)).
    """
    mode = context.attrs.choice("mode", "instance", ("instance", "channel", "spatial"))
    eps, rank = context.attrs.number("eps", 1e-10), context.rank(context.data)
    if rank < (2 if mode == "instance" else 3):
        raise GraphError(f"mode='{mode}' does not fit data of shape {context.data.shape}")
    width = context.channels(context.data)
    if context.builder.opset >= 23 and width is not None and rank == 2:
        scale = np.full(width, 1 / np.sqrt(width), np.float32)
        scale_value = context.constant(scale, np.float32, "scale")
        return context.op(
            "RMSNormalization", context.data, scale_value, axis=-1, epsilon=eps / width
        )
    reduced = {"instance": range(1, rank), "channel": (1,), "spatial": range(2, rank)}[mode]
    squares = context.op("Mul", context.data, context.data)
    axes = context.constant(list(reduced), np.int64, "axes")
    total = context.op("ReduceSum", squares, axes, keepdims=1)
    norm = context.op("Sqrt", context.op("Add", total, context.scalar(eps)))
    return context.op("Div", context.data, norm)
