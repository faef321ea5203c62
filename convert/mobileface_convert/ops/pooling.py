"""Pooling with MXNet's rounding and padding.

MXNet's convention 'full' rounds the number of windows up and keeps windows that start beyond the
data. ONNX's ceil_mode drops these windows, and runtimes count them differently. Here 'full' is
converted to 'valid' over data with extra padding at its end: as much as the last window needs if
the size is known, otherwise stride - 1, because
floor((n + stride - 1) / stride) = ceil(n / stride). With this padding no window ends outside the
data, for any size.

Elements outside the data are ignored by a maximum and are zeros in a sum. In an average they are
zeros that count as elements, but only within MXNet's own padding.
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
"""MXNet's result for the maximum over an empty window."""

_GLOBAL = {"max": "GlobalMaxPool", "avg": "GlobalAveragePool", "lp": "GlobalLpPool"}


@dataclass(frozen=True)
class _Windows:
    """Geometry of the pooling windows, one value per spatial axis.

    Attributes:
        kernel: Size of a window.
        stride: Distance between windows.
        before: Padding at the start of the data.
        after: Padding at the end of the data.
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
        """True if every window contains data, which ONNX Runtime requires of its own padding."""
        ends = zip(self.kernel, self.before, self.after, strict=True)
        return all(max(before, after) < size for size, before, after in ends)

    def unpadded(self) -> _Windows:
        """The same windows over data that is already padded."""
        zeros = (0,) * len(self.kernel)
        return _Windows(self.kernel, self.stride, zeros, zeros)

    def attributes(self) -> dict[str, tuple[int, ...]]:
        """ONNX attributes of the windows, without default values."""
        attributes = {"kernel_shape": self.kernel}
        if any(step != 1 for step in self.stride):
            attributes["strides"] = self.stride
        if any(self.before + self.after):
            attributes["pads"] = self.before + self.after
        return attributes


_RESTRICTIONS = (
    "one or two spatial axes, layout NCW or NCHW; convention valid or full; lp with p_value 1 or 2"
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
    """``MaxPool``, ``AveragePool`` (scaled for a sum), ``LpPool``, or their global forms."""
    attrs = context.attrs
    kind = attrs.choice("pool_type", "max", ("max", "avg", "sum", "lp"))
    if kind == "lp":
        power = attrs.integer("p_value")
        if power not in (1, 2):
            raise UnsupportedOperatorError(
                f"p_value={power} is not supported", hint="supported: 1, 2"
            )
        kind = "sum" if power == 1 else "lp"  # MXNet does not take absolute values for 1
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
    """As ``Pooling``, but a maximum includes padded zeros, and an average counts them all."""
    attrs = context.attrs
    kind = attrs.choice("pool_type", "max", ("max", "avg", "sum"))
    if attrs.boolean("global_pool", False):
        return _global(context, kind)
    windows = _windows(context)
    if len(windows.kernel) != 2:
        raise GraphError(f"Pooling_v1 needs two spatial axes, not {len(windows.kernel)}")
    if kind != "max":
        return _sum(context, kind, windows)
    data = context.data
    if any(windows.before):
        before = windows.before
        after = tuple(map(int, np.subtract(windows.after, before)))
        data = _padded(context, data, before, before, 0.0)
        windows = _Windows(windows.kernel, windows.stride, (0,) * len(before), after)
    return _maximum(context, data, windows, -np.inf)


def _windows(context: OpContext) -> _Windows:
    """The pooling windows of a node.

    Raises:
        GraphError: If the windows do not fit the data.
        UnsupportedOperatorError: If the number of axes, the layout or the convention is not
            supported.
    """
    attrs = context.attrs
    kernel = attrs.integers("kernel")
    rank = len(kernel)
    if rank not in (1, 2):
        raise UnsupportedOperatorError(f"a {rank}-D kernel is not supported")
    if context.rank(context.data) != rank + 2:
        raise GraphError(f"a {rank}-D kernel does not fit data of shape {context.data.shape}")
    attrs.choice("layout", _LAYOUTS[rank], (_LAYOUTS[rank],))
    full = attrs.choice("pooling_convention", "valid", ("valid", "full")) == "full"
    stride = attrs.integers("stride", (1,) * rank, length=rank)
    pad = attrs.integers("pad", (0,) * rank, length=rank)
    if min(kernel + stride) < 1:
        raise GraphError(f"kernel {kernel} and stride {stride} must be at least 1")
    if any(not 0 <= padding < size for padding, size in zip(pad, kernel, strict=True)):
        raise GraphError(f"pad {pad} must be at least 0 and less than the kernel {kernel}")
    shape = context.data.shape
    after = []
    for axis, (size, step, padding) in enumerate(zip(kernel, stride, pad, strict=True)):
        length = None if shape is None else shape[axis + 2]
        extra = step - 1
        if isinstance(length, int):
            if size > length + 2 * padding:
                raise GraphError(f"kernel {kernel} exceeds data of shape {shape} with pad {pad}")
            extra = (size - length - 2 * padding) % step
        after.append(padding + extra if full else padding)
    return _Windows(kernel, stride, pad, tuple(after))


def _global(context: OpContext, kind: str) -> ir.Value:
    """Global pooling: one window over all spatial axes; kernel, stride and pad are ignored."""
    rank = context.rank(context.data) - 2
    if rank not in _LAYOUTS:
        raise GraphError(f"data of shape {context.data.shape} must have one to three spatial axes")
    context.attrs.choice("layout", _LAYOUTS[rank], (_LAYOUTS[rank],))
    if kind == "sum":
        axes = context.constant(range(2, rank + 2), np.int64, "axes")
        return context.op("ReduceSum", context.data, axes, keepdims=1)
    return context.op(_GLOBAL[kind], context.data)


def _maximum(context: OpContext, data: ir.Value, windows: _Windows, empty: float) -> ir.Value:
    """Maximum of each window; ``empty`` for a window without data."""
    if not windows.never_empty:
        data = _padded(context, data, windows.before, windows.after, empty)
        windows = windows.unpadded()
    return context.op("MaxPool", data, **windows.attributes())


def _sum(context: OpContext, kind: str, windows: _Windows) -> ir.Value:
    """Sum, average over the whole kernel, or L2 norm (lp) of each window, padded with zeros."""
    data = context.data
    if kind != "lp" and not windows.never_empty:
        total = _total(context, data, windows.before, windows.after, windows)
        return total if kind == "sum" else context.op("Div", total, context.scalar(windows.area))
    if not windows.never_empty:
        data = _padded(context, data, windows.before, windows.after, 0.0)
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
    """Sum of each window if some windows contain only padding.

    The multiplication precedes the pooling, which keeps onnxsim from moving the padding into the
    pooling: ONNX Runtime requires a pooling's own padding to be narrower than the kernel.
    """
    padded = _padded(context, data, before, after, 0.0)
    scaled = context.op("Mul", padded, context.scalar(windows.area))
    return _average_pool(context, scaled, windows.unpadded(), count_pads=False)


def _average(context: OpContext, windows: _Windows, count_pads: bool) -> ir.Value:
    """Average of each window; 0 for a window without data.

    ``count_pads`` selects whether MXNet's own padding counts; the padding that 'full' adds at the
    end never counts.
    """
    data = context.data
    if windows.before == windows.after:
        return _average_pool(context, data, windows, count_pads)
    counted, before, after = data, windows.before, windows.after
    if count_pads and any(before):
        counted = _padded(context, data, before, before, 0.0)
        after = tuple(map(int, np.subtract(after, before)))
        before = (0,) * len(before)
    windows = _Windows(windows.kernel, windows.stride, before, after)
    if windows.never_empty:
        return _average_pool(context, counted, windows, count_pads=False)
    # The number of elements of each window is the sum over ones; it is 0 without data.
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
    """Adds an ``AveragePool``."""
    attributes: dict[str, object] = dict(windows.attributes())
    if count_pads and "pads" in attributes:
        attributes["count_include_pad"] = 1
    return context.op("AveragePool", data, **attributes)


def _padded(
    context: OpContext,
    data: ir.Value,
    before: tuple[int, ...],
    after: tuple[int, ...],
    value: float,
) -> ir.Value:
    """The data padded with a constant value."""
    pads = context.constant((0, 0, *before, 0, 0, *after), np.int64, "pads")
    return context.op("Pad", data, pads, context.scalar(value))
