"""FaceFollower: measured and predicted boxes, the schedule of detections, invalid options."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mobileface import Face, FaceFollower
from mobileface.errors import InputError
from mobileface.tracking.follower import FollowedFrame
from mobileface.types import FloatArray
from mobileface.vision.image import Image


class Scripted:
    """An analysis whose faces are written down beforehand; counts what it is asked for."""

    def __init__(self, frames: Sequence[Sequence[float]], embedder: bool = True) -> None:
        self.tasks = ("detection", "landmarks", "embedding") if embedder else ("detection",)
        self.embedder = type("E", (), {"size": 4})() if embedder else None
        self.frames, self.frame = frames, -1
        self.detections, self.embeddings = 0, 0

    def detect(self, image: Image, **_: Any) -> list[Face]:
        self.detections += 1
        places = self.frames[int(image[0, 0, 0])]
        return [face_at(x) for x in places]

    def describe(self, _: Image, faces: Sequence[Face], tasks: Any, **__: Any) -> list[Face]:
        if "embedding" not in tasks:
            return list(faces)
        self.embeddings += len(faces)
        unit: FloatArray = np.array([1, 0, 0, 0], np.float32)
        return [dataclasses.replace(face, embedding=unit, embedding_model="m@1") for face in faces]


def face_at(x: float, side: float = 40) -> Face:
    box = np.array([x, 50, x + side, 50 + side], np.float32)
    return Face(bbox=box, det_score=0.9)


def follow(
    frames: Sequence[Sequence[float]], **options: Any
) -> tuple[Scripted, list[FollowedFrame]]:
    analyzer = Scripted(frames)
    follower = FaceFollower(analyzer, **options)  # type: ignore[arg-type]
    images = [np.full((60, 80, 3), number, np.uint8) for number in range(len(frames))]
    return analyzer, [follower(image) for image in images]


STEADY = [[100.0 + 2 * number] for number in range(60)]


def test_what_is_measured_and_what_is_predicted() -> None:
    """Every third frame is detected in; between them the box is predicted and says so."""
    analyzer, found = follow(STEADY, detect_every=3)
    assert [frame.detected for frame in found] == [n % 3 == 0 for n in range(60)]
    assert analyzer.detections == 20
    for frame in found:
        (face,) = frame.faces
        assert face.track_id == 1
        if frame.detected:
            assert "bbox" in face.measured
            assert "det_score" in face.measured
            assert face.predicted == ()
        else:
            assert (face.measured, face.predicted) == ((), ("bbox",))
            assert math.isnan(face.face.det_score)
    late = [abs(f.faces[0].face.bbox[0] - STEADY[f.number][0]) for f in found[12:]]
    print(f"boxes at most {max(late):.2f} px off")
    assert max(late) < 1


def test_the_embedding_runs_once_a_track() -> None:
    analyzer, found = follow(STEADY)
    assert analyzer.embeddings == 1
    assert "embedding" in found[0].faces[0].measured
    assert found[30].faces[0].kept == ("embedding",)
    assert found[30].faces[0].face.embedding is not None


def test_a_better_view_is_described_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A face that comes nearer: each time it is a quarter larger than at its best."""
    analyzer = Scripted([[100.0]] * 40)
    sides = [40 * 1.02**number for number in range(40)]
    monkeypatch.setattr(
        analyzer, "detect", lambda image, **_: [face_at(100, sides[int(image[0, 0, 0])])]
    )
    follower = FaceFollower(analyzer)  # type: ignore[arg-type]
    for number in range(40):
        follower(np.full((60, 80, 3), number, np.uint8))
    expected = 1 + int(math.log(sides[-1] / sides[0]) / math.log(1.25))
    assert analyzer.embeddings == expected == 4


def test_auto_detects_less_and_looks_again_when_needed() -> None:
    """A steady face costs a detection in five frames; a new one is found soon."""
    analyzer, _ = follow(STEADY, detect_every="auto")
    assert analyzer.detections <= 20
    comes = [[100.0] if number < 30 else [100.0, 300.0] for number in range(60)]
    analyzer, found = follow(comes, detect_every="auto")
    first = next(frame.number for frame in found if len(frame.faces) == 2)
    print(f"{analyzer.detections} detections, the new face from frame {first} on")
    assert first <= 30 + 5 + 3
    assert analyzer.detections < 40


def test_a_cut_is_detected_in_at_once() -> None:
    analyzer = Scripted([[100.0]] * 120)
    follower = FaceFollower(analyzer, detect_every="auto")  # type: ignore[arg-type]
    frames = [np.full((60, 80, 3), n % 2 + (90 if n >= 43 else 0), np.uint8) for n in range(60)]
    detected = [follower(frame).detected for frame in frames]
    assert detected[43]
    assert sum(detected[20:43]) <= 6


def test_a_budget_of_detections() -> None:
    analyzer, _ = follow(STEADY, max_detections=5, fps=25)
    assert analyzer.detections == 12
    analyzer, _ = follow(STEADY, max_detections=100, fps=25)
    assert analyzer.detections == 60


BAD: list[dict[str, Any]] = [
    {"detect_every": 0},
    {"detect_every": "often"},
    {"detect_every": 1.5},
    {"max_detections": 0},
    {"fps": 0},
    {"fps": math.inf},
    {"min_hits": 0},
]


@pytest.mark.parametrize("options", BAD, ids=str)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        FaceFollower(Scripted([]), **options)  # type: ignore[arg-type]


def test_identities_need_an_embedder() -> None:
    with pytest.raises(InputError, match="needs an identification model"):
        FaceFollower(Scripted([], embedder=False), same_person=0.5)  # type: ignore[arg-type]


def test_looks_are_embedded_again_when_asked_for() -> None:
    """The embedding of such a frame is measured; in the others the kept one stays."""
    asked: list[int] = []

    def look(track_id: int, _: Face) -> bool:
        asked.append(track_id)
        return len(asked) in (5, 10)

    analyzer, found = follow(STEADY, look=look)
    fresh = [frame.number for frame in found if "embedding" in frame.faces[0].measured]
    assert fresh == [0, 5, 10]
    assert analyzer.embeddings == 3
    assert found[6].faces[0].kept == ("embedding",)


def test_only_the_tasks_that_are_asked_for() -> None:
    analyzer, found = follow(STEADY, tasks=())
    assert analyzer.embeddings == 0
    assert found[5].faces[0].kept == ()


def test_following_as_long_as_there_are_tracks() -> None:
    analyzer = Scripted([[100.0]] * 3 + [[]] * 20)
    follower = FaceFollower(analyzer, max_age=5)  # type: ignore[arg-type]
    assert not follower.following
    states = []
    for number in range(23):
        follower(np.full((60, 80, 3), number, np.uint8))
        states.append(follower.following)
    assert states == [number < 3 + 5 for number in range(23)]
