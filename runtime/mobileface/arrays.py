"""Types of arrays, for annotations alone.

At run time they are plain arrays: importing ``numpy.typing`` takes a twentieth of the time from the
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
