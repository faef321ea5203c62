"""The options of each operator that are read from a file."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["OPTIONS", "PADDINGS", "OptionTable"]

PADDINGS = ("SAME", "VALID")


@dataclass(frozen=True)
class OptionTable:
    """The table of the schema that holds the options of an operator.

    Attributes:
        name: Its name in the schema.
        fields: Our names of the fields, and the accessors' names in the package ``tflite``.
        required: Whether a file without the table is refused; else the schema's defaults hold.
    """

    name: str
    fields: dict[str, str]
    required: bool = True


_ACTIVATION = {"activation": "FusedActivationFunction"}
_WINDOWS = {"padding": "Padding", "stride_h": "StrideH", "stride_w": "StrideW"}
_DILATION = {"dilation_h": "DilationHFactor", "dilation_w": "DilationWFactor"}
_POOL = OptionTable(
    "Pool2DOptions",
    {**_WINDOWS, "filter_h": "FilterHeight", "filter_w": "FilterWidth", **_ACTIVATION},
)

OPTIONS: dict[str, OptionTable] = {
    "CONV_2D": OptionTable("Conv2DOptions", {**_WINDOWS, **_DILATION, **_ACTIVATION}),
    "DEPTHWISE_CONV_2D": OptionTable(
        "DepthwiseConv2DOptions", {**_WINDOWS, **_DILATION, **_ACTIVATION}
    ),
    "TRANSPOSE_CONV": OptionTable("TransposeConvOptions", {**_WINDOWS, **_ACTIVATION}),
    "FULLY_CONNECTED": OptionTable(
        "FullyConnectedOptions",
        {"weights_format": "WeightsFormat", "keep_num_dims": "KeepNumDims", **_ACTIVATION},
    ),
    "ADD": OptionTable("AddOptions", _ACTIVATION, required=False),
    "MUL": OptionTable("MulOptions", _ACTIVATION, required=False),
    "MAX_POOL_2D": _POOL,
    "AVERAGE_POOL_2D": _POOL,
    "MEAN": OptionTable("ReducerOptions", {"keep_dims": "KeepDims"}, required=False),
    "RESHAPE": OptionTable("ReshapeOptions", {"new_shape": "NewShape"}, required=False),
    "CONCATENATION": OptionTable("ConcatenationOptions", {"axis": "Axis", **_ACTIVATION}),
    "RESIZE_BILINEAR": OptionTable(
        "ResizeBilinearOptions",
        {"align_corners": "AlignCorners", "half_pixel_centers": "HalfPixelCenters"},
        required=False,
    ),
    "DEPTH_TO_SPACE": OptionTable("DepthToSpaceOptions", {"block_size": "BlockSize"}),
    "SOFTMAX": OptionTable("SoftmaxOptions", {"beta": "Beta"}),
}
"""By the name of the operator; one that is missing here has no options that matter."""
