"""Whose face a swapped one is, by embedding_dlib.

Similarities of embedding_dlib are high throughout: those of different people have a median of
0.859.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mobileface import Face, FaceAnalyzer, FaceSwapper, read_image
from mobileface.effects.mesh_faces import turned_by
from mobileface.vision.image import Image
from tests.record_mesh_shape import LFW

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
