"""The committed YuNet and its runner against OpenCV's FaceDetectorYN on real images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from mobileface import load_detector
from mobileface.vision.image import Image
from tests.conftest import ROOT
from tests.convert.heads.test_yunet_head import (
    SIDES,
    Oracle,
    Rows,
    compare,
    real_pictures,
    scaled,
)
from tests.convert.heads.yunet_networks import published_yunet

pytestmark = [pytest.mark.slow, pytest.mark.needs_source, pytest.mark.needs_yunet]

IMAGES = 300


@pytest.fixture(scope="module")
def images(source: Path) -> list[tuple[str, Image]]:
    """Examples, portraits, every fifth frame of both videos, and more portraits."""
    found = list(real_pictures(source))
    more = sorted((source / "data" / "LFW-Aligned-100Pair").rglob("*.jpg"))[1::2]
    found += [(path.name, np.asarray(cv2.imread(str(path)), np.uint8)) for path in more]
    assert len(found) >= IMAGES
    return found


def runner(score: float) -> Callable[[Image], Rows]:
    """The detector as users have it, without scaling and second looks."""
    detector = load_detector(
        ROOT / "models_onnx" / "detection_yunet.onnx",
        intra_op_num_threads=1,
        max_side=0,
        score_threshold=score,
    )

    def run(image: Image) -> Rows:
        found = detector.detect(image)
        assert found.keypoints is not None
        return found.scores, found.boxes, found.keypoints

    return run


@pytest.mark.parametrize(("score", "sizes"), [(0.6, 1), (0.3, 1)])
def test_the_same_faces(score: float, sizes: int, images: list[tuple[str, Image]]) -> None:
    """Each image at one of five sizes in turn; boxes and points to 0.05 px, scores to 1e-4."""
    find, oracle = runner(score), Oracle(published_yunet().read_bytes(), score)
    errors, faces = [], 0
    for turn, (name, image) in enumerate(images):
        shown = scaled(image, SIDES[turn % len(SIDES)])
        expected = oracle(shown)
        errors.append(compare(find(shown), expected, f"{name} {shown.shape}"))
        faces += len(expected[0])
    print(f"{len(images)} images, {faces} faces; pixels, scores:", np.max(errors, axis=0))
    assert faces > IMAGES


@pytest.mark.parametrize("side", SIDES)
def test_the_same_faces_at_each_size(side: int, images: list[tuple[str, Image]]) -> None:
    """A tenth of the images at every size."""
    find, oracle = runner(0.6), Oracle(published_yunet().read_bytes(), 0.6)
    errors = []
    for name, image in images[::10]:
        shown = scaled(image, side)
        errors.append(compare(find(shown), oracle(shown), f"{name} {shown.shape}"))
    print(f"{side}: {len(errors)} images; pixels, scores:", np.max(errors, axis=0))
