"""Generates test images that are identical on all machines, to compare results across machines.

They use only integer arithmetic and the frozen Mersenne Twister of ``numpy.random.RandomState``: no
codec, no interpolation, and no floating point that compilers may reorder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ..vision.network_input import ImageInput

__all__ = ["make_probes", "probe_input", "probe_tensor"]

_CELLS = 8


def make_probes(
    count: int, height: int, width: int, channels: int, seed: int = 0
) -> npt.NDArray[np.uint8]:
    """Generates noise images and smooth images, alternating.

    Images with an even index are uniform noise. The others are random 9×9 grids, interpolated
    bilinearly, with a little noise: light and dark areas with soft edges, as in photos.

    Args:
        count: Number of images.
        height: Height in pixels.
        width: Width in pixels.
        channels: 1 or 3.
        seed: Seed of the random number generator.

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
    """A random grid, interpolated bilinearly in integer arithmetic."""
    grid = random.randint(0, 256, (_CELLS + 1, _CELLS + 1, channels)).astype(np.int64)
    rows, columns = (np.arange(size) * _CELLS for size in (height, width))
    top, left = rows // height, columns // width
    down, right = (rows % height)[:, None, None], (columns % width)[None, :, None]
    upper = grid[top][:, left] * (width - right) + grid[top][:, left + 1] * right
    lower = grid[top + 1][:, left] * (width - right) + grid[top + 1][:, left + 1] * right
    return np.asarray((upper * (height - down) + lower * down) // (height * width), np.int64)


def probe_tensor(spec: ImageInput, count: int, seed: int) -> npt.NDArray[np.float32]:
    """Probe images as a scaled network input: float32 (count, C, height, width)."""
    probes = make_probes(count, spec.height, spec.width, spec.channels, seed)
    tensor = probes.transpose(0, 3, 1, 2).astype(np.float32)
    mean, std = (np.asarray(v, np.float32).reshape(-1, 1, 1) for v in (spec.mean, spec.std))
    return np.ascontiguousarray((tensor - mean) / std, np.float32)


def probe_input(
    spec: ImageInput, count: int, seed: int
) -> npt.NDArray[np.float32] | npt.NDArray[np.uint8]:
    """Probe images in the model's own input format, e.g. uint8 (count, height, width, C)."""
    if spec.dtype == "float32":
        tensor = probe_tensor(spec, count, seed)
        return tensor if spec.layout == "nchw" else tensor.transpose(0, 2, 3, 1)
    probes = make_probes(count, spec.height, spec.width, spec.channels, seed)
    return probes if spec.layout == "nhwc" else probes.transpose(0, 3, 1, 2)
