"""The detection task: equal to dlib on pictures, and its parts by themselves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from mobileface.errors import ImageError, InputError
from mobileface.models.kinds import HogSpec
from mobileface.tasks import hog_search as hog
from mobileface.tasks.hog_search import HogSearch
from mobileface.vision.pyramid import double_planes, resize_planes, shrink_planes
from mobileface_convert.frontends.hog_detector import (
    HogDetector,
    installed_detector_bytes,
    read_hog_detector,
)
from mobileface_convert.frontends.hog_onnx import build_hog_graph
from tests.convert.frontends.hog_cases import (
    require_dlib,
    require_source,
    session_run,
    small_detector,
)

UInt8Array = npt.NDArray[np.uint8]
Run = Callable[[UInt8Array], npt.NDArray[np.float32]]

FACE_SPEC = HogSpec(
    image="image",
    output="scores",
    filters=5,
    filter_rows=10,
    filter_columns=10,
    cell_size=8,
    pyramid_step=6,
    max_pyramid_levels=1000,
    min_layer_width=64,
    min_layer_height=64,
    overlap_threshold=0.33,
    covered_threshold=0.79,
)


def spec_of(detector: HogDetector) -> HogSpec:
    return HogSpec(image="image", output="scores", **detector.to_spec())  # type: ignore[arg-type]


def build_run(detector: HogDetector) -> Run:
    run: Run = session_run(ir.to_proto(build_hog_graph(detector)).SerializeToString())
    return run


@pytest.fixture(scope="module")
def face_detector() -> HogDetector:
    require_dlib()
    return read_hog_detector(installed_detector_bytes(), "installed")


@pytest.fixture(scope="module")
def face_run(face_detector: HogDetector) -> Run:
    return build_run(face_detector)


def photo() -> UInt8Array:
    """(700, 1280, 3) uint8 BGR with six faces."""
    return np.asarray(cv2.imread(str(require_source("example/friends.jpg"))), np.uint8)


def dlib_boxes(detections: Any) -> npt.NDArray[np.int64]:
    boxes = [(box.left(), box.top(), box.right(), box.bottom()) for box in detections]
    return np.array(boxes, np.int64).reshape(-1, 4)


def test_low_threshold_orders_as_dlib(face_detector: HogDetector, face_run: Run) -> None:
    image = np.asarray(cv2.cvtColor(photo(), cv2.COLOR_BGR2GRAY), np.uint8)
    found, scores, _ = require_dlib().get_frontal_face_detector().run(image, 0, -1.2)
    detector = HogSearch(face_run, spec_of(face_detector), score_threshold=-1.2)
    detections = detector.detect(image)
    np.testing.assert_array_equal(detections.boxes, dlib_boxes(found))
    np.testing.assert_allclose(detections.scores, scores, atol=1e-3)
    assert len(detections) > 6


@pytest.mark.parametrize("channels", [1, 3])
def test_pyramid_equals_dlib(channels: int) -> None:
    pyramid = require_dlib().pyramid_down(6)
    generator = np.random.default_rng(channels)
    pixels = different = 0
    for height, width in generator.integers(40, 400, (30, 2)):
        coarse = generator.integers(0, 256, (height // 8 + 2, width // 8 + 2, channels))
        picture = cv2.resize(coarse.astype(np.uint8), (int(width), int(height)))
        picture = np.asarray(picture, np.uint8).reshape(height, width, channels)
        expected = pyramid(picture[:, :, 0] if channels == 1 else picture)
        planes = shrink_planes(np.ascontiguousarray(picture.transpose(2, 0, 1)), 6)
        result = planes.transpose(1, 2, 0).reshape(expected.shape)
        difference = np.abs(result.astype(int) - expected)
        assert difference.max() <= 1
        pixels += difference.size
        different += int(difference.sum())
    print(f"{different} of {pixels} values differ by 1")
    assert different < 1e-3 * pixels


def test_tiles_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = small_detector()
    run = build_run(detector)
    spec = spec_of(detector)
    layer = np.random.default_rng(0).integers(0, 256, (3, 347, 509)).astype(np.uint8)
    whole = run(layer)
    sizes: list[tuple[int, ...]] = []

    def recording(planes: UInt8Array) -> npt.NDArray[np.float32]:
        sizes.append(planes.shape)
        return run(planes)

    monkeypatch.setattr(hog, "_TILE_SIDE", 128)
    tiled = hog._score_tiles(layer, recording, spec)
    assert len(sizes) > 4
    assert max(max(size) for size in sizes) <= 128
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


def test_min_face_size_leaves_out_levels() -> None:
    shapes: list[tuple[int, ...]] = []

    def run(planes: UInt8Array) -> npt.NDArray[np.float32]:
        shapes.append(planes.shape[1:])
        return np.full((5, 1, 1), -1, np.float32)

    image = np.zeros((200, 300), np.uint8)
    HogSearch(run, FACE_SPEC).detect(image)
    everything = list(shapes)
    assert everything[:3] == [(200, 300), (166, 250), (138, 208)]
    for size, skipped in ((80, 0), (81, 1), (115.2, 2), (160, 4), (10_000, len(everything))):
        shapes.clear()
        HogSearch(run, FACE_SPEC, min_face_size=size).detect(image)
        assert shapes == everything[skipped:]
    shapes.clear()
    HogSearch(run, FACE_SPEC, min_face_size=80, upsample=1).detect(image)
    # The doubled image is 401 x 602, where windows are 40 pixels, then 48, 57.6, 69.1 and 82.9.
    assert shapes[0] == (192, 289)


def test_decodes_positions() -> None:
    def run(planes: UInt8Array) -> npt.NDArray[np.float32]:
        scores = np.full((5, 23, 23), -1, np.float32)
        scores[1, 3, 3] = 0.5
        scores[4, 20, 0] = 0.75
        return scores

    spec = replace(FACE_SPEC, max_pyramid_levels=1)
    detections = HogSearch(run, spec).detect(np.zeros((200, 200), np.uint8))
    np.testing.assert_array_equal(detections.boxes, [[-27, 141, 53, 213], [5, 5, 77, 77]])
    np.testing.assert_array_equal(detections.scores, np.array([0.75, 0.5], np.float32))


def test_drops_overlapping_boxes() -> None:
    boxes = np.array(
        [
            [0, 0, 99, 99],
            [60, 0, 159, 99],  # 4000 of 16000: kept
            [40, 0, 139, 99],  # 6000 of 14000: dropped
            [10, 10, 29, 29],  # inside the first: dropped
            [300, 0, 310, 10],
        ],
        np.int64,
    )
    np.testing.assert_array_equal(hog._keep_best(boxes, 0.33, 0.79), [0, 1, 4])


@pytest.mark.parametrize("shape", [(0, 0), (0, 7, 3), (1, 1), (1, 1, 3), (19, 400), (60, 50, 3)])
@pytest.mark.parametrize("upsample", [0, 1])
def test_small_and_empty_images(shape: tuple[int, ...], upsample: int) -> None:
    detector = small_detector()
    spec = replace(spec_of(detector), min_layer_width=24, min_layer_height=24)
    task = HogSearch(build_run(detector), spec, upsample=upsample, score_threshold=1e3)
    detections = task.detect(np.zeros(shape, np.uint8))
    assert len(detections) == 0
    assert detections.boxes.shape == (0, 4)


def test_resizing_corner_cases() -> None:
    one = np.full((1, 1, 1), 9, np.uint8)
    np.testing.assert_array_equal(resize_planes(one, 3, 5), np.full((1, 3, 5), 9))
    row = np.arange(0, 246, 6).astype(np.uint8).reshape(1, 1, 41)
    np.testing.assert_array_equal(resize_planes(row, 1, 21), row[:, :, ::2])
    column = row.transpose(0, 2, 1).copy()
    np.testing.assert_array_equal(resize_planes(column, 21, 1), column[:, ::2])
    assert double_planes(np.zeros((3, 10, 20), np.uint8)).shape == (3, 21, 42)
    assert double_planes(np.zeros((1, 0, 20), np.uint8)).shape == (1, 0, 20)
    assert shrink_planes(np.zeros((1, 1, 1), np.uint8), 6).shape == (1, 0, 0)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros(4, np.uint8),
        [[1, 2], [3, 4]],
        None,
    ],
)
def test_refuses_what_is_no_image(image: Any) -> None:
    with pytest.raises(ImageError):
        HogSearch(lambda planes: np.zeros((5, 0, 0), np.float32), FACE_SPEC).detect(image)


@pytest.mark.parametrize(
    "options",
    [
        {"upsample": -1},
        {"upsample": 9},
        {"min_face_size": -1},
        {"min_face_size": float("nan")},
        {"score_threshold": float("nan")},
    ],
)
def test_refuses_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        HogSearch(lambda planes: np.zeros((5, 0, 0), np.float32), FACE_SPEC, **options)


def test_needs_neither_engine_nor_converter() -> None:
    code = (
        "import sys, mobileface.tasks.hog_search;"
        "print([name for name in ('onnxruntime', 'onnx', 'dlib', 'mobileface_convert')"
        " if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
