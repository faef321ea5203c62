"""Real faces for benchmarks: upstream's aligned pairs, half of the people for calibration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mobileface.vision.image import Image, resize
from mobileface.vision.picture_files import read_image

__all__ = ["Faces", "auc", "find_faces", "read_frames"]

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


def read_frames(path: Path) -> list[Image]:
    """Every 40th frame of a video, each uint8 (H, W, 3) BGR."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        done, frame = capture.read()
        if not done:
            return frames[::_EVERY]
        frames.append(np.asarray(frame, np.uint8))
