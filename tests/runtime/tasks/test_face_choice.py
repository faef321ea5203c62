"""Which of several faces is used, by every kind of choice."""

from __future__ import annotations

import numpy as np
import pytest

from mobileface.errors import InputError
from mobileface.tasks.face_choice import check_choice, choose_face
from mobileface.types import Face


def face(x1: float, y1: float, x2: float, y2: float, score: float) -> Face:
    return Face(np.array([x1, y1, x2, y2], np.float32), score)


LEFT = face(0, 50, 40, 90, 0.5)
MIDDLE = face(30, 0, 130, 100, 0.7)
RIGHT = face(200, 10, 240, 50, 0.9)
FACES = (RIGHT, MIDDLE, LEFT)  # by score, as detectors give them


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("largest", MIDDLE),
        ("surest", RIGHT),
        (" Largest ", MIDDLE),
        ("0", LEFT),
        (1, MIDDLE),
        ("2", RIGHT),
        ("220,30", RIGHT),
        ("200,10", RIGHT),  # the edge belongs to it
        ("35,60", LEFT),  # in both; this centre is nearer
        ("39.5, 50.5", LEFT),
        ("60,60", MIDDLE),
    ],
)
def test_choices(choice: str | int, expected: Face) -> None:
    assert choose_face(FACES, choice) is expected
    assert choose_face(FACES[::-1], choice) is expected  # whatever their order


def test_of_equal_faces_the_leftmost() -> None:
    twin = face(300, 0, 400, 100, 0.9)
    for choice in ("largest", "surest"):
        pair = (MIDDLE if choice == "largest" else RIGHT, twin)
        assert choose_face(pair, choice) is pair[0]
        assert choose_face(pair[::-1], choice) is pair[0]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("3", r"there is no face 3, only 3.*from left to right: \(0, 50\)-\(40, 90\), \(30, 0\)"),
        ("150,30", r"no face at 150,30; the faces are: "),
        ("all", "all faces of a group photo would be treated as the same person; choose largest"),
        ("ALL", "'all' is not a choice"),
        ("best", "'best' does not choose a face; choose largest, surest, N"),
        ("-1", "does not choose a face"),
        ("1.5", "does not choose a face"),
        ("nan,3", "does not choose a face"),
        ("1,2,3", "does not choose a face"),
        ("", "does not choose a face"),
        ("9" * 5000, "does not choose a face"),
        ("²", "does not choose a face"),
    ],
)
def test_choices_that_fit_no_face(choice: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        choose_face(FACES, choice)
    assert len(str(caught.value)) < 300


def test_the_place_is_named() -> None:
    with pytest.raises(InputError, match=r"photo\.jpg: there is no face 7"):
        choose_face(FACES, 7, "photo.jpg")
    with pytest.raises(InputError, match=r"photo\.jpg: no face found"):
        choose_face((), "largest", "photo.jpg")
    assert check_choice(4) == "4"
