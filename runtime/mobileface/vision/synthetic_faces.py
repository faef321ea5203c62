"""Synthetic face images, for measuring run times without photos.

The run time of a network on noise or black images differs from that on faces, because some
operators depend on signs. A drawing with the light and dark areas of a face comes close, and the
frontal detector detects it.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from .image import Image

__all__ = ["draw_face", "draw_frames"]

_SIDE = 200
"""Side in pixels of the canvas that a face is drawn on."""


def draw_frames(count: int, height: int, width: int, seed: int = 0) -> list[Image]:
    """Draws frames with one face each, with varying size, position and lighting.

    Args:
        count: Number of frames.
        height: Height of a frame in pixels, 64 or more.
        width: Width of a frame in pixels, 64 or more.
        seed: Seed of the random number generator.

    Returns:
        uint8 (height, width, 3), BGR.
    """
    random = np.random.RandomState(seed)
    frames = []
    for _ in range(count):
        side = int(min(height, width) * random.uniform(0.55, 0.8))
        top, left = random.randint(0, height - side + 1), random.randint(0, width - side + 1)
        coarse = random.randint(40, 200, (5, 7, 3)).astype(np.uint8)
        frame = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        frame[top : top + side, left : left + side] = draw_face(random, side)
        noise = random.randint(-6, 7, frame.shape)
        frames.append(np.asarray(np.clip(frame + noise, 0, 255), np.uint8))
    return frames


def draw_face(random: np.random.RandomState, side: int) -> Image:
    """Draws one frontal face, uint8 (side, side, 3), BGR."""
    skin = np.array([130, 160, 210]) * random.uniform(0.7, 1.15)
    canvas = np.full((_SIDE, _SIDE, 3), random.uniform(40, 120), np.float32)
    hair = skin * random.uniform(0.15, 0.5)

    def ellipse(x: float, y: float, a: float, b: float, color: npt.ArrayLike) -> None:
        shade = [float(value) for value in np.asarray(color, float)]
        cv2.ellipse(canvas, ((x, y), (2 * a, 2 * b), 0), shade, -1, cv2.LINE_AA)

    ellipse(100, 88, 68, 80, hair)
    ellipse(100, 105, 56, 74, skin)
    for x in (75, 125):
        ellipse(x, 74, 17, 4, hair)  # brow
        ellipse(x, 90, 17, 11, skin * 0.72)  # eye socket
        ellipse(x, 90, 11, 5, (225, 225, 225))
        ellipse(x, 90, 5, 5, (30, 30, 30))
    ellipse(100, 108, 5, 20, skin * 1.08)
    ellipse(100, 126, 12, 5, skin * 0.7)
    ellipse(92, 127, 3, 2, skin * 0.4)
    ellipse(108, 127, 3, 2, skin * 0.4)
    ellipse(100, 148, 22, 6, (70, 60, 140))
    ellipse(100, 148, 19, 1.5, (30, 20, 50))
    ellipse(100, 160, 14, 3, skin * 0.85)
    dark, bright = sorted(random.uniform(0.75, 1.15, 2).tolist())
    light = np.linspace(dark, bright, _SIDE)[None, :, None]
    soft = cv2.GaussianBlur(canvas * light, (0, 0), 1.5)
    method = cv2.INTER_AREA if side < _SIDE else cv2.INTER_CUBIC
    return np.asarray(
        np.clip(cv2.resize(soft, (side, side), interpolation=method), 0, 255), np.uint8
    )
