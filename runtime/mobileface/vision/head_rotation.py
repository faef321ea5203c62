"""The rotation of a head from points in 3-D, and its angles.

x points to the viewer's right, y down, z away from the camera. A head that looks into the camera
has the rotation 1; that of a pose is R_z(roll) · R_y(yaw) · R_x(pitch).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ..types import Pose

__all__ = ["best_rotation", "pose_of", "rotation_of"]

Matrix = npt.NDArray[np.float64]

_FLAT = 1e-9
"""Points whose second singular value is a smaller share of the first lie on a line."""


def best_rotation(reference: Matrix, points: Matrix) -> Matrix | None:
    """The rotation R with the smallest squared distances between c · R · reference + t and points.

    Umeyama 1991, https://doi.org/10.1109/34.88573, equation 40, for any scale c and shift t.

    Args:
        reference: float64 (K, 3).
        points: float64 (K, 3), finite.

    Returns:
        float64 (3, 3); None if the points lie on a line, so that no rotation is the best.
    """
    centred = [shape - shape.mean(axis=0) for shape in (points, reference)]
    left, sizes, right = np.linalg.svd(centred[0].T @ centred[1])
    if not sizes[1] > _FLAT * sizes[0]:
        return None
    sign = math.copysign(1.0, np.linalg.det(left) * np.linalg.det(right))
    return np.asarray(left @ np.diag([1.0, 1.0, sign]) @ right, np.float64)


def pose_of(rotation: Matrix) -> Pose:
    """The pose in degrees of a rotation (3, 3)."""
    yaw = math.asin(min(max(-float(rotation[2, 0]), -1.0), 1.0))
    pitch = math.atan2(float(rotation[2, 1]), float(rotation[2, 2]))
    roll = math.atan2(float(rotation[1, 0]), float(rotation[0, 0]))
    return Pose(math.degrees(pitch), math.degrees(roll), math.degrees(yaw), degrees=True)


def rotation_of(pose: Pose) -> Matrix:
    """The rotation (3, 3) of a pose in degrees; its columns are the head's axes in the image."""
    pitch, roll, yaw = (math.radians(value) for value in (pose.pitch, pose.roll, pose.yaw))
    rotation = np.eye(3)
    for angle, (one, other) in ((roll, (0, 1)), (yaw, (2, 0)), (pitch, (1, 2))):
        plane = np.eye(3)
        plane[one, one] = plane[other, other] = math.cos(angle)
        plane[one, other], plane[other, one] = -math.sin(angle), math.sin(angle)
        rotation = rotation @ plane
    return rotation
