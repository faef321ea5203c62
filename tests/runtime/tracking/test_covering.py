"""What is covered in the frames of a video whose detections are written down beforehand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mobileface import Face
from mobileface.errors import InputError
from mobileface.tracking.covering import CoveredFrame, FaceCover

SIDE = 40


def cover(frames: Sequence[Sequence[float]], **options: Any) -> list[CoveredFrame]:
    """Frames whose faces have these left sides; None where the detector does not run."""

    def detect(image: Any) -> list[Face]:
        places = frames[int(image[0, 0])]
        return [Face(np.array([x, 50, x + SIDE, 50 + SIDE], np.float32), 0.9) for x in places]

    images = [(np.full((4, 4), number, np.uint8), number / 25) for number in range(len(frames))]
    return list(FaceCover(detect, **options).frames(images))


def is_covered(frame: CoveredFrame, x: float) -> bool:
    """True if a face with this left side lies wholly in one grown box."""
    wanted = np.array([x, 50, x + SIDE, 50 + SIDE])
    for box, margin in zip(frame.boxes, frame.margins, strict=True):
        grow = margin * np.array([box[2] - box[0], box[3] - box[1]])
        if (box[:2] - grow <= wanted[:2]).all() and (box[2:] + grow >= wanted[2:]).all():
            return True
    return False


MOVING = [[100.0 + 3 * number] for number in range(40)]


@pytest.mark.parametrize("lookback", [0, 1, 5, 60])
def test_frames_come_in_order_with_their_times(lookback: int) -> None:
    found = cover(MOVING, lookback=lookback)
    assert [frame.number for frame in found] == list(range(40))
    assert [frame.time for frame in found] == [number / 25 for number in range(40)]
    assert [int(frame.image[0, 0]) for frame in found] == list(range(40))


def test_the_first_detection_counts_at_once() -> None:
    """A face that is seen in a single frame is covered there: nothing waits for a confirmation."""
    frames: list[list[float]] = [[] for _ in range(20)]
    frames[12] = [100.0]
    found = cover(frames, max_age=0, lookback=0)
    assert [frame.number for frame in found if frame.boxes] == [12]


def test_a_face_is_covered_before_it_is_found() -> None:
    frames: list[list[float]] = [[] for _ in range(10)] + [[100.0]] * 10
    found = cover(frames, lookback=4)
    assert [is_covered(frame, 100) for frame in found] == [False] * 6 + [True] * 14
    gaps = [frame.margins[0] for frame in found[6:11]]
    assert gaps == pytest.approx([0.25 + 0.05 * gap for gap in (4, 3, 2, 1, 0)])


@pytest.mark.parametrize("missed", [1, 3, 8])
@pytest.mark.parametrize("lookback", [0, 5])
def test_missed_frames_are_covered(missed: int, lookback: int) -> None:
    """A moving face that is missed now and then is covered in every frame, wholly."""
    frames = [
        [] if number % 15 >= 15 - missed else places for number, places in enumerate(MOVING[:29])
    ]
    found = cover(frames, lookback=lookback)
    places = [places[0] for places in MOVING[:29]]
    assert all(is_covered(frame, x) for frame, x in zip(found, places, strict=True))


def test_a_face_that_stops_where_it_was_missed_is_covered() -> None:
    """The prediction runs on; the last box stays covered as well."""
    frames: list[list[float]] = [[100.0 + 10 * number] for number in range(10)]
    found = cover([*frames, [], [], [], [], []])
    assert all(is_covered(frame, 190) for frame in found[9:])
    assert all(is_covered(frame, 190 + 10 * gap) for gap, frame in enumerate(found[9:]))


def test_the_margin_grows_until_the_track_ends() -> None:
    found = cover([[100.0]] * 3 + [[]] * 10, max_age=4, lookback=0, growth=0.1)
    margins = [max(frame.margins, default=math.nan) for frame in found]
    print(margins)
    assert margins[:7] == pytest.approx([0.25] * 3 + [0.35, 0.45, 0.55, 0.65])
    assert not any(frame.boxes for frame in found[7:])


@pytest.mark.parametrize("every", [2, 3, 5])
def test_between_detections_faces_are_covered(every: int) -> None:
    found = cover(MOVING, detect_every=every)
    places = [places[0] for places in MOVING]
    assert all(is_covered(frame, x) for frame, x in zip(found, places, strict=True))


def test_a_face_missed_by_one_of_rare_detections_stays_covered() -> None:
    frames = [[] if 9 <= number < 15 else [100.0] for number in range(30)]
    found = cover(frames, detect_every=3, lookback=0)
    assert all(is_covered(frame, 100) for frame in found)


def test_faces_are_counted_and_forgotten() -> None:
    frames = [[20.0 * number] for number in range(0, 4000, 10)]
    watching = FaceCover(
        lambda image: [Face(np.array([image.mean(), 0, image.mean() + 5, 5], np.float32), 0.9)],
        lookback=0,
    )
    images = ((np.full((2, 2), places[0] % 251, np.uint8), 0.0) for places in frames)
    assert len(list(watching.frames(images))) == len(frames)
    print(f"{watching.faces} faces, {len(watching._seen)} known")
    assert watching.faces > 50
    assert len(watching._seen) <= 12


def test_nothing_to_cover() -> None:
    assert not any(frame.boxes for frame in cover([[]] * 5))
    assert cover([]) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": -1}, "margin must be at least 0"),
        ({"growth": math.nan}, "growth must be at least 0"),
        ({"detect_every": 0}, "detect_every must be at least 1"),
        ({"max_age": -1}, "max_age must be at least 0"),
        ({"lookback": -1}, "lookback must be at least 0"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FaceCover(lambda _: [], **options)
