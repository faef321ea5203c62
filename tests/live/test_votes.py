"""Who a track is: the rule of votes, and right and wrong names on the labelled videos."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mobileface import Face, FaceAnalyzer
from mobileface.errors import GalleryError
from mobileface.gallery import Gallery, NewFace, Stamp
from mobileface.live.capture import CapturedFrame
from mobileface.live.clock import SimulatedClock
from mobileface.live.event_log import EventLog
from mobileface.live.live_options import EventOptions
from mobileface.live.votes import Decision, TrackVotes, Voting, may_vote
from mobileface.types import FloatArray, Landmarks

from .friends import Remembering, Watched, best_faces, enrolled

FRAME = np.zeros((200, 300, 3), np.uint8)


def face_with(embedding: FloatArray | None, side: float = 80, nose: float = 0.5) -> Face:
    """A face whose nose is at a place between its eyes, 0.5 in the middle."""
    points = np.array([[100 + side * 0.3, 80], [100 + side * 0.7, 80], [0, 90]], np.float32)
    points[2, 0] = 100 + side * (0.3 + 0.4 * nose)
    return Face(
        bbox=np.array([100, 50, 100 + side, 50 + side], np.float32),
        det_score=0.9,
        landmarks=Landmarks(("left_eye", "right_eye", "nose"), points),
        embedding=embedding,
        embedding_model="m@1",
    )


def turned(degrees: float) -> FloatArray:
    """A unit vector at an angle from Ann's; Bob's is at 90°."""
    angle = np.radians(degrees)
    return np.array([np.cos(angle), np.sin(angle), 0, 0], np.float32)


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    stamp = Stamp("m@1", "0" * 64, 4, "dlib", 150, 150, "rgb")
    with Gallery.create(tmp_path / "g.gallery", stamp) as found:
        found.add("Ann", [NewFace(turned(0))])
        found.add("Bob", [NewFace(turned(90))])
        yield found


def decided(gallery: Gallery | None, *angles: float, ended: bool = False) -> Decision | None:
    """The decision after looks at angles from Ann's face; up to 37° (a cosine of 0.8) match."""
    votes = TrackVotes(1, 0.0, 0.0, 0.0)
    for number, angle in enumerate(angles):
        frame = CapturedFrame(number, float(number), float(number), FRAME)
        assert votes.add(face_with(turned(angle)), frame)
    opened = None if gallery is None else lambda: contextlib.nullcontext(gallery)
    return Voting(opened, 0.8).decide(votes, ended=ended)


def name_of(decision: Decision | None) -> str | None:
    assert decision is not None
    return decision.name


def test_a_name_needs_three_looks_or_the_end(gallery: Gallery) -> None:
    assert decided(gallery, 10, 10) is None
    assert name_of(decided(gallery, 10, 10, ended=True)) == "Ann"
    found = decided(gallery, 10, 20, 10)
    assert found is not None
    assert (found.name, found.faces_used, found.threshold) == ("Ann", 3, 0.8)
    assert found.similarity == pytest.approx(np.cos(np.radians(10)), abs=1e-6)
    assert name_of(decided(gallery, 80, 90, 90)) == "Bob"


def test_one_look_decides_nothing(gallery: Gallery) -> None:
    assert decided(gallery, 0, ended=True) is None


def test_the_majority_wins(gallery: Gallery) -> None:
    assert name_of(decided(gallery, 0, 0, 40)) == "Ann"
    assert name_of(decided(gallery, 0, 45, 45)) is None  # one look of three
    assert name_of(decided(gallery, 0, 0, 90, 90)) is None  # two against two
    assert name_of(decided(gallery, 0, 10, 0, 50, 45)) == "Ann"


def test_two_that_pass_by_chance_do_not_outvote_the_mean(gallery: Gallery) -> None:
    assert name_of(decided(gallery, 36, 36, 40)) is None
    assert name_of(decided(gallery, 36, 36, 36)) == "Ann"


def test_nobody_without_gallery_rule_or_when_it_fails(gallery: Gallery) -> None:
    assert name_of(decided(None, 0, 0, 0)) is None

    @contextlib.contextmanager
    def broken() -> Iterator[Gallery]:
        raise GalleryError("locked", where="g.gallery")
        yield

    votes = TrackVotes(1, 0.0, 0.0, 0.0)
    for number in range(3):
        votes.add(face_with(turned(0)), CapturedFrame(number, number, number, FRAME))
    assert Voting(broken, 0.8).decide(votes) is None
    no_rule = Voting(lambda: contextlib.nullcontext(gallery)).decide(votes)
    assert name_of(no_rule) is None
    assert no_rule is not None
    assert no_rule.threshold is None


def test_profiles_small_faces_and_faces_cut_off_do_not_vote() -> None:
    assert may_vote(face_with(None), FRAME)
    assert not may_vote(face_with(None, side=30), FRAME)
    assert not may_vote(face_with(None, nose=0.05), FRAME)
    assert not may_vote(face_with(None, side=150), FRAME)  # ends at y = 200, the border
    votes = TrackVotes(1, 0.0, 0.0, 0.0)
    frame = CapturedFrame(1, 1.0, 1.0, FRAME)
    assert not votes.add(face_with(turned(0), nose=0.05), frame)
    assert votes.voted == 0


def test_the_best_five_are_kept() -> None:
    votes = TrackVotes(1, 0.0, 0.0, 0.0)
    for number, side in enumerate([60, 90, 70, 100, 80, 50, 110]):
        assert votes.add(face_with(turned(side), side), CapturedFrame(1, number, number, FRAME))
    assert [round(look.view) for look in votes.looks] == [110, 100, 90, 80, 70]
    assert votes.face is not None
    assert votes.face.bbox[2] == 210
    later = CapturedFrame(1, 20.0, 20.0, FRAME)
    assert votes.wants_look(face_with(None, 75), later)
    assert not votes.wants_look(face_with(None, 65), later)
    assert not votes.wants_look(face_with(None, 75), CapturedFrame(1, 6.5, 6.5, FRAME))


@pytest.fixture(scope="module")
def analyzer() -> FaceAnalyzer:
    return Remembering()


LEAST_RIGHT = {(1, 1): 4, (1, 2): 1, (2, 1): 1, (2, 2): 4}
"""Tracks with the right name: (enrolled from video, watched video), with the starter's models."""


@pytest.mark.slow
@pytest.mark.needs_source
@pytest.mark.parametrize("enrolled_from", [1, 2])
def test_names_on_labelled_videos(
    enrolled_from: int, source: Path, tmp_path: Path, analyzer: FaceAnalyzer
) -> None:
    """The best face of each person in the first four seconds is enrolled; no name is wrong."""
    videos = {number: source / "example" / f"friends{number}.mp4" for number in (1, 2)}
    faces = best_faces(videos[enrolled_from], analyzer, 4)
    with enrolled(tmp_path, analyzer, list(faces.values())) as gallery:
        for number, path in videos.items():
            clock = SimulatedClock()
            log = EventLog(EventOptions(), clock=clock)
            camera = Watched(path, analyzer, gallery, log)
            camera.play()
            outcome = camera.outcome(set(faces))
            events = log.recent(limit=1000)
            print(f"{len(faces)} enrolled from friends{enrolled_from}, friends{number}: {outcome}")
            assert outcome["known wrong"] == outcome["stranger wrong"] == 0
            assert outcome["known right"] >= LEAST_RIGHT[enrolled_from, number]
            seen = [event.name for event in events if event.type == "person_seen"]
            assert len(seen) == len(set(seen))  # each person once
            assert set(seen) <= set(faces)
            assert len(seen) >= LEAST_RIGHT[enrolled_from, number]
            assert camera.state().people == ()
            left = [event.name for event in events if event.type == "left"]
            assert set(seen) <= set(left)
