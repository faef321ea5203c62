"""Drawing what the tasks found."""

from __future__ import annotations

from collections.abc import Sequence

from ..types import Face
from ..vision.draw import Canvas
from ..vision.image import Image
from .table import TASKS

__all__ = ["draw_faces"]


def draw_faces(image: Image, faces: Sequence[Face], names: Sequence[str] | None = None) -> Image:
    """A copy of the image with what each task found: boxes, points, scores, pose and attributes.

    Args:
        image: uint8 (H, W, 3) BGR, or (H, W), which becomes BGR.
        faces: What was found in it. A box without a score, which is a prediction, is drawn thin.
        names: What to write first at each face.

    Returns:
        uint8 (H, W, 3), BGR.
    """
    canvas = Canvas(image)
    for number, face in enumerate(faces):
        for task in TASKS:
            task.draw(canvas, face)
        captions = [task.caption(face) for task in TASKS]
        name = names[number] if names else ""
        first = " ".join(filter(None, (name, captions[0])))
        lines = [first, *filter(None, captions[1:])]
        canvas.text(lines, float(face.bbox[0]), float(face.bbox[1]))
    return canvas.pixels
