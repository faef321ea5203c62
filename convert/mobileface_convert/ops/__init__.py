"""MXNet operators and their ONNX conversions, one module per operator family."""

from . import (
    arithmetic,
    boxes,
    broadcast,
    elementwise,
    layers,
    layout,
    normalisation,
    pooling,
    reduce,
    resample,
    reshape,
    slices,
    softmax,
)
from .registry import Operator, convert_node, operator, registered

__all__ = [
    "Operator",
    "arithmetic",
    "boxes",
    "broadcast",
    "convert_node",
    "elementwise",
    "layers",
    "layout",
    "normalisation",
    "operator",
    "pooling",
    "reduce",
    "registered",
    "resample",
    "reshape",
    "slices",
    "softmax",
]
