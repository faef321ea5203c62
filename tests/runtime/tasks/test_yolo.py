"""Detectors of the YOLO kind: sizes, options, boxes mapped back; on a random model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from mobileface import Detector, FaceAnalyzer, load_detector
from mobileface.errors import ImageError, InputError
from mobileface.models.kinds.yolo import YoloSpec, input_size
from mobileface.models.probes import make_probes
from mobileface.models.session import Session
from mobileface.tasks.hog_detector import HogDetector
from mobileface.tasks.yolo_detector import YoloDetector
from mobileface.vision.image import Image

MODELS = Path(__file__).parents[2] / "models"
YOLO = MODELS / "yolo"


@pytest.fixture(scope="module")
def detector() -> Detector:
    return with_options()


def with_options(**options: Any) -> Detector:
    """The tiny YOLO detector, as the loader makes it."""
    found = load_detector(YOLO / "tiny_yolo.onnx", intra_op_num_threads=1, **options)
    assert isinstance(found, YoloDetector)
    return found


@pytest.fixture(scope="module")
def hog() -> Detector:
    return hog_with_options()


def hog_with_options(**options: Any) -> Detector:
    """The tiny HOG detector, as the loader makes it."""
    found = load_detector(MODELS / "analyzer" / "tiny_hog.onnx", intra_op_num_threads=1, **options)
    assert isinstance(found, HogDetector)
    return found


def picture(height: int, width: int, seed: int = 7) -> Image:
    return make_probes(1, height, width, 3, seed)[0]


def raw(detector: Detector, image: Image, **options: Any) -> tuple[npt.NDArray[np.float32], ...]:
    """What the model gives for a picture that is scaled by OpenCV."""
    rows, columns = input_size(*image.shape[:2], detector.spec.require(YoloSpec))
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    scaled = cv2.resize(rgb, (columns, rows), interpolation=cv2.INTER_CUBIC)
    given: dict[str, Any] = {"topk": np.array(200), "image": scaled[np.newaxis], **options}
    found = detector.session.run(given)
    return found["ids"][0, :, 0], found["scores"][0, :, 0], found["boxes"][0]


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (700, 1280, (256, 468)),  # friends.jpg
        (1280, 700, (468, 256)),
        (256, 256, (256, 256)),
        (100, 1000, (102, 1024)),  # the longer side is limited
        (1000, 100, (1024, 102)),
        (1, 4000, (1, 1024)),
        (20, 20, (256, 256)),
        (333, 500, (256, 384)),
        (513, 685, (256, 342)),
    ],
)
def test_published_sizes(height: int, width: int, expected: tuple[int, int]) -> None:
    """GluonCV's rule with the published settings: 256, at most 1024, any multiple."""
    section = Session(YOLO / "tiny_yolo.onnx").spec.require(YoloSpec)
    fields = {name: getattr(section, name) for name in section.__slots__}
    published = type(section)(**{**fields, "short_side": 256, "max_side": 1024})
    assert input_size(height, width, published) == expected


def test_sizes_are_multiples() -> None:
    section = Session(YOLO / "tiny_yolo.onnx").spec.require(YoloSpec)
    fields = {name: getattr(section, name) for name in section.__slots__}
    stepped = type(section)(**{**fields, "short_side": 256, "max_side": 1024, "multiple": 32})
    assert input_size(700, 1280, stepped) == (256, 480)
    assert input_size(100, 1000, stepped) == (96, 1024)
    assert input_size(700, 1280, stepped, 500) == (512, 928)


@pytest.mark.parametrize("size", [(120, 160), (64, 64), (31, 20), (300, 30), (30, 300), (481, 333)])
def test_boxes_are_those_of_the_model_in_the_picture(
    detector: Detector, size: tuple[int, int]
) -> None:
    image = picture(*size)
    found = detector.detect(image)
    ids, scores, boxes = raw(detector, image)
    taken = (ids == 0) & (scores >= 0.5)
    rows, columns = input_size(*size, detector.spec.require(YoloSpec))
    expected = boxes[taken].astype(np.float64) * np.array([size[1] / columns, size[0] / rows] * 2)
    assert len(found) == taken.sum() > 0
    np.testing.assert_array_equal(found.scores, scores[taken])
    error = float(np.abs(found.boxes - expected).max())
    print(f"{len(found)} boxes, largest difference {error:.2g} px")
    assert error <= 1e-6 * max(size) * 4
    assert (np.diff(found.scores) <= 0).all()
    assert (found.boxes.dtype, found.scores.dtype) == (np.float32, np.float32)


def test_colours_and_gray(detector: Detector) -> None:
    image = picture(90, 120)
    expected = detector.detect(image)
    rgb = detector.detect(np.ascontiguousarray(image[..., ::-1]), color="rgb")
    np.testing.assert_array_equal(rgb.boxes, expected.boxes)
    gray = image[..., 0]
    found = detector.detect(gray)
    np.testing.assert_array_equal(found.boxes, detector.detect(cv2.merge([gray] * 3)).boxes)


def test_options_reach_the_model(detector: Detector) -> None:
    image = picture(120, 160)
    counts = {t: len(with_options(score_threshold=t).detect(image)) for t in (0.0, 0.5, 0.6, 1.0)}
    assert counts[0.0] >= counts[0.5] > counts[0.6] >= counts[1.0] == 0
    for overlap in (0.1, 0.9):
        _, scores, _ = raw(detector, image, iou_threshold=np.array(overlap, np.float32))
        found = with_options(iou_threshold=overlap).detect(image)
        assert len(found) == (scores >= 0.5).sum()
    assert len(with_options(topk=3).detect(image)) <= 3
    assert len(with_options(short_side=24).detect(image)) < counts[0.5]


def test_batches_are_single_pictures(detector: Detector) -> None:
    images = list(make_probes(11, 90, 120, 3, 5))
    for model in (detector, hog_with_options(score_threshold=0.7)):
        together = model.detect_batch(images, batch_size=4)
        assert len(together) == 11
        for found, image in zip(together, images, strict=True):
            single = model.detect(image)
            np.testing.assert_array_equal(found.boxes, single.boxes)
            np.testing.assert_array_equal(found.scores, single.scores)
    assert detector.detect_batch([]) == []


def test_nothing_found_has_the_right_shapes(detector: Detector) -> None:
    found = with_options(score_threshold=1.0).detect(picture(120, 160))
    assert (found.boxes.shape, found.scores.shape) == ((0, 4), (0,))
    assert detector.landmark_boxes(found.boxes).shape == (0, 4)


def test_landmark_boxes_are_the_published_squares(detector: Detector, hog: Detector) -> None:
    """Side 0.75 of the height, 0.1 of it lower, every corner cut to whole pixels."""
    boxes = np.float32([[100.9, 50.2, 180.7, 150.9], [-30.5, -20.5, 29.5, 59.5]])
    expected = [[102, 72, 177, 147], [-30, -2, 29, 57]]
    np.testing.assert_array_equal(detector.landmark_boxes(boxes), np.float32(expected))
    np.testing.assert_array_equal(hog.landmark_boxes(boxes), boxes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_threshold": 1.5}, "score_threshold must be from 0 to 1, not 1.5"),
        ({"score_threshold": float("nan")}, "score_threshold must be from 0 to 1, not nan"),
        ({"iou_threshold": -0.1}, "iou_threshold must be from 0 to 1, not -0.1"),
        ({"topk": 0}, "topk must be at least 1, not 0"),
        ({"short_side": 0}, "short_side must be at least 1, not 0"),
        ({"min_face_size": 20.0}, "'tiny_yolo' has no option min_face_size"),
        ({"upsample": 1}, "'tiny_yolo' has no option upsample"),
    ],
    ids=str,
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        with_options(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"color": "gray"}, "must be 'bgr' or 'rgb', not 'gray'"),
    ],
    ids=str,
)
def test_bad_calls(detector: Detector, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        detector.detect_batch([picture(40, 40)], **options)


@pytest.mark.parametrize("option", ["iou_threshold", "topk", "short_side"])
def test_options_of_the_other_kind(option: str) -> None:
    with pytest.raises(InputError, match=f"'tiny_hog' has no option {option}"):
        hog_with_options(**{option: 1})


@pytest.mark.parametrize("keywords", [{"topk": 3}, {"nothing": 1}], ids=str)
def test_a_ready_detector_takes_no_more_options(
    detector: Detector, keywords: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=next(iter(keywords))):
        FaceAnalyzer(YOLO, detector=detector, **keywords)


def test_a_batch_is_of_one_size(detector: Detector) -> None:
    with pytest.raises(ImageError, match=r"image 1: expected size \(40, 40\), got \(40, 41\)"):
        detector.detect_batch([picture(40, 40), picture(40, 41)])


@pytest.mark.usefixtures("no_other_models")
def test_the_analysis_with_attributes() -> None:
    """Landmarks in the squares of the detector, attributes of the crops."""
    analyzer = FaceAnalyzer(YOLO, iou_threshold=0.1)
    assert analyzer.tasks == ("detection", "landmarks", "attributes")
    assert set(analyzer.missing) == {"pose", "embedding"}
    faces = analyzer(picture(120, 160))
    assert all(face.kps is not None for face in faces)
    known = [face.attributes for face in faces if face.attributes is not None]
    assert len(known) >= 2  # points on a line allow no crop
    assert {attributes.gender for attributes in known} <= {"female", "male"}


@pytest.mark.slow
def test_the_preferred_detector_and_another(tmp_path: Path) -> None:
    """Of two detectors the one with the higher preference; the other by name."""
    from mobileface.models.index import read_index, write_index

    entries = {}
    for folder, name in ((YOLO, "tiny_yolo"), (MODELS / "analyzer", "tiny_hog")):
        entry = read_index(folder)[name]
        for file in (entry.file, entry.certificate):
            (tmp_path / file).write_bytes((folder / file).read_bytes())
        entries[name] = type(entry)(
            entry.file,
            entry.sha256,
            entry.bytes,
            entry.task,
            1 if name == "tiny_yolo" else 0,
            entry.certificate,
        )
    write_index(tmp_path, entries)
    image = picture(120, 160)
    boxes = {
        name: [face.bbox.tolist() for face in FaceAnalyzer(tmp_path, detector=name)(image)]
        for name in (None, "tiny_yolo", "tiny_hog")
    }
    assert boxes[None] == boxes["tiny_yolo"] != boxes["tiny_hog"]
