"""FeatherCNN's conversions of arithmetic and activations, by Scale, ReLU and Eltwise."""

from __future__ import annotations

import numpy as np

from .feathercnn_layers import Doubles, FeatherContext, layer

__all__: list[str] = []


@layer("Relu")
def relu(context: FeatherContext) -> str:
    """``ReLU``."""
    return _relu(context, context.data)


def _relu(context: FeatherContext, data: str, role: str = "relu") -> str:
    return context.writer.add("ReLU", f"{context.name}_{role}", data)


def _sum(context: FeatherContext, first: str, second: str, role: str = "sum") -> str:
    return context.writer.add("Eltwise", f"{context.name}_{role}", first, second, options={0: 1})


def _scaled(context: FeatherContext, data: str, factor: float, shift: float, role: str) -> str:
    """Adds x · factor + shift, the same for all channels."""
    ones = np.ones(context.shape()[1])
    return context.writer.scale(
        f"{context.name}_{role}", data, ones * factor, ones * shift if shift else None
    )


@layer("Clip")
def clip(context: FeatherContext) -> str:
    """ReLU(x - low) + low, then high - ReLU(high - x)."""
    low, high = (_bound(context, position, name) for position, name in ((1, "min"), (2, "max")))
    data = context.data
    if low is not None:
        raised = _scaled(context, data, 1, -low, "from") if low else data
        data = _relu(context, raised, "above")
        if low and high is None:
            return _scaled(context, data, 1, low, "low")
    if high is not None:
        # Behind the first ReLU, values count from low.
        start = low or 0.0
        below = _relu(context, _scaled(context, data, -1, high - start, "room"), "below")
        data = _scaled(context, below, -1, high, "high")
    return data


def _bound(context: FeatherContext, position: int, name: str) -> float | None:
    """A bound of ``Clip``, from its input or its attribute; None if there is none."""
    if len(context.node.input) > position and context.node.input[position]:
        return float(context.stored(position, f"bound '{name}'").item())
    found = context.attribute(name, None)
    return None if found is None else float(found)


@layer("PRelu", "LeakyRelu")
def prelu(context: FeatherContext) -> str:
    """S · x + (1 - s) · ReLU(x)."""
    if context.node.op_type == "PRelu":
        slopes = context.per_channel(1)
    else:
        slopes = np.full(context.shape()[1], context.attribute("alpha", 0.01))
    name = context.name
    straight = context.writer.scale(f"{name}_straight", context.data, slopes)
    bent = context.writer.scale(f"{name}_bent", _relu(context, context.data), 1 - slopes)
    return _sum(context, straight, bent)


@layer("BatchNormalization")
def batch_norm(context: FeatherContext) -> str:
    """``Scale`` with the factor and shift of the running statistics."""
    roles = ("scale", "bias", "mean", "variance")
    gamma, beta, mean, var = (context.stored(p, role) for p, role in enumerate(roles, start=1))
    factor = gamma / np.sqrt(var + context.attribute("epsilon", 1e-5))
    return context.writer.scale(context.name, context.data, factor, beta - mean * factor)


@layer("Add", "Sum", "Sub", "Mul", "Div", "Neg")
def arithmetic(context: FeatherContext) -> str:
    """``Eltwise`` for the sum of blobs, ``Scale`` for blobs and stored arrays."""
    kind, count = context.node.op_type, len(context.node.input)
    if kind == "Neg":
        return _scaled(context, context.data, -1, 0, "negative")
    stored = [position for position in range(count) if context.constant(position) is not None]
    if len(stored) == 1 and count == 2:
        return _with_constant(context, kind, stored[0])
    shapes = {context.shape(position) for position in range(count)}
    if stored or len(shapes) > 1 or kind in ("Mul", "Div"):
        listed = " and ".join(str(context.shape(position)) for position in range(count))
        raise context.unsupported(f"it combines blobs of shape {listed}")
    blobs = [context.blob(position) for position in range(count)]
    if kind == "Sub":
        blobs[1] = _scaled(context, blobs[1], -1, 0, "negative")
    total = blobs[0]
    for number, blob in enumerate(blobs[1:]):
        total = _sum(context, total, blob, f"sum{number}" if count > 2 else "sum")
    return total


def _with_constant(context: FeatherContext, kind: str, stored: int) -> str:
    """Arithmetic of a blob and a stored array."""
    other = 1 - stored
    values: Doubles = context.per_channel(stored, other)
    if kind == "Div" and (stored == 0 or not values.all()):
        raise context.unsupported("a division by a blob or by zero")
    data, one = context.blob(other), np.ones_like(values)
    if kind in ("Mul", "Div"):
        return context.writer.scale(context.name, data, values if kind == "Mul" else 1 / values)
    if kind == "Sub":
        return context.writer.scale(
            context.name, data, *((-one, values) if stored == 0 else (one, -values))
        )
    return context.writer.scale(context.name, data, one, values)
