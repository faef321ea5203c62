"""Head pose as a task of the analyzer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ModelNotFoundError
from ..types import Face, Pose
from ..vision.draw import Canvas
from ..vision.head_rotation import rotation_of
from ..vision.image import ChannelOrder, Image
from .base import Request, Stage, Task
from .loading import load_pose
from .pose import PoseModel

__all__ = ["TASK", "PoseStage"]


class PoseStage(Stage):
    """Adds head poses, estimated from landmarks or a mesh.

    Args:
        estimator: The pose model.
    """

    def __init__(self, estimator: PoseModel) -> None:
        self.estimator = estimator
        self.models = [estimator]

    @classmethod
    def load(cls, request: Request) -> PoseStage:
        """Creates the stage with the model that a request selects.

        A model that reads a mesh is not taken by preference alone, unless there is a mesh already.

        Raises:
            ModelNotFoundError: If no model is found, or it needs landmarks that are not available.
        """
        estimator = request.choice
        if estimator is None or isinstance(estimator, str):
            estimator = load_pose(estimator, models=request.models)
        meshed = request.points is not None and request.points.has_mesh
        if estimator.spec.kind.on_request and not (request.asked or meshed):
            raise ModelNotFoundError(
                f"{estimator.name} runs when pose or a mesh is asked for",
                hint="name the task 'pose'",
            )
        estimator.require(request.points)
        return cls(estimator)

    def run(self, image: Image, faces: Sequence[Face], color: ChannelOrder) -> list[Face]:
        """Adds poses; None for faces whose points allow none."""
        return [dataclasses.replace(face, pose=self.estimator.of(face)) for face in faces]


def _angles(pose: Pose) -> dict[str, float]:
    return {"pitch": pose.pitch, "roll": pose.roll, "yaw": pose.yaw}


def _to_json(face: Face, _: bool) -> dict[str, Any]:
    if face.pose is None:
        return {}
    values: dict[str, Any] = {n: round(value, 2) for n, value in _angles(face.pose).items()}
    if face.pose.degrees:
        values["unit"] = "degrees"
    if (own := face.pose.published) is not None:
        own_values = {"pitch": own.pitch, "roll": own.roll, "yaw": own.yaw}
        values["published"] = {name: round(value, 2) for name, value in own_values.items()}
    return {"pose": values}


def _to_text(face: Face) -> list[str]:
    if face.pose is None:
        return []
    unit = "°" if face.pose.degrees else ""
    return [" ".join(f"{name} {value:.1f}{unit}" for name, value in _angles(face.pose).items())]


def _caption(face: Face) -> str:
    if face.pose is None:
        return ""
    return " ".join(f"{name[0].upper()}{value:+.0f}" for name, value in _angles(face.pose).items())


def _draw(canvas: Canvas, face: Face) -> None:
    """The head's axes: right, down and out of the face, from between the eyes and the mouth."""
    if face.pose is None or not face.pose.degrees:
        return
    right, down, into = rotation_of(face.pose).T
    middle = (face.bbox[:2] + face.bbox[2:]) / 2
    if face.mesh is not None:
        middle = face.mesh.points.mean(axis=0)
    length = float(max(face.bbox[2:] - face.bbox[:2])) / 2
    ends = np.stack([right, down, -into])[:, :2] * length
    canvas.axes(middle, np.asarray(middle + ends, np.float32))


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
    draw=_draw,
)
