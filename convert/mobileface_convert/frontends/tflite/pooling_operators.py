"""Operators that take the mean or the maximum of pixels, or resize images."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from mobileface.errors import GraphError

from .tflite_registry import OpContext, operator
from .tflite_windows import activated, windows

__all__: list[str] = []  # imported to register


@operator("MAX_POOL_2D")
def max_pool_2d(context: OpContext) -> ir.Value:
    """`MaxPool`, and the activation."""
    attributes = windows(context, _filter(context))
    return activated(context, context.op("MaxPool", context.data().value, **attributes))


@operator("AVERAGE_POOL_2D")
def average_pool_2d(context: OpContext) -> ir.Value:
    """`AveragePool` over the pixels that exist, or `GlobalAveragePool`, and the activation."""
    attributes, given = windows(context, _filter(context)), context.data()
    if attributes["kernel_shape"] == given.shape[1:3] and not any(attributes["pads"]):
        return activated(context, context.op("GlobalAveragePool", given.value))
    return activated(context, context.op("AveragePool", given.value, **attributes))


@operator("MEAN", restrictions="over height and width of images")
def mean(context: OpContext) -> ir.Value:
    """`GlobalAveragePool`, and `Flatten` if the axes are not kept."""
    given = context.data(0, rank=4)
    axes = {int(axis) % 4 if -4 <= axis < 4 else -1 for axis in context.integers(1).reshape(-1)}
    if axes != {1, 2}:
        raise context.refuse(f"axes {sorted(axes)}: only height and width are supported")
    made = context.op("GlobalAveragePool", given.value)
    return made if context.option("keep_dims", False) else context.op("Flatten", made, axis=1)


@operator("RESIZE_BILINEAR", restrictions="the new size is stored")
def resize_bilinear(context: OpContext) -> ir.Value:
    """`Resize`, mode `linear`; the corners as the options say."""
    given, size = context.data(0, rank=4), context.integers(1).reshape(-1).tolist()
    aligned = context.option("align_corners", False)
    centred = context.option("half_pixel_centers", False)
    if aligned and centred:
        raise context.refuse("align_corners excludes half_pixel_centers")
    if len(size) != 2 or tuple(size) != context.output.shape[1:3]:
        raise GraphError(f"the size {size} is not that of the result", where=context.where)
    mode = "align_corners" if aligned else "half_pixel" if centred else "asymmetric"
    scales = [_scale(*sizes) for sizes in zip(given.shape[1:3], size, strict=True)]
    return context.op(
        "Resize",
        given.value,
        None,
        context.constant(np.array([1.0, 1.0, *scales]), "scales"),
        mode="linear",
        coordinate_transformation_mode=mode,
    )


def _scale(length: int, size: int) -> float:
    """The smallest float32 factor with which ONNX's size, ⌊length · factor⌋, is the one wanted."""
    factor = np.float32(size / length)
    while int(length * float(factor)) < size:
        factor = np.nextafter(factor, np.float32(np.inf))
    return float(factor)


def _filter(context: OpContext) -> tuple[int, int]:
    return context.option("filter_h"), context.option("filter_w")
