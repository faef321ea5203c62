"""Kind "points": a network that finds landmarks in the square around a face's box."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from ...errors import SpecError
from ...fields import OMIT_AT_DEFAULT, Check, Names, Number, Text, integer, one_of
from .base import Kind, Tensors

__all__ = ["POINT_NETWORK", "PointsSpec"]

Range = Literal["unit", "signed", "pixels"]
Order = Literal["interleaved", "planar"]


def _dimensions(value: object, where: str) -> int:
    """Two or three."""
    check: Check = integer(2)
    found: int = check(value, where)
    if found > 3:
        raise SpecError(f"must be 2 or 3, not {found}", where=where)
    return found


@dataclass(frozen=True, slots=True)
class PointsSpec:
    """A landmark network: crops in, the points of each face out.

    Attributes:
        output: Name of the ONNX output, float32 (N, P·dimensions).
        points: Name of each point, in order; "left" is left as the viewer sees it.
        range: What the numbers are: "unit": 0 to 1 across the crop; "signed": −1 to 1 across the
            crop; "pixels": pixels of the crop, whose middle is width / 2.
        margin: What the crop shows around the detector's box on each side, in longer sides of the
            box: the crop is a square whose side is 1 + 2·margin longer sides.
        order: "interleaved": x, y of one point after the other; "planar": all x, then all y.
        dimensions: 2, or 3 for points with a depth, on the scale of x and y.
    """

    output: Text
    points: Names
    range: Annotated[Range, one_of(("unit", "signed", "pixels"))]
    margin: Number
    order: Annotated[Order, one_of(("interleaved", "planar"))] = field(
        default="interleaved", metadata=OMIT_AT_DEFAULT
    )
    dimensions: Annotated[int, _dimensions] = field(default=2, metadata=OMIT_AT_DEFAULT)


class PointNetwork(Kind[PointsSpec]):
    """A network that regresses landmarks from a face crop; it runs when it is asked for."""

    name = "points"
    task = "landmarks"
    section = PointsSpec
    runner = "mobileface.tasks.point_predictor:PointPredictor"
    needs_input = True
    on_request = True

    def check(self, section: PointsSpec, where: str) -> None:
        """No two points have the same name, and the crop has an area.

        Raises:
            SpecError: They are not so.
        """
        if len(set(section.points)) < len(section.points):
            twice = next(name for name in section.points if section.points.count(name) > 1)
            raise SpecError(f"two points are called '{twice}'", where=f"{where}, points")
        if not -0.5 < section.margin <= 10:
            raise SpecError(
                f"must be above -0.5 and at most 10, not {section.margin:g}",
                where=f"{where}, margin",
            )

    def tensors(self, section: PointsSpec) -> Tensors:
        """One row for each crop."""
        size = len(section.points) * section.dimensions
        return Tensors(outputs={section.output: (None, size)})

    def describe_output(self, section: PointsSpec) -> str:
        """Shape, order, scale and names."""
        axes = "x, y and z" if section.dimensions == 3 else "x and y"
        order = "all " + ", then all ".join("xyz"[: section.dimensions])
        if section.order == "interleaved":
            order = f"{axes} point by point"
        scale = {"unit": "0 to 1 across the crop", "signed": "-1 to 1 across the crop"}
        count = len(section.points)
        return (
            f"`{section.output}`, float32 (N, {count * section.dimensions}), {order}, "
            f"{scale.get(section.range, 'pixels of the crop')}; {count} points: "
            f"{', '.join(section.points)}"
        )


POINT_NETWORK = PointNetwork()
