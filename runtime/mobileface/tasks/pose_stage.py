"""Head pose as a task of the analyzer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError, ModelNotFoundError
from ..types import Face, Landmarks, Pose
from ..vision.image import ChannelOrder, Image
from .base import Request, Stage, Task
from .loading import load_pose
from .pose import PoseEstimator

__all__ = ["TASK", "PoseStage"]


class PoseStage(Stage):
    """Adds head poses, estimated from landmarks.

    Args:
        estimator: The pose model.
    """

    def __init__(self, estimator: PoseEstimator) -> None:
        self.estimator = estimator
        self.models = [estimator]

    @classmethod
    def load(cls, request: Request) -> PoseStage:
        """Creates the stage with the model that a request selects.

        Raises:
            ModelNotFoundError: If no model is found, or it needs landmarks that are not available.
        """
        estimator = request.choice
        if estimator is None or isinstance(estimator, str):
            estimator = load_pose(estimator, models=request.models)
        names = request.points.point_names if request.points else ()
        blank = Landmarks(names, np.zeros((len(names), 2), np.float32))
        if blank.select(estimator.points) is None:
            raise ModelNotFoundError(
                f"pose needs the landmarks {', '.join(estimator.points)}; "
                f"available: {', '.join(names) or 'none'}",
                hint="convert a landmark model that outputs them",
            )
        return cls(estimator)

    def run(self, image: Image, faces: Sequence[Face], color: ChannelOrder) -> list[Face]:
        """Adds poses; None for faces whose landmarks all have the same height."""
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
    help="detect faces and estimate their head pose",
    needs=("detection", "landmarks"),
    argument="pose",
    input="points",
    load=PoseStage.load,
    to_json=_to_json,
    to_text=_to_text,
    caption=_caption,
)
