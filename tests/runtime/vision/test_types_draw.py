"""What the tasks return, joining landmarks of several models, and drawing them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mobileface.errors import ImageError, InputError
from mobileface.tasks.drawing import draw_faces
from mobileface.tasks.landmarks import check_boxes, merge_landmarks
from mobileface.types import Detections, Face, Landmarks, Pose

FIVE = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
SIZES = [(20, 20), (1, 1), (700, 1280), (3000, 2000)]

UInt8 = npt.NDArray[np.uint8]


def marks(names: tuple[str, ...] = FIVE) -> Landmarks:
    points = np.arange(2 * len(names), dtype=np.float32).reshape(-1, 2)
    return Landmarks(names, points)


def test_select() -> None:
    face = marks()
    found = face.select(("nose", "left_eye", "nose"))
    assert found is not None
    assert found.dtype == np.float32
    assert found.tolist() == [[4, 5], [0, 1], [4, 5]]
    assert found.tolist() == face.points[[2, 0, 2]].tolist()


def test_select_the_middle_of_the_mouth() -> None:
    found = marks().select(("mouth", "nose"))
    assert found is not None
    assert found.tolist() == [[7, 8], [4, 5]]
    own = marks((*FIVE, "mouth")).select(("mouth",))
    assert own is not None
    assert own.tolist() == [[10, 11]]


@pytest.mark.parametrize(
    "names", [("chin",), ("left_eye", "chin"), ("chin", "left_eye"), (), ("Left_eye",)]
)
def test_select_what_is_absent(names: tuple[str, ...]) -> None:
    assert marks().select(names) is None


def test_one_corner_is_no_mouth() -> None:
    assert marks(("left_mouth", "nose")).select(("mouth",)) is None
    assert marks(()).select(("nose",)) is None


def test_select_copies() -> None:
    face = marks()
    found = face.select(FIVE)
    assert found is not None
    found[:] = -1
    assert face.points.min() == 0


def test_merged_landmarks() -> None:
    """In the order eyes, nose, mouth; what two models give is the mean."""
    eme = Landmarks(("left_eye", "mouth", "right_eye"), np.array([[0, 0], [5, 9], [10, 0]], "f4"))
    ene = Landmarks(("nose", "right_eye", "left_eye"), np.array([[5, 5], [12, 2], [1, 1]], "f4"))
    joined = merge_landmarks([eme, ene])
    assert joined.names == ("left_eye", "right_eye", "nose", "mouth")
    assert joined.points.tolist() == [[0.5, 0.5], [11, 1], [5, 5], [5, 9]]
    assert joined.points.dtype == np.float32
    assert merge_landmarks([eme]).names == ("left_eye", "right_eye", "mouth")
    assert merge_landmarks([]).points.shape == (0, 2)
    other = Landmarks(("chin",), np.array([[5, 12]], np.float32))
    assert merge_landmarks([other, ene]).names == ("left_eye", "right_eye", "nose", "chin")


def test_boxes() -> None:
    """Fractions are cut off toward zero; nothing is an empty list."""
    found = check_boxes([[1.9, -1.9, 5, 2**30]])
    assert found.dtype == np.int64
    assert found.tolist() == [[1, -1, 5, 2**30]]
    for empty in ([], np.empty((0, 4)), np.empty((0, 5)), ()):
        assert check_boxes(empty).shape == (0, 4)


@pytest.mark.parametrize(
    "boxes",
    [
        [1, 2, 3, 4],
        [[1, 2, 3]],
        [[1, 2, 3, 4, 5]],
        [[[1, 2, 3, 4]]],
        [[1, 2, 3, np.nan]],
        [[1, 2, np.inf, 4]],
        [[0, 0, 1, 1], [-(2.0**31), 0, 5, 5]],
        [[0, 0, 1e300, 1]],
        [[1, 2], [3]],
        "boxes",
        None,
        [["a", "b", "c", "d"]],
        [[1j, 0, 1, 1]],
    ],
    ids=str,
)
def test_bad_boxes(boxes: Any) -> None:
    with pytest.raises(InputError) as caught:
        check_boxes(boxes)
    print(caught.value)


def test_results_are_frozen() -> None:
    box = np.zeros(4, np.float32)
    face = Face(bbox=box, det_score=1.0)
    assert face.kps is None
    for value, name in (
        (face, "det_score"),
        (marks(), "names"),
        (Pose(1, 2, 3), "yaw"),
        (Detections(box[None], box[:1]), "scores"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, 0)
    assert Pose(1, 2, 3) == Pose(1, 2, 3)
    assert len(Detections(np.zeros((3, 4), np.float32), np.zeros(3, np.float32))) == 3
    with_points = dataclasses.replace(face, landmarks=marks())
    assert with_points.kps is not None
    assert with_points.kps.shape == (5, 2)
    assert face in [face]


def full_face(height: int, width: int) -> Face:
    """In the middle of a picture, a third of it on each side, with everything that is drawn."""
    box = np.array([width / 3, height / 3, width * 2 / 3, height * 2 / 3], np.float32)
    points = box[:2] + (box[2:] - box[:2]) * np.random.default_rng(0).random((5, 2))
    landmarks = Landmarks(FIVE, points.astype(np.float32))
    return Face(box, 1.25, landmarks, Pose(-12.0, 3.0, 45.0), np.ones(4, np.float32) / 2)


def picture(height: int, width: int, channels: int = 3) -> UInt8:
    shape = (height, width, channels) if channels else (height, width)
    return np.random.default_rng(1).integers(100, 110, shape, np.uint8)


@pytest.mark.parametrize("channels", [3, 1, 0])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_drawn(height: int, width: int, channels: int) -> None:
    """The picture changes near the box, nowhere else, and the caller's own stays as it was."""
    image = picture(height, width, channels)
    before = image.copy()
    face = full_face(height, width)
    drawn = draw_faces(image, [face])
    assert np.array_equal(image, before)
    assert drawn.shape == (height, width, 3)
    assert drawn.dtype == np.uint8
    assert not np.shares_memory(drawn, image)
    plain = draw_faces(image, [])
    changed = (drawn != plain).any(axis=2)
    assert face.kps is not None
    if height >= 20:
        x1, y1, x2, y2 = np.round(face.bbox).astype(int)
        for row, column in ((y1, (x1 + x2) // 2), ((y1 + y2) // 2, x1), (y2, x2)):
            assert changed[row, column]
        for x, y in np.round(face.kps).astype(int):
            assert changed[y, x]
    print(f"{height}×{width}: {changed.mean():.1%} of the pixels changed")
    assert changed.any()
    if height >= 700:
        assert changed.mean() < 0.05
        assert not changed[: height // 6].any()
        assert not changed[-height // 6 :].any()


def test_gray_becomes_bgr() -> None:
    image = picture(30, 40, 0)
    drawn = draw_faces(image, [])
    assert all(np.array_equal(drawn[:, :, channel], image) for channel in range(3))
    assert np.array_equal(draw_faces(image[:, :, None], []), drawn)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("step", [1, -1, 2])
def test_views_can_be_drawn_on(order: Any, step: int) -> None:
    image = np.asarray(picture(90, 120), order=order)[::step, ::step, ::-1]
    before = image.copy()
    image.flags.writeable = False
    drawn = draw_faces(image, [full_face(*image.shape[:2])])
    assert np.array_equal(image, before)
    assert (drawn != image).any()


BEYOND: dict[str, list[float]] = {
    "left": [-500, 20, -300, 60],
    "below": [10, 5000, 60, 6000],
    "far away": [-1e6, -1e6, -9e5, -9e5],
    "across the upper left corner": [-30, -30, 20, 20],
    "around the picture": [-100, -100, 400, 300],
    "turned over": [60, 60, 10, 10],
    "a point": [40, 40, 40, 40],
}


@pytest.mark.parametrize("name", BEYOND)
def test_boxes_beyond_the_picture(name: str) -> None:
    image = picture(80, 100)
    box = np.array(BEYOND[name], np.float32)
    points = np.stack([box[:2], box[2:], box[:2], box[2:], box[:2]])
    drawn = draw_faces(image, [Face(box, -0.5, Landmarks(FIVE, points), Pose(0, 0, 0))])
    assert drawn.shape == image.shape


def test_many_faces() -> None:
    image = picture(200, 300)
    faces = [full_face(200, 300) for _ in range(50)]
    assert draw_faces(image, faces).shape == image.shape
    assert np.array_equal(draw_faces(image, faces[:1]), draw_faces(image, faces[:1]))


@pytest.mark.parametrize(
    "image", [np.zeros((20, 20, 4), np.uint8), np.zeros((20, 20)), None, np.zeros((0, 9), np.uint8)]
)
def test_no_picture(image: Any) -> None:
    with pytest.raises(ImageError):
        draw_faces(image, [])
