"""Operators of detectors: non-maximum suppression, and resizing of feature maps."""

from __future__ import annotations

import onnx_ir as ir

from mobileface.errors import GraphError, UnsupportedOperatorError

from ..heads.nms import BoxNms, box_nms
from .registry import OpContext, check_size, operator

__all__: list[str] = []


@operator(
    "_contrib_box_nms",
    attributes=(
        "overlap_thresh",
        "valid_thresh",
        "topk",
        "coord_start",
        "score_index",
        "id_index",
        "background_id",
        "force_suppress",
        "in_format",
        "out_format",
    ),
    restrictions="three axes; in_format corner",
)
def suppression(context: OpContext) -> ir.Value:
    """``NonMaxSuppression`` between two ``TopK``; removed rows become rows of -1 at the end."""
    attrs = context.attrs
    options = BoxNms(
        overlap_thresh=attrs.number("overlap_thresh", 0.5),
        valid_thresh=attrs.number("valid_thresh", 0),
        topk=attrs.integer("topk", -1),
        coord_start=attrs.integer("coord_start", 2),
        score_index=attrs.integer("score_index", 1),
        id_index=attrs.integer("id_index", -1),
        background_id=attrs.integer("background_id", -1),
        force_suppress=attrs.boolean("force_suppress", False),
        in_format=attrs.choice("in_format", "corner", ("corner",)),
        out_format=attrs.choice("out_format", "corner", ("corner", "center")),
        classes=None,
    )
    if context.rank(context.data) != 3:
        raise UnsupportedOperatorError(
            f"rows of shape {context.data.shape} are not supported", hint="supported: three axes"
        )
    return box_nms(context.builder, context.data, options, name=context.node.name)


@operator(
    "_contrib_BilinearResize2D",
    attributes=("height", "width", "mode", "align_corners"),
    ignored=("scale_height", "scale_width"),
    restrictions="mode size with height and width",
)
def bilinear_resize(context: OpContext) -> ir.Value:
    """Linear ``Resize``, with aligned corners or half-pixel centres."""
    attrs = context.attrs
    attrs.choice("mode", "size", ("size",))
    if "scale_height" in attrs or "scale_width" in attrs:
        raise UnsupportedOperatorError("scale_height and scale_width are not supported")
    size = attrs.integer("height", 1), attrs.integer("width", 1)
    if context.rank(context.data) != 4 or min(size) < 1:
        raise GraphError(f"cannot resize data of shape {context.data.shape} to {size}")
    check_size(size)
    aligned = attrs.boolean("align_corners", True)
    mode = "align_corners" if aligned else "half_pixel"
    sizes = context.op(
        "Concat",
        context.op("Shape", context.data, start=0, end=2),
        context.integers(*size),
        axis=0,
    )
    return context.op(
        "Resize",
        context.data,
        None,
        None,
        sizes,
        mode="linear",
        coordinate_transformation_mode=mode,
    )


@operator(
    "_contrib_AdaptiveAvgPooling2D",
    attributes=("output_size",),
    restrictions="output_size 1, or a divisor of a known input size",
)
def adaptive_pooling(context: OpContext) -> ir.Value:
    """``GlobalAveragePool`` or ``AveragePool``."""
    data = context.data
    size = context.attrs.integers("output_size", ()) or (1,)
    if len(size) > 2 or min(size) < 1:
        raise GraphError(f"output_size={size} is not one or two numbers of at least 1")
    rows, columns = size * 2 if len(size) == 1 else size
    if (rows, columns) == (1, 1):
        return context.op("GlobalAveragePool", data)
    if context.rank(data) != 4 or data.shape is None:
        raise GraphError(f"data of shape {data.shape} is not a feature map")
    height, width = data.shape[2], data.shape[3]
    if not (isinstance(height, int) and isinstance(width, int)) or height % rows or width % columns:
        raise UnsupportedOperatorError(
            f"pooling a map of {height}x{width} to {rows}x{columns} is not supported"
        )
    kernel = (height // rows, width // columns)
    return context.op("AveragePool", data, kernel_shape=kernel, strides=kernel)
