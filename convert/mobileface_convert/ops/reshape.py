"""Reshape with MXNet's shape codes.

A shape is a list of codes that consume the axes of the data from the first: a positive number is a
size; 0 copies the axis; -1 is inferred; -2 copies all remaining axes; -3 merges two axes; -4 splits
an axis into the two sizes that follow, one of which may be -1. With reverse=True the codes are
applied from the last axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from mobileface.errors import GraphError, UnsupportedOperatorError

from .registry import OpContext, operator

__all__: list[str] = []

_COPY, _INFER, _REST, _MERGE, _SPLIT = 0, -1, -2, -3, -4


@dataclass(frozen=True)
class _Size:
    """Size of one axis of the result: the product of some axes of the data, divided by a number.

    Attributes:
        axes: Axes of the data; if empty, ``number`` is the size.
        number: Divisor of the product, or the size itself, where -1 means inferred.
    """

    axes: tuple[int, ...] = ()
    number: int = 1


@operator(
    "Reshape",
    attributes=("shape", "reverse", "target_shape", "keep_highest"),
    restrictions="no -4 with reverse=True",
)
def reshape(context: OpContext) -> ir.Value:
    """``Reshape``; unknown sizes are computed from ``Shape``."""
    attrs, data = context.attrs, context.data
    codes = attrs.integers("shape", ())
    if not codes:
        return _reshape(context, data, _legacy_sizes(context))
    reverse = attrs.boolean("reverse", False)
    if reverse and _SPLIT in codes:
        raise UnsupportedOperatorError(f"shape={codes} with reverse=True is not supported")
    rank = context.rank(data)
    if not reverse:
        return _reshape(context, data, _parse_codes(codes, rank))
    backwards = _parse_codes(codes[::-1], rank)
    sizes = [_Size(tuple(rank - 1 - a for a in s.axes), s.number) for s in reversed(backwards)]
    return _reshape(context, data, sizes)


@operator("reshape_like", restrictions="all axes of the shape")
def reshape_like(context: OpContext) -> ir.Value:
    """``Reshape`` to the ``Shape`` of the second input."""
    return context.op("Reshape", context.data, context.op("Shape", context.input(1)))


def _legacy_sizes(context: OpContext) -> list[_Size]:
    """Sizes from the legacy target_shape: 0 is inferred; keep_highest copies the first axis.

    Raises:
        GraphError: If there is no target_shape, or it leaves more than one size to infer.
    """
    target = context.attrs.integers("target_shape", ())
    if not target:
        raise GraphError("attribute 'shape' is missing")
    sizes = [_Size((), size or _INFER) for size in target]
    if context.attrs.boolean("keep_highest", False):
        sizes[0] = _Size((0,))
    if min(target) < 0 or sizes.count(_Size((), _INFER)) > 1:
        raise GraphError(f"target_shape={target} leaves more than one size to infer")
    return sizes


def _parse_codes(codes: Sequence[int], rank: int) -> list[_Size]:
    """The sizes that shape codes select from the axes of the data.

    Raises:
        GraphError: If the codes need more axes than the data has, or infer more than one size.
    """
    sizes: list[_Size] = []
    remaining, axis = list(codes), 0

    def take() -> int:
        nonlocal axis
        if axis >= rank:
            raise GraphError(f"shape={tuple(codes)} has too many codes for data of {rank} axes")
        axis += 1
        return axis - 1

    while remaining:
        code = remaining.pop(0)
        if code > 0 or code == _INFER:
            sizes.append(_Size((), code))
            axis += 1
        elif code == _COPY:
            sizes.append(_Size((take(),)))
        elif code == _REST:
            sizes += [_Size((other,)) for other in range(axis, rank)]
            axis = rank
        elif code == _MERGE:
            sizes.append(_Size((take(), take())))
        elif code == _SPLIT and len(remaining) >= 2:
            sizes += _split(take(), remaining.pop(0), remaining.pop(0))
        else:
            raise GraphError(f"shape={tuple(codes)} is not a list of sizes and codes")
    if sizes.count(_Size((), _INFER)) > 1:
        raise GraphError(f"shape={tuple(codes)} leaves more than one size to infer")
    return sizes


def _split(axis: int, first: int, second: int) -> list[_Size]:
    """The two sizes that an axis is split into, one of which may be -1."""
    if first == _INFER and second > 0:
        return [_Size((axis,), second), _Size((), second)]
    if second == _INFER and first > 0:
        return [_Size((), first), _Size((axis,), first)]
    if min(first, second) > 0:
        return [_Size((), first), _Size((), second)]
    raise GraphError(f"an axis cannot be split into {first} and {second}")


def _reshape(context: OpContext, data: ir.Value, sizes: Sequence[_Size]) -> ir.Value:
    """Adds the reshape; computes only the sizes that ONNX can neither copy nor infer."""
    known = [_known(data, size) for size in sizes]
    numbers = [
        _COPY if size is None and sizes[axis] == _Size((axis,)) else size
        for axis, size in enumerate(known)
    ]
    _check_count(data, known)
    unknown = [axis for axis, size in enumerate(numbers) if size is None]
    if len(unknown) == 1 and _INFER not in numbers:
        numbers[unknown[0]] = _INFER
        unknown = []
    if not unknown:
        target = context.integers(*(number for number in numbers if number is not None))
        return context.op("Reshape", data, target)
    parts = [
        context.integers(number) if number is not None else _computed(context, data, sizes[axis])
        for axis, number in enumerate(numbers)
    ]
    return context.op("Reshape", data, context.op("Concat", *parts, axis=0))


def _check_count(data: ir.Value, known: Sequence[int | None]) -> None:
    """Checks the number of elements where all sizes are known, so that it cannot fail on a device.

    Raises:
        GraphError: If the data has a different number of elements than the shape.
    """
    sizes = [None] if data.shape is None else list(data.shape)
    numbers = [size for size in sizes if isinstance(size, int)]
    if len(numbers) < len(sizes):
        return
    count = math.prod(numbers)
    product = math.prod(size for size in known if size is not None and size != _INFER)
    fits = count % product == 0 if _INFER in known and product else count == product
    if not fits:
        raise GraphError(f"data of shape {data.shape} cannot have the shape {tuple(known)}")


def _known(data: ir.Value, size: _Size) -> int | None:
    """A size as a number for ONNX; None if it depends on the data.

    Raises:
        GraphError: If the axis is not divisible by the size's number.
    """
    if not size.axes:
        return size.number
    sources = [None if data.shape is None else data.shape[axis] for axis in size.axes]
    factors = [number for number in sources if isinstance(number, int)]
    if len(factors) < len(sources):
        return None
    product = math.prod(factors)
    if product % size.number:
        raise GraphError(f"an axis of {product} cannot be split by {size.number}")
    return product // size.number


def _computed(context: OpContext, data: ir.Value, size: _Size) -> ir.Value:
    """A size computed at run time, int64 (1,)."""
    value = context.size_of(data, size.axes[0])
    for axis in size.axes[1:]:
        value = context.op("Mul", value, context.size_of(data, axis))
    return value if size.number == 1 else context.op("Div", value, context.integers(size.number))
