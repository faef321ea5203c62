"""The triangles of the mesh: derived anew, Delaunay's condition, and MediaPipe's edges."""

from __future__ import annotations

import importlib.util
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from mobileface.effects.mesh_triangles import load_triangles
from tests import record_mesh_shape
from tests.conftest import packaged

pytestmark = [pytest.mark.slow, pytest.mark.needs_source]


def test_the_triangles_are_derived_from_the_faces(source: Path) -> None:
    """The stored triangles are those of the means; no point lies in the circle of a triangle."""
    points, narrow, wide = record_mesh_shape.unrolled(
        record_mesh_shape.meshes(source / record_mesh_shape.LFW)
    )
    triangles = record_mesh_shape.triangulated(points)
    stored = load_triangles()
    found = {tuple(sorted(row)) for row in triangles}
    kept = {tuple(sorted(row)) for row in stored.corners.tolist()}
    print(f"{len(kept)} triangles, {len(found ^ kept)} differ")
    assert len(found ^ kept) <= 8  # symmetric points lie on one circle: both diagonals are right
    a, b, c = (points[stored.corners[:, corner]] for corner in range(3))
    double = 2 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    lengths = [((corner - a) ** 2).sum(axis=1) for corner in (b, c)]
    x = ((c - a)[:, 1] * lengths[0] - (b - a)[:, 1] * lengths[1]) / double
    y = ((b - a)[:, 0] * lengths[1] - (c - a)[:, 0] * lengths[0]) / double
    centres, radii = a + np.stack([x, y], axis=1), np.hypot(x, y)
    nearest = np.linalg.norm(centres[:, None] - points[None], axis=2).min(axis=1)
    print(f"deepest point in a circle: {(1 - nearest / radii).max():.1e} of its radius")
    assert (nearest > radii * (1 - 1e-3)).all()
    assert len(record_mesh_shape.mouth(triangles, narrow, wide)) == 18


@pytest.mark.needs_mediapipe
def test_the_contours_of_mediapipe_are_edges() -> None:
    """Those of oval, eyes, brows and nose, and of the lips all but two at each corner."""
    place = packaged("mediapipe/python/solutions/face_mesh_connections.py")
    spec = importlib.util.spec_from_file_location("connections", place)
    assert spec is not None
    assert spec.loader is not None
    known = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(known)
    edges = {
        tuple(sorted(pair))
        for row in load_triangles().corners.tolist()
        for pair in combinations(row, 2)
    }
    lacking = {}
    for name in ("FACE_OVAL", "LEFT_EYE", "RIGHT_EYE", "LEFT_EYEBROW", "RIGHT_EYEBROW", "NOSE"):
        wanted = {tuple(sorted(pair)) for pair in getattr(known, f"FACEMESH_{name}")}
        lacking[name] = len(wanted - edges)
    lips = {tuple(sorted(pair)) for pair in known.FACEMESH_LIPS}
    print(json.dumps(lacking), sorted(lips - edges))
    assert not any(lacking.values())
    assert len(lips - edges) == 4
