"""Head pose from five landmarks by MobileFace's published linear model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError, ModelError, ModelNotFoundError
from ..models.kinds import PoseSpec
from ..models.spec import ModelSpec
from ..types import Face, Landmarks, Pose
from ..vision.image import ChannelOrder, Image
from .base import Request, Stage, Task
from .loading import load_pose

__all__ = ["TASK", "PoseEstimator", "PoseStage"]

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


class PoseStage(Stage):
    """Adds the pose that a face's landmarks show.

    Args:
        estimator: What computes it.
    """

    def __init__(self, estimator: PoseEstimator) -> None:
        self.estimator = estimator
        self.models = [estimator]

    @classmethod
    def load(cls, request: Request) -> PoseStage:
        """The stage with the model that a request chooses.

        Raises:
            ModelNotFoundError: If there is no model, or the landmarks do not suffice for it.
        """
        estimator = request.choice
        if estimator is None or isinstance(estimator, str):
            estimator = load_pose(estimator, models=request.models)
        names = request.points.point_names if request.points else ()
        blank = Landmarks(names, np.zeros((len(names), 2), np.float32))
        if blank.select(estimator.points) is None:
            raise ModelNotFoundError(
                f"pose needs the landmarks {', '.join(estimator.points)}; "
                f"there are: {', '.join(names) or 'none'}",
                hint="convert a landmark model that gives them",
            )
        return cls(estimator)

    def run(self, image: Image, faces: Sequence[Face], color: ChannelOrder) -> list[Face]:
        """Adds poses; a face whose points allow none (all on one height) gets None."""
        return [dataclasses.replace(face, pose=self._pose(face.landmarks)) for face in faces]

    def _pose(self, marks: Landmarks | None) -> Pose | None:
        if marks is None:
            return None
        try:
            return self.estimator.estimate(marks)
        except InputError:
            return None


def _angles(pose: Pose) -> dict[str, float]:
    return {"pitch": pose.pitch, "roll": pose.roll, "yaw": pose.yaw}


def _to_json(face: Face, _: bool) -> dict[str, Any]:
    if face.pose is None:
        return {}
    return {"pose": {name: round(value, 2) for name, value in _angles(face.pose).items()}}


def _to_text(face: Face) -> list[str]:
    if face.pose is None:
        return []
    return [" ".join(f"{name} {value:.1f}" for name, value in _angles(face.pose).items())]


def _caption(face: Face) -> str:
    if face.pose is None:
        return ""
    return " ".join(f"{name[0].upper()}{value:+.0f}" for name, value in _angles(face.pose).items())


TASK = Task(
    name="pose",
    command="pose",
    help="find faces and the direction they face",
    needs=("detection", "landmarks"),
    argument="pose",
    input="points",
    load=PoseStage.load,
    to_json=_to_json,
    to_text=_to_text,
    caption=_caption,
)
