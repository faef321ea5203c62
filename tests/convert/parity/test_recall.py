"""Which of the faces in the example videos are found, and what else: YuNet and dlib's detector.

Labels were made by eye in every tenth frame (tests/data/video_faces_all.json). A face is found if a
box has an IoU of 0.35 with it or its centre inside. Faces that are marked difficult count neither
way: a box that lies mostly in one is ignored. The table in docs/models.md is printed by

    python -m tests.convert.parity.test_recall
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import thread_time
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from mobileface import Detector, load_detector
from mobileface.vision.image import Image
from mobileface.vision.picture_files import read_image
from tests.conftest import ROOT, SOURCE

pytestmark = [pytest.mark.slow, pytest.mark.needs_source]

LABELS = ROOT / "tests" / "data" / "video_faces_all.json"
SIDES = (320, 480, 640, 800, 960, 1280)
EMPTY = ("coffee", "chelsea", "rocket", "page", "text", "brick", "grass", "gravel", "coins", "moon")
"""Images of scikit-image without a face."""

Boxes = npt.NDArray[np.float64]


@dataclass
class Count:
    """What was found in frames.

    Attributes:
        faces: Labelled faces that are not difficult.
        hits: Those of them that were found.
        boxes: All boxes.
        false: Boxes that belong to no face.
        seconds: CPU time of each frame.
    """

    faces: int = 0
    hits: int = 0
    boxes: int = 0
    false: int = 0
    seconds: tuple[float, ...] = ()

    @property
    def recall(self) -> float:
        return self.hits / self.faces

    def __add__(self, other: Count) -> Count:
        return Count(
            self.faces + other.faces,
            self.hits + other.hits,
            self.boxes + other.boxes,
            self.false + other.false,
            self.seconds + other.seconds,
        )


def frames(source: Path) -> Iterator[tuple[str, Image, list[dict[str, Any]]]]:
    """The video, the frame and its labels."""
    for video, labels in json.loads(LABELS.read_text(encoding="utf-8"))["videos"].items():
        capture, number = cv2.VideoCapture(str(source / "example" / video)), 0
        while capture.grab():
            if str(number) in labels:
                yield video, np.asarray(capture.retrieve()[1], np.uint8), labels[str(number)]
            number += 1


def shared(box: Boxes, other: Boxes) -> float:
    low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    return float(np.clip(high - low, 0, None).prod())


def area(box: Boxes) -> float:
    return float((box[2:] - box[:2]).prod())


def overlap(box: Boxes, other: Boxes) -> float:
    """IoU."""
    both = shared(box, other)
    return both / (area(box) + area(other) - both)


def belongs(box: Boxes, face: Boxes) -> bool:
    centre = (box[:2] + box[2:]) / 2
    inside = bool((centre >= face[:2]).all() and (centre <= face[2:]).all())
    return inside or overlap(box, face) >= 0.35


def count(boxes: Boxes, labels: list[dict[str, Any]]) -> Count:
    """Each face takes the box that overlaps it most; each box belongs to one face."""
    faces = [np.array(face["bbox"], float) for face in labels if not face["difficult"]]
    difficult = [np.array(face["bbox"], float) for face in labels if face["difficult"]]
    left, hits = list(range(len(boxes))), 0
    for face in faces:
        near = [row for row in left if belongs(boxes[row], face)]
        if near:
            left.remove(max(near, key=lambda row: overlap(boxes[row], face)))
            hits += 1
    false = [
        row
        for row in left
        if not any(
            shared(boxes[row], face) > area(boxes[row]) / 2 or overlap(boxes[row], face) >= 0.35
            for face in difficult
        )
    ]
    return Count(len(faces), hits, len(boxes), len(false))


def measure(detector: Detector, source: Path) -> dict[str, Count]:
    """The counts of each video."""
    found: dict[str, Count] = {}
    for video, image, labels in frames(source):
        start = thread_time()
        boxes = detector.detect(image).boxes.astype(np.float64)
        seconds = thread_time() - start
        one = count(boxes, labels)
        one.seconds = (seconds,)
        found[video] = found.get(video, Count()) + one
    return found


def starter(name: str, **options: Any) -> Detector:
    return load_detector(name, models=ROOT / "models_onnx", intra_op_num_threads=1, **options)


def portraits(source: Path) -> list[Image]:
    return [read_image(p) for p in sorted((source / "data/LFW-Aligned-100Pair").rglob("*.jpg"))]


def light(source: Path) -> list[Image]:
    return [read_image(path) for path in sorted((source / "example" / "light").iterdir())]


def found_in(detector: Detector, images: list[Image]) -> int:
    return sum(len(detector.detect(image)) > 0 for image in images)


def test_videos(source: Path) -> None:
    """What the defaults reach. The aim of at most 1 % false boxes is missed: see docs/models.md."""
    yunet, hog = (measure(starter(name), source) for name in ("detection_yunet", "detection_hog"))
    print("yunet", yunet, "hog", hog, sep="\n")
    first, second = yunet["friends1.mp4"], yunet["friends2.mp4"]
    both, theirs = first + second, hog["friends1.mp4"] + hog["friends2.mp4"]
    assert both.recall >= 0.95
    assert first.recall >= 0.99
    assert second.recall >= 0.92  # profiles and faces of 35 pixels at the border of the frame
    assert both.false <= 0.07 * both.boxes  # half of them one hand that stays where it is
    assert theirs.recall < 0.4
    assert theirs.false == 0


def test_portraits(source: Path) -> None:
    yunet, hog = starter("detection_yunet"), starter("detection_hog")
    small = portraits(source)
    large = [np.asarray(cv2.resize(image, (640, 640)), np.uint8) for image in small]
    assert len(small) == 200
    counts = [found_in(yunet, small), found_in(yunet, large), found_in(hog, small)]
    print("portraits of 100 and 640 pixels, of 100 by detection_hog:", counts)
    assert counts[0] >= 198
    assert counts[1] >= 198
    assert counts[2] < counts[0]


def test_bad_light(source: Path) -> None:
    images = light(source)
    counts = [found_in(starter(name), images) for name in ("detection_yunet", "detection_hog")]
    print("example/light:", counts)
    assert counts[0] == len(images) == 9


def test_nothing_where_nothing_is() -> None:
    data = pytest.importorskip("skimage.data")
    detector = starter("detection_yunet")
    for name in EMPTY:
        image = np.asarray(getattr(data, name)(), np.uint8)
        assert len(detector.detect(image, color="rgb")) == 0, name


def table(source: Path) -> None:
    """Prints the rows of the table in docs/models.md."""
    small = portraits(source)
    large = [np.asarray(cv2.resize(image, (640, 640)), np.uint8) for image in small]
    for name, options in [
        *(("detection_yunet", {"max_side": side}) for side in SIDES),
        *(("detection_yunet", {"score_threshold": score}) for score in (0.7, 0.8)),
        ("detection_hog", {}),
    ]:
        detector = starter(name, **options)
        found = measure(detector, source)
        both = found["friends1.mp4"] + found["friends2.mp4"]
        parts = [f"{one.hits} of {one.faces}" for one in found.values()]
        parts += [f"{both.recall:.1%}", f"{both.false} of {both.boxes}"]
        parts += [str(found_in(detector, images)) for images in (small, large, light(source))]
        parts.append(f"{1e3 * np.median(both.seconds):.1f}")
        label = ", ".join(f"{key} {value}" for key, value in options.items()) or "defaults"
        print(f"| {name}, {label} |", " | ".join(parts), "|", flush=True)


if __name__ == "__main__":
    cv2.setNumThreads(1)
    table(SOURCE)
