"""Operators on stored weights: they add no nodes."""

from __future__ import annotations

from .tflite_registry import FloatArray, OpContext, operator

__all__: list[str] = []  # imported to register


@operator("DEQUANTIZE", restrictions="of stored arrays: float16, int8, uint8")
def dequantize(context: OpContext) -> FloatArray:
    """No node: the array is stored as real values, float32."""
    return context.array(0)


@operator("DENSIFY", restrictions="of stored arrays")
def densify(context: OpContext) -> FloatArray:
    """No node: the sparse array is stored with its zeros."""
    return context.array(0)
