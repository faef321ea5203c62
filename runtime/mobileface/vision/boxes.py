"""What callers give as boxes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..errors import InputError

__all__ = ["as_boxes"]


def as_boxes(boxes: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Boxes as float64 (N, 4); nothing is (0, 4).

    Raises:
        InputError: No numbers, or another shape.
    """
    try:
        array = np.asarray(boxes, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"boxes are no array of numbers ({error})") from error
    if array.size == 0:
        array = array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f"boxes of shape {array.shape} instead of (N, 4)")
    return array
