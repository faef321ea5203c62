"""Head pose against a direct evaluation of the published formula."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import Any

import numpy as np
import pytest

from mobileface.errors import InputError, ModelError, SpecError
from mobileface.models.kinds import LandmarkSpec, PoseSpec
from mobileface.models.spec import License, ModelSpec, SourceSpec
from mobileface.tasks.pose import PoseEstimator
from mobileface.types import Landmarks

NAMES = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
FACES = 2000
POINTS = [(184, 284), (219, 267), (210, 291), (206, 320), (235, 303)]

Rows = tuple[tuple[float, ...], ...]


def model(rows: Rows, points: tuple[str, ...] = NAMES) -> PoseEstimator:
    spec = ModelSpec(
        name="pose_test",
        task="pose",
        title="A pose model",
        license=License("MIT", "https://example.org"),
        source=SourceSpec("https://example.org"),
        section=PoseSpec(points, rows),
    )
    return PoseEstimator(ModelSpec.from_json(spec.to_json()))


def random_rows(generator: random.Random, width: int = 11) -> Rows:
    return tuple(tuple(generator.uniform(-0.02, 0.02) for _ in range(width)) for _ in range(3))


def direct(rows: Rows, points: list[tuple[int, int]]) -> list[float]:
    """The formula, one number after the other."""
    count = len(points)
    middle_x = sum(x for x, _ in points) / count
    middle_y = sum(y for _, y in points) / count
    height = max(y for _, y in points) - min(y for _, y in points)
    features: list[int] = []
    for x, y in points:
        features.append(math.trunc((x - middle_x) / height * 100))
        features.append(math.trunc((y - middle_y) / height * 100))
    result = []
    for row in rows:
        total = row[-1]
        for feature, factor in zip(features, row, strict=False):
            total += feature * factor
        result.append(total * 100)
    return result


def test_direct_evaluation() -> None:
    generator = random.Random(7)
    worst = 0.0
    for number in range(FACES):
        rows = random_rows(generator)
        side = (3, 40, 4000)[number % 3]
        points = [(generator.randint(-side, side), generator.randint(-side, side)) for _ in NAMES]
        points[4] = (points[4][0], points[0][1] + generator.randint(1, side))
        estimator = model(rows)
        expected = direct(rows, points)
        pose = estimator.estimate(points)
        own = pose.published
        assert own is not None
        found = [own.pitch, own.roll, own.yaw]
        assert (pose.pitch, pose.roll, pose.yaw) == (-own.pitch, own.yaw, own.roll)
        assert not pose.degrees
        worst = max(worst, *(abs(a - b) for a, b in zip(found, expected, strict=True)))
        named = Landmarks(NAMES, np.array(points, np.float32))
        assert estimator.estimate(named) == pose
    print(f"{FACES} faces, largest difference {worst:.1e}")
    assert worst < 1e-9


def test_features_are_cut_toward_zero() -> None:
    """One coefficient at a time shows each feature; upstream's int() cuts, it does not round."""
    features = []
    for index in range(10):
        rows = tuple(tuple(float(column == index) for column in range(11)) for _ in range(3))
        pose = model(rows).estimate(POINTS)
        own = pose.published
        assert own is not None
        assert own.pitch == own.roll == own.yaw
        features.append(own.pitch / 100)
    exact = [(x - 210.8) / 53 * 100 if axis == 0 else (x - 293) / 53 * 100 for x, axis in flat()]
    assert features == [math.trunc(value) for value in exact]
    assert features != [round(value) for value in exact]
    print(features)


def flat() -> list[tuple[int, int]]:
    return [(value, axis) for point in POINTS for axis, value in enumerate(point)]


def test_where_and_how_large_a_face_is_does_not_matter() -> None:
    estimator = model(random_rows(random.Random(8)))
    points = np.array(POINTS)
    assert estimator.estimate(points + np.array([1000, -500])) == estimator.estimate(points)
    assert estimator.estimate(points * 8) == estimator.estimate(points)
    assert estimator.estimate(points.tolist()) == estimator.estimate(points.astype(np.float32))


def test_points_are_found_by_name() -> None:
    estimator = model(random_rows(random.Random(9)))
    order = [3, 0, 4, 2, 1]
    names = (*(NAMES[index] for index in order), "chin")
    points = np.array([*(POINTS[index] for index in order), (7, 7)], np.float32)
    assert estimator.estimate(Landmarks(names, points)) == estimator.estimate(POINTS)


def test_a_model_over_the_middle_of_the_mouth() -> None:
    estimator = model(random_rows(random.Random(10), 7), ("left_eye", "right_eye", "mouth"))
    middle = (220.5, 311.5)
    expected = estimator.estimate([*POINTS[:2], middle])
    assert estimator.estimate(Landmarks(NAMES, np.array(POINTS, np.float32))) == expected


BAD: dict[str, Any] = {
    "one height": [(x, 7) for x, _ in POINTS],
    "one spot": [(5, 7)] * 5,
    "nan": [(math.nan, 1), *POINTS[1:]],
    "infinite": [*POINTS[:4], (5, math.inf)],
    "four points": POINTS[:4],
    "six points": [*POINTS, (1, 1)],
    "flat": [value for point in POINTS for value in point],
    "three coordinates": [(*point, 0) for point in POINTS],
    "a batch": [POINTS],
    "nothing": [],
}


@pytest.mark.parametrize("name", BAD)
def test_bad_points(name: str) -> None:
    with pytest.raises(InputError, match="pose_test") as caught:
        model(random_rows(random.Random(1))).estimate(BAD[name])
    print(caught.value)


@pytest.mark.parametrize("points", [None, "points", [("a", "b")] * 5, [(1, 2), (3,)]])
def test_no_numbers(points: Any) -> None:
    with pytest.raises(InputError):
        model(random_rows(random.Random(1))).estimate(points)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_bad_named_points(value: float) -> None:
    points = np.array(POINTS, np.float32)
    points[2, 1] = value
    with pytest.raises(InputError, match="expected finite landmarks"):
        model(random_rows(random.Random(1))).estimate(Landmarks(NAMES, points))


def test_missing_points_are_named() -> None:
    marks = Landmarks((*NAMES[:3], "mouth"), np.ones((4, 2), np.float32))
    with pytest.raises(
        InputError,
        match=r"needs the landmarks left_eye, .*left_mouth, right_mouth; available: .*, mouth",
    ):
        model(random_rows(random.Random(1))).estimate(marks)


def test_no_pose_model() -> None:
    """A recipe's spec without coefficients, and a spec of another task."""
    spec = model(random_rows(random.Random(1))).spec
    empty = dataclasses.replace(spec, section=PoseSpec(NAMES))
    marks = LandmarkSpec("image", "boxes", "points", NAMES)
    other = dataclasses.replace(spec, task="landmarks", section=marks)
    for bad, message in ((empty, "no coefficients"), (other, "'landmarks', not 'pose'")):
        with pytest.raises(ModelError, match=message):
            PoseEstimator(bad)


@pytest.mark.parametrize(
    "rows",
    [((0.0,) * 11,) * 2, ((0.0,) * 11,) * 4, ((0.0,) * 10,) * 3, ((math.nan,) * 11,) * 3],
    ids=["two rows", "four rows", "ten columns", "nan"],
)
def test_impossible_coefficients(rows: Rows) -> None:
    spec = model(random_rows(random.Random(1))).spec
    bad = dataclasses.replace(spec, section=PoseSpec(NAMES, rows))
    with pytest.raises(SpecError, match="coefficients"):
        ModelSpec.from_dict(bad.to_dict())
