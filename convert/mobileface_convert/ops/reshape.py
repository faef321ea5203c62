"""Reshape in MXNet's own language of shapes.

A shape is a list of codes that walk along the axes of the data: a number is a size; 0 copies the
axis; -1 is inferred; -2 copies all axes that are left; -3 merges two; -4 splits one into the two
sizes that follow, of which one may be -1. With reverse=True the walk is from the last axis.
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
    """One axis of the result: the product of some axes of the data over a number.

    Attributes:
        axes: Of the data; none: the size is the number itself.
        number: Divisor, or the size; -1 without axes: inferred.
    """

    axes: tuple[int, ...] = ()
    number: int = 1


@operator(
    "Reshape",
    attributes=("shape", "reverse", "target_shape", "keep_highest"),
    restrictions="-4 not with reverse=True",
)
def reshape(context: OpContext) -> ir.Value:
    """``Reshape``; sizes that are not known are computed from ``Shape``."""
    attrs, data = context.attrs, context.data
    codes = attrs.integers("shape", ())
    if not codes:
        return _reshape(context, data, _target_shape(context))
    reverse = attrs.boolean("reverse", False)
    if reverse and _SPLIT in codes:
        raise UnsupportedOperatorError(f"shape={codes} with reverse=True has no conversion")
    rank = context.rank(data)
    if not reverse:
        return _reshape(context, data, _walk(codes, rank))
    backwards = _walk(codes[::-1], rank)
    sizes = [_Size(tuple(rank - 1 - a for a in s.axes), s.number) for s in reversed(backwards)]
    return _reshape(context, data, sizes)


@operator("reshape_like", restrictions="whole shapes")
def reshape_like(context: OpContext) -> ir.Value:
    """``Reshape`` to the ``Shape`` of the second input."""
    return context.op("Reshape", context.data, context.op("Shape", context.input(1)))


def _target_shape(context: OpContext) -> list[_Size]:
    """The sizes of an old file: 0 is inferred; keep_highest copies the first axis."""
    target = context.attrs.integers("target_shape", ())
    if not target:
        raise GraphError("attribute 'shape' is missing")
    sizes = [_Size((), size or _INFER) for size in target]
    if context.attrs.boolean("keep_highest", False):
        sizes[0] = _Size((0,))
    if min(target) < 0 or sizes.count(_Size((), _INFER)) > 1:
        raise GraphError(f"target_shape={target} leaves more than one size open")
    return sizes


def _walk(codes: Sequence[int], rank: int) -> list[_Size]:
    """What each code makes of the axes of the data.

    Raises:
        GraphError: The codes ask for more axes than there are, or for more than one inferred size.
    """
    sizes: list[_Size] = []
    left, axis = list(codes), 0

    def take() -> int:
        nonlocal axis
        if axis >= rank:
            raise GraphError(f"shape={tuple(codes)} for data of {rank} axes")
        axis += 1
        return axis - 1

    while left:
        code = left.pop(0)
        if code > 0 or code == _INFER:
            sizes.append(_Size((), code))
            axis += 1
        elif code == _COPY:
            sizes.append(_Size((take(),)))
        elif code == _REST:
            sizes += [_Size((rest,)) for rest in range(axis, rank)]
            axis = rank
        elif code == _MERGE:
            sizes.append(_Size((take(), take())))
        elif code == _SPLIT and len(left) >= 2:
            sizes += _split(take(), left.pop(0), left.pop(0))
        else:
            raise GraphError(f"shape={tuple(codes)} is not a list of sizes and codes")
    if sizes.count(_Size((), _INFER)) > 1:
        raise GraphError(f"shape={tuple(codes)} leaves more than one size open")
    return sizes


def _split(axis: int, first: int, second: int) -> list[_Size]:
    if first == _INFER and second > 0:
        return [_Size((axis,), second), _Size((), second)]
    if second == _INFER and first > 0:
        return [_Size((), first), _Size((axis,), first)]
    if min(first, second) > 0:
        return [_Size((), first), _Size((), second)]
    raise GraphError(f"an axis cannot be split into {first} and {second}")


def _reshape(context: OpContext, data: ir.Value, sizes: Sequence[_Size]) -> ir.Value:
    """Adds the reshape, with as little computed as there can be."""
    known = [_known(data, size) for size in sizes]
    numbers = [
        _COPY if size is None and sizes[place] == _Size((place,)) else size
        for place, size in enumerate(known)
    ]
    _check_count(data, known)
    open_places = [place for place, size in enumerate(numbers) if size is None]
    if len(open_places) == 1 and _INFER not in numbers:
        numbers[open_places[0]] = _INFER
        open_places = []
    if not open_places:
        target = context.integers(*(number for number in numbers if number is not None))
        return context.op("Reshape", data, target)
    parts = [
        context.integers(number) if number is not None else _computed(context, data, sizes[place])
        for place, number in enumerate(numbers)
    ]
    return context.op("Reshape", data, context.op("Concat", *parts, axis=0))


def _check_count(data: ir.Value, known: Sequence[int | None]) -> None:
    """What is known to be impossible is refused here and not on the device.

    Raises:
        GraphError: The data has another number of elements.
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
    """The number that ONNX takes for a size, None if it depends on the data.

    Raises:
        GraphError: An axis cannot be divided so.
    """
    if not size.axes:
        return size.number
    held = [None if data.shape is None else data.shape[axis] for axis in size.axes]
    factors = [number for number in held if isinstance(number, int)]
    if len(factors) < len(held):
        return None
    product = math.prod(factors)
    if product % size.number:
        raise GraphError(f"an axis of {product} cannot be split by {size.number}")
    return product // size.number


def _computed(context: OpContext, data: ir.Value, size: _Size) -> ir.Value:
    value = context.size_of(data, size.axes[0])
    for axis in size.axes[1:]:
        value = context.op("Mul", value, context.size_of(data, axis))
    return value if size.number == 1 else context.op("Div", value, context.integers(size.number))
