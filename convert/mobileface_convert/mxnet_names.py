"""What MXNet calls its operators and their arguments, across its versions.

Symbols keep the spelling of the version that saved them. The reader maps each to the name that
MXNet 1.9 registers, so that passes and operator conversions know one name for one meaning.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ARGUMENTS", "AUXILIARY", "LABEL_OPERATORS", "arguments_of", "canonical_operator"]

_ALIASES: dict[str, str] = {
    "_Plus": "elemwise_add",
    "_plus": "elemwise_add",
    "_add": "elemwise_add",
    "_grad_add": "elemwise_add",
    "_Minus": "elemwise_sub",
    "_minus": "elemwise_sub",
    "_sub": "elemwise_sub",
    "_Mul": "elemwise_mul",
    "_mul": "elemwise_mul",
    "_Div": "elemwise_div",
    "_div": "elemwise_div",
    "_PlusScalar": "_plus_scalar",
    "_MinusScalar": "_minus_scalar",
    "_RMinusScalar": "_rminus_scalar",
    "_MulScalar": "_mul_scalar",
    "_DivScalar": "_div_scalar",
    "_RDivScalar": "_rdiv_scalar",
    "_MaximumScalar": "_maximum_scalar",
    "_MinimumScalar": "_minimum_scalar",
    "_PowerScalar": "_power_scalar",
    "ElementWiseSum": "add_n",
    "_sum": "add_n",
    "flatten": "Flatten",
    "identity": "_copy",
    "reshape": "Reshape",
    "crop": "slice",
    "Softmax": "SoftmaxOutput",
}

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "BatchNorm": ("data", "gamma", "beta", "moving_mean", "moving_var"),
    "Convolution": ("data", "weight", "bias"),
    "Deconvolution": ("data", "weight", "bias"),
    "FullyConnected": ("data", "weight", "bias"),
    "LeakyReLU": ("data", "gamma"),
    "SoftmaxOutput": ("data", "label"),
    "LinearRegressionOutput": ("data", "label"),
    "LogisticRegressionOutput": ("data", "label"),
    "MAERegressionOutput": ("data", "label"),
    "SVMOutput": ("data", "label"),
}
"""Argument names by operator; an operator that is not listed has data arguments only."""

AUXILIARY: dict[str, tuple[str, ...]] = {"BatchNorm": ("moving_mean", "moving_var")}
"""The arguments that MXNet keeps as auxiliary states."""

LABEL_OPERATORS = frozenset(op for op, names in ARGUMENTS.items() if "label" in names) | {
    "MakeLoss",
    "make_loss",
    "softmax_cross_entropy",
}
"""Operators that compute a training loss."""


def canonical_operator(op: str) -> str:
    """The name under which MXNet 1.9 registers an operator."""
    return _ALIASES.get(op, op)


def arguments_of(op: str, attrs: Mapping[str, str]) -> tuple[str, ...]:
    """The argument names that an operator with these attributes really takes."""
    names = ARGUMENTS.get(op, ())
    if op in ("Convolution", "Deconvolution", "FullyConnected"):
        default = "True" if op == "Deconvolution" else "False"
        if attrs.get("no_bias", default) in ("True", "true", "1"):
            return names[:2]
    if op == "UpSampling" and attrs.get("sample_type") == "bilinear":
        return ("data", "weight")
    if op == "LeakyReLU" and attrs.get("act_type", "leaky") != "prelu":
        return names[:1]
    return names
