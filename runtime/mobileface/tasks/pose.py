"""Head pose: the base class, and the linear model over five landmarks published by MobileFace."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError, ModelError, ModelNotFoundError
from ..models.kinds import PoseSpec
from ..models.spec import ModelSpec
from ..types import Face, Landmarks, Pose, PublishedPose
from .base import Points

__all__ = ["PoseEstimator", "PoseModel"]

_SCALE = 100


class PoseModel(ABC):
    """What estimates the pose of a face from points that were found before.

    Args:
        spec: Spec of a pose model.

    Attributes:
        spec: The spec.
        name: Name of the model.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.name = spec.name

    @abstractmethod
    def estimate(self, landmarks: Any) -> Pose:
        """The pose of one face from its points.

        Raises:
            InputError: If the points are not those that the model reads, or allow no pose.
        """

    @abstractmethod
    def sample(self) -> Landmarks:
        """Points of a face that it can read, to measure how long that takes."""

    @abstractmethod
    def require(self, points: Points | None) -> None:
        """Makes sure that faces have the points that it reads.

        Raises:
            ModelNotFoundError: If no model gives them.
        """

    @abstractmethod
    def of(self, face: Face) -> Pose | None:
        """The pose of a face; None if it lacks the points, or they allow none."""


class PoseEstimator(PoseModel):
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
        super().__init__(spec)
        self.points = section.points
        self._coefficients = np.asarray(section.coefficients, np.float64)

    def estimate(self, landmarks: Landmarks | npt.ArrayLike) -> Pose:
        """Estimates the pose of one face.

        As upstream, centres the points on their mean, divides them by their height, multiplies by
        100 and truncates to integers; the pose is a linear function of the result. Upstream's names
        are mapped to those of `Pose`, and kept in its ``published``.

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
        given = _SCALE * (self._coefficients @ np.append(features.ravel(), 1.0))
        published = PublishedPose(*(float(value) for value in given))
        # Upstream's "roll" follows the turn of the head, its "yaw" the tilt.
        return Pose(-published.pitch, published.yaw, published.roll, published=published)

    __call__ = estimate

    def require(self, points: Points | None) -> None:
        """See `PoseModel.require`."""
        names = points.point_names if points else ()
        blank = Landmarks(names, np.zeros((len(names), 2), np.float32))
        if blank.select(self.points) is None:
            raise ModelNotFoundError(
                f"pose needs the landmarks {', '.join(self.points)}; "
                f"available: {', '.join(names) or 'none'}",
                hint="convert a landmark model that outputs them",
            )

    def sample(self) -> Landmarks:
        """See `PoseModel.sample`."""
        points = np.random.RandomState(0).uniform(0, 100, (len(self.points), 2))
        return Landmarks(self.points, points.astype(np.float32))

    def of(self, face: Face) -> Pose | None:
        """See `PoseModel.of`; None as well if all landmarks have the same height."""
        if face.landmarks is None:
            return None
        try:
            return self.estimate(face.landmarks)
        except InputError:
            return None


def _as_array(points: npt.ArrayLike, where: str) -> npt.NDArray[np.float64]:
    """The points as a float64 array."""
    try:
        return np.asarray(points, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the landmarks are not an array of numbers ({error})", where=where
        ) from error
