"""The two labelled videos, played through a camera in simulated time."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mobileface import FaceAnalyzer
from mobileface.gallery import Enroller, Gallery, QualityLimits, Stamp
from mobileface.live.camera import LiveCamera
from mobileface.live.capture import CapturedFrame, Playback
from mobileface.live.event_log import EventLog
from mobileface.live.live_options import CameraOptions
from mobileface.live.votes import Decision, may_vote
from mobileface.matching.calibration import find_calibration
from mobileface.tracking.follower import FollowedFace, view_score
from mobileface.tracking.motion import iou
from mobileface.types import Face
from mobileface.vision.image import ChannelOrder, Image
from mobileface.vision.video import VideoReader
from tests.conftest import ROOT

STARTER = ROOT / "models_onnx"
LABELS = ROOT / "tests" / "data" / "video_faces_all.json"


def labels(video: str) -> dict[int, list[dict[str, Any]]]:
    """The labelled faces of a video by frame."""
    found = json.loads(LABELS.read_text(encoding="utf-8"))["videos"][video]
    return {int(number): faces for number, faces in found.items()}


def labelled(face: Face, here: list[dict[str, Any]]) -> str | None:
    """The label that a face overlaps most; None if that is below an IoU of 0.4."""
    truth = np.array([label["bbox"] for label in here], float).reshape(-1, 4)
    overlap = iou(truth, np.asarray(face.bbox, float)[None])[:, 0]
    if not len(overlap) or overlap.max() < 0.4:
        return None
    return str(here[int(overlap.argmax())]["person"])


@contextlib.contextmanager
def enrolled(
    folder: Path, analyzer: FaceAnalyzer, pictures: list[tuple[str, Image, Face]]
) -> Iterator[Callable[[], contextlib.AbstractContextManager[Gallery]]]:
    """A gallery with these faces."""
    assert analyzer.embedder is not None
    calibration = find_calibration(analyzer.embedder.identity, STARTER)
    stamp = Stamp.of(analyzer.embedder, calibration=calibration)
    with Gallery.create(folder / "people.gallery", stamp) as gallery:
        enroller = Enroller(gallery, analyzer, limits=QualityLimits(sharpness=0))
        for name, image, face in pictures:
            x1, y1, x2, y2 = (float(value) for value in face.bbox)
            choice = f"{(x1 + x2) / 2:.0f},{(y1 + y2) / 2:.0f}"
            gallery.add(name, [enroller.examine(image, name, face=choice)])
        yield lambda: contextlib.nullcontext(gallery)


def frames(path: Path) -> dict[int, Image]:
    """The labelled frames of a video."""
    wanted = labels(path.name)
    with VideoReader(path) as video:
        return {number: image for number, image in video if number in wanted}


class Remembering(FaceAnalyzer):
    """Finds the faces of each frame once, however often it is played."""

    def __init__(self) -> None:
        tasks = ("detection", "landmarks", "embedding")
        super().__init__(STARTER, tasks, detector="detection_yunet", intra_op_num_threads=1)
        self._found: dict[bytes, list[Face]] = {}

    def detect(self, image: Image, *, color: ChannelOrder = "bgr") -> list[Face]:
        key = hashlib.sha256(image.tobytes()).digest()
        if key not in self._found:
            self._found[key] = super().detect(image, color=color)
        return list(self._found[key])


class Watched(LiveCamera):
    """A camera that notes whom each track follows by the labels, and what was decided."""

    def __init__(self, path: Path, analyzer: FaceAnalyzer, gallery: Any, log: EventLog) -> None:
        super().__init__(
            CameraOptions("c", str(path), motion=False),
            analyzer,
            gallery,
            log,
            playback=Playback(loop=False, lossless=True),
            clock=log.clock,
        )
        self.labels = labels(path.name)
        self.truth: dict[int, Counter[str]] = {}
        self.decided: dict[int, Decision] = {}

    def _see(self, followed: FollowedFace, frame: CapturedFrame) -> None:
        super()._see(followed, frame)
        person = labelled(followed.face, self.labels.get(frame.number - 1, []))
        if person is not None:
            self.truth.setdefault(followed.track_id, Counter())[person] += 1
        decision = self._votes[followed.track_id].decision
        if decision is not None:
            self.decided[followed.track_id] = decision

    def play(self) -> None:
        """Plays the video to its end."""
        self.start()
        self._thread.join(120)
        assert not self._thread.is_alive()

    def outcome(self, known: set[str]) -> Counter[str]:
        """How many tracks got the right name, a wrong one or none; strangers apart."""
        found: Counter[str] = Counter()
        for track_id, people in self.truth.items():
            person = people.most_common(1)[0][0]
            decision = self.decided.get(track_id)
            name = None if decision is None else decision.name
            who = "known" if person in known else "stranger"
            found[f"{who} {'right' if name == person else 'wrong' if name else 'nameless'}"] += 1
        return found


def best_faces(
    path: Path, analyzer: FaceAnalyzer, seconds: float
) -> dict[str, tuple[str, Image, Face]]:
    """The best view of each labelled person in the first seconds of a video."""
    best: dict[str, tuple[float, tuple[str, Image, Face]]] = {}
    here = labels(path.name)
    for number, image in frames(path).items():
        if number >= 25 * seconds:
            continue
        for face in analyzer.detect(image):
            person = labelled(face, here[number])
            if person is None or not may_vote(face, image) or min(_size(face)) < 40:
                continue
            if person not in best or view_score(face) > best[person][0]:
                best[person] = (view_score(face), (person, image, face))
    return {person: found for person, (_, found) in best.items()}


def _size(face: Face) -> tuple[float, float]:
    width, height = (float(value) for value in face.bbox[2:] - face.bbox[:2])
    return width, height
