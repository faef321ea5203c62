"""SORT's published rule of confirmation: cases computed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from mobileface import Tracker
from tests.runtime.tracking.test_track import HERE, feed, ids

STREAKS: dict[str, tuple[dict[str, Any], str, str]] = {
    "the first three frames count at once": ({}, "######", "######"),
    "the count does not include the first detection": ({}, "...#####", "......##"),
    "a face that comes in the first frames is lost in between": ({}, ".#####", ".##.##"),
    "a miss in the first frames": ({}, "#.####", "#.#.##"),
    "a miss begins the count anew": ({}, "#####.####", "#####...##"),
    "two misses end it; then one detection more is needed": ({}, "#####..#####", "#####.....22"),
    "every third frame missed": ({}, "##.##.##.##.", "##.........."),
    "every fourth frame missed": ({}, "###.###.###.", "###...#...#."),
    "min_hits 1": ({"min_hits": 1}, ".##.#", "..#.#"),
    "max_age 2": ({"max_age": 2}, "####..####", "####....##"),
}
"""SORT's published rule (arXiv 1602.00763, section 3.4, and its program): options, the frames in
which a face is detected, and those in which it is reported, as identity 1 (#) or another."""


@pytest.mark.parametrize("name", STREAKS)
def test_published_confirmation_by_hand(name: str) -> None:
    options, seen, expected = STREAKS[name]
    options = {"confirmation": "streak", "max_age": 1, "min_hits": 3, **options}
    found = feed(Tracker(**options), [[HERE] if mark == "#" else [] for mark in seen])
    marks = "".join(".#23"[row[0]] if row else "." for row in found)
    print(f"{seen} -> {marks}")
    assert marks == expected


def test_prediction_of_a_streak() -> None:
    """Between detections what was last reported goes on, and nothing else."""
    tracker = Tracker(confirmation="streak", max_age=1, min_hits=3)
    feed(tracker, [[HERE]] * 4)
    assert ids(tracker.predict()) == [1]
    assert not tracker.unsettled
    feed(tracker, [[], [HERE]])
    assert tracker.predict() == []
    assert tracker.unsettled
    assert feed(tracker, [[HERE]] * 2) == [[], [1]]
