"""Which faces the effects by meshes accept, measured on the mean head."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from mobileface import Face, Landmarks, Pose
from mobileface.effects.mesh_faces import check_mesh_face, turned_by
from mobileface.effects.mesh_shape import MEAN_SHAPE
from mobileface.errors import InputError
from mobileface.vision.head_rotation import rotation_of


def turned_head(rotation: Any, width: float = 150.0) -> Face:
    """The mean head, turned; the shorter side of the box around it is ``width`` pixels."""
    rows = MEAN_SHAPE @ rotation.T
    rows = (rows * width / np.ptp(rows[:, :2], axis=0).min() + 200).astype(np.float32)
    names = tuple(f"mesh_{number}" for number in range(len(rows)))
    mesh = Landmarks(names, rows[:, :2], rows[:, 2], 1.0)
    return Face(np.array([100, 100, 300, 300], np.float32), 1.0, mesh=mesh)


def refusal(face: Face) -> str:
    with pytest.raises(InputError) as caught:
        check_mesh_face(face, "photo.jpg")
    print(caught.value)
    assert str(caught.value).startswith("photo.jpg: ")
    return str(caught.value)


def test_angles_are_measured() -> None:
    """A head turned by a known pose is turned by its angle; above 60° it is refused with it."""
    for yaw, pitch, roll in ((0, 0, 0), (30, 0, 10), (-59, 0, 0), (0, 25, -120), (40, 20, 5)):
        rotation = rotation_of(Pose(pitch, roll, yaw, degrees=True))
        turned = turned_head(rotation)
        expected = np.degrees(np.arccos(rotation[2, 2]))
        error = abs(turned_by(turned) - expected)
        print(f"yaw {yaw} pitch {pitch}: {turned_by(turned):.2f}°, error {error:.1e}")
        assert error < 1e-3
        assert check_mesh_face(turned) is turned.mesh
    told = refusal(turned_head(rotation_of(Pose(0, 0, 70, degrees=True))))
    assert "turned away by 70 degrees, more than 60" in told


def test_refusals_say_what_was_measured() -> None:
    face = turned_head(np.eye(3), 32.1)
    check_mesh_face(face)
    mesh = face.mesh
    assert mesh is not None
    assert "31 pixels wide, fewer than 32" in refusal(turned_head(np.eye(3), 30.6))
    assert "no mesh" in refusal(dataclasses.replace(face, mesh=None))
    few = Landmarks(mesh.names[:5], mesh.points[:5])
    assert "468 points with z" in refusal(dataclasses.replace(face, mesh=few))
    flat = dataclasses.replace(mesh, z=None)
    assert "468 points with z" in refusal(dataclasses.replace(face, mesh=flat))
    assert mesh.z is not None
    for broken in (
        dataclasses.replace(mesh, points=mesh.points * np.nan),
        dataclasses.replace(mesh, z=mesh.z * np.inf),
    ):
        assert "not finite" in refusal(dataclasses.replace(face, mesh=broken))
    line = np.repeat(np.arange(468, dtype=np.float32)[:, None], 3, axis=1)
    straight = dataclasses.replace(mesh, points=line[:, :2], z=line[:, 2])
    assert "lie on a line" in refusal(dataclasses.replace(face, mesh=straight))
