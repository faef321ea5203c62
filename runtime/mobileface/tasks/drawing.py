"""Draws the results of the tasks on an image."""

from __future__ import annotations

from collections.abc import Sequence

from ..types import Face
from ..vision.draw import Canvas
from ..vision.image import Image
from .table import TASKS

__all__ = ["draw_faces"]


def draw_faces(image: Image, faces: Sequence[Face], names: Sequence[str] | None = None) -> Image:
    """A copy of the image with boxes, landmarks, scores, poses and attributes drawn on it.

    Args:
        image: uint8 (H, W, 3) BGR, or (H, W), which becomes BGR.
        faces: Faces of the image.
        names: Name of each face, written instead of its score.

    Returns:
        uint8 (H, W, 3), BGR.
    """
    canvas = Canvas(image)
    for number, face in enumerate(faces):
        for task in TASKS:
            task.draw(canvas, face)
        captions = [task.caption(face) for task in TASKS]
        name = names[number] if names else ""
        lines = [text for text in (name or captions[0], *captions[1:]) if text]
        canvas.text(lines, face.bbox)
    return canvas.pixels
