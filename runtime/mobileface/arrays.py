"""Array types for annotations.

At run time they are plain arrays, because importing ``numpy.typing`` takes 5 % of the time from the
first import to the first embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

__all__ = ["Array", "ByteArray", "FloatArray", "shortest"]

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    ByteArray = npt.NDArray[np.uint8]
    FloatArray = npt.NDArray[np.float32]
else:
    Array = ByteArray = FloatArray = np.ndarray


def shortest(values: FloatArray) -> list[Any]:
    """Numbers for JSON: the shortest decimals that give the same float32 values.

    Args:
        values: float32, any shape.

    Returns:
        Nested lists of float; ``0.1`` where `numpy.ndarray.tolist` gives ``0.10000000149011612``.
    """
    if values.ndim > 1:
        return [shortest(row) for row in values]
    return [float(str(value)) for value in np.asarray(values, np.float32)]
