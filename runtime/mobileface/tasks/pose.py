"""Head pose from five landmarks by MobileFace's published linear model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..errors import InputError, ModelError
from ..models.kinds import PoseSpec
from ..models.spec import ModelSpec
from ..types import Landmarks, Pose

__all__ = ["PoseEstimator"]

_SCALE = 100


class PoseEstimator:
    """Pitch, roll and yaw from landmarks.

    Args:
        spec: Spec of a pose model.

    Raises:
        ModelError: If the model is of another kind, or a recipe's, without coefficients.
    """

    def __init__(self, spec: ModelSpec) -> None:
        section = spec.require(PoseSpec)
        if not section.coefficients:
            raise ModelError("its spec has no coefficients", where=spec.name)
        self.spec = spec
        self.name = spec.name
        self.points = section.points
        self._coefficients = np.asarray(section.coefficients, np.float64)

    def estimate(self, landmarks: Landmarks | npt.ArrayLike) -> Pose:
        """The pose of one face.

        The points are centred on their mean, divided by their height, scaled by 100 and cut to
        whole numbers, as upstream does; the model is linear in them.

        Args:
            landmarks: Named landmarks with the points that the model reads, or an array (P, 2) in
                the model's order. Upstream gives whole pixels.

        Raises:
            InputError: A point is missing or not finite, or all lie on one height.
        """
        if isinstance(landmarks, Landmarks):
            selected = landmarks.select(self.points)
            if selected is None:
                raise InputError(
                    f"landmarks {', '.join(landmarks.names)} lack some of {', '.join(self.points)}",
                    where=self.spec.name,
                )
            points = selected.astype(np.float64)
        else:
            points = _as_array(landmarks, self.spec.name)
        if points.shape != (len(self.points), 2) or not np.isfinite(points).all():
            raise InputError(
                f"shape {points.shape} instead of {(len(self.points), 2)}, or not finite",
                where=self.spec.name,
            )
        height = np.ptp(points[:, 1])
        if height <= 0:
            raise InputError("all landmarks lie on one height", where=self.spec.name)
        features = np.trunc((points - points.mean(axis=0)) / height * _SCALE)
        pitch, roll, yaw = _SCALE * (self._coefficients @ np.append(features.ravel(), 1.0))
        return Pose(float(pitch), float(roll), float(yaw))

    __call__ = estimate


def _as_array(points: npt.ArrayLike, where: str) -> npt.NDArray[np.float64]:
    """Points as an array of numbers."""
    try:
        return np.asarray(points, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"landmarks are no array of numbers ({error})", where=where) from error
