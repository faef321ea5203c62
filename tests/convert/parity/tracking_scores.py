"""How well faces are followed: CLEAR MOT, IDF1 and HOTA on invented and on labelled videos.

motmetrics computes CLEAR MOT (Bernardin and Stiefelhagen, 2008) and IDF1 (Ristani et al., arXiv
1609.01775), trackeval HOTA (Luiten et al., arXiv 2009.07736).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mobileface import Face, FaceAnalyzer, FaceFollower, Tracker
from mobileface.tracking.motion import iou
from mobileface.vision.image import ChannelOrder, Image
from tests.conftest import ROOT

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import motmetrics

LABELS = Path(__file__).parents[2] / "data" / "video_faces_all.json"
STARTER = ROOT / "models_onnx"
SAME_PERSON = 0.93
"""Of embedding_dlib: between the similarities of one person and of two in these videos."""

_LEAST_IOU = 0.4

Array = npt.NDArray[np.float64]
Row = tuple[list[int], Array, list[int], Array]
"""People and their boxes in one frame, tracks and their boxes."""


def score(frames: list[Row]) -> dict[str, float]:
    """MOTA, IDF1, switches and the rest."""
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    names = ["num_switches", "num_misses", "num_false_positives", "mota", "idf1", "num_objects"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for people, truth, found, boxes in frames:
            distance = 1 - iou(truth, boxes)
            distance[distance > 1 - _LEAST_IOU] = np.nan
            accumulator.update(people, found, distance)
        table = motmetrics.metrics.create().compute(accumulator, metrics=names)
    return {name: float(table.iloc[0][name]) for name in names}


def hota(frames: list[Row]) -> float:
    """HOTA, the mean over the thresholds of IoU from 0.05 to 0.95."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trackeval.metrics.hota import HOTA

        people = sorted({name for row in frames for name in row[0]})
        tracks = sorted({name for row in frames for name in row[2]})
        data = {
            "num_gt_ids": len(people),
            "num_tracker_ids": len(tracks),
            "num_gt_dets": sum(len(row[0]) for row in frames),
            "num_tracker_dets": sum(len(row[2]) for row in frames),
            "gt_ids": [np.searchsorted(people, row[0]).astype(int) for row in frames],
            "tracker_ids": [np.searchsorted(tracks, row[2]).astype(int) for row in frames],
            "similarity_scores": [iou(row[1], row[3]) for row in frames],
        }
        return float(np.mean(HOTA().eval_sequence(data)["HOTA"]))


def joined(sequences: list[list[Row]]) -> list[Row]:
    """Several sequences as one: the people and tracks of each get numbers of their own."""
    rows = []
    for number, frames in enumerate(sequences):
        base = 10_000 * number
        for people, truth, found, boxes in frames:
            rows.append(([base + n for n in people], truth, [base + n for n in found], boxes))
    return rows


def walkers(seed: int, people: int, frames: int) -> Array:
    """Boxes (frames, people, 4) of faces that walk to and fro at different depths and cross."""
    random = np.random.RandomState(seed)
    side = random.uniform(40, 90, people)
    phase, pace = random.uniform(0, 2 * np.pi, people), random.uniform(0.015, 0.04, people)
    height = random.uniform(80, 620, people)
    steps = np.arange(frames)[:, None]
    x = 640 + 520 * np.sin(phase + pace * steps)
    y = height + 15 * np.sin(1.7 * phase + 2 * pace * steps)
    sides = side * (1 + 0.1 * np.sin(phase + 0.02 * steps))
    return np.stack([x - sides / 2, y - sides / 2, x + sides / 2, y + sides / 2], axis=2)


def crossings(people: int, **options: Any) -> Iterator[list[Row]]:
    """Five crossings, followed: boxes 2 px off, 5 % missed, a false alarm in ten frames."""
    for seed in range(5):
        random, tracker = np.random.RandomState(100 + seed), Tracker(**options)
        rows: list[Row] = []
        for boxes in walkers(seed, people, 400):
            seen = boxes[random.rand(people) > 0.05]
            seen = seen + random.normal(0, 2, seen.shape)
            if random.rand() < 0.1:
                corner = random.uniform(0, [1200, 640])
                seen = np.vstack([seen, [*corner, *(corner + 60)]])
            tracks = tracker.update(seen[random.permutation(len(seen))])
            found = np.array([track.bbox for track in tracks], float).reshape(-1, 4)
            rows.append((list(range(people)), boxes, [t.track_id for t in tracks], found))
        yield rows


class Remembering(FaceAnalyzer):
    """Finds the faces of each frame once, however many trackers follow them."""

    def __init__(
        self, detector: str, tasks: tuple[str, ...] = ("detection", "landmarks", "embedding")
    ) -> None:
        super().__init__(STARTER, tasks, detector=detector)
        self._found: dict[bytes, list[Face]] = {}

    def detect(self, image: Image, *, color: ChannelOrder = "bgr") -> list[Face]:
        key = hashlib.sha256(image.tobytes()).digest()
        if key not in self._found:
            self._found[key] = super().detect(image, color=color)
        return list(self._found[key])


def follow(path: Path, analyzer: FaceAnalyzer, **options: Any) -> tuple[int, list[Row]]:
    """Number of identities, and the labelled frames.

    Results that overlap a difficult face more than any other are left out.
    """
    labels = json.loads(LABELS.read_text(encoding="utf-8"))["videos"][path.name]
    capture, follower = cv2.VideoCapture(str(path)), FaceFollower(analyzer, **options)
    numbers: dict[str, int] = {}
    rows: list[Row] = []
    identities, number = set(), 0
    while True:
        done, frame = capture.read()
        if not done:
            return len(identities), rows
        faces = follower(np.asarray(frame, np.uint8)).faces
        identities |= {face.track_id for face in faces}
        here = labels.get(str(number), [])
        if here:
            truth = np.array([label["bbox"] for label in here], float)
            found = np.array([face.face.bbox for face in faces], float).reshape(-1, 4)
            easy = np.array([not label["difficult"] for label in here])
            overlap = iou(truth, found)
            kept = overlap[easy].max(0, initial=0) >= overlap[~easy].max(0, initial=0)
            names = [label["person"] for label in here if not label["difficult"]]
            people = [numbers.setdefault(name, len(numbers)) for name in names]
            tracks = [face.track_id for face, keep in zip(faces, kept, strict=True) if keep]
            rows.append((people, truth[easy], tracks, found[kept]))
        number += 1
