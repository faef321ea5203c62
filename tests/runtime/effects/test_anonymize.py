"""What is left of a covered face: by both detectors, by embeddings, and by the formula."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from mobileface import Detector, Face, FaceAnalyzer, anonymize, find_calibration, load_detector
from mobileface.effects.anonymize import AnonymizeMethod, region_weight
from mobileface.effects.mesh_shape import MEAN_SHAPE
from mobileface.errors import ImageError, InputError
from mobileface.matching.decisions import decision_rule, verdict
from mobileface.types import Landmarks
from mobileface.vision.image import Image
from mobileface.vision.picture_files import read_image
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)

METHODS: tuple[AnonymizeMethod, ...] = ("blur", "pixelate", "fill")
SCALES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
EVERY: tuple[AnonymizeMethod, ...] = (*METHODS, "average")
"""Those that leave no face, and the one that draws another."""

CELLS = 4
"""Cells across a face at strength 1, as documented."""


def face(*box: float, roll: float | None = None) -> Face:
    return Face(bbox=np.array(box, np.float32), det_score=0.9, roll=roll)


def noise(*shape: int, seed: int = 3) -> Image:
    return np.asarray(np.random.RandomState(seed).randint(0, 256, shape), np.uint8)


def scaled(image: Image, scale: float) -> Image:
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=method), np.uint8)


@pytest.fixture(scope="module")
def detectors() -> dict[str, Detector]:
    return {name: load_detector(name) for name in ("detection_yunet", "detection_hog")}


def on_face(found: npt.NDArray[np.float32], box: npt.NDArray[np.float32]) -> int:
    """Number of boxes whose centre is in the box."""
    centers = (found[:, :2] + found[:, 2:]) / 2
    return int(((centers > box[:2]) & (centers < box[2:])).all(axis=1).sum())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["detection_yunet", "detection_hog"])
def test_no_detector_finds_the_face_again(
    name: str, detectors: dict[str, Detector], portrait: Path
) -> None:
    """At a quarter of the size to four times as large, by each method and both detectors."""
    image, detector = read_image(portrait), detectors[name]
    (found,) = FaceAnalyzer(tasks=("detection",)).detect(image)
    before = [on_face(detector(scaled(image, s)).boxes / s, found.bbox) for s in SCALES]
    print(f"before: {before}")
    assert sum(before) >= 6  # dlib's detector does not find faces below 40 pixels
    for method in METHODS:
        covered = anonymize(image, [found], method=method)
        after = [on_face(detector(scaled(covered, s)).boxes / s, found.bbox) for s in SCALES]
        print(f"{method}: {after}")
        assert after == [0] * len(SCALES)


def test_what_is_left_resembles_the_face_no_more_than_a_stranger(portrait: Path) -> None:
    """The embedding of the covered face, cut by the points of the face that was there."""
    image, analyzer = read_image(portrait), FaceAnalyzer()
    (before,) = analyzer(image)
    assert before.landmarks is not None
    assert analyzer.embedder is not None
    calibration = find_calibration(analyzer.embedder.identity)
    assert calibration is not None
    rates = np.array(calibration.false_match_curve.value)
    median = calibration.similarity[int((rates > 0.5).sum())]
    rule = decision_rule(calibration)
    for method in EVERY:
        for scale in (0.5, 1.0, 2.0):
            covered = scaled(anonymize(image, [before], method=method), scale)
            marks = Landmarks(before.landmarks.names, before.landmarks.points * np.float32(scale))
            there = Face(before.bbox * np.float32(scale), 0.9, landmarks=marks)
            (after,) = analyzer.describe(covered, [there], ("embedding",))
            similarity = before.similarity(after)
            print(f"{method} ×{scale}: {similarity:.4f}, strangers' median {median:.4f}")
            assert method == "average" or similarity < median + 0.004
            assert verdict(similarity, rule, calibration).answer == "different"


@pytest.mark.slow
@pytest.mark.needs_source
def test_a_drawn_face_is_none_of_a_hundred_people(source: Path) -> None:
    """Put over each portrait, no embedding of it matches its person by the calibrated rule."""
    analyzer = FaceAnalyzer(intra_op_num_threads=1)
    assert analyzer.embedder is not None
    calibration = find_calibration(analyzer.embedder.identity)
    assert calibration is not None
    rule = decision_rule(calibration)
    found, answers = [], []
    for folder in sorted((source / "data" / "LFW-Aligned-100Pair").iterdir()):
        image = read_image(sorted(folder.glob("*.jpg"))[0])
        for before in analyzer(image)[:1]:
            covered = anonymize(image, [before], method="average")
            there = Face(before.bbox, 0.9, landmarks=before.landmarks)
            (after,) = analyzer.describe(covered, [there], ("embedding",))
            found.append(before.similarity(after))
            answers.append(verdict(found[-1], rule, calibration).answer)
    print(
        f"{len(found)} people: similarity {min(found):.4f} to {max(found):.4f}, {Counter(answers)}"
    )
    assert len(found) >= 95
    assert answers.count("same") == 0


def test_the_drawn_face_is_that_of_the_mean_shape(portrait: Path) -> None:
    """Turned with the head, found by detection_yunet, and the same over everybody.

    The mesh of what is drawn lies on the mean shape in the box, within 6 % of the face's size.
    """
    image = read_image(portrait)
    analyzer = FaceAnalyzer(tasks=("detection", "landmarks"), landmarks="landmark_mesh")
    (before,) = analyzer(image)
    large = scaled(image, 2)
    for roll in (0.0, 15.0, -15.0):
        wanted = Face(before.bbox * np.float32(2), 0.9, roll=roll)
        drawn = anonymize(large, [wanted], method="average")
        (after,) = analyzer(drawn)
        assert after.mesh is not None
        center, half = (
            (wanted.bbox[:2] + wanted.bbox[2:]) / 2,
            (wanted.bbox[2:] - wanted.bbox[:2]) / 2,
        )
        sine, cosine = np.sin(np.radians(roll)), np.cos(np.radians(roll))
        shape = MEAN_SHAPE[:, :2] / np.abs(MEAN_SHAPE[:, :2]).max(axis=0)
        across = math.hypot(half[0] * cosine, half[1] * sine)
        down = math.hypot(half[1] * cosine, half[0] * sine)
        expected = (shape * [across, down]) @ [[cosine, sine], [-sine, cosine]] + center
        error = np.linalg.norm(after.mesh.points - expected, axis=1).mean() / (2 * half[1])
        print(f"turned by {roll}: mesh {100 * error:.1f} % of the face's size off")
        assert error < 0.06


@pytest.mark.parametrize("channels", [(), (3,)])
def test_cells_are_the_means_of_their_pixels(channels: tuple[int, ...]) -> None:
    """A box of 64 pixels in an image of whole cells: each cell is NumPy's mean of its pixels."""
    image = noise(160, 160, *channels)
    side = 64 // CELLS
    covered = anonymize(image, [face(48, 48, 112, 112)], method="pixelate", margin=0, shape="box")
    # The part that the soft edge reaches: 64 / √2 + 0.15 · 64 + 1 pixels around the centre.
    reach = math.hypot(32, 32) + 0.15 * 64 + 1
    start, stop = math.floor(80 - reach), math.ceil(80 + reach) + 1
    part = image[start:stop, start:stop].astype(np.float64)
    count = (stop - start) // side
    edges = np.linspace(0, stop - start, count + 1)
    share = np.array(
        [
            [max(0.0, min(x + 1, right) - max(x, left)) for x in range(stop - start)]
            for left, right in pairwise(edges)
        ]
    )
    share /= share.sum(axis=1, keepdims=True)
    means = np.einsum("ir,rc...->ic...", share, part)
    means = np.einsum("jc,ic...->ij...", share, means)
    place = ((np.arange(stop - start) * count) // (stop - start)).astype(int)
    expected = means[place][:, place][48 - start : 113 - start, 48 - start : 113 - start]
    error = np.abs(covered[48:113, 48:113] - expected).max()
    print(f"{error:.2f} grey levels off")
    assert error <= 1  # OpenCV rounds its means
    assert np.array_equal(covered[:20], image[:20])


@pytest.mark.parametrize("method", ["blur", "pixelate", "average"])
def test_no_more_is_left_than_the_means_of_cells(method: AnonymizeMethod) -> None:
    """How many numbers of 400 random faces survive: the rank of the map from faces to results.

    Singular values up to that of random rounding errors (Marchenko and Pastur) do not count.
    """
    inside = (slice(24, 57), slice(24, 57))
    images = [noise(81, 81, seed=seed) for seed in range(400)]
    rows = np.array(
        [anonymize(im, [face(24, 24, 56, 56)], method=method)[inside].ravel() for im in images],
        np.float64,
    )
    values = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    rounding = math.sqrt(1 / 12) * (math.sqrt(rows.shape[0]) + math.sqrt(rows.shape[1]))
    rank = int((values > 1.5 * rounding).sum())
    print(f"{method}: {rank} numbers of {rows.shape[1]} pixels")
    assert rank <= (CELLS + 2) ** 2


def test_strength_makes_cells_larger() -> None:
    """Distinct columns of the face: at most 4 / strength, and those at its border."""
    image = noise(400, 400, 3)
    counts = {}
    for strength in (1, 1.5, 2, 4):
        out = anonymize(image, [face(100, 100, 300, 300)], method="pixelate", strength=strength)
        row = out[200, 100:300].astype(int)
        counts[strength] = 1 + int((row[1:] != row[:-1]).any(axis=1).sum())
        assert counts[strength] <= math.ceil(CELLS / strength) + 1
    print(counts)
    assert counts[1] > counts[2] > counts[4]


@pytest.mark.parametrize("roll", [None, 0, 30, -45, 90, 180])
@pytest.mark.parametrize("margin", [0, 0.1, 0.25, 1])
def test_the_region_is_box_and_ellipse(roll: float | None, margin: float) -> None:
    """1 on the whole box and in OpenCV's ellipse, 0 beyond the soft edge."""
    x1, y1, x2, y2 = 90.0, 70.0, 150.0, 154.0
    weight = region_weight((240, 260), face(x1, y1, x2, y2, roll=roll), margin=margin)
    assert (weight[70:155, 90:151] == 1).all()
    angle = math.radians(roll or 0)
    width, height = x2 - x1, y2 - y1
    across = math.hypot(width * math.cos(angle), height * math.sin(angle)) * (0.5 + margin)
    down = math.hypot(height * math.cos(angle), width * math.sin(angle)) * (0.5 + margin)
    ellipse = np.zeros((240, 260), np.uint8)
    cv2.ellipse(ellipse, ((120, 112), (2 * across, 2 * down), roll or 0), (255,), -1)
    inner = cv2.erode(ellipse, np.ones((3, 3), np.uint8)) > 0
    assert (weight[inner] == 1).all()
    ellipse[70:155, 90:151] = 255
    away = cv2.distanceTransform(255 - ellipse, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert not weight[away > 0.15 * height + 3].any()
    soft = (weight > 0) & (weight < 1)
    print(f"roll {roll}, margin {margin}: {(weight == 1).sum()} covered, {soft.sum()} soft")
    assert soft.any()


def test_upright_and_lying_heads() -> None:
    """A head turned by 90° in a box that lies has the region of the unturned one."""
    lying = face(60, 80, 160, 140)
    turned = face(60, 80, 160, 140, roll=90)
    assert np.allclose(region_weight((220, 220), lying), region_weight((220, 220), turned))


def test_a_small_wrong_box_in_a_face_uncovers_nothing(portrait: Path) -> None:
    """A box on an eye: what is seen there is no finer than the face's own cells."""
    image = read_image(portrait)
    large, eye = face(178, 63, 268, 176), face(190, 95, 210, 115)
    alone = anonymize(image, [large], method="fill")
    for faces in ([large, eye], [eye, large]):
        assert np.array_equal(anonymize(image, faces, method="fill"), alone)
        both = anonymize(image, faces, method="pixelate").astype(int)
        row = both[105, 178:269]
        changes = int((row[1:] != row[:-1]).any(axis=1).sum())
        print(f"{changes} changes in a row of the face")
        assert changes <= CELLS + 1


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("method", EVERY)
@pytest.mark.parametrize(
    "box",
    [(-30, -40, 30, 40), (70, 50, 130, 130), (-500, -500, 900, 900), (0, 0, 1, 1), (5, 5, 5, 5)],
)
def test_faces_at_the_border(box: Any, method: AnonymizeMethod, channels: tuple[int, ...]) -> None:
    """Half outside, wholly over the image, tiny: every pixel of the box changes as it must."""
    image = np.maximum(noise(90, 100, *channels), 1)
    covered = anonymize(image, [face(*box)], method=method)
    assert covered.shape == image.shape
    assert covered.dtype == np.uint8
    x1, y1 = max(box[0], 0), max(box[1], 0)
    inside = covered[y1 : box[3] + 1, x1 : box[2] + 1]
    if method == "fill":
        assert not inside.any()
    elif inside.shape[0] > 20:
        assert inside.std() < 0.5 * image.std()


def test_every_size_of_image() -> None:
    for shape in ((1, 1), (1, 50), (50, 1, 3), (3, 2)):
        for method in EVERY:
            out = anonymize(noise(*shape), [face(-5, -5, 60, 60)], method=method)
            assert out.shape == shape


def test_what_is_outside_and_no_face(portrait: Path) -> None:
    image = read_image(portrait)
    for faces in ([], [face(900, 900, 1000, 1000)], [face(-300, 20, -100, 200)]):
        out = anonymize(image, faces)
        assert np.array_equal(out, image)
        assert not np.shares_memory(out, image)


def test_several_faces_are_those_one_by_one() -> None:
    image = noise(300, 500, 3)
    apart = [face(40, 60, 100, 140), face(300, 100, 420, 240)]
    both = anonymize(image, apart, margin=[0.25, 0.1])
    one = anonymize(image, apart[:1])
    assert np.array_equal(both, anonymize(one, apart[1:], margin=0.1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "smear"}, "unknown method 'smear'"),
        ({"shape": "star"}, "unknown shape 'star'"),
        ({"strength": 0.5}, "strength 0.5 is not between 1 and 4"),
        ({"strength": math.nan}, "strength nan"),
        ({"margin": -0.1}, "margin -0.1 is not between 0 and 10"),
        ({"margin": [0.1, 0.2]}, "2 margins for 1 faces"),
        ({"margin": [math.inf]}, "margin inf"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        anonymize(noise(40, 40), [face(5, 5, 20, 20)], **options)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e9])
def test_a_bad_box_is_not_passed_over(value: float) -> None:
    """A face that cannot be covered is an error, not a face that stays."""
    with pytest.raises(InputError, match="is not finite or too large"):
        anonymize(noise(40, 40), [face(5, 5, value, 20)])
    with pytest.raises(ImageError):
        anonymize(noise(40, 40).astype(np.float32), [])
