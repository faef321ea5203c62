"""The kinds of models, each registered once in `KINDS`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import SpecError
from .attribute_heads import ATTRIBUTE_HEADS, HeadSpec, HeadsSpec
from .attribute_network import ATTRIBUTE_NETWORK, AttributeSpec
from .base import Feed, Kind, Option, Shape, Tensors
from .embedder import EMBEDDER, EmbeddingSpec
from .hog import HOG, HogSpec
from .iris import IRIS, IrisSpec
from .linear_pose import LINEAR_POSE, PoseSpec
from .mesh import MESH, MeshSpec
from .person_mask import PERSON_MASK, PersonMaskSpec
from .point_network import POINT_NETWORK, PointsSpec
from .rigid_pose import RIGID_POSE, RigidPoseSpec
from .shape_predictor import SHAPE_PREDICTOR, LandmarkSpec
from .single_shot import SINGLE_SHOT, SingleShotSpec
from .yolo import YOLO, YoloSpec
from .yunet import YUNET, YunetSpec

__all__ = [
    "KINDS",
    "AttributeSpec",
    "EmbeddingSpec",
    "Feed",
    "HeadSpec",
    "HeadsSpec",
    "HogSpec",
    "IrisSpec",
    "Kind",
    "LandmarkSpec",
    "MeshSpec",
    "Option",
    "PersonMaskSpec",
    "PointsSpec",
    "PoseSpec",
    "RigidPoseSpec",
    "Shape",
    "SingleShotSpec",
    "Tensors",
    "YoloSpec",
    "YunetSpec",
    "kind_named",
    "kind_of",
    "kinds_for",
    "task_names",
]

KINDS: tuple[Kind[Any], ...] = (
    HOG,
    YOLO,
    YUNET,
    SINGLE_SHOT,
    SHAPE_PREDICTOR,
    MESH,
    POINT_NETWORK,
    IRIS,
    LINEAR_POSE,
    RIGID_POSE,
    ATTRIBUTE_NETWORK,
    ATTRIBUTE_HEADS,
    EMBEDDER,
    PERSON_MASK,
)
"""Every kind of model. To add one, see CONTRIBUTING.md."""


def task_names(kinds: Sequence[Kind[Any]] = KINDS) -> tuple[str, ...]:
    """The tasks that some kind serves, in the order of `KINDS`."""
    return tuple(dict.fromkeys(kind.task for kind in kinds))


def kinds_for(task: str) -> tuple[Kind[Any], ...]:
    """The kinds that serve a task."""
    return tuple(kind for kind in KINDS if kind.task == task)


def kind_named(name: str) -> Kind[Any] | None:
    """The kind whose section has this key."""
    return next((kind for kind in KINDS if kind.name == name), None)


def kind_of(section: object) -> Kind[Any]:
    """The kind of a section.

    Raises:
        SpecError: No kind has such a section.
    """
    for kind in KINDS:
        if type(section) is kind.section:
            return kind
    raise SpecError(f"no kind of model has a section {type(section).__name__}")
