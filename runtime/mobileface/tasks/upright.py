"""How far a face is turned in the image, and points that turn with it.

The keypoints of a detector that was trained on upright heads stay nearly upright when the head is
turned: on a head turned by 45° YuNet's eyes are tilted by 6°. So the detector looks again, at
patches around the face turned by multiples of 45°. The best one is nearly upright; from there the
tilt of the eyes is followed until they are level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ..types import FloatArray, Landmarks
from ..vision.image import ChannelOrder, Image
from .detection import Detector

__all__ = [
    "EYES",
    "EYE_CORNERS",
    "SURE_SCORE",
    "Matrix",
    "TurnedFace",
    "eye_line",
    "eye_roll",
    "found_turned",
    "points_at",
    "points_back",
    "turned_patch",
    "unturned",
    "upright_face",
    "upright_near",
]

EYES = ("left_eye", "right_eye")
"""The keypoints with which a detector's must begin."""

EYE_CORNERS = ("left_eye_outer", "right_eye_outer")

_SIDE = 128
"""Pixels of a patch; the face covers half of it."""

_POINT_SIDE = 160
"""Pixels of a patch whose points count."""

_STEP = 45
_QUICK = (0, -45, 45, 180)
"""Turns that are tried first: an upright face scores best at the first of them."""

_ACROSS = (-90, 90)
"""Tried next where the first of them scores best, but less than `SURE_SCORE`."""

SURE_SCORE = 0.9
"""A face that scores as much is turned by less than 60°, and landmark models find the corners of
its eyes within 5°; measured on 44 faces turned by every 15°."""

_CLEAR = 0.02
"""By how much an upright face must score more than the same face turned."""

_LEVEL = 1.0
"""Degrees: eyes that are tilted by less are level."""

_GAIN = 2.0
"""The detector sees the eyes of a slightly turned head tilted by about half of that or less."""

_LOOKS = 3
"""Number of looks that follow the tilt of the eyes."""

_LESS = 0.05
"""How much a look may score less than the one before and still count."""

_KEPT = 6.0
"""Degrees: the points of a head that is turned by less stay those of the first look."""

_MOST_MOVED = 6.0
"""Degrees of tilt, about half of those of the head, up to which a face is followed in a video."""

_VIEWS = ((0.05, 0.05, 0.85), (-0.05, 0.05, 1.0), (0.0, -0.05, 1.15))
"""Patches whose points are averaged: shifts right and down in shares of the box, and its scale.

The points of one patch wander by a few per cent of the face when the patch moves by a pixel; V1 to
V3 tell people apart much better by the mean of three (docs/models.md).
"""

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class TurnedFace:
    """A face and how far it is turned in the image.

    Attributes:
        roll: Degrees by which the head is turned clockwise in the image, −180 to 180.
        points: float32 (P, 2): its keypoints in pixels of the image.
        center: float32 (2,): the middle of its box in pixels of the image.
        size: float32 (2,): width and height of its box when it is upright, in pixels of the image.
    """

    roll: float
    points: FloatArray
    center: FloatArray
    size: FloatArray

    @property
    def box(self) -> FloatArray:
        """float32 (4,): its box when it is upright, in pixels of the image."""
        half = self.size / 2
        return np.asarray(np.concatenate([self.center - half, self.center + half]), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """What the detector found in a turned patch."""

    score: float
    turn: float
    tilt: float
    points: FloatArray
    center: FloatArray
    size: FloatArray


def upright_face(
    detector: Detector,
    image: Image,
    box: FloatArray,
    points: FloatArray,
    color: ChannelOrder,
    near: float | None = None,
) -> TurnedFace:
    """Measures how far a face is turned, and finds its points again in an upright patch.

    Args:
        detector: Its ``point_names`` must begin with the left and the right eye.
        image: uint8 (H, W, 3) or (H, W).
        box: float32 (4,): the face's box.
        points: float32 (P, 2): its keypoints as the detector found them.
        color: Channel order of a colour image.
        near: Degrees: the roll that the face had a moment before. If its eyes are nearly level in a
            patch turned by that, no other turns are tried.

    Returns:
        The roll and the points; for a face that is found in no patch, those given.
    """
    if near is not None:
        same = _turns(detector, image, box, [near], color)
        if same and abs(same[0].tilt) <= _MOST_MOVED:
            followed = _levelled(detector, image, box, same[0], color, looks=1)
            return _turned_by(followed, box, points)
    tried = [*_QUICK]
    found = _turns(detector, image, box, _QUICK, color)
    best = _clear_best(found, 0)
    if best is not None and best.score < SURE_SCORE:
        tried += _ACROSS
        found += _turns(detector, image, box, _ACROSS, color)
        best = _clear_best(found, 0)
    if best is None:
        rest = [turn for turn in range(-135, 180, _STEP) if turn not in tried]
        found += _turns(detector, image, box, rest, color)
        if not found:
            return unturned(_tilt(points), box, points)
        best = max(found, key=lambda look: look.score)
    best = _levelled(detector, image, box, best, color, looks=_LOOKS)
    return _turned_by(best, box, points)


def _levelled(
    detector: Detector, image: Image, box: FloatArray, best: _Look, color: ChannelOrder, looks: int
) -> _Look:
    """Follows the tilt of the eyes until they are level."""
    for _ in range(looks):
        if abs(best.tilt) < _LEVEL:
            break
        following = _turns(detector, image, box, [best.turn + _GAIN * best.tilt], color)
        if not following or following[0].score < best.score - _LESS:
            break
        best = following[0]
    return best


def _turned_by(best: _Look, box: FloatArray, points: FloatArray) -> TurnedFace:
    """The result of the best look."""
    if abs(best.turn + best.tilt) < _KEPT:
        return unturned(_tilt(points), box, points)
    return TurnedFace(_wrapped(best.turn + best.tilt), best.points, best.center, best.size)


def _clear_best(looks: Sequence[_Look], turn: float) -> _Look | None:
    """The look that is turned by so much, if it scores clearly more than all others."""
    first = next((look for look in looks if look.turn == turn), None)
    others = [look.score for look in looks if look.turn != turn]
    if first is None or any(first.score <= score + _CLEAR for score in others):
        return None
    return first


def upright_near(
    detector: Detector,
    image: Image,
    box: FloatArray,
    points: FloatArray,
    color: ChannelOrder,
    roll: float,
) -> TurnedFace | None:
    """Checks the roll that a landmark model found: the face must look more upright there.

    Args:
        detector: As in `upright_face`.
        image: uint8 (H, W, 3) or (H, W).
        box: float32 (4,): the face's box.
        points: float32 (P, 2): its keypoints as the detector found them.
        color: Channel order of a colour image.
        roll: Degrees, clockwise.

    Returns:
        The face at that roll; None if a patch turned by 90° or 180° from there shows a face that
        scores as much.
    """
    found = _turns(detector, image, box, [roll + turn for turn in (0, *_ACROSS, 180)], color)
    best = _clear_best(found, roll)
    if best is None:
        return None
    if abs(roll) < _KEPT:
        return unturned(roll, box, points)
    return TurnedFace(roll, best.points, best.center, best.size)


def unturned(roll: float, box: FloatArray, points: FloatArray) -> TurnedFace:
    """A face whose points and box need not be found again.

    Args:
        roll: Degrees, clockwise.
        box: float32 (4,): its box.
        points: float32 (P, 2): its keypoints.
    """
    return TurnedFace(roll, points, (box[:2] + box[2:]) / 2, box[2:] - box[:2])


def points_at(
    detector: Detector, image: Image, box: FloatArray, roll: float, color: ChannelOrder
) -> FloatArray | None:
    """The keypoints of a face whose roll is known: the mean of several upright patches.

    Args:
        detector: Its keypoints are returned.
        image: uint8 (H, W, 3) or (H, W).
        box: float32 (4,): the face's box.
        roll: Degrees, clockwise.
        color: Channel order of a colour image.

    Returns:
        float32 (P, 2) in pixels of the image; None if no patch shows the face.
    """
    size = box[2:] - box[:2]
    boxes = []
    for right, down, scale in _VIEWS:
        middle = (box[:2] + box[2:]) / 2 + np.array([right, down], np.float32) * size
        boxes.append(np.concatenate([middle - size * scale / 2, middle + size * scale / 2]))
    found = _looks(detector, image, boxes, [roll] * len(boxes), color, _POINT_SIDE)
    if not found:
        return None
    return np.asarray(np.mean([look.points for look in found], axis=0), np.float32)


def turned_patch(
    image: Image, center: FloatArray, turn: float, scale: float, side: int
) -> tuple[Image, Matrix]:
    """A square patch of an image, turned so that a head turned by ``turn`` is upright in it.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        center: float32 (2,): x and y of its centre in the image, pixels.
        turn: Degrees, clockwise.
        scale: Pixels of the patch per pixel of the image.
        side: Pixels.

    Returns:
        The patch, black outside the image, and the 2×3 matrix from image to patch.
    """
    x, y = float(center[0]), float(center[1])
    matrix = np.asarray(cv2.getRotationMatrix2D((x, y), turn, scale), np.float64)
    matrix[:, 2] += side / 2 - np.array([x, y])
    patch = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR)
    return np.asarray(patch, np.uint8), matrix


def points_back(points: npt.ArrayLike, matrix: Matrix) -> FloatArray:
    """Points of a patch in pixels of the image.

    Args:
        points: (P, 2) in pixels of the patch.
        matrix: The 2×3 matrix that `turned_patch` returned.

    Returns:
        float32 (P, 2).
    """
    back = cv2.invertAffineTransform(matrix)  # np.linalg.inv may wait for threads of BLAS
    where = np.asarray(points, np.float64)
    return np.asarray(where @ back[:, :2].T + back[:, 2], np.float32)


def found_turned(points: FloatArray) -> bool:
    """Whether a detector found a face in a turned copy of the image.

    Otherwise its keypoints stay nearly upright, however the head is turned.

    Args:
        points: float32 (P, 2): left eye, right eye, and others.
    """
    return abs(_tilt(points)) > _STEP


def eye_roll(marks: Landmarks, otherwise: float | None) -> float | None:
    """Roll by the outer corners of the eyes, which landmark models find more exactly.

    Args:
        marks: The face's landmarks.
        otherwise: What is returned if the corners are not among them.
    """
    corners = marks.select(EYE_CORNERS)
    return otherwise if corners is None else _wrapped(_tilt(corners))


def eye_line(marks: Landmarks) -> float | None:
    """Degrees from the horizontal to the line through the eyes, clockwise; None without eyes."""
    for names in (EYE_CORNERS, EYES):
        eyes = marks.select(names)
        if eyes is not None:
            return _tilt(eyes)
    return None


def _turns(
    detector: Detector, image: Image, box: FloatArray, turns: Sequence[float], color: ChannelOrder
) -> list[_Look]:
    """What the detector finds in patches around one box."""
    return _looks(detector, image, [box] * len(turns), turns, color)


def _looks(
    detector: Detector,
    image: Image,
    boxes: Sequence[FloatArray],
    turns: Sequence[float],
    color: ChannelOrder,
    side: int = _SIDE,
) -> list[_Look]:
    """What the detector finds in the middle of patches around boxes, each turned differently."""
    longer = [float(max(box[2:] - box[:2])) for box in boxes]
    if min(longer) <= 0:
        return []
    scales = [side / (2 * each) for each in longer]
    patches = [
        turned_patch(image, (box[:2] + box[2:]) / 2, turn, scale, side)
        for box, turn, scale in zip(boxes, turns, scales, strict=True)
    ]
    found = []
    detected = detector.detect_batch([patch for patch, _ in patches], color=color)
    parts = zip(turns, scales, patches, detected, strict=True)
    for turn, scale, (_, matrix), faces in parts:
        if faces.keypoints is None or not len(faces):
            continue
        middles = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2 - side / 2
        nearest = int(np.abs(middles).sum(axis=1).argmin())
        if np.abs(middles[nearest]).max() > side / 4:
            continue
        kps = faces.keypoints[nearest].astype(np.float64)
        box_in_patch = faces.boxes[nearest].astype(np.float64)
        middle = (box_in_patch[:2] + box_in_patch[2:]) / 2
        points, (center_found,) = (points_back(where, matrix) for where in (kps, middle[None]))
        size = ((box_in_patch[2:] - box_in_patch[:2]) / scale).astype(np.float32)
        look = (float(faces.scores[nearest]), float(turn), _tilt(kps))
        found.append(_Look(*look, points, center_found, size))
    return found


def _tilt(points: npt.NDArray[np.float64] | FloatArray) -> float:
    """Degrees from the horizontal to the line through the eyes, clockwise."""
    across, down = (float(value) for value in points[1] - points[0])
    return math.degrees(math.atan2(down, across))


def _wrapped(degrees: float) -> float:
    """An angle from −180 to 180."""
    return (degrees + 180) % 360 - 180
