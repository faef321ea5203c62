"""Backgrounds against composites whose alpha is known, and against the formulas."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import mobileface
from mobileface import Backdrop, BackgroundChanger, change_background
from mobileface.arrays import FloatArray
from mobileface.effects.backdrops import COLORS, parse_color
from mobileface.effects.background import person_alpha, shows_person, with_heads
from mobileface.effects.background_video import MaskSmoother, small_mask
from mobileface.errors import ImageError, InputError
from mobileface.vision.image import Image
from mobileface.vision.picture_files import read_image
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)

SHAPES = [(512, 512), (720, 1280), (301, 203), (64, 90)]


def scene(height: int, width: int, seed: int = 5) -> tuple[Image, FloatArray, Image, FloatArray]:
    """A dark head with strands of hair before a bright wall, with its true alpha and colours."""
    random = np.random.RandomState(seed)
    scale = 4
    big = np.zeros((height * scale, width * scale), np.uint8)
    center, radius = (width * scale // 2, height * scale // 2), min(height, width) * scale // 4
    cv2.circle(big, center, radius, (255,), -1)
    for angle in random.uniform(0, 2 * math.pi, 150):
        reach = radius * random.uniform(1.02, 1.10)
        end = (
            round(center[0] + reach * math.cos(angle)),
            round(center[1] + reach * math.sin(angle)),
        )
        cv2.line(big, center, end, (255,), scale)
    alpha = cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    wall = cv2.resize(
        random.uniform(190, 230, (4, 4, 3)).astype(np.float32), (width, height), cv2.INTER_CUBIC
    )
    people = np.full((height, width, 3), (40, 60, 80), np.float32)
    people += random.normal(0, 4, people.shape)
    image = np.clip(np.rint(wall + alpha[..., None] * (people - wall)), 0, 255).astype(np.uint8)
    coarse = cv2.resize(alpha, (256, 256), interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), 1.5)  # a network's edges are soft
    return image, np.asarray(alpha, np.float32), people, np.asarray(coarse, np.float32)


def plain(mask: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """A mask stretched bilinearly."""
    return np.asarray(cv2.resize(mask, (shape[1], shape[0])), np.float32)


@pytest.mark.parametrize("shape", SHAPES[:2])
def test_alpha_is_nearer_to_the_truth_than_a_stretched_mask(shape: tuple[int, int]) -> None:
    image, truth, _, coarse = scene(*shape)
    refined = person_alpha(image, coarse).astype(np.float32) / 255
    edge = cv2.dilate(((truth > 0) & (truth < 1)).astype(np.uint8), np.ones((9, 9))) > 0
    before, after = (
        float(np.abs(found - truth)[edge].mean()) for found in (plain(coarse, shape), refined)
    )
    print(f"{shape}: mean error on edges {before:.3f} stretched, {after:.3f} refined")
    assert after < 0.6 * before


@pytest.mark.parametrize("shape", SHAPES[:2])
def test_composites_are_nearer_to_the_truth_without_the_old_wall(shape: tuple[int, int]) -> None:
    """Blur fusion: the wall's colour does not shine through hair."""
    image, truth, people, coarse = scene(*shape)
    fill = np.array((90, 30, 20), np.float32)  # BGR
    wanted = fill + truth[..., None] * (people - fill)
    found = change_background(image, coarse, Backdrop(fill=(20, 30, 90)))
    alpha = person_alpha(image, coarse)[..., None].astype(np.float32) / 255
    mixed = fill + alpha * (image - fill)
    edge = (alpha[..., 0] > 0) & (alpha[..., 0] < 1)
    before, after = (float(np.abs(one - wanted)[edge].mean()) for one in (mixed, found))
    print(
        f"{shape}: {before:.1f} grey levels off with the image's own colours, {after:.1f} without"
    )
    assert after < 0.6 * before


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("gray", [False, True])
def test_people_stay_and_the_background_is_gone(shape: tuple[int, int], gray: bool) -> None:
    """Exactly, where alpha is 255 or 0."""
    image, _, _, coarse = scene(*shape)
    image = image[:, :, 1].copy() if gray else image
    before = image.copy()
    alpha = person_alpha(image, coarse)
    found = change_background(image, coarse, Backdrop(fill="#0a141e"))
    assert np.array_equal(image, before)
    assert found.shape == image.shape
    assert np.array_equal(found[alpha == 255], image[alpha == 255])
    pixel = np.array([30, 20, 10], np.uint8)
    if gray:
        pixel = cv2.cvtColor(pixel[None, None], cv2.COLOR_BGR2GRAY)[0, 0]
    assert (found[alpha == 0] == pixel).all()
    share = (alpha == 255).mean(), (alpha == 0).mean()
    print(f"{shape}: people {share[0]:.2f}, background {share[1]:.2f}")
    assert share[0] > 0.1
    assert share[1] > 0.5


def test_strength_0_is_the_input(portrait: Path) -> None:
    image = read_image(portrait)
    found = change_background(image, np.zeros((256, 256), np.float32), Backdrop(blur=0))
    assert np.array_equal(found, image)
    assert found is not image


@pytest.mark.parametrize("strength", [0.05, 0.5, 1, 4])
def test_no_colour_of_people_spreads_into_the_blur(strength: float) -> None:
    """A red disc before a gray wall: a Gaussian of the whole image would make a red halo."""
    image = np.full((400, 600, 3), 120, np.uint8)
    mask = np.zeros((400, 600), np.uint8)
    cv2.circle(mask, (300, 200), 100, (255,), -1)
    image[mask > 0] = (20, 20, 220)
    alpha = mask.astype(np.float32) / 255
    found = change_background(image, alpha, Backdrop(blur=strength))
    away = cv2.dilate(mask, np.ones((3, 3))) == 0
    error = int(np.abs(found.astype(int) - 120)[away].max())
    halo = cv2.GaussianBlur(image, (0, 0), strength * 0.015 * 600)
    print(f"{strength}: {error} levels, plain blur {np.abs(halo.astype(int) - 120)[away].max()}")
    assert error <= 1


@pytest.mark.parametrize("strength", [0.2, 1, 3])
def test_the_blur_is_a_gaussian_of_the_stated_sigma(strength: float) -> None:
    """Without people, that of OpenCV at the full size."""
    random = np.random.RandomState(1)
    image = cv2.resize(random.randint(0, 256, (30, 40, 3)).astype(np.uint8), (640, 480))
    found = change_background(image, np.zeros((64, 64), np.float32), Backdrop(blur=strength))
    expected = cv2.GaussianBlur(
        image, (0, 0), strength * 0.015 * 640, borderType=cv2.BORDER_REFLECT
    )
    error = np.abs(found.astype(float) - expected)
    print(f"{strength}: mean {error.mean():.2f}, most {error.max():.0f} levels")
    assert error.mean() < 1


def test_a_picture_covers_and_is_cut_to_its_middle() -> None:
    """Columns of a wide picture have their number as colour: the middle ones are seen."""
    picture = np.repeat(np.arange(200, dtype=np.uint8)[None], 50, axis=0)
    empty = np.zeros((16, 16), np.float32)
    found = change_background(np.zeros((50, 50, 3), np.uint8), empty, Backdrop(picture=picture))
    assert np.array_equal(found[7, :, 0], np.arange(75, 125))
    tall = change_background(np.zeros((50, 50), np.uint8), empty, Backdrop(picture=picture.T))
    assert np.array_equal(tall[:, 7], np.arange(75, 125))
    twice = change_background(np.zeros((100, 100), np.uint8), empty, Backdrop(picture=picture))
    error = float(np.abs(twice[50] - (np.arange(100) / 2 + 74.75)).max())
    print(f"{error:.2f}")
    assert error <= 0.75
    red = np.full((3, 5, 3), (255, 0, 0), np.uint8)
    shown = change_background(
        np.zeros((9, 9, 3), np.uint8), empty, Backdrop(picture=red, color="rgb")
    )
    assert (shown == (0, 0, 255)).all()


def test_the_portrait(portrait: Path) -> None:
    """The face stays, the flag goes; rgb is bgr turned round; shapes of masks do not matter."""
    image = read_image(portrait)
    mask = small_mask(mobileface.load("segmentation_selfie"), image)
    assert mask.shape == (256, 256)
    assert shows_person(mask)
    found = change_background(image, mask, Backdrop(fill="lime"))
    assert np.array_equal(found[80:160, 195:255], image[80:160, 195:255])
    assert (found[:200, :60] == (0, 255, 0)).mean() > 0.99
    turned = change_background(
        np.ascontiguousarray(image[:, :, ::-1]), mask, Backdrop(fill="lime"), color="rgb"
    )
    error = int(np.abs(turned[:, :, ::-1].astype(int) - found).max())
    print(f"rgb: {error}")
    assert error <= 1


def test_masks_follow_the_stated_filter() -> None:
    """Still: 1 − exp(−t / 0.15 s) of a step; moved: at once."""
    gray = np.full((256, 256), 90, np.uint8)
    smoother = MaskSmoother()
    smoother(np.zeros((256, 256), np.float32), gray, 0.04)
    for number in range(1, 6):
        found = smoother(np.ones((256, 256), np.float32), gray + number % 2, 0.04)
        expected = 1 - math.exp(-number * 0.04 / 0.15)
        error = float(np.abs(found - expected).max())
        print(f"{number}: {found[0, 0]:.4f}, {error:.1g} off")
        assert error < 1e-5
    moved = gray.copy()
    moved[:, 192:] = 140
    new = np.zeros((256, 256), np.float32)
    found = smoother(new, moved, 0.04)
    assert (found[:, 204:] == 0).all()
    assert found[0, 60] == pytest.approx(expected * math.exp(-0.04 / 0.15), abs=1e-5)
    cut = smoother(np.ones((256, 256), np.float32), 255 - moved // 2, 0.04)
    assert (cut == 1).all()


def test_no_ghosts_and_less_flicker(portrait: Path) -> None:
    """A portrait that moves 6 pixels a frame, a still one with noise, then a cut."""
    segmenter = mobileface.load("segmentation_selfie")
    image, random = read_image(portrait), np.random.RandomState(3)
    changer = BackgroundChanger(segmenter, Backdrop(fill="lime"), fps=25)
    for shift in range(0, 120, 6):
        frame = np.ascontiguousarray(np.roll(image, shift, axis=1))
        found = changer(frame)
    alone = change_background(frame, small_mask(segmenter, frame), Backdrop(fill="lime"))
    ghosts = float((np.abs(found.astype(int) - alone) > 40).any(axis=2).mean())
    print(f"{ghosts:.4f} of a moving picture differ from the frame alone")
    assert ghosts < 0.01
    still, single, before = [], [], None
    changer = BackgroundChanger(segmenter, Backdrop(fill="lime"), fps=25)
    for _ in range(12):
        noisy = np.clip(image + random.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
        pair = (
            changer(noisy),
            change_background(noisy, small_mask(segmenter, noisy), changer.backdrop),
        )
        if before is not None:
            green = [
                [(one == (0, 255, 0)).all(axis=2) for one in (now, last)]
                for now, last in zip(pair, before, strict=True)
            ]
            still.append((green[0][0] != green[0][1]).mean())
            single.append((green[1][0] != green[1][1]).mean())
        before = pair
    flicker = float(np.mean(still[4:])), float(np.mean(single[4:]))
    print(f"pixels that change sides: {flicker[0]:.4%} smoothed, {flicker[1]:.4%} alone")
    assert flicker[0] < 0.75 * flicker[1]
    wall = np.full_like(image, 200)
    assert (changer(wall) == (0, 255, 0)).all()
    assert changer.frames == 13
    assert changer.empty == 1


def test_heads_are_kept_where_the_mask_shows_nobody(portrait: Path) -> None:
    """The face with its hair stays as it is, what is far from it is replaced."""
    image = np.asarray(read_image(portrait), np.uint8)
    (box,) = mobileface.load_detector("detection_yunet").detect(image).boxes
    mask = with_heads(np.zeros((256, 256), np.float32), box[None], image.shape)
    result = change_background(image, mask, Backdrop(fill="lime"))
    x1, y1, x2, y2 = box.astype(int)
    w, h = (x2 - x1) // 5, (y2 - y1) // 5  # without the corners of the box
    changed = np.abs(result.astype(int) - image).max(axis=2)
    face = changed[y1 + h : y2 - h, x1 + w : x2 - w]
    print(f"face {face.mean():.2f}, far from it {changed[-90:, :90].mean():.0f} levels")
    assert face.mean() <= 0.1
    assert changed[y1 - (y2 - y1) // 4 : y1, (x1 + x2) // 2].max() <= 2  # the hair above
    assert (result[-90:, :90] == (0, 255, 0)).all()
    assert (with_heads(mask, np.zeros((0, 4)), image.shape) == mask).all()


def test_colors_are_those_of_css() -> None:
    colors = pytest.importorskip("PIL.ImageColor")

    for name in COLORS:
        assert parse_color(name) == colors.getrgb(name)
    for text in ("#102030", "#abc", "#FFEEDD"):
        assert parse_color(text) == colors.getrgb(text)
    assert parse_color("White") == (255, 255, 255)


def test_what_is_refused() -> None:
    image, mask = np.zeros((8, 8, 3), np.uint8), np.zeros((4, 4), np.float32)
    for options in ({}, {"blur": 1, "fill": "red"}):
        with pytest.raises(InputError, match="one of blur, fill and picture"):
            Backdrop(**options)
    for strength in (-0.1, 4.1, math.nan):
        with pytest.raises(InputError, match="between 0 and 4"):
            Backdrop(blur=strength)
    for fill in ("#12345", "pinkish", (1, 2), (0, 0, 256), (0.5, 0, 0)):
        with pytest.raises(InputError, match="colour"):
            Backdrop(fill=fill)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="picture: expected dtype uint8"):
        Backdrop(picture=np.zeros((2, 2), np.float32))  # type: ignore[arg-type]
    backdrop = Backdrop(fill="red")
    with pytest.raises(ImageError, match="drop the alpha channel"):
        change_background(np.zeros((8, 8, 4), np.uint8), mask, backdrop)
    for bad in (np.zeros((4, 4, 1), np.float32), np.zeros((4, 4), int), np.full((4, 4), np.nan)):
        with pytest.raises(ImageError, match="mask: expected"):
            change_background(image, bad, backdrop)
    with pytest.raises(InputError, match="color must be"):
        change_background(image, mask, backdrop, color="hsv")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="fps 0 is not"):
        BackgroundChanger(mobileface.load("segmentation_selfie"), backdrop, fps=0)


LARGE = """
import json, resource, sys
import cv2, numpy as np, mobileface
from mobileface import Backdrop, change_background
from mobileface.effects.background_video import small_mask
segmenter, small = mobileface.load("segmentation_selfie"), mobileface.read_image(sys.argv[1])
backdrop = Backdrop(blur=1) if sys.argv[2] == "blur" else Backdrop(fill="red")
change_background(small, small_mask(segmenter, small), backdrop)
image = np.empty((4000, 5000, 3), np.uint8)
cv2.resize(small, (5000, 4000), dst=image)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
change_background(image, small_mask(segmenter, image), backdrop)
print(json.dumps(peak() - before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measured on Linux only")
@pytest.mark.parametrize("how", ["blur", "fill"])
def test_large_images_need_little_memory(how: str, portrait: Path) -> None:
    """20 megapixels: 60 MB of result, 20 each of gray values and of alpha, and strips."""
    command = [sys.executable, "-c", LARGE, str(portrait), how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    added = json.loads(done.stdout)
    print(f"{how}: {added:.0f} MB more")
    assert added < 250
