"""Kind "pose": a linear model over five landmarks; its file is nothing but the spec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ...errors import SpecError
from ...fields import Names, list_of, number
from .base import Kind, Tensors

__all__ = ["LINEAR_POSE", "PoseSpec"]


@dataclass(frozen=True, slots=True)
class PoseSpec:
    """A linear pose model over five landmarks: (pitch, roll, yaw) = 100 · coefficients · features.

    Attributes:
        points: The landmarks it reads, in order.
        coefficients: Three rows of 2·points + 1 numbers: pitch, roll, yaw. Recipes leave them to
            the source file.
    """

    points: Names
    coefficients: Annotated[tuple[tuple[float, ...], ...], list_of(list_of(number))] = ()


class LinearPose(Kind[PoseSpec]):
    """MobileFace's published pose model."""

    name = "pose"
    task = "pose"
    section = PoseSpec
    runner = "mobileface.tasks.pose:PoseEstimator"
    has_network = False
    no_export = "it is a table of coefficients in its spec, not a network"

    def check(self, section: PoseSpec, where: str) -> None:
        """The coefficients fit the points."""
        width = 2 * len(section.points) + 1
        rows = [len(items) for items in section.coefficients]
        if section.coefficients and rows != [width] * 3:
            raise SpecError(f"must be 3 rows of {width}", where=f"{where}, coefficients")

    def tensors(self, section: PoseSpec) -> Tensors:
        """None: it has no network."""
        return Tensors()


LINEAR_POSE = LinearPose()
