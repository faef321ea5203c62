"""Chooses one face of an image, for tasks that work on a single face.

A choice is one of:

- ``"largest"``: the face with the largest box.
- ``"surest"``: the face with the highest detection score.
- ``N``: a number from 0, counted from left to right by the centres of the boxes.
- ``"X,Y"``: the face whose box contains this point, in pixels of the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import ImageError, InputError
from ..types import Face, FloatArray

__all__ = [
    "CHOICES",
    "NoFaceError",
    "SeveralFacesError",
    "check_choice",
    "choose_face",
    "chosen_faces",
    "describe_box",
    "only_face",
]

CHOICES = "largest, surest, N (from the left, starting at 0) or X,Y"
"""The possible choices, for help texts and hints."""

_ALL = (
    "'all' is not a choice: a single face is needed, because all faces of a group photo would be "
    "treated as the same person"
)


class NoFaceError(ImageError):
    """An image has no face."""


class SeveralFacesError(ImageError):
    """An image has several faces, and none is chosen."""


def check_choice(choice: str | int) -> str:
    """Checks a choice; returns it as text.

    Raises:
        InputError: If it is not a valid choice.
    """
    text = str(choice).strip().lower()
    if text == "all":
        raise InputError(_ALL, hint=f"choose {CHOICES}")
    if text in ("largest", "surest") or (text.isascii() and text.isdecimal() and len(text) < 10):
        return text
    if _point(text) is None:
        raise InputError(f"{str(choice)[:40]!r} does not choose a face", hint=f"choose {CHOICES}")
    return text


def choose_face(faces: Sequence[Face], choice: str | int, where: str = "") -> Face:
    """Chooses one face.

    Args:
        faces: The faces of an image, at least one.
        choice: "largest", "surest", a number or "X,Y"; see above.
        where: Location for error messages, e.g. the image file.

    Returns:
        The face. Of equally large or sure faces, the leftmost; of several boxes with the point, the
        one whose centre is nearest to it.

    Raises:
        InputError: If the choice is invalid, there are no faces or fewer faces than the number, or
            no box contains the point; the error lists the boxes.
    """
    text = check_choice(choice)
    if not faces:
        raise InputError("no face found", where=where)
    ordered = sorted(faces, key=_centre)
    if text == "largest":
        return max(ordered, key=_area)
    if text == "surest":
        return max(ordered, key=lambda face: face.det_score)
    boxes = ", ".join(describe_box(face.bbox) for face in ordered[:10])
    point = _point(text)
    if point is None:
        if int(text) < len(ordered):
            return ordered[int(text)]
        raise InputError(
            f"there is no face {text}, only {len(ordered)}, numbered from 0",
            where=where,
            hint=f"from left to right: {boxes}",
        )
    inside = [face for face in ordered if _contains(face, *point)]
    if not inside:
        raise InputError(
            f"no face at {point[0]:g},{point[1]:g}", where=where, hint=f"the faces are: {boxes}"
        )
    return min(inside, key=lambda face: math.dist(_centre(face), point))


def only_face(faces: Sequence[Face], choice: str | int | None, where: str, option: str) -> Face:
    """The chosen face, or without a choice the only one, where a guess would be wrong.

    Args:
        faces: The faces of an image.
        choice: See `choose_face`; None for the only face.
        where: Location for error messages.
        option: The option that chooses, for the hint.

    Raises:
        InputError: If there are several faces and no choice; the error lists the boxes. Otherwise
            see `choose_face`.
    """
    if choice is None and len(faces) > 1:
        ordered = enumerate(sorted(faces, key=_centre)[:10])
        boxes = ", ".join(f"{number}: {describe_box(face.bbox)}" for number, face in ordered)
        raise InputError(
            f"{len(faces)} faces found",
            where=where,
            hint=f"choose with {option}, from left to right {boxes}",
        )
    return choose_face(faces, "largest" if choice is None else choice, where)


def chosen_faces(
    faces: Sequence[Face], choice: str | int | None, where: str, option: str
) -> list[Face]:
    """The faces that an option chooses: the one of `only_face`, or with "all" all of them.

    Raises:
        InputError: If there are none; otherwise see `only_face`.
    """
    if choice == "all":
        if not faces:
            raise InputError("no face found", where=where)
        return list(faces)
    return [only_face(faces, choice, where, option)]


def describe_box(bbox: Sequence[float] | FloatArray) -> str:
    """A face box as text: "(x1, y1)-(x2, y2)", in whole pixels."""
    x1, y1, x2, y2 = (float(value) for value in bbox)
    return f"({x1:.0f}, {y1:.0f})-({x2:.0f}, {y2:.0f})"


def _point(text: str) -> tuple[float, float] | None:
    parts = text.split(",")
    if len(parts) != 2:
        return None
    try:
        x, y = (float(part) for part in parts)
    except ValueError:
        return None
    return (x, y) if math.isfinite(x) and math.isfinite(y) else None


def _centre(face: Face) -> tuple[float, float]:
    x1, y1, x2, y2 = (float(value) for value in face.bbox)
    return (x1 + x2) / 2, (y1 + y2) / 2


def _area(face: Face) -> float:
    x1, y1, x2, y2 = (float(value) for value in face.bbox)
    return (x2 - x1) * (y2 - y1)


def _contains(face: Face, x: float, y: float) -> bool:
    x1, y1, x2, y2 = (float(value) for value in face.bbox)
    return x1 <= x <= x2 and y1 <= y <= y2
