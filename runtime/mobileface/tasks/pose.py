"""Head pose from five landmarks, with the linear model published by MobileFace."""

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
    """Estimates pitch, roll and yaw from landmarks.

    Args:
        spec: Spec of a pose model.

    Raises:
        ModelError: If the model is of another kind, or the spec has no coefficients (the spec of a
            recipe).
    """

    def __init__(self, spec: ModelSpec) -> None:
        section = spec.require(PoseSpec)
        if not section.coefficients:
            raise ModelError("the spec has no coefficients", where=spec.name)
        self.spec = spec
        self.name = spec.name
        self.points = section.points
        self._coefficients = np.asarray(section.coefficients, np.float64)

    def estimate(self, landmarks: Landmarks | npt.ArrayLike) -> Pose:
        """Estimates the pose of one face.

        As upstream, centres the points on their mean, divides them by their height, multiplies by
        100 and truncates to integers; the pose is a linear function of the result.

        Args:
            landmarks: Named landmarks that include the model's points, or an array (P, 2) in the
                model's order, in pixels. Upstream uses whole pixels.

        Raises:
            InputError: If a point is missing or not finite, or all have the same height.
        """
        if isinstance(landmarks, Landmarks):
            selected = landmarks.select(self.points)
            if selected is None:
                raise InputError(
                    f"needs the landmarks {', '.join(self.points)}; "
                    f"available: {', '.join(landmarks.names)}",
                    where=self.spec.name,
                )
            points = selected.astype(np.float64)
        else:
            points = _as_array(landmarks, self.spec.name)
        if points.shape != (len(self.points), 2) or not np.isfinite(points).all():
            raise InputError(
                f"expected finite landmarks of shape {(len(self.points), 2)}, got {points.shape}",
                where=self.spec.name,
            )
        height = np.ptp(points[:, 1])
        if height <= 0:
            raise InputError("all landmarks have the same height", where=self.spec.name)
        features = np.trunc((points - points.mean(axis=0)) / height * _SCALE)
        pitch, roll, yaw = _SCALE * (self._coefficients @ np.append(features.ravel(), 1.0))
        return Pose(float(pitch), float(roll), float(yaw))

    __call__ = estimate


def _as_array(points: npt.ArrayLike, where: str) -> npt.NDArray[np.float64]:
    """The points as a float64 array."""
    try:
        return np.asarray(points, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the landmarks are not an array of numbers ({error})", where=where
        ) from error
