"""Kind "iris": a network that finds iris and eye contour in a square around one eye."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ...errors import SpecError
from ...fields import Count, NonNegative, Number, Text, integer, list_of
from .base import Kind, Tensors

__all__ = ["IRIS", "IrisSpec"]


@dataclass(frozen=True, slots=True)
class IrisSpec:
    """A network on one eye: squares in, points of contour and iris out, in pixels of the square.

    Attributes:
        contour: Name of the ONNX output with x, y and z of the contour of eye and brow, float32
            (N, contour_count, 3).
        iris: Name of the ONNX output with x, y and z of the centre of the iris and of four points
            on its edge, float32 (N, 5, 3).
        contour_count: Number of points of the contour.
        side: Side of the square, in distances between the corners of the eye.
        left: Points of the face mesh: outer and inner corner of the viewer's left eye, for which
            the network was trained.
        right: The same of the right eye, which the network sees mirrored.
    """

    contour: Text
    iris: Text
    contour_count: Count
    side: Number
    left: Annotated[tuple[NonNegative, ...], list_of(integer(0))]
    right: Annotated[tuple[NonNegative, ...], list_of(integer(0))]


class Iris(Kind[IrisSpec]):
    """Iris landmarks (Ablavatski et al. 2020, https://arxiv.org/abs/2006.11341)."""

    name = "iris"
    task = "iris"
    section = IrisSpec
    runner = "mobileface.tasks.iris_predictor:IrisPredictor"
    needs_input = True
    one_size = True
    on_request = True
    no_export = "it scales an image's bytes in its graph, for which {target} has no layers"

    def check(self, section: IrisSpec, where: str) -> None:
        """The square has an area, and each eye two corners.

        Raises:
            SpecError: They are not so.
        """
        if section.side <= 0:
            raise SpecError("must be above zero", where=f"{where}, side")
        for name, corners in (("left", section.left), ("right", section.right)):
            if len(corners) != 2 or corners[0] == corners[1]:
                raise SpecError("must be two points of the mesh", where=f"{where}, {name}")

    def tensors(self, section: IrisSpec) -> Tensors:
        """Contour and iris of each eye."""
        return Tensors(
            outputs={
                section.contour: (None, section.contour_count, 3),
                section.iris: (None, 5, 3),
            }
        )

    def describe_output(self, section: IrisSpec) -> str:
        """Both outputs."""
        return (
            f"`{section.contour}`, float32 (N, {section.contour_count}, 3), and `{section.iris}`, "
            "float32 (N, 5, 3), x, y and z in pixels of the square"
        )


IRIS = Iris()
