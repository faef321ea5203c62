"""Where a mesh says that a face has skin, and where eyes, brows and lips.

Numbers are those of the points of MediaPipe's canonical face mesh (Apache-2.0); left and right are
the viewer's.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray

__all__ = ["CONTOURS", "FEATURES", "MeshFace", "smooth_line"]

LEFT_UPPER_LID = (33, 246, 161, 160, 159, 158, 157, 173, 133)
LEFT_LOWER_LID = (33, 7, 163, 144, 145, 153, 154, 155, 133)
RIGHT_UPPER_LID = (263, 466, 388, 387, 386, 385, 384, 398, 362)
RIGHT_LOWER_LID = (263, 249, 390, 373, 374, 380, 381, 382, 362)
LEFT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
RIGHT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
UPPER_LIP = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LOWER_LIP = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
UPPER_INNER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_INNER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
NOSE = (98, 97, 2, 326, 327)
SKIN = (
    *(151, 9, 108, 337, 69, 299, 104, 333, 50, 101, 118, 205, 187, 207, 123, 280, 330, 347, 425),
    *(
        411,
        427,
        352,
        6,
        195,
        199,
        175,
        200,
        27,
        257,
        230,
        450,
        56,
        286,
        193,
        417,
        129,
        358,
        57,
        287,
    ),
)
"""Points on the forehead, cheeks, nose, chin and around the eyes."""

CONTOURS = {
    "eyes": (LEFT_UPPER_LID, LEFT_LOWER_LID, RIGHT_UPPER_LID, RIGHT_LOWER_LID),
    "brows": (LEFT_BROW, RIGHT_BROW),
    "lips": (UPPER_LIP, LOWER_LIP, UPPER_INNER_LIP, LOWER_INNER_LIP),
}
"""The lines that a drawing keeps."""

_STROKES = (
    (LEFT_UPPER_LID, 0.042),
    (RIGHT_UPPER_LID, 0.042),
    (LEFT_LOWER_LID, 0.018),
    (RIGHT_LOWER_LID, 0.018),
    (UPPER_LIP, 0.018),
    (LOWER_LIP, 0.022),
    (UPPER_INNER_LIP, 0.026),
    (LOWER_INNER_LIP, 0.020),
    (NOSE, 0.020),
)
"""Lines of the mesh, and their width at the thickest, in distances of the eyes."""

_SHIFT = 4
"""Bits of subpixel places in OpenCV's drawing."""

FEATURES: tuple[tuple[tuple[int, ...], float], ...] = (
    (LEFT_UPPER_LID + LEFT_LOWER_LID[::-1], 0.05),
    (RIGHT_UPPER_LID + RIGHT_LOWER_LID[::-1], 0.05),
    (LEFT_BROW, 0.05),
    (RIGHT_BROW, 0.05),
    (UPPER_LIP + LOWER_LIP[::-1], 0.05),
    (NOSE, 0.09),
)
"""Outlines of features, and how far around them lines are kept, in distances of the eyes."""


def smooth_line(points: FloatArray, closed: bool = False, steps: int = 6) -> FloatArray:
    """A Catmull-Rom spline through points, float32 (N, 2), with ``steps`` samples a segment."""
    if closed:
        ends = np.concatenate([points[-1:], points, points[:2]])
    else:
        ends = np.concatenate([points[:1], points, points[-1:]])
    t = (np.arange(steps, dtype=np.float32) / steps)[None, :, None]
    a, b, c, d = (ends[k : len(ends) - 3 + k, None] for k in range(4))
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    found = curve.reshape(-1, 2)
    return np.asarray(found if closed else np.concatenate([found, points[-1:]]), np.float32)


@dataclass(frozen=True)
class MeshFace:
    """A face's mesh in pixels of the drawing.

    Attributes:
        points: float32 (468, 2).
    """

    points: FloatArray

    @property
    def eye_distance(self) -> float:
        """Pixels between the middles of the eyes' corners."""
        left, right = (self.points[list(pair)].mean(axis=0) for pair in ((33, 133), (263, 362)))
        return float(np.hypot(*(right - left)))

    def skin_points(self) -> FloatArray:
        """Points on skin, float32 (N, 2)."""
        return np.asarray(self.points[list(SKIN)], np.float32)

    def skin(self, shape: tuple[int, int]) -> FloatArray:
        """1 on the face's skin, 0 elsewhere and on features, with soft edges; float32 (H, W)."""
        mask = self._filled([OVAL], shape)
        distance = self.eye_distance
        for outline, around in FEATURES:
            area = self._filled([outline], shape, round(2 * around * distance))
            mask = np.minimum(mask, 255 - area)
        soft = cv2.GaussianBlur(mask, (0, 0), max(0.04 * distance, 0.5))
        return soft.astype(np.float32) / 255

    def features(self, shape: tuple[int, int]) -> FloatArray:
        """1 on eyes, brows and lips, 0 elsewhere, with soft edges; float32 (H, W)."""
        mask = np.zeros(shape, np.uint8)
        distance = self.eye_distance
        for outline, around in FEATURES[:-1]:
            mask = np.maximum(mask, self._filled([outline], shape, round(around * distance)))
        soft = cv2.GaussianBlur(mask, (0, 0), max(0.03 * distance, 0.5))
        return soft.astype(np.float32) / 255

    def eyes(self, shape: tuple[int, int]) -> list[FloatArray]:
        """1 between the lids of each eye, 0 elsewhere; float32 (H, W) each."""
        outlines = (outline for outline, _ in FEATURES[:2])
        return [self._filled([outline], shape).astype(np.float32) / 255 for outline in outlines]

    def head(self, shape: tuple[int, int]) -> FloatArray:
        """1 on an ellipse around face and hair, 0 elsewhere, with soft edges; float32 (H, W)."""
        oval = self.points[list(OVAL)]
        (x, y), (width, height), angle = cv2.fitEllipse(oval)
        mask = np.zeros(shape, np.uint8)
        cv2.ellipse(mask, ((x, y), (1.25 * width, 1.3 * height), angle), (255,), -1)
        soft = cv2.GaussianBlur(mask, (0, 0), max(0.1 * self.eye_distance, 0.5))
        return soft.astype(np.float32) / 255

    def strokes(self, shape: tuple[int, int], width: float = 1.0) -> FloatArray:
        """Lids, lips and brows as strokes, 1 on them, 0 elsewhere; float32 (H, W).

        Args:
            shape: Height and width.
            width: Factor of the strokes' widths.
        """
        drawn = np.zeros(shape, np.uint8)
        for numbers, thick in _STROKES:
            line = smooth_line(self.points[list(numbers)])
            _taper(drawn, line, thick * width * self.eye_distance)
        for brow in (LEFT_BROW, RIGHT_BROW):
            upper, lower = self.points[list(brow[:5])], self.points[list(brow[:4:-1])]
            _brow(drawn, upper, lower)
        return drawn.astype(np.float32) / 255

    def _filled(
        self, outlines: list[tuple[int, ...]], shape: tuple[int, int], around: int = 0
    ) -> npt.NDArray[np.uint8]:
        mask = np.zeros(shape, np.uint8)
        for outline in outlines:
            line = _fixed(smooth_line(self.points[list(outline)], closed=True))
            cv2.fillPoly(mask, [line], (255,), cv2.LINE_8, _SHIFT)
            if around:
                cv2.polylines(mask, [line], True, (255,), around, cv2.LINE_8, _SHIFT)
        return mask


def _fixed(line: FloatArray) -> npt.NDArray[np.int32]:
    return np.asarray(np.round(line * (1 << _SHIFT)), np.int32)


def _outline(line: FloatArray, half: FloatArray) -> FloatArray:
    """The outline of a line of varying width."""
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6)[:, None]
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) * half[:, None]
    return np.concatenate([line + normal, (line - normal)[::-1]])


def _taper(drawn: npt.NDArray[np.uint8], line: FloatArray, width: float) -> None:
    """A stroke that is thick in its middle and thin at its ends."""
    place = np.linspace(-1, 1, len(line), dtype=np.float32)
    half = np.maximum(width / 2 * (1 - 0.75 * place**4), 0.5).astype(np.float32)
    cv2.fillPoly(drawn, [_fixed(_outline(line, half))], (255,), cv2.LINE_AA, _SHIFT)


def _brow(drawn: npt.NDArray[np.uint8], upper: FloatArray, lower: FloatArray) -> None:
    """A brow: its outline filled."""
    line = np.concatenate([smooth_line(upper), smooth_line(lower)[::-1]])
    cv2.fillPoly(drawn, [_fixed(line)], (255,), cv2.LINE_AA, _SHIFT)
