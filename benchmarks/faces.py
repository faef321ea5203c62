"""Real faces for benchmarks: upstream's aligned pairs, half of the people for calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.make_calibrations import enlarged
from mobileface.analyzer import FaceAnalyzer
from mobileface.tasks.align import align
from mobileface.tasks.embedding import Embedder
from mobileface.types import Face
from mobileface.vision.image import Image, resize
from mobileface.vision.picture_files import read_image
from mobileface_eval.measured import verification_rates
from mobileface_eval.people_scores import every_two
from mobileface_eval.rates import collect, verify

__all__ = ["Faces", "auc", "auc_interval", "find_faces", "own_crops", "read_frames"]

_PUBLISHED = "mobileface"
"""The crop of the published files."""

_EVERY = 40
"""Every 40th frame of a video is used: neighbouring frames are too similar."""


@dataclass(frozen=True)
class Faces:
    """Files of aligned faces.

    Attributes:
        calibration: Files of the first half of the people.
        evaluation: Files of the second half, two consecutive files per person.
    """

    calibration: list[Path]
    evaluation: list[Path]

    def crops(self, side: tuple[int, int]) -> list[Image]:
        """The evaluation faces, each uint8 (height, width, 3) BGR."""
        return [resize(read_image(path), *side) for path in self.evaluation]

    def people(self) -> npt.NDArray[np.int64]:
        """int64 (N,): the person ID of each evaluation face."""
        names = [path.parent.name for path in self.evaluation]
        return np.unique(names, return_inverse=True)[1]


def own_crops(paths: Sequence[Path], embedder: Embedder) -> list[Image | None]:
    """The crop that a model needs of each of upstream's aligned pairs.

    The files are crops for V1. For another crop, each is enlarged, and the face is found and
    cropped again.

    Args:
        paths: The files.
        embedder: The model.

    Returns:
        For each file, the crop, uint8 (height, width, 3) BGR, or None if no face was found.
    """
    height, width = embedder.image.height, embedder.image.width
    if embedder.crop == _PUBLISHED:
        return [resize(read_image(path), height, width) for path in paths]
    analyzer = FaceAnalyzer(tasks=("detection", "landmarks"), crops=(embedder.crop,))
    found: list[Image | None] = []
    for path in paths:
        photo = enlarged(read_image(path))
        faces = [
            face
            for face in analyzer(photo)
            if face.landmarks is not None and _contains(face, photo)
        ]
        marks = faces[0].landmarks if faces else None
        size = (height, width)
        crop = None if marks is None else align(photo, marks, crop=embedder.crop, size=size)
        found.append(crop)
    return found


def _contains(face: Face, photo: Image) -> bool:
    """Whether the face's box contains the middle of the photo."""
    x1, y1, x2, y2 = face.bbox
    return bool(x1 <= photo.shape[1] / 2 <= x2 and y1 <= photo.shape[0] / 2 <= y2)


def find_faces(source: Path) -> Faces:
    """Finds the aligned pairs in a checkout of upstream."""
    people = sorted(p for p in (source / "data" / "LFW-Aligned-100Pair").iterdir() if p.is_dir())
    halves = people[: len(people) // 2], people[len(people) // 2 :]
    first, second = ([path for p in half for path in sorted(p.glob("*.jpg"))] for half in halves)
    return Faces(first, second)


def auc(embeddings: npt.NDArray[np.float32], people: npt.NDArray[np.int64]) -> float:
    """ROC AUC: the probability that a genuine pair is more similar than an impostor pair."""
    rows, columns = np.triu_indices(len(people), 1)
    scores = (embeddings @ embeddings.T)[rows, columns]
    same = people[rows] == people[columns]
    ranks = np.argsort(np.argsort(scores, kind="stable"), kind="stable") + 1.0
    positive, negative = int(same.sum()), int((~same).sum())
    return float((ranks[same].sum() - positive * (positive + 1) / 2) / (positive * negative))


def auc_interval(
    embeddings: npt.NDArray[np.float32], people: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """The 95 % confidence interval of `auc`, people resampled."""
    labels = np.unique(people, return_inverse=True)[1]
    walk = every_two(embeddings, labels)
    scores = collect(walk)
    found = verification_rates(walk, int(labels.max()) + 1, scores, verify(scores)).auc
    return found.low, found.high


def read_frames(path: Path) -> list[Image]:
    """Every 40th frame of a video, each uint8 (H, W, 3) BGR."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        done, frame = capture.read()
        if not done:
            return frames[::_EVERY]
        frames.append(np.asarray(frame, np.uint8))
