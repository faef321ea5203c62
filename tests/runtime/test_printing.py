"""What is printed of faces and embeddings: short lines, and numbers that lose nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mobileface.arrays import shortest
from mobileface.types import Attributes, Face, Landmarks


@pytest.mark.parametrize("seed", range(3))
def test_json_numbers_give_the_same_float32(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(size=(40, 128)).astype(np.float32)
    values *= np.float32(10) ** random.integers(-6, 6, values.shape).astype(np.float32)
    text = json.dumps(shortest(values))
    again = np.array(json.loads(text), np.float32)
    usual = json.dumps(values.tolist())
    print(f"{len(text)} characters instead of {len(usual)}")
    assert np.array_equal(again, values)
    assert len(text) < 0.7 * len(usual)
    assert shortest(np.array([0.1, -2.5], np.float32)) == [0.1, -2.5]


def test_a_face_is_one_short_line() -> None:
    box = np.array([118.54, 64.39, 210.17, 172.96], np.float32)
    bare = Face(box, 0.93225)
    assert repr(bare) == "Face(bbox=(118.5, 64.4, 210.2, 173.0), det_score=0.932)"
    points = Landmarks(("a", "b"), np.zeros((2, 2), np.float32))
    vector = np.full(512, -1 / 3, np.float32)
    known = Attributes(gender="female", age=34.96, expressions=("happy",))
    face = Face(box, 0.9, points, None, vector, known, "net@0", 2.84)
    assert (
        repr(face)
        == str(face)
        == (
            "Face(bbox=(118.5, 64.4, 210.2, 173.0), det_score=0.900, landmarks=2 points, "
            "embedding=[-0.3333 -0.3333 -0.3333 … 512 numbers] of net@0, "
            "attributes=(female, 35.0 years, happy), roll=2.8)"
        )
    )
