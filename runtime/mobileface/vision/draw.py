"""Draws boxes, points and text on images of any size."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import cv2
import numpy as np

from ..types import FloatArray
from .image import Image, check_image

__all__ = ["Canvas", "plain_text", "write_note"]

Color = tuple[int, int, int]

_BOX: Color = (80, 220, 60)
_POINT: Color = (60, 60, 255)
_TEXT: Color = (255, 255, 255)
_AXES: tuple[Color, Color, Color] = ((60, 60, 255), (80, 220, 60), (255, 120, 40))
"""Red to the right, green down, blue out of the face."""

_SHADE: Color = (0, 0, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_POINT_SHARE = 0.015
"""Radius of a point in longer sides of the face's box."""

_REFERENCE = 700
"""Shorter side, in pixels, of an image on which lines have their nominal width."""


class Canvas:
    """A copy of an image to draw on.

    Args:
        image: uint8 (H, W, 3) BGR, or (H, W), which becomes BGR.

    Attributes:
        pixels: uint8 (H, W, 3), BGR.
        scale: Relative line width and text size, 1 for a shorter side of 700 pixels.
    """

    def __init__(self, image: Image) -> None:
        image = check_image(image)
        colored = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
        self.pixels: Image = np.array(colored, np.uint8, order="C")  # OpenCV needs this layout
        self.scale = _scale(self.pixels)

    def box(self, bbox: FloatArray) -> None:
        """Draws a box (x1, y1, x2, y2)."""
        x1, y1, x2, y2 = (round(float(value)) for value in bbox)
        width = max(1, round(2 * self.scale))
        cv2.rectangle(self.pixels, (x1, y1), (x2, y2), _BOX, width, cv2.LINE_AA)

    def points(self, points: FloatArray, bbox: FloatArray) -> None:
        """Draws points (P, 2) of the face in a box, so small that they do not hide it."""
        side = float(max(bbox[2:] - bbox[:2]))
        radius = max(1, round(min(3 * self.scale, _POINT_SHARE * side)))
        for x, y in points:
            center = (round(float(x)), round(float(y)))
            cv2.circle(self.pixels, center, radius, _POINT, -1, cv2.LINE_AA)

    def axes(self, origin: FloatArray, ends: FloatArray) -> None:
        """Draws a head's axes as arrows: right in red, down in green, out of the face in blue.

        Args:
            origin: float32 (2,): where they begin, in pixels.
            ends: float32 (3, 2): where they end.
        """
        width = max(1, round(2 * self.scale))
        start = (round(float(origin[0])), round(float(origin[1])))
        for (x, y), color in zip(ends, _AXES, strict=True):
            end = (round(float(x)), round(float(y)))
            cv2.arrowedLine(self.pixels, start, end, color, width, cv2.LINE_AA, 0, 0.15)

    def mesh(self, points: FloatArray) -> None:
        """Draws the points (P, 2) of a mesh, each a pixel in photos of the usual size."""
        radius = max(0, round(self.scale) - 1)
        for x, y in points:
            cv2.circle(self.pixels, (round(float(x)), round(float(y))), radius, _POINT, -1)

    def text(self, lines: Sequence[str], bbox: FloatArray) -> None:
        """Writes lines of text above a box, below it at the top of the image, or else inside."""
        left, top, _, bottom = (round(float(value)) for value in bbox)
        _write(self.pixels, lines, left, top, self.scale, bottom)


def plain_text(text: str) -> str:
    """A text in ASCII, without accents: OpenCV's font has no other characters."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def write_note(canvas: Image, text: str) -> None:
    """Writes a line of text in the upper left corner of an image, uint8 (H, W, 3) BGR, in place."""
    scale = _scale(canvas)
    _write(canvas, [text], round(8 * scale), round(30 * scale), scale)


def _scale(image: Image) -> float:
    return min(max(min(image.shape[:2]) / _REFERENCE, 0.35), 4.0)


def _write(
    canvas: Image, lines: Sequence[str], x: int, y: int, scale: float, below: int | None = None
) -> None:
    """Writes lines above y, below ``below`` or under y, in white with a black outline."""
    size = 0.55 * scale
    step = round(22 * scale)
    base = y - round(6 * scale) - step * (len(lines) - 1)
    if base < step:
        fits = below is not None and below + step * len(lines) < canvas.shape[0]
        base = (y if below is None or not fits else below) + step
    for number, line in enumerate(lines):
        wide = cv2.getTextSize(line, _FONT, size, 1)[0][0] + round(3 * scale)
        place = (max(min(x, canvas.shape[1] - wide), 0), base + number * step)
        for color, width in ((_SHADE, 3 * scale), (_TEXT, scale)):
            cv2.putText(canvas, line, place, _FONT, size, color, max(1, round(width)), cv2.LINE_AA)
