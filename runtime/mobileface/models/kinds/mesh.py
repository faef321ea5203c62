"""Kind "mesh": a network that finds hundreds of points of a face, in 3-D, in an upright square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ...errors import SpecError
from ...fields import AtLeastTwo, Check, NonNegative, Number, Text, integer, list_of
from .base import Kind, Option, Tensors

__all__ = ["MESH", "MeshSpec"]


def _pair(check: Check) -> Check:
    """A list of two."""
    several = list_of(check)

    def checked(value: object, where: str) -> tuple[int, ...]:
        found: tuple[int, ...] = several(value, where)
        if len(found) != 2:
            raise SpecError(f"must have 2 elements, not {len(found)}", where=where)
        return found

    return checked


@dataclass(frozen=True, slots=True)
class MeshSpec:
    """A mesh network: squares in, points of each face and how surely there is one out.

    Attributes:
        points: Name of the ONNX output with x, y and z of each point, float32 (N, count, 3), in
            pixels of the square; z grows away from the camera.
        presence: Name of the ONNX output with the probability of a face, float32 (N,), 0 to 1.
        count: Number of points.
        side: Side of the square that is cut out, in longer sides of a detector's box.
        presence_threshold: A square with a lower presence has no mesh.
        eyes: Numbers of the outer corners of the eyes, the viewer's left one first.
    """

    points: Text
    presence: Text
    count: AtLeastTwo
    side: Number
    presence_threshold: Number
    eyes: Annotated[tuple[NonNegative, ...], _pair(integer(0))]


class Mesh(Kind[MeshSpec]):
    """A face mesh (Kartynnik et al. 2019, https://arxiv.org/abs/1907.06724)."""

    name = "mesh"
    task = "landmarks"
    section = MeshSpec
    runner = "mobileface.tasks.mesh_predictor:MeshPredictor"
    options = (
        Option("presence_threshold", float, "P", "faces that are less sure have no mesh, 0 to 1"),
    )
    needs_input = True
    on_request = True
    no_export = "it scales an image's bytes in its graph, for which {target} has no layers"

    def check(self, section: MeshSpec, where: str) -> None:
        """The eyes are points, the square has an area, the threshold is a probability.

        Raises:
            SpecError: They are not.
        """
        if max(section.eyes) >= section.count:
            raise SpecError(f"there are {section.count} points", where=f"{where}, eyes")
        if section.side <= 0:
            raise SpecError("must be above zero", where=f"{where}, side")
        if not 0 <= section.presence_threshold <= 1:
            raise SpecError("must be from 0 to 1", where=f"{where}, presence_threshold")

    def tensors(self, section: MeshSpec) -> Tensors:
        """Points and presence of each square."""
        return Tensors(
            outputs={section.points: (None, section.count, 3), section.presence: (None,)}
        )

    def describe_output(self, section: MeshSpec) -> str:
        """Both outputs."""
        return (
            f"`{section.points}`, float32 (N, {section.count}, 3), x, y and z in pixels of the "
            f"square, z away from the camera; `{section.presence}`, float32 (N,), probability of "
            "a face"
        )


MESH = Mesh()
