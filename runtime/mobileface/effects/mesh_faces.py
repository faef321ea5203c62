"""Which faces the effects that work on meshes accept: makeup by example and swap."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..errors import InputError
from ..tasks.face_choice import describe_box
from ..types import Face, Landmarks
from ..vision.head_rotation import best_rotation
from .mesh_shape import MEAN_SHAPE

__all__ = [
    "MESH_MODELS",
    "MESH_TASKS",
    "MOST_TURNED",
    "SMALLEST_FACE",
    "check_mesh_face",
    "sorted_out",
    "turned_by",
    "usable_faces",
]

MESH_TASKS = ("detection", "landmarks", "pose")
MESH_MODELS = {"landmarks": "landmark_mesh", "pose": "pose_mesh"}
"""Tasks and models of a `FaceAnalyzer` that finds the meshes these effects need."""

SMALLEST_FACE = 32.0
"""Pixels of the shorter side of the box around a mesh, below which a face is refused."""

MOST_TURNED = 60.0
"""Degrees between the direction of a face and the camera, above which it is refused."""


def check_mesh_face(face: Face, where: str = "") -> Landmarks:
    """Checks that a face can give or take a look: makeup, or the face itself.

    Args:
        face: The face.
        where: Location for error messages.

    Returns:
        Its mesh: 468 finite points with z.

    Raises:
        InputError: If it has no mesh of landmark_mesh, is smaller than 32 pixels or is turned away
            by more than 60°.
    """
    mesh = _mesh_of(face, where)
    side = float(np.ptp(mesh.points, axis=0).min())
    if not side >= SMALLEST_FACE:
        raise InputError(
            f"the face is {side:.0f} pixels wide, fewer than {SMALLEST_FACE:.0f}", where=where
        )
    angle = turned_by(face, where)
    if not angle <= MOST_TURNED:
        raise InputError(
            f"the face is turned away by {angle:.0f} degrees, more than {MOST_TURNED:.0f}",
            where=where,
            hint="choose a picture in which it looks more towards the camera",
        )
    return mesh


def usable_faces(faces: Iterable[Face], where: str) -> tuple[list[Face], list[InputError]]:
    """The faces that `check_mesh_face` accepts, at least one, and why others are refused.

    Raises:
        InputError: If none is accepted: why the first is refused.
    """
    left, errors = sorted_out(faces, where)
    if not left:
        raise errors[0] if errors else InputError("no face found", where=where)
    return left, errors


def sorted_out(faces: Iterable[Face], where: str) -> tuple[list[Face], list[InputError]]:
    """The faces that `check_mesh_face` accepts, and why the others are refused."""
    left: list[Face] = []
    errors = []
    for face in faces:
        try:
            check_mesh_face(face, f"{where}, face {describe_box(face.bbox)}")
        except InputError as error:
            errors.append(error)
        else:
            left.append(face)
    return left, errors


def turned_by(face: Face, where: str = "") -> float:
    """Degrees between where a face with a mesh looks and the camera, 0 to 180; tilt not counted.

    It is measured by the rotation of the mesh against the mean shape.

    Args:
        face: The face.
        where: Location for error messages.

    Raises:
        InputError: If the face has no mesh of landmark_mesh, or its points lie on a line.
    """
    mesh = _mesh_of(face, where)
    assert mesh.z is not None
    rows = np.column_stack([mesh.points, mesh.z]).astype(np.float64)
    rotation = best_rotation(MEAN_SHAPE, rows)
    if rotation is None:
        raise InputError("the points of the mesh lie on a line", where=where)
    return float(np.degrees(np.arccos(np.clip(rotation[2, 2], -1, 1))))


def _mesh_of(face: Face, where: str) -> Landmarks:
    mesh, count = face.mesh, len(MEAN_SHAPE)
    if mesh is None:
        raise InputError(
            "the face has no mesh: none was asked for, or it is not sure enough (a profile, a "
            "hidden or dark face)",
            where=where,
            hint='FaceAnalyzer(landmarks="landmark_mesh") gives face.mesh',
        )
    if mesh.z is None or len(mesh.points) != count:
        raise InputError(f"needs a mesh of landmark_mesh: {count} points with z", where=where)
    if not (np.isfinite(mesh.points).all() and np.isfinite(mesh.z).all()):
        raise InputError("the points of the mesh are not finite", where=where)
    return mesh
