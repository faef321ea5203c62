"""Makes faces unrecognizable: blurred, pixelated or filled, so that sharpening does not help.

The region of a face is its box, wholly, and an ellipse (or a box) around it: the box grown by
``margin`` of its sides on each side, turned by `Face.roll` if that is known. Around the region a
soft edge leads to the untouched image.

Nothing finer than a cell is left of a region. A cell's side is the longer side of the face, times
``strength``, divided by 4, so that a face has at most 4 cells across and 4 down. Each becomes the
mean of its pixels:

- "pixelate" shows the cells.
- "blur" smooths them by a Gaussian with a sigma of one cell and scales them up. A Gaussian alone
  keeps all frequencies, only weaker, and deconvolution brings them back; means of cells do not
  contain them.
- "fill" is black and contains nothing of the face.
- "average" is "blur" with a drawn face of the mean shape over it (`mobileface.effects.drawn_face`):
  it has the place, size and tilt of the face box, and the mean colour of the cells that it covers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..types import Face, FloatArray
from ..vision.image import Image, check_image
from .drawn_face import HALF_HEIGHT, HALF_WIDTH, drawn_over
from .mesh_shape import MEAN_SHAPE

__all__ = [
    "MAX_MARGIN",
    "NOTHING_COVERED",
    "AnonymizeMethod",
    "AnonymizeShape",
    "anonymize",
    "check_anonymize",
    "region_weight",
]

AnonymizeMethod = Literal["blur", "pixelate", "fill", "average"]
AnonymizeShape = Literal["ellipse", "box"]

_MOST_CELLS = 4
"""Cells across the longer side of a face at strength 1."""

_LEAST_CELL = 3.0
"""Pixels of a cell's side at least, so that a tiny face changes too."""

_EDGE = 0.15
"""Width of the soft edge, as a share of the longer side of the face."""

MAX_MARGIN = 10.0
"""Largest margin of a face box, as a share of its sides."""

NOTHING_COVERED = "no face found; nothing is covered"
"""What is said of a picture without a face."""

_MAX_STRENGTH = 4.0
_MAX_COORDINATE = 1e6


@dataclass(frozen=True)
class _Region:
    """What is covered of one face, in pixels of the image.

    Attributes:
        box: x1, y1, x2, y2 of the face.
        half: Half the width and height of the box, along the head's own axes.
        axes: The same of the grown box.
        roll: Radians, clockwise in the image.
        size: Longer side of the face.
    """

    box: tuple[float, float, float, float]
    half: tuple[float, float]
    axes: tuple[float, float]
    roll: float
    size: float

    def place(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of an image that the region with its soft edge can reach."""
        x1, y1, x2, y2 = self.box
        center = ((x1 + x2) / 2, (y1 + y2) / 2)
        reach = math.hypot(*self.axes) + _EDGE * self.size + 1
        left, top = (max(math.floor(value - reach), 0) for value in center)
        right = min(math.ceil(center[0] + reach) + 1, width)
        bottom = min(math.ceil(center[1] + reach) + 1, height)
        return slice(top, max(bottom, top)), slice(left, max(right, left))

    def mean_face(self) -> FloatArray:
        """The points of the mean shape in the box, along the head's axes, float32 (468, 2)."""
        x1, y1, x2, y2 = self.box
        shape = MEAN_SHAPE[:, :2] * [self.half[0] / HALF_WIDTH, self.half[1] / HALF_HEIGHT]
        cosine, sine = math.cos(self.roll), math.sin(self.roll)
        turned = shape @ np.array([[cosine, sine], [-sine, cosine]])
        middle = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
        return np.asarray(turned + middle, np.float32)


def anonymize(
    image: Image,
    faces: Sequence[Face],
    *,
    method: AnonymizeMethod = "blur",
    strength: float = 1.0,
    margin: float | Sequence[float] = 0.25,
    shape: AnonymizeShape = "ellipse",
) -> Image:
    """Makes faces of an image unrecognizable.

    Regions that overlap are covered from the smallest face to the largest, each as the ones before
    have left it, so that a small wrong box in a large face uncovers nothing.

    Args:
        image: uint8 (H, W, 3), in any channel order, or (H, W).
        faces: The faces, by `Face.bbox` and, if known, `Face.roll`. They may lie across the border
            or outside.
        method: "blur", "pixelate", "fill" or "average", see `mobileface.effects.anonymize`.
        strength: 1 to 4: at most 4 / strength cells across a face; "fill" has none.
        margin: By how much of its side a box grows on each side, 0 to 10; one number, or one for
            each face.
        shape: "ellipse" or "box"; the face box itself is covered in both cases.

    Returns:
        A new image of the same shape.

    Raises:
        ImageError: If ``image`` does not have this type or shape.
        InputError: If an option is out of range, or the box of a face is not finite.
    """
    image = check_image(image)
    margins = [margin] * len(faces) if isinstance(margin, int | float) else list(margin)
    for value in [margin] if isinstance(margin, int | float) else margin:
        check_anonymize(method, strength, value, shape)
    check_anonymize(method, strength, shape=shape)
    if len(margins) != len(faces):
        raise InputError(f"{len(margins)} margins for {len(faces)} faces")
    regions = [_region(*pair) for pair in zip(faces, margins, strict=True)]
    result = image.copy()
    for region in sorted(regions, key=lambda region: region.size):
        place = region.place(*image.shape[:2])
        part = result[place]
        if not part.size:
            continue
        weight = _weight(region, place, shape)
        shown = _covered(part, region.size, method, strength)
        if method == "average":
            shown = drawn_over(shown, region.mean_face() - [place[1].start, place[0].start])
        covered = shown.astype(np.float32)
        if part.ndim == 3:
            weight = weight[..., None]
        result[place] = np.round(part + weight * (covered - part))
    return result


def check_anonymize(
    method: str, strength: float, margin: float = 0.25, shape: str = "ellipse"
) -> None:
    """Checks the options of `anonymize`.

    Raises:
        InputError: If one is unknown or out of range.
    """
    for name, value, known in (
        ("method", method, get_args(AnonymizeMethod)),
        ("shape", shape, get_args(AnonymizeShape)),
    ):
        if value not in known:
            raise InputError(f"unknown {name} '{value}'", hint=f"available: {', '.join(known)}")
    if not 1 <= strength <= _MAX_STRENGTH:
        raise InputError(f"strength {strength} is not between 1 and {_MAX_STRENGTH:.0f}")
    if not 0 <= margin <= MAX_MARGIN:
        raise InputError(f"margin {margin} is not between 0 and {MAX_MARGIN:.0f}")


def region_weight(
    shape: tuple[int, ...],
    face: Face,
    *,
    margin: float = 0.25,
    outline: AnonymizeShape = "ellipse",
) -> FloatArray:
    """How far each pixel of an image is covered for one face.

    Args:
        shape: Height and width of the image.
        face: The face.
        margin: See `anonymize`.
        outline: See ``shape`` of `anonymize`.

    Returns:
        float32 (H, W): 1 in the region, falling to 0 over 0.15 of the face's longer side.

    Raises:
        InputError: If ``margin`` or ``outline`` is invalid, or the box is not finite.
    """
    check_anonymize("fill", 1, margin, outline)
    region, weight = _region(face, margin), np.zeros(shape[:2], np.float32)
    place = region.place(*shape[:2])
    if weight[place].size:
        weight[place] = _weight(region, place, outline)
    return weight


def _region(face: Face, margin: float) -> _Region:
    """The region of a face.

    The box of a turned head is upright. Its sides along the head's axes are taken as
    √(w²·cos² + h²·sin²) and √(h²·cos² + w²·sin²): those of the box for a head that is upright,
    exchanged for one that lies, and never smaller than the head's.
    """
    x1, y1, x2, y2 = (float(value) for value in face.bbox)
    if not all(abs(value) <= _MAX_COORDINATE for value in (x1, y1, x2, y2)):
        raise InputError(f"the face box {(x1, y1, x2, y2)} is not finite or too large")
    width, height = max(x2 - x1, 0.0), max(y2 - y1, 0.0)
    roll = math.radians(face.roll or 0.0)
    if not math.isfinite(roll):
        roll = 0.0
    cosine, sine = math.cos(roll), math.sin(roll)
    grown = 0.5 + margin
    across = math.hypot(width * cosine, height * sine)
    down = math.hypot(height * cosine, width * sine)
    half, axes = (across / 2, down / 2), (across * grown, down * grown)
    return _Region((x1, y1, x2, y2), half, axes, roll, max(width, height))


def _weight(region: _Region, place: tuple[slice, slice], shape: AnonymizeShape) -> FloatArray:
    """The weights of a region in a part of the image, float32 (H, W)."""
    rows, columns = place
    x1, y1, x2, y2 = region.box
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
    x = np.arange(columns.start, columns.stop, dtype=np.float32)[None]
    # Half a pixel more on each side: a pixel that the box touches is covered.
    inside = (x >= x1 - 0.5) & (x <= x2 + 0.5) & (y >= y1 - 0.5) & (y <= y2 + 0.5)
    right, below = x - (x1 + x2) / 2, y - (y1 + y2) / 2
    cosine, sine = math.cos(region.roll), math.sin(region.roll)
    across = np.abs(right * cosine + below * sine) / (region.axes[0] + 0.5)
    down = np.abs(below * cosine - right * sine) / (region.axes[1] + 0.5)
    if shape == "box":
        inside |= (across <= 1) & (down <= 1)
    else:
        inside |= across**2 + down**2 <= 1
    edge = _EDGE * region.size
    if inside.all() or edge < 1 or not inside.any():
        return np.asarray(inside, np.float32)
    distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(np.clip(1 - distance / (edge + 1), 0, 1), np.float32)


def _covered(part: Image, size: float, method: AnonymizeMethod, strength: float) -> Image:
    """A part of an image without anything finer than a cell of the face."""
    if method == "fill":
        return np.zeros_like(part)
    height, width = part.shape[:2]
    cell = max(size * strength / _MOST_CELLS, _LEAST_CELL)
    # Whole cells, none smaller than `cell`.
    grid = (max(int(width / cell), 1), max(int(height / cell), 1))
    cells: npt.NDArray[np.uint8] = np.asarray(
        cv2.resize(part, grid, interpolation=cv2.INTER_AREA), np.uint8
    )
    if method == "pixelate":
        shown = cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST)
    else:
        soft = cv2.GaussianBlur(cells, (0, 0), 1.0, borderType=cv2.BORDER_REPLICATE)
        shown = cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(shown, np.uint8)
