"""Whose face a swapped one is, by embedding_dlib, and the triangles of the mesh.

Similarities of embedding_dlib are high throughout: those of different people have a median of
0.859.
"""

from __future__ import annotations

import importlib.util
import json
import random
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from mobileface import Face, FaceAnalyzer, FaceSwapper, read_image
from mobileface.effects.mesh_triangles import load_triangles
from mobileface.effects.swap import turned_by
from mobileface.vision.image import Image
from tests import record_mesh_triangles
from tests.conftest import packaged
from tests.record_mesh_shape import LFW, meshes

pytestmark = [pytest.mark.slow, pytest.mark.needs_source]

SAME, MOST_TURNED = 0.90, 30.0
MIXED = ((15, "lfw", "lfw"), (8, "lfw", "friends"), (7, "friends", "lfw"))
"""How many pairs have their source and target from where."""


@dataclass(frozen=True)
class Person:
    """A face in its picture."""

    name: str
    image: Image
    face: Face


@pytest.fixture(scope="module")
def analyzer() -> FaceAnalyzer:
    return FaceAnalyzer(
        tasks=("detection", "landmarks", "pose", "embedding"),
        landmarks="landmark_mesh",
        pose="pose_mesh",
        embedder="embedding_dlib",
        intra_op_num_threads=1,
    )


@pytest.fixture(scope="module")
def people(source: Path, analyzer: FaceAnalyzer) -> dict[str, list[Person]]:
    """Faces that are turned by less than 30 degrees: one of each person of LFW, and the friends."""
    found: dict[str, list[Person]] = {"lfw": [], "friends": []}
    files = [("lfw", sorted(folder.iterdir())[0]) for folder in sorted((source / LFW).iterdir())]
    for group, path in [*files, ("friends", source / "example" / "friends.jpg")]:
        image = read_image(path)
        faces = sorted(analyzer(image), key=lambda face: float(face.bbox[0]))
        for number, face in enumerate(faces if group == "friends" else faces[:1]):
            if face.mesh is not None and turned_by(face) < MOST_TURNED:
                name = f"{path.stem}_{number}" if group == "friends" else path.parent.name
                found[group].append(Person(name, image, face))
    return found


def test_a_swapped_face_is_the_sources(
    people: dict[str, list[Person]], analyzer: FaceAnalyzer
) -> None:
    """At least 0.90 similar to the source, and more than to the target, on 80 % of 30 pairs."""
    chance = random.Random(2026)
    rows = []
    for count, first, second in MIXED:
        for _ in range(count):
            given, target = chance.choice(people[first]), chance.choice(people[second])
            while target.name == given.name:
                target = chance.choice(people[second])
            result = FaceSwapper(given.image, given.face)(target.image, target.face)
            swapped = min(
                analyzer(result), key=lambda f: float(np.abs(f.bbox - target.face.bbox).sum())
            ).embedding
            pair = given.face.embedding, target.face.embedding
            assert swapped is not None
            assert pair[0] is not None
            assert pair[1] is not None
            rows.append([*(float(swapped @ one) for one in pair), float(pair[0] @ pair[1])])
            print(f"{given.name} → {target.name}: {rows[-1][0]:.3f} {rows[-1][1]:.3f}")
    table = np.array(rows)
    good = (table[:, 0] >= SAME) & (table[:, 0] > table[:, 1])
    means = ", ".join(f"{value:.3f}" for value in table.mean(axis=0))
    print(f"{good.sum()} of {len(good)}; means to source, to target, of source and target: {means}")
    assert len(good) == 30
    assert good.sum() >= 24


def test_the_triangles_are_derived_from_the_faces(source: Path) -> None:
    """The stored triangles are those of the means; no point lies in the circle of a triangle."""
    points, narrow, wide = record_mesh_triangles.unrolled(meshes(source / LFW))
    triangles = record_mesh_triangles.triangulated(points)
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
    assert len(record_mesh_triangles.mouth(triangles, narrow, wide)) == 18


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
