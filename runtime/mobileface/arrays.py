"""Array types for annotations.

At run time they are plain arrays, because importing ``numpy.typing`` takes 5 % of the time from the
first import to the first embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

__all__ = ["Array", "ByteArray", "FloatArray"]

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    ByteArray = npt.NDArray[np.uint8]
    FloatArray = npt.NDArray[np.float32]
else:
    Array = ByteArray = FloatArray = np.ndarray
