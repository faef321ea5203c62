"""Checks the boxes that callers pass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..errors import InputError

__all__ = ["as_boxes"]


def as_boxes(boxes: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Converts boxes to float64 (N, 4); an empty array becomes (0, 4).

    Raises:
        InputError: If the boxes are not numbers, or have another shape.
    """
    try:
        array = np.asarray(boxes, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"the boxes are not an array of numbers ({error})") from error
    if array.size == 0:
        array = array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f"expected boxes of shape (N, 4), got {array.shape}")
    return array
