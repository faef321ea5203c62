"""An adopted network that finds landmarks: what its numbers are, and what its points are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobileface.errors import ConversionError, SpecError
from mobileface.fields import name as checked_name

from .adopted_tasks import Measured

__all__ = ["POINT_SETS", "PointsTask", "read_point_names"]

FloatArray = npt.NDArray[np.float32]

_MAX_BYTES = 1 << 20
_FAR = 4.0
"""A median coordinate beyond this is no part of a crop, −1 to 1."""

_NEAR = 2.0
"""Coordinates that are all below this are no pixels."""


def _numbered(prefix: str, count: int, known: Mapping[int, str]) -> tuple[str, ...]:
    """Names by number, from 0 on, but for the points that this project has a name for."""
    return tuple(known.get(number, f"{prefix}_{number}") for number in range(count))


POINT_SETS: Mapping[str, tuple[str, ...]] = {
    # ArcFace's template, the viewer's left first
    "5": ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth"),
    # 300-W (Sagonas et al. 2013), numbered from 0
    "68": _numbered(
        "ibug",
        68,
        {
            30: "nose",
            33: "nose_base",
            36: "left_eye_outer",
            39: "left_eye_inner",
            42: "right_eye_inner",
            45: "right_eye_outer",
            48: "left_mouth",
            54: "right_mouth",
        },
    ),
    # WFLW (Wu et al. 2018), numbered from 0; the pupils are the eyes
    "98": _numbered(
        "wflw",
        98,
        {
            54: "nose",
            57: "nose_base",
            60: "left_eye_outer",
            64: "left_eye_inner",
            68: "right_eye_inner",
            72: "right_eye_outer",
            76: "left_mouth",
            82: "right_mouth",
            96: "left_eye",
            97: "right_eye",
        },
    ),
    # the sets of 106 points do not agree on an order, so none has a meaning
    "106": _numbered("point", 106, {}),
    # MediaPipe's face mesh
    "468": _numbered("mesh", 468, {}),
}
"""Names of the points of published sets; "left" is left as the viewer sees it."""


def read_point_names(text: str) -> tuple[str, ...]:
    """The names of a known set, or those in a file, one a line.

    Raises:
        ConversionError: There is neither, the file cannot be read, or a name is invalid or there
            twice.
    """
    if text in POINT_SETS:
        return POINT_SETS[text]
    path = Path(text)
    if not path.is_file():
        raise ConversionError(
            f"--points-names {text} is no file and no known set",
            hint=f"pass {', '.join(POINT_SETS)}, or a file with one name a line",
        )
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
        words = content.decode("utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise ConversionError(f"cannot be read ({error})", where=str(path)) from error
    names = [word.strip() for word in words]
    while names and not names[-1]:
        names.pop()
    if len(content) > _MAX_BYTES or not names:
        raise ConversionError("too large, or empty, for names of points", where=str(path))
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        where = f"{path}, line {number}"
        try:
            checked_name(name, where)
        except SpecError as error:
            raise ConversionError(error.what, where=where) from error
        if name in seen:
            raise ConversionError(f"'{name}' is there twice", where=where)
        seen.add(name)
    return tuple(names)


@dataclass(frozen=True)
class PointsTask:
    """A network that finds the landmarks of a face in the square around its box.

    Attributes:
        names: Names of its points, in order.
        range: What its numbers are: "unit", "signed" or "pixels", see
            `mobileface.models.kinds.PointsSpec`.
        margin: What the crop shows around the box on each side, in longer sides of the box.
        order: "interleaved" or "planar".
        feature: Name of the output to use; None if it is the only one.
    """

    names: tuple[str, ...]
    range: str
    margin: float
    order: str = "interleaved"
    feature: str | None = None

    name = "landmarks"
    kind = "points"
    measure = "Not measured."

    @property
    def purpose(self) -> str:
        """What it finds."""
        return (
            f"Finds {len(self.names)} points of a face. It runs when it is asked for by its name."
        )

    @property
    def limits(self) -> tuple[str, ...]:
        """What it is fed with."""
        return (
            f"One upright face in a square {1 + 2 * self.margin:g} times as long as the longer "
            "side of a detector's box; the runtime cuts it out, and turns tilted heads.",
        )

    @property
    def outputs(self) -> Mapping[str, str | None]:
        """All points in one output."""
        return {"points": self.feature}

    def side(self, _: str) -> int:
        """Side of the crop if neither the network nor the request says it.

        Raises:
            ConversionError: Always: no size is usual for landmarks.
        """
        raise ConversionError(
            "the network leaves the size of the crop open", hint="pass --size PIXELS"
        )

    def section(self, _: str) -> dict[str, Any]:
        """Points in the plane."""
        return self._section(2)

    def check_shapes(self, shapes: Mapping[str, Sequence[int | None]], where: str) -> None:
        """Rows of points must be interleaved, rows of coordinates planar."""
        sizes = [size for size in shapes.get("points", ()) if size != 1]
        count = len(self.names)
        if len(sizes) != 2 or sizes[0] == sizes[1]:
            return
        first, last = sizes
        if self.order == "planar" and first == count and last in (2, 3):
            what, other = "has the numbers of a point in each row", "interleaved"
        elif self.order == "interleaved" and last == count and first in (2, 3):
            what, other = "has all x, then all y", "planar"
        else:
            return
        raise ConversionError(
            f"the output of shape {sizes} {what}, it is not {self.order}",
            where=where,
            hint=f"pass --points-order {other}",
        )

    def measured(self, _: str, rows: FloatArray, where: str) -> Measured:
        """How many numbers a point has, and whether they can be what they are said to be."""
        count, size = len(self.names), rows.shape[1]
        if size not in (2 * count, 3 * count):
            raise ConversionError(
                f"the network gives {size} numbers, neither x and y ({2 * count}) nor x, y and z "
                f"({3 * count}) of {count} points",
                where=where,
                hint="name as many points as it finds with --points-names",
            )
        axes = size // count
        planar = self.order == "planar"
        values = rows.reshape(-1, axes, count)[:, :2] if planar else rows.reshape(-1, count, axes)
        places = np.abs(values if planar else values[..., :2]).astype(np.float64)
        self._check_range(places, where)
        low, high = float(rows.min()), float(rows.max())
        title = f"{count} points{' in 3-D' if axes == 3 else ''}"
        return Measured(
            self._section(axes), title, f"{title}, numbers from {low:.3g} to {high:.3g}"
        )

    def _check_range(self, places: npt.NDArray[np.float64], where: str) -> None:
        """Checks magnitudes of coordinates against what they are said to be.

        Raises:
            ConversionError: They are far larger or smaller.
        """
        if self.range == "pixels" and places.max() < _NEAR:
            raise ConversionError(
                f"no coordinate is above {places.max():.3g}, which are no pixels",
                where=where,
                hint="pass --points-range unit or signed",
            )
        if self.range != "pixels" and np.median(places) > _FAR:
            raise ConversionError(
                f"coordinates are {np.median(places):.3g} in the median, which is no "
                f"--points-range {self.range}",
                where=where,
                hint="pass --points-range pixels",
            )

    def _section(self, axes: int) -> dict[str, Any]:
        section: dict[str, Any] = {
            "output": "points",
            "points": list(self.names),
            "range": self.range,
            "margin": self.margin,
        }
        if self.order != "interleaved":
            section["order"] = self.order
        if axes != 2:
            section["dimensions"] = axes
        return section
