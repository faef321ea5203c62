"""Drawing what was found onto a picture, legible on small and large pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from ..types import Face, Pose
from .image import Image, check_image

__all__ = ["draw_faces", "write_note"]

Color = tuple[int, int, int]

_BOX: Color = (80, 220, 60)
_POINT: Color = (60, 60, 255)
_TEXT: Color = (255, 255, 255)
_SHADE: Color = (0, 0, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_REFERENCE = 700
"""Short side, in pixels, at which lines are drawn with their nominal width."""


def draw_faces(image: Image, faces: Sequence[Face], names: Sequence[str] | None = None) -> Image:
    """A copy of the picture with boxes, points, scores, pose and attributes.

    Args:
        image: uint8 (H, W, 3) BGR, or (H, W), which becomes BGR.
        faces: What was found in it. A box without a score, which is a prediction, is drawn thin.
        names: What to write first at each face.

    Returns:
        uint8 (H, W, 3), BGR.
    """
    image = check_image(image)
    colored = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
    canvas = np.array(colored, np.uint8, order="C")  # OpenCV draws on no other layout
    scale = min(max(min(image.shape[:2]) / _REFERENCE, 0.35), 4.0)
    for number, face in enumerate(faces):
        _draw_face(canvas, face, scale, names[number] if names else "")
    return canvas


def write_note(canvas: Image, text: str) -> None:
    """Writes a line into the upper left corner of a picture, uint8 (H, W, 3) BGR, in place."""
    scale = min(max(min(canvas.shape[:2]) / _REFERENCE, 0.35), 4.0)
    _write(canvas, [text], round(8 * scale), round(30 * scale), scale)


def _draw_face(canvas: Image, face: Face, scale: float, name: str) -> None:
    x1, y1, x2, y2 = (round(float(value)) for value in face.bbox)
    measured = not math.isnan(face.det_score)
    width = max(1, round((2 if measured else 1) * scale))
    cv2.rectangle(canvas, (x1, y1), (x2, y2), _BOX, width, cv2.LINE_AA)
    for x, y in face.kps if face.kps is not None else ():
        center = (round(float(x)), round(float(y)))
        cv2.circle(canvas, center, max(1, round(3 * scale)), _POINT, -1, cv2.LINE_AA)
    lines = [" ".join(filter(None, (name, f"{face.det_score:.2f}" if measured else "")))]
    if face.pose is not None:
        lines.append(_pose_text(face.pose))
    if face.attributes is not None:
        found = face.attributes
        lines.append(f"{found.gender} {found.age:.0f} {'/'.join(found.expressions)}")
    _write(canvas, lines, x1, y1, scale)


def _pose_text(pose: Pose) -> str:
    return f"P{pose.pitch:+.0f} R{pose.roll:+.0f} Y{pose.yaw:+.0f}"


def _write(canvas: Image, lines: Sequence[str], x: int, y: int, scale: float) -> None:
    """Lines of text above a point, or below where the picture ends; light on a dark outline."""
    size = 0.55 * scale
    step = round(22 * scale)
    base = y - round(6 * scale) - step * (len(lines) - 1)
    if base < step:
        base = y + step
    for number, line in enumerate(lines):
        place = (max(x, 0), base + number * step)
        for color, width in ((_SHADE, 3 * scale), (_TEXT, scale)):
            cv2.putText(canvas, line, place, _FONT, size, color, max(1, round(width)), cv2.LINE_AA)
