"""Kind "rigid_pose": head pose by a rigid fit of a mesh to a shape; its file is only the spec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ...errors import SpecError
from ...fields import Identifier, NonNegative, integer, list_of, number
from .base import Kind, Tensors

__all__ = ["RIGID_POSE", "RigidPoseSpec"]


@dataclass(frozen=True, slots=True)
class RigidPoseSpec:
    """A shape that a face's mesh is compared with.

    Attributes:
        mesh: Name of the landmark model whose mesh it reads.
        points: Numbers of the mesh's points that are fitted.
        reference: x, y and z of each in a head that looks into the camera; x to the viewer's right,
            y down, z away from the camera. The unit does not matter.
    """

    mesh: Identifier
    points: Annotated[tuple[NonNegative, ...], list_of(integer(0))]
    reference: Annotated[tuple[tuple[float, ...], ...], list_of(list_of(number))]


class RigidPose(Kind[RigidPoseSpec]):
    """Yaw, pitch and roll from the best rotation between two sets of points (Umeyama 1991)."""

    name = "rigid_pose"
    task = "pose"
    section = RigidPoseSpec
    runner = "mobileface.tasks.mesh_pose:MeshPoseEstimator"
    has_network = False
    on_request = True
    no_export = "it is a table of points in its spec, not a network"

    def check(self, section: RigidPoseSpec, where: str) -> None:
        """Each point has three coordinates, and there are enough for a rotation.

        Raises:
            SpecError: They have not, or there are not.
        """
        rows = [len(row) for row in section.reference]
        if len(section.points) < 4 or rows != [3] * len(section.points):
            raise SpecError(
                f"must be {max(len(section.points), 4)} rows of 3", where=f"{where}, reference"
            )

    def tensors(self, section: RigidPoseSpec) -> Tensors:
        """None: it has no network."""
        return Tensors()


RIGID_POSE = RigidPose()
