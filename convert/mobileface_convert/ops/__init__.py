"""MXNet operators and their ONNX conversions, one module a family."""

from . import arithmetic, layers, pooling, resample
from .registry import Operator, convert_node, operator, registered

__all__ = [
    "Operator",
    "arithmetic",
    "convert_node",
    "layers",
    "operator",
    "pooling",
    "registered",
    "resample",
]
