"""The tracker: cases computed by hand, OpenCV's Kalman filter, identities by embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from mobileface import Tracker
from mobileface.errors import InputError
from mobileface.tracking import motion
from mobileface.tracking.assignment import assign
from mobileface.tracking.motion import BoxFilter, iou
from mobileface.types import Track

Array = npt.NDArray[np.float64]
SIDE = 40.0


def box(x: float, y: float = 100.0, side: float = SIDE) -> list[float]:
    """A square around a centre."""
    return [x - side / 2, y - side / 2, x + side / 2, y + side / 2]


def ids(tracks: Sequence[Track]) -> list[int]:
    return [track.track_id for track in tracks]


def feed(tracker: Tracker, frames: Sequence[Sequence[Sequence[float]]]) -> list[list[int]]:
    """The identities reported in each frame."""
    return [ids(tracker.update(boxes)) for boxes in frames]


HERE, THERE = box(100), box(400)

CASES: dict[str, tuple[dict[str, Any], list[list[list[float]]], list[list[int]]]] = {
    "the first frames count at once": ({}, [[HERE]] * 4, [[1]] * 4),
    "later a face counts from its third detection on": (
        {},
        [[]] * 3 + [[HERE]] * 4,
        [[]] * 3 + [[], [], [1], [1]],
    ),
    "from its first with min_hits 1": ({"min_hits": 1}, [[], [], [HERE]], [[], [], [1]]),
    "a miss begins the count anew": (
        {},
        [[]] * 3 + [[HERE], [HERE], [], [HERE], [HERE], [HERE]],
        [[]] * 3 + [[], [], [], [], [], [1]],
    ),
    "identities are numbered as they come to count": (
        {},
        [[HERE]] * 4 + [[HERE, THERE]] * 3,
        [[1]] * 4 + [[1], [1], [1, 2]],
    ),
    "one that is alarmed once takes no number": (
        {},
        [[HERE]] * 4 + [[HERE, THERE]] + [[HERE]] * 3 + [[HERE, box(700)]] * 3,
        [[1]] * 4 + [[1]] + [[1]] * 3 + [[1], [1], [1, 2]],
    ),
    "lost for max_age frames and found": (
        {"max_age": 2},
        [[HERE]] * 3 + [[]] * 2 + [[HERE]],
        [[1]] * 3 + [[]] * 2 + [[1]],
    ),
    "lost for longer and born again": (
        {"max_age": 2},
        [[HERE]] * 3 + [[]] * 3 + [[HERE]] * 3,
        [[1]] * 3 + [[]] * 3 + [[], [], [2]],
    ),
    "max_age 0 ends with the first miss": (
        {"max_age": 0, "min_hits": 1},
        [[HERE], [], [HERE]],
        [[1], [], [2]],
    ),
    "a jump too far is another face": (
        {"min_hits": 1},
        [[HERE]] * 3 + [[THERE]],
        [[1]] * 3 + [[2]],
    ),
    "two by two, in either order": (
        {},
        [[HERE, THERE], [THERE, HERE], [HERE, THERE]],
        [[1, 2]] * 3,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_by_hand(name: str) -> None:
    options, frames, expected = CASES[name]
    assert feed(Tracker(**options), frames) == expected


def test_each_tracker_counts_for_itself() -> None:
    for _ in range(2):
        tracks = Tracker().update([HERE, THERE])
        assert ids(tracks) == [1, 2]


def test_crossing() -> None:
    """Two faces walk through each other: each keeps its identity, as they keep their speed."""
    tracker = Tracker()
    for frame in range(60):
        left, right = box(100 + 5 * frame), box(400 - 5 * frame, 115)
        tracks = tracker.update([left, right] if frame % 2 else [right, left])
        where = {track.track_id: (track.bbox[0] + track.bbox[2]) / 2 for track in tracks}
        if frame == 0:
            (first,) = (number for number, x in where.items() if abs(x - 100) < 1)
        assert set(where) == {1, 2}
        assert abs(where[first] - (100 + 5 * frame)) < 3


def test_gap_while_moving() -> None:
    """Behind a pillar for eight frames, at a steady pace."""
    tracker, error = Tracker(), 0.0
    for frame in range(60):
        hidden = 30 <= frame < 38
        tracks = tracker.update([] if hidden else [box(100 + 6 * frame)])
        assert ids(tracks) == ([] if hidden else [1])
        if frame == 38:
            error = float(abs(tracks[0].bbox[0] - (80 + 6 * frame)))
    print(f"{error:.2g} px off when found again")
    assert error < 1


def test_prediction_between_detections() -> None:
    """Without a detection the box moves on, unmeasured; identities and ages go on."""
    tracker = Tracker()
    for frame in range(20):
        tracks = tracker.update([box(100 + 4 * frame)], [0.9])
    assert (tracks[0].det_score, tracks[0].detection, tracks[0].age) == (0.9, 0, 20)
    for ahead in range(1, 6):
        (track,) = tracker.predict()
        assert (track.track_id, track.det_score, track.detection) == (1, None, None)
        assert track.age == 20 + ahead
        assert abs(track.bbox[0] - (80 + 4 * (19 + ahead))) < 0.5
    assert ids(tracker.update([box(100 + 4 * 25)])) == [1]
    assert len(tracker) == 1
    assert not tracker.unsettled
    tracker.update([])
    assert tracker.unsettled
    assert tracker.predict() == []


def test_assignment_is_the_best_of_all() -> None:
    """Against trying every permutation."""
    from itertools import permutations

    random = np.random.RandomState(3)
    for number in range(400):
        rows, columns = random.randint(0, 6, 2)
        weights = random.rand(rows, columns) * (random.rand(rows, columns) < 0.6)
        if number % 2:
            weights = np.round(weights, 1)
        pairs = assign(weights)
        assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
        assert (weights[pairs[:, 0], pairs[:, 1]] > 0).all()
        wide = weights if rows <= columns else weights.T
        best = max(
            (
                sum(wide[row, column] for row, column in enumerate(order))
                for order in permutations(range(wide.shape[1]), wide.shape[0])
            ),
            default=0.0,
        )
        assert weights[pairs[:, 0], pairs[:, 1]].sum() == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("bad", [[[np.nan]], [[-1.0]], [1.0, 2.0], [[np.inf]]])
def test_weights_that_are_none(bad: Any) -> None:
    with pytest.raises(InputError, match="weights must be"):
        assign(bad)


def test_iou_of_boxes() -> None:
    one = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], float)
    expected = [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 1]]
    assert np.allclose(iou(one, one), expected, atol=1e-15)
    assert iou(one, np.empty((0, 4))).shape == (3, 0)


def full_filter(box_: Array) -> cv2.KalmanFilter:
    """The paper's filter of seven numbers as one, in OpenCV."""
    kalman = cv2.KalmanFilter(7, 4, 0, cv2.CV_64F)
    transition = np.eye(7)
    transition[[0, 1, 2], [4, 5, 6]] = 1
    kalman.transitionMatrix = transition
    kalman.measurementMatrix = np.eye(4, 7)
    value = motion.to_state(box_[None])[0]
    kalman.statePost = np.concatenate([value, np.zeros(3)])[:, None]
    scale = scales(value)
    variance = np.concatenate(
        [(motion.MEASURED * scale) ** 2, (motion.UNKNOWN_SPEED * scale)[:3] ** 2]
    )
    kalman.errorCovPost = np.diag(variance)
    return kalman


def scales(value: Array) -> Array:
    side = np.sqrt(value[2])
    return np.array([side, side, value[2], value[3]])


def test_the_filter_is_the_papers() -> None:
    """Four filters side by side give what one of seven numbers gives."""
    random, worst = np.random.RandomState(5), 0.0
    for _ in range(20):
        place, speed = random.uniform(100, 600, 2), random.uniform(-6, 6, 2)
        side = random.uniform(30, 120)
        ours = BoxFilter()
        first = np.array(box(place[0], place[1], side))
        ours.add(first[None])
        theirs = full_filter(first)
        for _ in range(40):
            place = place + speed
            scale = scales(ours.value[0])
            theirs.processNoiseCov = np.diag(
                np.concatenate(
                    [(motion.DRIFT * scale) ** 2, (motion.ACCELERATION * scale)[:3] ** 2]
                )
            )
            ours.predict()
            theirs.predict()
            if random.rand() < 0.8:
                noisy = place + random.normal(0, 2, 2)
                seen = np.array(box(*noisy, side + random.normal(0, 2)))
                noise = (motion.MEASURED * scales(ours.value[0])) ** 2
                theirs.measurementNoiseCov = np.diag(noise)
                ours.correct(np.array([0]), seen[None])
                theirs.correct(motion.to_state(seen[None]).T)
                state = theirs.statePost.reshape(-1)
                found = np.concatenate([ours.value[0], ours.speed[0, :3]])
                worst = max(
                    worst, float(np.abs((found - state) / np.maximum(np.abs(state), 1)).max())
                )
    print(f"largest relative difference {worst:.1e}")
    assert worst < 1e-9


# identities by embeddings


def person(number: int, size: int = 16) -> npt.NDArray[np.float32]:
    vector = np.zeros(size, np.float32)
    vector[number] = 1
    return vector


class Looks:
    """Embeddings of a frame's detections; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.people: list[int] = []

    def __call__(self, indices: Sequence[int]) -> npt.NDArray[np.float32]:
        self.asked += len(indices)
        return np.stack([person(self.people[index]) for index in indices])


def follow(
    tracker: Tracker, looks: Looks, frames: Sequence[Sequence[tuple[int, list[float]]]]
) -> list[dict[int, int]]:
    """In each frame, which person has which identity."""
    found = []
    for faces in frames:
        looks.people = [who for who, _ in faces]
        tracks = tracker.update([place for _, place in faces], None, looks)
        found.append({looks.people[int(t.detection or 0)]: t.track_id for t in tracks})
    return found


def test_an_identity_survives_what_motion_does_not() -> None:
    """Away for longer than max_age, back elsewhere; a stranger in between gets another number."""
    looks = Looks()
    tracker = Tracker(max_age=3, same_person=0.7)
    frames: list[Any] = [[(5, HERE)]] * 5 + [[]] * 10 + [[(6, HERE)]] * 4 + [[(5, THERE)]]
    found = follow(tracker, looks, frames)
    assert found[4] == {5: 1}
    assert found[18] == {6: 2}
    assert found[19] == {5: 1}
    assert looks.asked < 8
    boxes = [[place for _, place in faces] for faces in frames]
    assert feed(Tracker(max_age=3), boxes)[18] == [2]


def test_a_cut_is_seen() -> None:
    """Two people change places between two frames; each keeps the number."""
    looks = Looks()
    tracker = Tracker(same_person=0.7)
    half = SIDE * 0.45
    before = [[(1, box(100)), (2, box(300))]] * 5
    after = [[(2, box(100 + half)), (1, box(300 + half))]] * 3
    found = follow(tracker, looks, [*before, *after])
    assert found[4] == {1: 1, 2: 2}
    assert found[-1] == {1: 1, 2: 2}
    plain = [[place for _, place in faces] for faces in (*before, *after)]
    assert feed(Tracker(), plain)[-1] == [1, 2]  # motion alone takes each for the other


def test_nobody_is_in_a_frame_twice() -> None:
    """Twins: the second gets a number of its own."""
    looks = Looks()
    found = follow(Tracker(same_person=0.7), looks, [[(1, HERE)]] * 4)
    tracker = Tracker(same_person=0.7)
    looks.people = [1, 1]
    for _ in range(5):
        tracks = tracker.update([HERE, THERE], None, looks)
    assert ids(tracks) == [1, 2]
    assert found[-1] == {1: 1}


def test_a_face_that_cannot_be_embedded_says_nothing() -> None:
    """Zeros neither end a known track nor spoil what its identity looks like."""
    looks = Looks()
    tracker = Tracker(max_age=0, same_person=0.7)
    assert follow(tracker, looks, [[(1, HERE)]] * 3)[-1] == {1: 1}
    moved = box(100 + SIDE * 0.45)
    tracks = tracker.update([moved], None, lambda rows: np.zeros((len(rows), 16), np.float32))
    assert ids(tracks) == [1]
    tracker.remember(1, np.zeros(16, np.float32))
    assert follow(tracker, looks, [[], [], [(1, THERE)]])[-1] == {1: 1}
    fresh = Tracker(same_person=0.7)
    nobody = [fresh.update([HERE], None, lambda rows: np.zeros((len(rows), 16), np.float32))]
    assert ids(nobody[-1]) == [1]


def test_memory_is_bounded() -> None:
    """The oldest identity is forgotten first."""
    looks = Looks()
    tracker = Tracker(max_age=0, min_hits=1, same_person=0.7, memory=2)
    frames: list[Any] = [[(who, HERE)] for who in (1, 2, 3)]
    frames = [frame for one in frames for frame in (one, [], [])]
    assert [f for f in follow(tracker, looks, frames) if f] == [{1: 1}, {2: 2}, {3: 3}]
    assert follow(tracker, looks, [[(2, HERE)], [], [(1, HERE)]])[::2] == [{2: 2}, {1: 4}]


BAD_OPTIONS: list[dict[str, Any]] = [
    {"max_age": -1},
    {"min_hits": 0},
    {"confirmation": "twice"},
    {"iou_threshold": 0},
    {"iou_threshold": 1.1},
    {"same_person": 1.0},
    {"same_person": -2},
    {"same_person": 0.5, "memory": 0},
]


@pytest.mark.parametrize("options", BAD_OPTIONS, ids=str)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        Tracker(**options)
    print(caught.value)


@pytest.mark.parametrize(
    "boxes",
    [[[0, 0, 0, 5]], [[5, 5, 1, 9]], [[np.nan, 0, 1, 1]], [[0, 0, 1]], "x", [[0, 0, 1, np.inf]]],
)
def test_boxes_that_are_none(boxes: Any) -> None:
    tracker = Tracker()
    tracker.update([HERE])
    with pytest.raises(InputError):
        tracker.update(boxes)
    assert ids(tracker.update([HERE])) == [1]


def test_scores_of_another_count() -> None:
    with pytest.raises(InputError, match="2 scores for 1 boxes"):
        Tracker().update([HERE], [1, 2])


def test_growing_and_shrinking_faces_stay_boxes() -> None:
    """A face that shrinks away never gets a negative side."""
    tracker = Tracker()
    for frame in range(30):
        tracker.update([box(100, 100, 60 - 1.9 * frame)])
    for _ in range(50):
        for track in tracker.predict():
            assert (track.bbox[2:] > track.bbox[:2]).all()
            assert np.isfinite(track.bbox).all()
