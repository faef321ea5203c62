"""Enhancement and makeup against OpenCV's evaluation of the published formulas."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest

from mobileface import Face, enhance, makeup
from mobileface.effects.enhance import Enhancer, gamma_table, lighting_gamma
from mobileface.effects.makeup import face_mask, smooth, whiten
from mobileface.errors import ImageError, InputError
from mobileface.types import Landmarks
from mobileface.vision.image import Image


def picture(
    seed: int, low: int = 0, high: int = 256, shape: tuple[int, ...] = (60, 80, 3)
) -> Image:
    random = np.random.RandomState(seed)
    small = random.randint(low, high, (shape[0] // 4, shape[1] // 4, *shape[2:])).astype(np.uint8)
    return np.asarray(cv2.resize(small, (shape[1], shape[0])), np.uint8)


def published_gamma(gray: Image) -> float:
    """By OpenCV's histogram of the grey picture."""
    shares = cv2.calcHist([gray], [0], None, [256], [0, 256]).reshape(-1) / gray.size
    dark, bright = float(shares[:80].sum()), float(shares[200:].sum())
    if dark > max(bright, 1 - dark - bright):
        return float(np.clip(1 - dark**2 + 0.4, 0.4, 1))
    if bright > max(dark, 1 - dark - bright):
        return bright**3 + 2.5
    return 1.0


@pytest.mark.parametrize(("low", "high"), [(0, 120), (0, 70), (60, 190), (150, 256), (215, 256)])
@pytest.mark.parametrize("histogram", ["image", "first_row"])
def test_gamma_by_the_histogram(low: int, high: int, histogram: Any) -> None:
    for seed in range(5):
        image = picture(seed, low, high)
        rows = image[:1] if histogram == "first_row" else image
        gray = np.asarray(cv2.cvtColor(rows, cv2.COLOR_BGR2GRAY), np.uint8)
        expected = published_gamma(gray)
        found = lighting_gamma(image, histogram=histogram)
        assert found == pytest.approx(expected, abs=1e-6)
        rgb = np.ascontiguousarray(image[:, :, ::-1])
        assert lighting_gamma(rgb, histogram=histogram, color="rgb") == found
        table = np.array([round((v / 255) ** found * 255) for v in range(256)], np.uint8)
        assert np.array_equal(enhance(image, histogram=histogram), table[image])


def test_gray_pictures_and_views() -> None:
    image = picture(1, 0, 60)
    gray = image[:, :, 0]
    assert np.array_equal(enhance(gray), gamma_table(lighting_gamma(gray))[gray])
    assert np.array_equal(enhance(image[::2, ::2]), enhance(image[::2, ::2].copy()))


def test_the_light_of_a_video_is_followed_slowly() -> None:
    """A lamp goes out: the exponent goes from 1 to that of the dark, slowly."""
    light, dark = picture(6, 100, 180), picture(6, 0, 60)
    enhancer, fps, seen = Enhancer(20.0), 20, []
    assert np.array_equal(enhancer(light), light)
    for _ in range(80):
        found = enhancer(dark).astype(int)
        seen.append(float(found.mean()))
    goal = enhance(dark).astype(int)
    assert np.abs(found - goal).max() <= 1
    assert all(one <= other + 1e-9 for one, other in pairwise(seen))
    wanted = np.log(lighting_gamma(dark))
    half_second = dark.astype(float) / 255
    share = 1 - np.exp(-10 / (fps * 0.5))
    expected = (np.round(half_second ** np.exp(wanted * share) * 255)).mean()
    assert abs(seen[9] - expected) < 0.5
    assert np.array_equal(Enhancer(25, gamma=2.0)(dark), enhance(dark, gamma=2.0))
    with pytest.raises(InputError, match="fps 0"):
        Enhancer(0)


def test_strength_goes_from_nothing_to_all() -> None:
    image = picture(2, 0, 60)
    steps = [enhance(image, strength=value).astype(int) for value in (0, 0.25, 0.5, 0.75, 1)]
    assert np.array_equal(steps[0], image)
    assert np.array_equal(steps[-1], enhance(image))
    assert all((one <= other).all() for one, other in pairwise(steps))


def published_makeup(image: Image, rate: float = 0.15) -> Image:
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    hsv[:, :, 2] = np.clip(hsv[:, :, 2].astype(np.float64) * (1 + rate), 0, 255).astype(np.uint8)
    lighter = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    blurred = cv2.GaussianBlur(cv2.bilateralFilter(lighter, 15, 100, 100), (3, 3), 0)
    return (blurred * 0.7 + lighter * (1 - 0.7)).astype(np.uint8)


def test_makeup_is_the_published_formula() -> None:
    for seed in range(4):
        image = picture(seed)
        assert np.array_equal(makeup(image), published_makeup(image))
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        hsv[:, :, 2] = np.minimum(hsv[:, :, 2] * 1.3, 255).astype(np.uint8)
        assert np.array_equal(whiten(image, 0.3), cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR))
        filtered = cv2.GaussianBlur(cv2.bilateralFilter(image, 7, 30, 20), (3, 3), 0)
        expected = (filtered * 0.4 + image * (1 - 0.4)).astype(np.uint8)
        options = {"diameter": 7, "sigma_color": 30, "sigma_space": 20, "share": 0.4}
        assert np.array_equal(smooth(image, **options), expected)  # type: ignore[arg-type]


def test_the_order_of_channels() -> None:
    """RGB gives the same picture in RGB, up to the rounding of hues."""
    image = picture(3)
    rgb = np.ascontiguousarray(image[:, :, ::-1])
    found = makeup(rgb, color="rgb")[:, :, ::-1]
    assert np.array_equal(found, makeup(image))


def face(**fields: Any) -> Face:
    return Face(np.array([20, 10, 60, 50], np.float32), 1.0, **fields)


def test_only_faces_are_changed() -> None:
    """All in the middle, nothing far outside, softly in between; strength scales it."""
    image = picture(4, shape=(80, 120, 3))
    mask = face_mask(image.shape, [face()])
    changed = makeup(image, [face()])
    assert mask[30, 40] == 1
    assert mask[75, 110] == 0
    assert ((mask > 0.05) & (mask < 0.95)).sum() > 30
    assert np.array_equal(changed[mask == 0], image[mask == 0])
    full = makeup(image)
    assert np.array_equal(changed[mask == 1], full[mask == 1])
    weak = makeup(image, [face()], strength=0.5).astype(int)
    assert np.abs(weak - (image.astype(int) + changed) / 2).max() <= 1
    assert np.array_equal(makeup(image, []), image)
    assert np.array_equal(makeup(image, [face()], strength=0), image)


def test_the_mask_follows_the_eyes() -> None:
    """Turned and shifted as the landmarks are; either kind of landmarks will do."""
    names = ("left_eye", "right_eye")
    upright = Landmarks(names, np.array([[100, 100], [140, 100]], np.float32))
    turned = Landmarks(names, np.array([[100, 100], [100, 140]], np.float32))
    shape = (300, 300)
    one = face_mask(shape, [face(landmarks=upright)])
    other = face_mask(shape, [face(landmarks=turned)])
    rows, columns = np.nonzero(one > 0.5)
    assert abs(columns.mean() - 120) < 1
    assert abs(rows.mean() - 118) < 1
    assert np.ptp(rows) > np.ptp(columns)
    rows, columns = np.nonzero(other > 0.5)
    assert abs(columns.mean() - 82) < 1
    assert np.ptp(columns) > np.ptp(rows)
    corners = ("right_eye_outer", "right_eye_inner", "left_eye_outer", "left_eye_inner")
    places = np.array([[150, 100], [130, 100], [90, 100], [110, 100]], np.float32)
    same = face_mask(shape, [face(landmarks=Landmarks(corners, places))])
    assert np.array_equal(same, one)


@pytest.mark.parametrize("place", [(-500, -500), (1000, 40), (79, 119)])
def test_faces_at_and_beyond_the_border(place: tuple[int, int]) -> None:
    marks = Landmarks(
        ("left_eye", "right_eye"), np.array([place, np.add(place, (9, 0))], np.float32)
    )
    assert makeup(picture(5), [face(landmarks=marks)]).shape == (60, 80, 3)
    spot = Landmarks(("left_eye", "right_eye"), np.array([[5, 5], [5, 5]], np.float32))
    assert np.array_equal(makeup(picture(5), [face(landmarks=spot)]), picture(5))


BAD: list[tuple[Any, dict[str, Any]]] = [
    (enhance, {"strength": 1.1}),
    (enhance, {"strength": -0.1}),
    (enhance, {"gamma": 0}),
    (enhance, {"gamma": float("nan")}),
    (enhance, {"histogram": "rows"}),
    (enhance, {"color": "hsv"}),
    (makeup, {"strength": 2}),
    (makeup, {"whiten_rate": float("inf")}),
    (makeup, {"whiten_rate": -2}),
    (makeup, {"diameter": 0}),
    (makeup, {"diameter": 1000}),
    (makeup, {"sigma_color": 0}),
    (makeup, {"share": 1.5}),
    (makeup, {"color": "gray"}),
]


def _name(value: Any) -> str:
    """The same name for a case in every process."""
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize(("function", "options"), BAD, ids=_name)
def test_options_out_of_range(function: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        function(picture(1), **options)
    print(caught.value)


def test_what_is_no_picture() -> None:
    for function in (enhance, makeup):
        with pytest.raises(ImageError):
            function(np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(InputError, match="a colour image is required, not a greyscale"):
        makeup(np.zeros((4, 4), np.uint8))
