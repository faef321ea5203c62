"""Resampling of feature maps: transposed convolution, upsampling, cropping, padding."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from mobileface.errors import GraphError, UnsupportedOperatorError

from .registry import MOST_TIMES, OpContext, check_size, operator

__all__: list[str] = []

_SPATIAL = (2, 3)
_LAYOUTS = {1: "NCW", 2: "NCHW"}


@operator(
    "Deconvolution",
    attributes=(
        "kernel",
        "stride",
        "dilate",
        "pad",
        "adj",
        "target_shape",
        "num_filter",
        "num_group",
        "no_bias",
        "layout",
    ),
    ignored=("workspace", "cudnn_tune", "cudnn_off"),
    restrictions="one or two spatial axes, layout NCW or NCHW; target_shape only for data of known "
    "size and without dilate",
)
def deconvolution(context: OpContext) -> ir.Value:
    """``ConvTranspose`` over one or two spatial axes, with groups and dilation."""
    attrs = context.attrs
    kernel = attrs.integers("kernel")
    rank = len(kernel)
    if rank not in _LAYOUTS:
        raise UnsupportedOperatorError(f"a {rank}-D kernel is not supported")
    if context.rank(context.data) != rank + 2:
        raise GraphError(f"a {rank}-D kernel does not fit data of shape {context.data.shape}")
    attrs.choice("layout", _LAYOUTS[rank], (_LAYOUTS[rank],))
    filters, groups = attrs.integer("num_filter"), attrs.integer("num_group", 1)
    channels = context.channels(context.data)
    if groups < 1 or filters % groups or (channels is not None and channels % groups):
        raise GraphError(
            f"cannot convolve {channels} channels to {filters} filters in {groups} groups"
        )
    weight = context.weight(1, "weight", (channels, filters // groups, *kernel))
    inputs = [context.data, context.constant(weight, np.float32, "weight")]
    if not attrs.boolean("no_bias", True):
        bias = context.weight(2, "bias", (filters,))
        inputs.append(context.constant(bias, np.float32, "bias"))
    stride = attrs.integers("stride", (1,) * rank, length=rank)
    dilate = attrs.integers("dilate", (1,) * rank, length=rank)
    if min(kernel + stride + dilate) < 1:
        raise GraphError(f"kernel {kernel}, stride {stride} and dilate {dilate} must be at least 1")
    pads, adjust = _deconvolution_pads(context, kernel, stride, dilate)
    attributes: dict[str, object] = {"strides": stride, "dilations": dilate, "pads": pads}
    if any(adjust):
        attributes["output_padding"] = adjust
    return context.op("ConvTranspose", *inputs, group=groups, kernel_shape=kernel, **attributes)


def _deconvolution_pads(
    context: OpContext, kernel: tuple[int, ...], stride: tuple[int, ...], dilate: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """ONNX's pads, which are cut off the result, and output_padding, which is added to its ends.

    Raises:
        GraphError: If they do not fit the stride or the data.
        UnsupportedOperatorError: If target_shape is combined with dilation or data of unknown size.
    """
    attrs, rank = context.attrs, len(kernel)
    target = attrs.integers("target_shape", (0,) * rank, length=rank)
    if not any(target):
        pad = attrs.integers("pad", (0,) * rank, length=rank)
        adjust = attrs.integers("adj", (0,) * rank, length=rank)
        if any(not 0 <= extra < step for extra, step in zip(adjust, stride, strict=True)):
            raise GraphError(f"adj {adjust} must be at least 0 and less than the stride {stride}")
        if min(pad) < 0:
            raise GraphError(f"pad {pad} must be at least 0")
        return pad + pad, adjust
    if any(step != 1 for step in dilate):
        raise UnsupportedOperatorError(f"target_shape with dilate={dilate} is not supported")
    sizes = () if context.data.shape is None else tuple(context.data.shape)[2:]
    known = [size for size in sizes if isinstance(size, int)]
    if len(known) != rank:
        raise UnsupportedOperatorError(
            f"target_shape={target} for data of unknown size is not supported",
            hint="pass a fixed size for the network's input",
        )
    spans = zip(known, kernel, stride, strict=True)
    full = [step * (size - 1) + width for size, width, step in spans]
    surplus = [have - want for have, want in zip(full, target, strict=True)]
    if min(surplus) < 0 or min(target) < 1:
        raise GraphError(f"target_shape {target} is not between 1 and {tuple(full)}")
    if any(extra % 2 >= step for extra, step in zip(surplus, stride, strict=True)):
        raise GraphError(
            f"target_shape {target} crops {tuple(surplus)} elements, an odd number at stride 1"
        )
    starts, ends = ([(n + 1) // 2 for n in surplus], [n // 2 for n in surplus])
    return (*starts, *ends), (0,) * rank


@operator(
    "UpSampling",
    attributes=("scale", "num_filter", "sample_type", "multi_input_mode"),
    ignored=("num_args", "workspace"),
)
def up_sampling(context: OpContext) -> ir.Value:
    """``Resize`` (nearest) of one or more maps to one size, or ``ConvTranspose`` (bilinear)."""
    attrs = context.attrs
    scale = attrs.integer("scale")
    if scale < 1:
        raise GraphError(f"attribute scale='{scale}' must be at least 1")
    check_size((scale, scale), MOST_TIMES)
    if context.rank(context.data) != 4:
        raise GraphError(f"data of shape {context.data.shape} is not a feature map")
    if attrs.choice("sample_type", "", ("nearest", "bilinear")) == "bilinear":
        return _bilinear(context, scale)
    first, *others = context.inputs
    maps = [_nearest(context, first, scale), *(_like(context, x, scale) for x in others)]
    if len(maps) == 1:
        return maps[0]
    if attrs.choice("multi_input_mode", "concat", ("concat", "sum")) == "sum":
        return context.op("Sum", *maps)
    return context.op("Concat", *maps, axis=1)


def _bilinear(context: OpContext, scale: int) -> ir.Value:
    """Depthwise transposed convolution with the stored kernels, which may not be bilinear."""
    width = 2 * scale - scale % 2
    filters = context.attrs.integer("num_filter")
    channels = context.channels(context.data)
    if channels not in (None, filters):
        raise GraphError(f"num_filter={filters} does not match {channels} channels")
    weight = context.weight(1, "weight", (filters, 1, width, width))
    return context.op(
        "ConvTranspose",
        context.data,
        context.constant(weight, np.float32, "weight"),
        group=filters,
        kernel_shape=(width, width),
        strides=(scale, scale),
        pads=(scale // 2,) * 4,
    )


def _nearest(context: OpContext, data: ir.Value, scale: int) -> ir.Value:
    """Nearest-neighbour upsampling: repeats each element ``scale`` times along both axes."""
    scales = context.constant([1, 1, scale, scale], np.float32, "scales")
    return _resize(context, data, None, scales)


def _like(context: OpContext, data: ir.Value, scale: int) -> ir.Value:
    """A further map, upsampled to the size of the first map's result.

    Raises:
        GraphError: If that size is known not to be a multiple of the map's own size.
    """
    first = context.data
    sizes = [(first.shape[i], data.shape[i]) for i in _SPATIAL if first.shape and data.shape]
    if len({n * scale / m for n, m in sizes if isinstance(n, int) and isinstance(m, int)}) > 1 or (
        any(isinstance(n, int) and isinstance(m, int) and n * scale % m for n, m in sizes)
    ):
        raise GraphError(f"map of shape {data.shape} does not scale to {scale} times {first.shape}")
    factor = context.constant([scale, scale], np.int64, "scale")
    size = context.op("Mul", context.op("Shape", first, start=2), factor)
    own = context.op("Shape", data, end=2)
    return _resize(context, data, context.op("Concat", own, size, axis=0), None)


def _resize(
    context: OpContext, data: ir.Value, sizes: ir.Value | None, scales: ir.Value | None
) -> ir.Value:
    """Nearest-neighbour ``Resize`` that rounds coordinates down."""
    inputs = [data, None, scales] if sizes is None else [data, None, None, sizes]
    return context.op(
        "Resize",
        *inputs,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


@operator("Crop", attributes=("offset", "h_w", "center_crop"), ignored=("num_args",))
def crop(context: OpContext) -> ir.Value:
    """``Slice`` of rows and columns, to a fixed size or to the size of a second map."""
    attrs, data = context.attrs, context.data
    if context.rank(data) != 4:
        raise GraphError(f"data of shape {data.shape} is not a feature map")
    like = context.input(1) if len(context.node.inputs) > 1 else None
    size = attrs.integers("h_w", (0, 0), length=2) if like is None else _size(like)
    offset = attrs.integers("offset", (0, 0), length=2)
    centre = attrs.boolean("center_crop", False)
    whole = _size(data)
    if size is not None and whole is not None:
        if centre:
            offset = ((whole[0] - size[0]) // 2, (whole[1] - size[1]) // 2)
        outside = any(o < 0 or n + o > w for o, n, w in zip(offset, size, whole, strict=True))
        if outside or min(size) < 1:
            raise GraphError(f"a crop of {size} at {offset} exceeds data of shape {data.shape}")
    elif size is not None and min(size) < 1:
        raise GraphError(f"the crop size {size} must be at least 1")
    if size is not None:
        extent = context.constant(size, np.int64, "size")
    else:
        extent = context.op("Shape", context.input(1), start=2)
    if centre and (size is None or whole is None):
        rest = context.op("Sub", context.op("Shape", data, start=2), extent)
        start = context.op("Div", rest, context.constant([2, 2], np.int64, "two"))
    else:
        start = context.constant(offset, np.int64, "offset")
    axes = context.constant(_SPATIAL, np.int64, "axes")
    return context.op("Slice", data, start, context.op("Add", start, extent), axes)


def _size(value: ir.Value) -> tuple[int, int] | None:
    """Rows and columns of a map; None unless both are known."""
    if value.shape is None or len(value.shape) != 4:
        return None
    rows, columns = value.shape[2], value.shape[3]
    return (rows, columns) if isinstance(rows, int) and isinstance(columns, int) else None


@operator(
    "Pad",
    attributes=("mode", "pad_width", "constant_value"),
    restrictions="four or five axes, the first two without padding",
)
def pad(context: OpContext) -> ir.Value:
    """``Pad`` in mode constant, edge or reflect."""
    attrs, rank = context.attrs, context.rank(context.data)
    mode = attrs.choice("mode", "", ("constant", "edge", "reflect"))
    width = attrs.integers("pad_width")
    if rank not in (4, 5) or len(width) != 2 * rank or any(width[:4]):
        raise GraphError(f"pad_width {width} does not fit data of shape {context.data.shape}")
    if min(width) < 0:
        raise GraphError(f"pad_width {width} must be at least 0")
    pads = context.constant(width[::2] + width[1::2], np.int64, "pads")
    value = [context.scalar(attrs.number("constant_value", 0.0))] if mode == "constant" else []
    return context.op("Pad", context.data, pads, *value, mode=mode)
