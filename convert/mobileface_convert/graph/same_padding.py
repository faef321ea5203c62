"""TensorFlow's padding "SAME": as little as is needed, the odd pixel below and at the right."""

from __future__ import annotations

__all__ = ["same_padding"]


def same_padding(length: int, window: int, step: int) -> tuple[int, int]:
    """Pixels to add before and after an axis, so that the result has ⌈length / step⌉ pixels.

    Args:
        length: Size of the axis.
        window: Pixels that a window spans, dilation included.
        step: Pixels from one window to the next.
    """
    total = max((-(-length // step) - 1) * step + window - length, 0)
    return total // 2, total - total // 2
