"""YuNet of the starter set: turned heads, options, tiles, memory, images of every form."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mobileface import FaceAnalyzer, load_detector
from mobileface.errors import ImageError, InputError, SpecError
from mobileface.models.kinds.single_shot import scaled_down
from mobileface.models.kinds.yunet import YUNET, YunetSpec
from mobileface.tasks.yunet_detector import YunetDetector
from mobileface.types import Detections, FloatArray
from mobileface.vision.image import Image
from mobileface.vision.picture_files import read_image

STARTER = Path(__file__).parents[3] / "models_onnx"
BOX = np.array([178.2, 62.9, 268.1, 176.2])
"""The face in the portrait, 512×512."""

NAMES = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")


def with_options(**options: Any) -> YunetDetector:
    found = load_detector(STARTER / "detection_yunet.onnx", intra_op_num_threads=1, **options)
    assert isinstance(found, YunetDetector)
    return found


@pytest.fixture(scope="module")
def detector() -> YunetDetector:
    return with_options()


@pytest.fixture(scope="module")
def image(portrait: Path) -> Image:
    return read_image(portrait)


def overlap(one: Any, other: Any) -> float:
    """IoU of two boxes."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = np.clip(high - low, 0, None).prod()
    return float(shared / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared))


def same(one: Detections, other: Detections) -> bool:
    """The same numbers, whatever the image's memory looked like."""
    pairs = ((one.boxes, other.boxes), (one.scores, other.scores), (one.keypoints, other.keypoints))
    return all(a is not None and b is not None and np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("degrees", range(0, 360, 15))
def test_a_head_turned_by_any_angle(degrees: int, detector: YunetDetector, image: Image) -> None:
    """The face is found once; its points turn with it up to 30 degrees, not beyond."""
    turn = cv2.getRotationMatrix2D((255.5, 255.5), degrees, 1)
    turned = cv2.warpAffine(image, turn, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    found, upright = detector.detect(np.asarray(turned, np.uint8)), detector.detect(image)
    assert found.keypoints is not None
    assert upright.keypoints is not None
    (box,), (kps,) = found.boxes, found.keypoints
    centre = np.append((BOX[:2] + BOX[2:]) / 2, 1) @ turn.T
    away = float(np.abs((box[:2] + box[2:]) / 2 - centre).max())
    expected = np.c_[upright.keypoints[0], np.ones(5)] @ turn.T
    error = float(np.abs(kps - expected).max())
    print(f"{degrees}°: score {found.scores[0]:.3f}, centre {away:.1f} px, points {error:.1f} px")
    assert away < 14  # of a face that is 113 pixels high
    assert error < 14 or 30 < degrees < 330


def test_names_and_forms(detector: YunetDetector, image: Image) -> None:
    found = detector.detect(image)
    assert detector.point_names == found.keypoint_names == NAMES
    assert found.boxes.shape == (1, 4)
    assert found.keypoints is not None
    assert found.keypoints.shape == (1, 5, 2)
    left_eye, right_eye, nose, left_mouth, right_mouth = found.keypoints[0]
    assert left_eye[0] < nose[0] < right_eye[0]  # left is left as the viewer sees it
    assert left_mouth[0] < right_mouth[0]
    assert {part.dtype for part in (found.boxes, found.scores, found.keypoints)} == {
        np.dtype(np.float32)
    }


def test_forms_of_images(detector: YunetDetector, image: Image) -> None:
    """RGB, views, grey: what counts is what they show."""
    expected = detector.detect(image)
    assert same(detector.detect(image[:, :, ::-1], color="rgb"), expected)
    wide = np.zeros((512, 1024, 3), np.uint8)
    wide[:, ::2] = image
    assert same(detector.detect(wide[:, ::2]), expected)
    assert same(detector.detect(np.asfortranarray(image)), expected)
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    triple = detector.detect(np.stack([gray] * 3, axis=2))
    assert same(detector.detect(gray), triple)
    assert same(detector.detect(gray[:, :, None]), triple)
    assert overlap(triple.boxes[0], BOX) > 0.9


@pytest.mark.parametrize("tile", [None, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (2000, 1), (33, 7), (3000, 20)])
def test_images_of_odd_sizes(shape: tuple[int, int], tile: bool | None) -> None:
    found = with_options(tile=tile).detect(np.full((*shape, 3), 127, np.uint8))
    assert found.keypoints is not None
    assert (found.boxes.shape, found.keypoints.shape) == ((0, 4), (0, 5, 2))


def test_a_batch_gives_what_each_image_gives(detector: YunetDetector, image: Image) -> None:
    images = [image, np.ascontiguousarray(image[:, ::-1]), np.zeros_like(image)]
    found = detector.detect_batch(images)
    assert [len(rows) for rows in found] == [1, 1, 0]
    assert all(same(rows, detector.detect(one)) for rows, one in zip(found, images, strict=True))


def test_a_panorama(image: Image) -> None:
    """Ten times as wide as high: a face of 113 pixels keeps 14 of them at 640."""
    panorama = np.full((512, 5120, 3), 90, np.uint8)
    panorama[:, 3000:3512] = image
    for options in ({}, {"max_side": 1280}, {"tile": True}):
        (box,) = with_options(**options).detect(panorama).boxes
        assert overlap(box, BOX + np.array([3000, 0, 3000, 0])) > 0.6


def test_a_face_at_the_border(image: Image) -> None:
    """Half of it is outside; the box may reach beyond the image."""
    for options in ({}, {"tile": 256}):
        for cut in (image[:, 205:], image[:, :235], image[90:]):
            assert len(with_options(**options).detect(np.ascontiguousarray(cut))) == 1


def test_four_hundred_faces(image: Image) -> None:
    face = cv2.resize(image[40:200, 140:300], (48, 48), interpolation=cv2.INTER_AREA)
    crowd = np.asarray(np.tile(face, (20, 20, 1)), np.uint8)
    for options in ({"max_side": 0}, {"tile": True}):
        found = with_options(**options).detect(crowd)
        print(options, len(found))
        assert 396 <= len(found) <= 400
    assert len(with_options(max_side=0, topk=7).detect(crowd)) <= 7


def test_thresholds(image: Image) -> None:
    """Scores are above the threshold; looser suppression keeps more boxes."""
    assert len(with_options(score_threshold=0.95).detect(image)) == 0
    low = with_options(score_threshold=0.1, max_side=0).detect(image)
    assert (low.scores > 0.1).all()
    assert list(low.scores) == sorted(low.scores, reverse=True)
    counts = [len(with_options(iou_threshold=t, max_side=0).detect(image)) for t in (0, 0.5, 1)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_small_faces_are_left_out(image: Image) -> None:
    """By the longer side of the box, which is 113 pixels high here."""
    for options in ({}, {"tile": 256}):
        assert len(with_options(min_face_size=105, **options).detect(image)) == 1
        assert len(with_options(min_face_size=125, **options).detect(image)) == 0


def test_a_portrait_that_fills_a_large_image(image: Image) -> None:
    """A face of 1300 pixels in an image of 1600: found at 640 by the second look."""
    close = cv2.resize(image[55:185, 155:285], (1600, 1600), interpolation=cv2.INTER_CUBIC)
    (box,) = with_options().detect(np.asarray(close, np.uint8)).boxes
    assert overlap(box, (BOX - [155, 55, 155, 55]) * 1600 / 130) > 0.6


@pytest.mark.parametrize("quarters", range(4))
def test_turned_copies_of_the_image(quarters: int, image: Image) -> None:
    """The same box and points wherever the head points to, through NumPy's own turning."""
    upright = with_options().detect(image)
    turned = np.ascontiguousarray(np.rot90(image, quarters))
    found = with_options(turns=4).detect(turned)
    assert len(upright) == len(found) == 1
    # Painted into an empty image that is turned back, each place must come out where it was.
    places = np.zeros((*turned.shape[:2], 6), np.uint8)
    for layer, (x, y) in enumerate(corners(found)):
        places[int(y), int(x), layer] = 1
    back = np.rot90(places, -quarters)
    where = np.array([np.argwhere(back[..., layer])[0][::-1] for layer in range(6)])
    error = float(np.abs(where + 0.5 - corners(upright)).max())
    print(f"{90 * quarters}°: score {found.scores[0]:.3f}, off by {error:.1f} px")
    assert error <= 1
    assert found.scores[0] >= upright.scores[0] - 1e-6


def corners(found: Detections) -> FloatArray:
    """The five points of the first face and the middle of its box, (6, 2)."""
    assert found.keypoints is not None
    middle = (found.boxes[0, :2] + found.boxes[0, 2:]) / 2
    return np.vstack([found.keypoints[0], middle])


OPTIONS: list[dict[str, Any]] = [
    {"score_threshold": -0.1},
    {"score_threshold": 1.1},
    {"score_threshold": float("nan")},
    {"score_threshold": "0.5"},
    {"iou_threshold": 2},
    {"topk": 0},
    {"topk": 2.5},
    {"max_side": -1},
    {"max_side": 640.5},
    {"max_side": True},
    {"min_face_size": -1},
    {"min_face_size": float("inf")},
    {"tile": 63},
    {"tile": 0},
    {"tile": 100.5},
    {"tile": 1 << 40},
    {"turns": 0},
    {"turns": 3},
    {"turns": 8},
    {"turns": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(InputError, match=name):
        with_options(**options)


@pytest.mark.parametrize("bad", [None, np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4))])
def test_no_images(bad: Any, detector: YunetDetector) -> None:
    with pytest.raises(ImageError):
        detector.detect(bad)


@pytest.mark.parametrize(
    ("change", "what"), [({"second_side": 900}, "second_side"), ({"tile_overlap": 400}, "tile")]
)
def test_a_spec_that_contradicts_itself(
    change: dict[str, int], what: str, detector: YunetDetector
) -> None:
    spec = dataclasses.replace(detector.section, **change)  # type: ignore[arg-type]
    assert isinstance(spec, YunetSpec)
    with pytest.raises(SpecError, match=what):
        YUNET.check(spec, "spec")


def test_scaling_keeps_places() -> None:
    """The mean of a gradient stays where it is, and nothing is enlarged."""
    for height, width in ((700, 1280), (1023, 2047), (3648, 5472), (5, 4000)):
        ramp = np.tile(np.linspace(0, 255, width), (height, 1)).astype(np.uint8)
        scaled = scaled_down(ramp, 640)
        assert max(scaled.shape) == 640
        expected = cv2.resize(ramp, scaled.shape[::-1], interpolation=cv2.INTER_AREA)
        assert int(np.abs(scaled.astype(int) - expected).max()) <= 1
    assert scaled_down(ramp, 4000) is ramp


# tiles


HEIGHTS = (12, 13, 14, 16, 20, 28, 40, 60, 90, 130, 200, 300)
"""Of faces, in pixels."""


def canvas(image: Image) -> tuple[Image, list[Any]]:
    """A scene of 20 megapixels with two portraits of each height, and the boxes of the faces."""
    coarse = np.random.RandomState(3).randint(60, 160, (24, 36, 3)).astype(np.uint8)
    scene = np.asarray(cv2.resize(coarse, (5472, 3648), interpolation=cv2.INTER_CUBIC), np.uint8)
    boxes = []
    for number, height in enumerate(HEIGHTS * 2):
        factor = height / 113
        side = round(240 * factor)
        part = cv2.resize(image[20:260, 100:340], (side, side), interpolation=cv2.INTER_AREA)
        row, column = divmod(number, 6)
        x, y = 40 + column * 900 + number * 37 % 211, 20 + row * 900 + number * 53 % 199
        scene[y : y + side, x : x + side] = part
        boxes.append((BOX - [100, 20, 100, 20]) * factor + [x, y, x, y])
    return scene, boxes


@pytest.mark.slow
def test_small_faces_in_twenty_megapixels(image: Image) -> None:
    """In tiles each is found once; without them only the large ones are."""
    scene, boxes = canvas(image)
    found = with_options(tile=True, min_face_size=8).detect(scene)
    hits = [max(overlap(box, wanted) for box in found.boxes) for wanted in boxes]
    print(f"{len(found)} boxes for {len(boxes)} faces; smallest overlap {min(hits):.2f}")
    assert min(hits) > 0.5
    assert len(found) == len(boxes)
    plain = with_options().detect(scene)
    assert len(plain) < len(boxes) / 2
    large = with_options(tile=True, min_face_size=55).detect(scene)
    expected = [wanted for wanted in boxes if wanted[3] - wanted[1] > 58]
    assert sum(max(overlap(b, w) for b in large.boxes) > 0.5 for w in expected) == len(expected)


_MEMORY = """
import resource, sys
import numpy as np
from mobileface import load_detector
detector = load_detector(sys.argv[1], intra_op_num_threads=1, tile=True)
detector.detect(np.full((640, 640, 3), 90, np.uint8))
scene = np.full((int(sys.argv[2]), 5472, 3), 90, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
detector.detect(scene)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux counts it")
def test_memory_in_twenty_megapixels() -> None:
    """A copy of a quarter of the image, and what one tile needs, which was there before."""
    for rows in (1000, 3648):
        command = [sys.executable, "-c", _MEMORY, str(STARTER / "detection_yunet.onnx"), str(rows)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        quarter = 5472 * rows * 3 // 4 >> 20
        print(f"{5472 * rows / 1e6:.0f} megapixels: {output.strip()} MiB more, a quarter {quarter}")
        assert int(output) <= 2 * quarter + 25


def test_the_analyzer_takes_its_points(image: Image) -> None:
    """No landmark model runs where nothing needs more points."""
    analyzer = FaceAnalyzer(STARTER, ("detection", "landmarks"), detector="detection_yunet")
    assert analyzer.models == {"detection": ("detection_yunet",)}
    (face,) = analyzer(image)
    assert face.landmarks is not None
    assert face.landmarks.names == NAMES
