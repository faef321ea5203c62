"""Softmax in all its forms, and loss layers as they behave at inference."""

from __future__ import annotations

import onnx_ir as ir

from mobileface.errors import GraphError, UnsupportedOperatorError

from .registry import OpContext, operator

__all__: list[str] = []


@operator(
    "softmax",
    "log_softmax",
    "softmin",
    attributes=("axis", "temperature", "use_length", "dtype"),
    restrictions="no use_length; dtype float32",
)
def softmax(context: OpContext) -> ir.Value:
    """``Softmax`` or ``LogSoftmax`` along one axis; temperature adds ``Div``, softmin ``Neg``."""
    attrs = context.attrs
    attrs.choice("dtype", "float32", ("float32",))
    if attrs.boolean("use_length", False):
        raise UnsupportedOperatorError("use_length=True is not supported")
    data = context.data
    if "temperature" in attrs:
        data = context.op("Div", data, context.scalar(attrs.number("temperature")))
    if context.node.op == "softmin":
        data = context.op("Neg", data)
    kind = "LogSoftmax" if context.node.op == "log_softmax" else "Softmax"
    return context.op(kind, data, axis=attrs.integer("axis", -1))


@operator("SoftmaxActivation", attributes=("mode",))
def softmax_activation(context: OpContext) -> ir.Value:
    """``Softmax`` along the last axis (instance) or along axis 1 (channel)."""
    mode = context.attrs.choice("mode", "instance", ("instance", "channel"))
    if mode == "instance":
        return context.op("Softmax", context.data, axis=-1)
    if context.rank(context.data) < 3:
        raise GraphError(f"mode='channel' does not fit data of shape {context.data.shape}")
    return context.op("Softmax", context.data, axis=1)


@operator(
    "SoftmaxOutput",
    attributes=("multi_output", "preserve_shape"),
    ignored=(
        "grad_scale",
        "ignore_label",
        "use_ignore",
        "normalization",
        "out_grad",
        "smooth_alpha",
    ),
    restrictions="data of one or four axes needs multi_output or preserve_shape, without which "
    "MXNet's backends disagree",
)
def softmax_output(context: OpContext) -> ir.Value:
    """``Softmax`` along axis 1 (multi_output), the last (preserve_shape), or all but the first."""
    rank = context.rank(context.data)
    if context.attrs.boolean("multi_output", False):
        if rank < 2:
            raise GraphError(f"multi_output=True does not fit data of shape {context.data.shape}")
        return context.op("Softmax", context.data, axis=1)
    if rank == 2 or context.attrs.boolean("preserve_shape", False):
        return context.op("Softmax", context.data, axis=-1)
    if rank in (1, 4):
        # MXNet 1.9.1 normalises over the last axis here with oneDNN, over the whole sample without.
        raise UnsupportedOperatorError(
            f"MXNet's backends disagree on the axis of a softmax over data of {rank} axes",
            hint="set multi_output=True (axis 1) or preserve_shape=True (last axis)",
        )
    rows = context.op("Softmax", context.op("Flatten", context.data), axis=-1)
    return context.op("Reshape", rows, context.op("Shape", context.data))


@operator("LinearRegressionOutput", "MAERegressionOutput", ignored=("grad_scale",))
def regression_output(context: OpContext) -> ir.Value:
    """No node: the value is returned unchanged; the label is not read."""
    return context.data


@operator("LogisticRegressionOutput", ignored=("grad_scale",))
def logistic_regression_output(context: OpContext) -> ir.Value:
    """``Sigmoid``; the label is not read."""
    return context.op("Sigmoid", context.data)


@operator("SVMOutput", ignored=("margin", "regularization_coefficient", "use_linear"))
def svm_output(context: OpContext) -> ir.Value:
    """No node: the value is returned unchanged; the label is not read."""
    return context.data


@operator("MakeLoss", "make_loss", ignored=("grad_scale", "valid_thresh", "normalization"))
def make_loss(context: OpContext) -> ir.Value:
    """No node: the value is returned unchanged."""
    return context.data
