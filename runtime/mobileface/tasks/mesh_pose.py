"""Head pose in degrees, by a rigid fit of a face's mesh to a head that looks into the camera."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..models.kinds import RigidPoseSpec
from ..models.spec import ModelSpec
from ..types import Face, Landmarks, Pose
from ..vision.head_rotation import best_rotation, pose_of
from .base import Points
from .pose import PoseModel

__all__ = ["MeshPoseEstimator"]


class MeshPoseEstimator(PoseModel):
    """Estimates yaw, pitch and roll from a mesh.

    Args:
        spec: Spec of a pose model of kind "rigid_pose".

    Raises:
        ModelError: If the model is of another kind.
    """

    def __init__(self, spec: ModelSpec) -> None:
        section = spec.require(RigidPoseSpec)
        super().__init__(spec)
        self._mesh = section.mesh
        self._numbers = np.asarray(section.points)
        self._reference = np.asarray(section.reference, np.float64)

    def estimate(self, landmarks: Landmarks) -> Pose:
        """Estimates the pose of one face.

        The rotation is the one that brings the reference nearest to the points; see
        `mobileface.vision.head_rotation.best_rotation`.

        Args:
            landmarks: The points of a mesh, with z.

        Returns:
            The pose in degrees.

        Raises:
            InputError: If there are too few points, they have no z, are not finite, or all lie on a
                line.
        """
        mesh = landmarks
        if mesh.z is None or len(mesh.points) <= self._numbers.max():
            raise InputError(
                f"needs a mesh of {self._mesh}, with z; got {len(mesh.points)} points",
                where=self.name,
            )
        points = np.column_stack([mesh.points, mesh.z]).astype(np.float64)[self._numbers]
        if not np.isfinite(points).all():
            raise InputError("the points are not finite", where=self.name)
        rotation = best_rotation(self._reference, points)
        if rotation is None:
            raise InputError("the points lie on a line", where=self.name)
        return pose_of(rotation)

    __call__ = estimate

    def require(self, points: Points | None) -> None:
        """See `PoseModel.require`."""
        if points is not None:
            points.require_mesh(self._mesh)

    def sample(self) -> Landmarks:
        """See `PoseModel.sample`: the reference, all other points in its middle."""
        points = np.zeros((int(self._numbers.max()) + 1, 3), np.float32)
        points[self._numbers] = self._reference
        names = tuple(f"mesh_{number}" for number in range(len(points)))
        return Landmarks(names, points[:, :2], points[:, 2])

    def of(self, face: Face) -> Pose | None:
        """See `PoseModel.of`."""
        if face.mesh is None:
            return None
        try:
            return self.estimate(face.mesh)
        except InputError:
            return None
