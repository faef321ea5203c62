"""Test pictures that every machine makes alike, so that results can be compared across machines.

Only integer arithmetic on the frozen Mersenne Twister of ``numpy.random.RandomState``: no codec, no
interpolation, no floating point that a compiler may order differently.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["make_probes"]

_CELLS = 8


def make_probes(
    count: int, height: int, width: int, channels: int, seed: int = 0
) -> npt.NDArray[np.uint8]:
    """Noise and smooth pictures in turn.

    Even numbers are uniform noise; odd ones are random 9×9 fields, interpolated bilinearly, with a
    little noise: light and dark areas with soft borders, as pictures have.

    Args:
        count: How many.
        height: Pixels.
        width: Pixels.
        channels: 1 or 3.
        seed: Start of the random numbers.

    Returns:
        uint8 (count, height, width, channels).
    """
    random = np.random.RandomState(seed)
    probes = np.empty((count, height, width, channels), np.uint8)
    for index in range(count):
        if index % 2 == 0:
            probes[index] = random.randint(0, 256, (height, width, channels))
        else:
            smooth = _smooth(random, height, width, channels)
            noise = random.randint(-6, 7, smooth.shape)
            probes[index] = np.clip(smooth + noise, 0, 255)
    return probes


def _smooth(
    random: np.random.RandomState, height: int, width: int, channels: int
) -> npt.NDArray[np.int64]:
    """A random grid, interpolated bilinearly in whole numbers."""
    grid = random.randint(0, 256, (_CELLS + 1, _CELLS + 1, channels)).astype(np.int64)
    rows, columns = (np.arange(size) * _CELLS for size in (height, width))
    top, left = rows // height, columns // width
    down, right = (rows % height)[:, None, None], (columns % width)[None, :, None]
    upper = grid[top][:, left] * (width - right) + grid[top][:, left + 1] * right
    lower = grid[top + 1][:, left] * (width - right) + grid[top + 1][:, left + 1] * right
    return np.asarray((upper * (height - down) + lower * down) // (height * width), np.int64)
