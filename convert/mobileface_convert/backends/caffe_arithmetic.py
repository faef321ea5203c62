"""Caffe conversions of MXNet's arithmetic (with scalars, arrays and blobs) and activations."""

from __future__ import annotations

import numpy as np

from .caffe_layers import per_channel, scaled
from .caffe_writer import CaffeContext, conversion

__all__: list[str] = []

_POWERS: dict[str, tuple[float, float, float]] = {
    "negative": (1.0, -1.0, 0.0),
    "reciprocal": (-1.0, 1.0, 0.0),
    "rsqrt": (-0.5, 1.0, 0.0),
    "sqrt": (0.5, 1.0, 0.0),
    "square": (2.0, 1.0, 0.0),
}
_ACTIVATIONS = {"relu": "ReLU", "sigmoid": "Sigmoid", "tanh": "TanH", "softrelu": "BNLL"}
_SAME_IN_CAFFE = {"abs": "AbsVal", "exp": "Exp", "log": "Log", **_ACTIVATIONS}
_ADD, _SUB, _MUL, _DIV, _MAX = "add", "sub", "mul", "div", "max"
_WITH_BLOBS = {
    "add_n": _ADD,
    "_maximum": _MAX,
    "broadcast_maximum": _MAX,
    **{f"elemwise_{name}": name for name in (_ADD, _SUB, _MUL)},
    **{f"broadcast_{name}": name for name in (_ADD, _SUB, _MUL, _DIV)},
}
_ELTWISE = {_MUL: 0, _ADD: 1, _SUB: 1, _MAX: 2}


def _power(
    context: CaffeContext,
    data: str,
    *,
    power: float = 1.0,
    scale: float = 1.0,
    shift: float = 0.0,
    role: str = "",
) -> str:
    """Adds a ``Power`` layer: (shift + scale · x) ** power."""
    layer = context.layer("Power", data, role=role)
    options = layer.power_param
    for name, value, default in (("power", power, 1), ("scale", scale, 1), ("shift", shift, 0)):
        if value != default:
            setattr(options, name, value)
    return str(layer.top[0])


def _relu(context: CaffeContext, data: str, role: str = "") -> str:
    return str(context.layer("ReLU", data, role=role).top[0])


@conversion(*_SAME_IN_CAFFE, "Activation")
def activation(context: CaffeContext) -> str:
    """The equivalent Caffe activation layer."""
    kind = context.node.op
    if kind == "Activation":
        kind = context.attrs.choice("act_type", "", tuple(_ACTIVATIONS))
    return str(context.layer(_SAME_IN_CAFFE[kind], context.data).top[0])


@conversion("LeakyReLU")
def leaky_relu(context: CaffeContext) -> str:
    """``ReLU`` with a negative slope, ``PReLU`` or ``ELU``."""
    kind = context.attrs.choice("act_type", "leaky", ("leaky", "prelu", "elu"))
    if kind == "prelu":
        slopes = context.weight(1, "gamma", (None,))
        layer = context.layer("PReLU", context.data, blobs=[slopes])
        layer.prelu_param.channel_shared = len(slopes) == 1 != context.data_shape[1]
        return str(layer.top[0])
    slope = context.attrs.number("slope", 0.25)
    layer = context.layer("ELU" if kind == "elu" else "ReLU", context.data)
    if kind == "elu":
        layer.elu_param.alpha = slope
    else:
        layer.relu_param.negative_slope = slope
    return str(layer.top[0])


@conversion(*_POWERS)
def powers(context: CaffeContext) -> str:
    """Negation, reciprocal, roots and square as a ``Power`` layer."""
    power, scale, shift = _POWERS[context.node.op]
    return _power(context, context.data, power=power, scale=scale, shift=shift)


@conversion(
    "_plus_scalar",
    "_minus_scalar",
    "_rminus_scalar",
    "_mul_scalar",
    "_div_scalar",
    "_power_scalar",
    "_maximum_scalar",
    "_minimum_scalar",
)
def with_scalar(context: CaffeContext) -> str:
    """Arithmetic with a scalar as a ``Power`` layer; minimum and maximum also use ``ReLU``."""
    number, data, kind = context.attrs.number("scalar"), context.data, context.node.op
    if kind == "_maximum_scalar":
        return _at_least(context, data, number)
    if kind == "_minimum_scalar":
        return _at_most(context, data, number)
    if kind == "_div_scalar" and number == 0:
        raise context.unsupported("a division by 0")
    power, scale, shift = {
        "_plus_scalar": (1.0, 1.0, number),
        "_minus_scalar": (1.0, 1.0, -number),
        "_rminus_scalar": (1.0, -1.0, number),
        "_mul_scalar": (1.0, number, 0.0),
        "_div_scalar": (1.0, 1 / number if number else 0.0, 0.0),
        "_power_scalar": (number, 1.0, 0.0),
    }[kind]
    return _power(context, data, power=power, scale=scale, shift=shift)


@conversion("clip")
def clip(context: CaffeContext) -> str:
    """Clipping by ``ReLU`` and ``Power``: high - relu(high - low - relu(x - low))."""
    low, high = context.attrs.number("a_min"), context.attrs.number("a_max")
    shifted = _power(context, context.data, shift=-low, role="from") if low else context.data
    above = _relu(context, shifted, "above")
    room = _power(context, above, scale=-1.0, shift=high - low, role="room")
    return _power(context, _relu(context, room, "below"), scale=-1.0, shift=high)


def _at_least(context: CaffeContext, data: str, low: float) -> str:
    """Clips to a lower bound: max(x, low) = relu(x - low) + low."""
    if not low:
        return _relu(context, data)
    above = _relu(context, _power(context, data, shift=-low, role="from"), "above")
    return _power(context, above, shift=low)


def _at_most(context: CaffeContext, data: str, high: float) -> str:
    """Clips to an upper bound: min(x, high) = high - relu(high - x)."""
    room = _power(context, data, scale=-1.0, shift=high, role="room")
    return _power(context, _relu(context, room, "below"), scale=-1.0, shift=high)


@conversion(*_WITH_BLOBS)
def with_blobs(context: CaffeContext) -> str:
    """``Eltwise`` for blobs of the same shape, ``Scale`` for one value per channel."""
    kind, count = _WITH_BLOBS[context.node.op], len(context.node.inputs)
    stored = [position for position in range(count) if context.is_stored(position)]
    if count == 2 and len(stored) == 1:
        return _with_array(context, kind, stored[0])
    shapes = {context.shape(position) for position in range(count)}
    blobs = [context.blob(position) for position in range(count)]
    if len(shapes) == 1 and kind in _ELTWISE:
        layer = context.layer("Eltwise", *blobs)
        layer.eltwise_param.operation = _ELTWISE[kind]
        if kind == _SUB:
            layer.eltwise_param.coeff.extend((1, -1))
        return str(layer.top[0])
    if kind == _MUL and count == 2:
        return _weighted(context, blobs)
    listed = ", ".join(str(context.shape(position)) for position in range(count))
    raise context.unsupported(f"{kind} of blobs of shape {listed}")


def _with_array(context: CaffeContext, kind: str, stored: int) -> str:
    """Arithmetic with a stored array that holds one value per channel."""
    other = 1 - stored
    numbers = per_channel(context, stored, context.shape(other))
    if numbers is None or kind == _MAX or (kind == _DIV and stored == 0):
        raise context.unsupported(f"{kind} with an array of shape {context.shape(stored)}")
    one = np.ones_like(numbers)
    if kind == _MUL:
        return scaled(context, context.blob(other), numbers)
    if kind == _DIV:
        return scaled(context, context.blob(other), 1 / numbers.astype(np.float64))
    if kind == _ADD:
        return scaled(context, context.blob(other), one, numbers)
    if stored == 0:
        return scaled(context, context.blob(other), -one, numbers)
    return scaled(context, context.blob(other), one, -numbers)


def _weighted(context: CaffeContext, blobs: list[str]) -> str:
    """Product of (N, C, H, W) and (N, C, 1, 1): ``Scale`` with a second input of shape (N, C)."""
    shapes = [context.shape(0), context.shape(1)]
    if len(shapes[0]) == 4 and shapes[0] == (*shapes[0][:2], 1, 1):
        shapes.reverse()
        blobs.reverse()
    if len(shapes[0]) != 4 or shapes[1] != (*shapes[0][:2], 1, 1):
        raise context.unsupported(f"a product of blobs of shape {shapes[0]} and {shapes[1]}")
    flat = context.layer("Flatten", blobs[1], role="weights")
    layer = context.layer("Scale", blobs[0], str(flat.top[0]))
    layer.scale_param.axis = 0
    return str(layer.top[0])
