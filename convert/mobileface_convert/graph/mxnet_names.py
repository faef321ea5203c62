"""Names of MXNet's operators and their arguments, across its versions.

Symbol files keep the spelling of the version that saved them. The reader maps each spelling to the
name that MXNet 1.9 registers, so that passes and conversions see a single name per operator.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "ARGUMENTS",
    "AUXILIARY",
    "LABEL_OPERATORS",
    "LABEL_POSITIONS",
    "arguments_of",
    "canonical_operator",
    "old_spellings",
]

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
    "_Maximum": "_maximum",
    "_Minimum": "_minimum",
    "_Power": "_power",
    "_Mod": "_mod",
    "_Hypot": "_hypot",
    "_Equal": "_equal",
    "_Not_Equal": "_not_equal",
    "_Greater": "_greater",
    "_Greater_Equal": "_greater_equal",
    "_Lesser": "_lesser",
    "_Lesser_Equal": "_lesser_equal",
    "_Logical_And": "_logical_and",
    "_Logical_Or": "_logical_or",
    "_Logical_Xor": "_logical_xor",
    "_PlusScalar": "_plus_scalar",
    "_MinusScalar": "_minus_scalar",
    "_RMinusScalar": "_rminus_scalar",
    "_MulScalar": "_mul_scalar",
    "_DivScalar": "_div_scalar",
    "_RDivScalar": "_rdiv_scalar",
    "_MaximumScalar": "_maximum_scalar",
    "_MinimumScalar": "_minimum_scalar",
    "_PowerScalar": "_power_scalar",
    "_RPowerScalar": "_rpower_scalar",
    "_ModScalar": "_mod_scalar",
    "_RModScalar": "_rmod_scalar",
    "_HypotScalar": "_hypot_scalar",
    "_EqualScalar": "_equal_scalar",
    "_NotEqualScalar": "_not_equal_scalar",
    "_GreaterScalar": "_greater_scalar",
    "_GreaterEqualScalar": "_greater_equal_scalar",
    "_LesserScalar": "_lesser_scalar",
    "_LesserEqualScalar": "_lesser_equal_scalar",
    "_LogicalAndScalar": "_logical_and_scalar",
    "_LogicalOrScalar": "_logical_or_scalar",
    "_LogicalXorScalar": "_logical_xor_scalar",
    "ElementWiseSum": "add_n",
    "_sum": "add_n",
    "flatten": "Flatten",
    "identity": "_copy",
    "stop_gradient": "BlockGrad",
    "BatchNorm_v1": "BatchNorm",
    "Convolution_v1": "Convolution",
    "cast": "Cast",
    "pad": "Pad",
    "reshape": "Reshape",
    "crop": "slice",
    "Softmax": "SoftmaxOutput",
    "concat": "Concat",
    "split": "SliceChannel",
    "swapaxes": "SwapAxis",
    "flip": "reverse",
    "sum_axis": "sum",
    "max_axis": "max",
    "min_axis": "min",
    "broadcast_plus": "broadcast_add",
    "broadcast_minus": "broadcast_sub",
    "broadcast_axes": "broadcast_axis",
    "_contrib_box_non_maximum_suppression": "_contrib_box_nms",
}

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "BatchNorm": ("data", "gamma", "beta", "moving_mean", "moving_var"),
    "Convolution": ("data", "weight", "bias"),
    "Deconvolution": ("data", "weight", "bias"),
    "Embedding": ("data", "weight"),
    "FullyConnected": ("data", "weight", "bias"),
    "GroupNorm": ("data", "gamma", "beta"),
    "InstanceNorm": ("data", "gamma", "beta"),
    "LayerNorm": ("data", "gamma", "beta"),
    "LeakyReLU": ("data", "gamma"),
    "SoftmaxOutput": ("data", "label"),
    "LinearRegressionOutput": ("data", "label"),
    "LogisticRegressionOutput": ("data", "label"),
    "MAERegressionOutput": ("data", "label"),
    "SVMOutput": ("data", "label"),
}
"""Argument names by operator; operators that are not listed only have data arguments."""

AUXILIARY: dict[str, tuple[str, ...]] = {"BatchNorm": ("moving_mean", "moving_var")}
"""Arguments that MXNet stores as auxiliary states, by operator."""

LABEL_POSITIONS: dict[str, int] = {
    op: names.index("label") for op, names in ARGUMENTS.items() if "label" in names
}
"""Position of the label among a loss's inputs; results at inference do not depend on it."""

LABEL_OPERATORS = frozenset(LABEL_POSITIONS) | {
    "MakeLoss",
    "make_loss",
    "softmax_cross_entropy",
}
"""Operators that compute a training loss."""


def canonical_operator(op: str) -> str:
    """The name under which MXNet 1.9 registers an operator."""
    return _ALIASES.get(op, op)


def old_spellings(op: str) -> tuple[str, ...]:
    """Other spellings of an operator's name, sorted."""
    return tuple(sorted(old for old, name in _ALIASES.items() if name == op))


def arguments_of(op: str, attrs: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the arguments that an operator with these attributes has."""
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
