"""Pooling with MXNet's own rounding and padding.

MXNet's convention 'full' rounds the number of windows up and keeps windows that start beyond the
data, which ONNX's ceil_mode drops and runtimes count differently. Here 'full' is 'valid' over data
that reaches further at its end: by as much as the last window needs where the size is known, else
by stride - 1, because floor((n + stride - 1) / stride) = ceil(n / stride). No window of the output
then ends outside, whatever the size.

What a window finds outside of the data differs: nothing for a maximum, zeros for a sum, zeros that
count up to MXNet's own padding for an average.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from mobileface.errors import GraphError, UnsupportedOperatorError

from .registry import OpContext, operator

__all__: list[str] = []

_LAYOUTS = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
_LOWEST = float(np.finfo(np.float32).min)
"""What MXNet gives for the maximum over nothing."""

_GLOBAL = {"max": "GlobalMaxPool", "avg": "GlobalAveragePool", "lp": "GlobalLpPool"}


@dataclass(frozen=True)
class _Windows:
    """Where the windows lie, one value a spatial axis.

    Attributes:
        kernel: Their size.
        stride: Their distance.
        before: How far the data is extended at its start.
        after: How far at its end.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def area(self) -> int:
        return math.prod(self.kernel)

    @property
    def never_empty(self) -> bool:
        """True if each window holds data; ONNX Runtime wants this of its own padding too."""
        ends = zip(self.kernel, self.before, self.after, strict=True)
        return all(max(before, after) < size for size, before, after in ends)

    def unpadded(self) -> _Windows:
        """The same windows over data that is extended already."""
        none = (0,) * len(self.kernel)
        return _Windows(self.kernel, self.stride, none, none)

    def attributes(self) -> dict[str, tuple[int, ...]]:
        """As ONNX states them, without defaults."""
        stated = {"kernel_shape": self.kernel}
        if any(step != 1 for step in self.stride):
            stated["strides"] = self.stride
        if any(self.before + self.after):
            stated["pads"] = self.before + self.after
        return stated


_RESTRICTIONS = (
    "one or two spatial axes, layout NCW or NCHW; conventions valid and full; lp of p_value 1 and 2"
)


@operator(
    "Pooling",
    attributes=(
        "kernel",
        "stride",
        "pad",
        "pool_type",
        "pooling_convention",
        "global_pool",
        "count_include_pad",
        "p_value",
        "layout",
    ),
    ignored=("cudnn_off",),
    restrictions=_RESTRICTIONS,
)
def pooling(context: OpContext) -> ir.Value:
    """``MaxPool``, ``AveragePool`` (a sum is a scaled one), ``LpPool``, or their global forms."""
    attrs = context.attrs
    kind = attrs.choice("pool_type", "max", ("max", "avg", "sum", "lp"))
    if kind == "lp":
        power = attrs.integer("p_value")
        if power not in (1, 2):
            raise UnsupportedOperatorError(
                f"p_value={power} has no conversion", hint="supported: 1, 2"
            )
        kind = "sum" if power == 1 else "lp"  # MXNet takes no absolute value for 1
    if attrs.boolean("global_pool", False):
        return _global(context, kind)
    windows = _windows(context)
    if kind == "max":
        return _maximum(context, context.data, windows, _LOWEST)
    if kind == "avg":
        return _average(context, windows, attrs.boolean("count_include_pad", True))
    return _sum(context, kind, windows)


@operator(
    "Pooling_v1",
    attributes=("kernel", "stride", "pad", "pool_type", "pooling_convention", "global_pool"),
    restrictions="two spatial axes",
)
def pooling_v1(context: OpContext) -> ir.Value:
    """As ``Pooling``, but padding is zeros to a maximum too, and an average counts everything."""
    attrs = context.attrs
    kind = attrs.choice("pool_type", "max", ("max", "avg", "sum"))
    if attrs.boolean("global_pool", False):
        return _global(context, kind)
    windows = _windows(context)
    if len(windows.kernel) != 2:
        raise GraphError(f"{len(windows.kernel)} spatial axes, Pooling_v1 has two")
    if kind != "max":
        return _sum(context, kind, windows)
    data = context.data
    if any(windows.before):
        before = windows.before
        after = tuple(map(int, np.subtract(windows.after, before)))
        data = _extended(context, data, before, before, 0.0)
        windows = _Windows(windows.kernel, windows.stride, (0,) * len(before), after)
    return _maximum(context, data, windows, -np.inf)


def _windows(context: OpContext) -> _Windows:
    """The windows of a node.

    Raises:
        GraphError: They do not fit the data.
        UnsupportedOperatorError: Too many axes, another layout or another convention.
    """
    attrs = context.attrs
    kernel = attrs.integers("kernel")
    rank = len(kernel)
    if rank not in (1, 2):
        raise UnsupportedOperatorError(f"a {rank}-D kernel has no conversion")
    if context.rank(context.data) != rank + 2:
        raise GraphError(f"a {rank}-D kernel for data of shape {context.data.shape}")
    attrs.choice("layout", _LAYOUTS[rank], (_LAYOUTS[rank],))
    full = attrs.choice("pooling_convention", "valid", ("valid", "full")) == "full"
    stride = attrs.integers("stride", (1,) * rank, length=rank)
    pad = attrs.integers("pad", (0,) * rank, length=rank)
    if min(kernel + stride) < 1:
        raise GraphError(f"kernel {kernel} or stride {stride} is below 1")
    if any(not 0 <= border < size for border, size in zip(pad, kernel, strict=True)):
        raise GraphError(f"pad {pad} is not between 0 and the kernel {kernel}")
    shape = context.data.shape
    after = []
    for axis, (size, step, border) in enumerate(zip(kernel, stride, pad, strict=True)):
        length = None if shape is None else shape[axis + 2]
        further = step - 1
        if isinstance(length, int):
            if size > length + 2 * border:
                raise GraphError(f"kernel {kernel} exceeds data of shape {shape} with pad {pad}")
            further = (size - length - 2 * border) % step
        after.append(border + further if full else border)
    return _Windows(kernel, stride, pad, tuple(after))


def _global(context: OpContext, kind: str) -> ir.Value:
    """One window over everything; kernel, stride and pad do not count."""
    rank = context.rank(context.data) - 2
    if rank not in _LAYOUTS:
        raise GraphError(f"data of shape {context.data.shape} has no one to three spatial axes")
    context.attrs.choice("layout", _LAYOUTS[rank], (_LAYOUTS[rank],))
    if kind == "sum":
        axes = context.constant(range(2, rank + 2), np.int64, "axes")
        return context.op("ReduceSum", context.data, axes, keepdims=1)
    return context.op(_GLOBAL[kind], context.data)


def _maximum(context: OpContext, data: ir.Value, windows: _Windows, nothing: float) -> ir.Value:
    """The largest value of each window; ``nothing`` where it holds none."""
    if not windows.never_empty:
        data = _extended(context, data, windows.before, windows.after, nothing)
        windows = windows.unpadded()
    return context.op("MaxPool", data, **windows.attributes())


def _sum(context: OpContext, kind: str, windows: _Windows) -> ir.Value:
    """Sum, average over the whole kernel, or length (lp) of each window; outside are zeros."""
    data = context.data
    if kind != "lp" and not windows.never_empty:
        total = _total(context, data, windows.before, windows.after, windows)
        return total if kind == "sum" else context.op("Div", total, context.scalar(windows.area))
    if not windows.never_empty:
        data = _extended(context, data, windows.before, windows.after, 0.0)
        windows = windows.unpadded()
    if kind == "lp":
        return context.op("LpPool", data, p=2, **windows.attributes())
    average = _average_pool(context, data, windows, count_pads=True)
    if kind == "avg":
        return average
    return context.op("Mul", average, context.scalar(windows.area))


def _total(
    context: OpContext,
    data: ir.Value,
    before: tuple[int, ...],
    after: tuple[int, ...],
    windows: _Windows,
) -> ir.Value:
    """The sum of each window where some hold nothing but border.

    The multiplication stands before the pooling, where it keeps onnxsim from moving the border into
    the pooling, whose own border ONNX Runtime wants narrower than the kernel.
    """
    extended = _extended(context, data, before, after, 0.0)
    scaled = context.op("Mul", extended, context.scalar(windows.area))
    return _average_pool(context, scaled, windows.unpadded(), count_pads=False)


def _average(context: OpContext, windows: _Windows, count_pads: bool) -> ir.Value:
    """The average of each window, 0 where it holds nothing.

    MXNet's padding counts or not, as asked; what 'full' adds at the end never counts.
    """
    data = context.data
    if windows.before == windows.after:
        return _average_pool(context, data, windows, count_pads)
    counted, before, after = data, windows.before, windows.after
    if count_pads and any(before):
        counted = _extended(context, data, before, before, 0.0)
        after = tuple(map(int, np.subtract(after, before)))
        before = (0,) * len(before)
    windows = _Windows(windows.kernel, windows.stride, before, after)
    if windows.never_empty:
        return _average_pool(context, counted, windows, count_pads=False)
    # A window without data has neither a sum nor a number.
    shape = context.op("Shape", counted, start=2)
    one = context.constant([1, 1], np.int64, "one")
    ones = context.op(
        "ConstantOfShape",
        context.op("Concat", one, shape, axis=0),
        value=ir.tensor(np.ones(1, np.float32)),
    )
    total, number = (_total(context, value, before, after, windows) for value in (counted, ones))
    return context.op("Div", total, context.op("Max", number, context.scalar(1)))


def _average_pool(
    context: OpContext, data: ir.Value, windows: _Windows, count_pads: bool
) -> ir.Value:
    """``AveragePool``."""
    stated: dict[str, object] = dict(windows.attributes())
    if count_pads and "pads" in stated:
        stated["count_include_pad"] = 1
    return context.op("AveragePool", data, **stated)


def _extended(
    context: OpContext,
    data: ir.Value,
    before: tuple[int, ...],
    after: tuple[int, ...],
    value: float,
) -> ir.Value:
    """The data with a border of one value."""
    pads = context.constant((0, 0, *before, 0, 0, *after), np.int64, "pads")
    return context.op("Pad", data, pads, context.scalar(value))
