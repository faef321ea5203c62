"""Faces through a video: detected when needed, always tracked, described when useful."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

from ..analyzer import FaceAnalyzer
from ..errors import InputError
from ..types import Face, FloatArray, Track
from ..vision.frontality import frontality
from ..vision.image import ChannelOrder, Image, check_image
from .motion import iou
from .tracker import Tracker

__all__ = ["FaceFollower", "FollowedFace", "FollowedFrame"]

_SURPRISE = 0.7
"""A detection that overlaps its track's prediction less than this was needed."""

_BETTER = 1.25
"""A face is described again when its view is this much better than the best so far."""

_LONGEST_PAUSE = 0.2
"""Seconds of video without a detection, at most, when its interval is chosen automatically."""

_PATIENCE = 3
"""Frames running in which the detector looks for a face that it missed, or one that is new."""

_STEP, _CUT = 24, 20.0
"""A frame whose every so many-th pixels differ by so much in the mean is a new scene."""

Interval = int | Literal["auto"]


@dataclass(frozen=True, slots=True, eq=False)
class FollowedFace:
    """A face in one frame of a video.

    Attributes:
        track_id: Its number, the same in all frames.
        face: What is known of it. Embedding and attributes may be of an earlier frame, when it was
            seen best.
        measured: What was measured in this frame: "bbox", "det_score", "kps", "pose",
            "attributes", "embedding".
        predicted: What was predicted by the tracker: "bbox", or nothing.
        kept: What is of an earlier frame: "attributes", "embedding".
    """

    track_id: int
    face: Face
    measured: tuple[str, ...]
    predicted: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class FollowedFrame:
    """One frame of a video.

    Attributes:
        number: From 0 on.
        detected: True if the detector ran.
        faces: The faces, by `track_id`.
        seconds: What each stage took: "detection", "tracking", "tasks".
    """

    number: int
    detected: bool
    faces: tuple[FollowedFace, ...]
    seconds: dict[str, float]


@dataclass(slots=True)
class _Known:
    """What is known of one identity, from the frame in which it was seen best."""

    view: float = 0.0
    last_seen: int = 0
    face: Face | None = None


@dataclass(slots=True)
class _Schedule:
    """When the detector runs next.

    Attributes:
        every: Frames from one detection to the next; "auto": as few as suffice.
        fps: Frames a second of the video.
        most: Detections a second of video, at most; None: no limit.
        live: Frames that come while one is worked on are lost.
    """

    every: Interval
    fps: float
    most: float | None
    live: bool
    interval: int = 1
    since: float = math.inf
    cost: float = 0.0
    looks: int = 0
    scene: Image | None = None

    def due(self, frame: Image) -> bool:
        """True if the detector is to run on the frame that comes now."""
        least = 1 if self.most is None else math.ceil(self.fps / self.most)
        if self.every == "auto":
            every = 1 if self._is_new_scene(frame) else self.interval
        else:
            every = self.every
        now = self.since >= max(every, least)
        self.since = 1 if now else self.since + 1
        return now

    def learn(self, surprised: bool, unsettled: bool, seconds: float) -> None:
        """Takes in how a detection went: sooner after a surprise, later and later without."""
        self.cost = seconds if not self.cost else 0.8 * self.cost + 0.2 * seconds
        self.looks = self.looks + 1 if unsettled else 0
        if unsettled and self.looks <= _PATIENCE:
            wanted = 1
        else:
            wanted = max(self.interval // 2, 1) if surprised else self.interval + 1
        keeps_up = math.ceil(self.cost * self.fps) if self.live else 1
        self.interval = max(min(wanted, int(self.fps * _LONGEST_PAUSE)), keeps_up, 1)

    def _is_new_scene(self, frame: Image) -> bool:
        """True after a cut: the boxes that were predicted mean nothing any more."""
        before, self.scene = self.scene, np.array(frame[::_STEP, ::_STEP])
        if before is None or before.shape != self.scene.shape:
            return True
        return float(cv2.absdiff(before, self.scene).mean()) > _CUT


@dataclass(slots=True)
class _Clock:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, stage: str, start: float) -> float:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - start
        return now


class FaceFollower:
    """Finds and follows the faces of one video, frame by frame.

    Args:
        analyzer: Detector and tasks. Landmarks and pose are found in each frame that is detected
            in; embedding and attributes once a track, and again when the face is larger or more
            frontal than before.
        detect_every: Frames from one detection to the next, between which boxes are predicted;
            "auto": as few detections as the movement and the time they take ask for.
        max_detections: Detections a second of video, at most; None: no limit.
        fps: Frames a second of the video.
        live: The frames are a camera's: "auto" then leaves as many out as the detector needs to
            keep up with them.
        max_age: As `Tracker` takes it, in frames with a detection.
        min_hits: As `Tracker` takes it.
        iou_threshold: As `Tracker` takes it.
        same_person: As `Tracker` takes it; needs an embedder.

    Raises:
        InputError: An option out of range.
    """

    def __init__(
        self,
        analyzer: FaceAnalyzer,
        *,
        detect_every: Interval = 1,
        max_detections: float | None = None,
        fps: float = 25.0,
        live: bool = False,
        max_age: int = 10,
        min_hits: int = 3,
        iou_threshold: float = 0.3,
        same_person: float | None = None,
    ) -> None:
        if detect_every != "auto" and not (isinstance(detect_every, int) and detect_every >= 1):
            raise InputError(f"detect_every {detect_every!r} is neither 'auto' nor a number from 1")
        if max_detections is not None and not 0 < max_detections < math.inf:
            raise InputError(f"max_detections {max_detections} is not a positive number")
        if not 0 < fps < math.inf:
            raise InputError(f"fps {fps} is not a positive number")
        if same_person is not None and analyzer.embedder is None:
            raise InputError("same_person needs an identification model")
        self.analyzer = analyzer
        self._tracker = Tracker(
            max_age=max_age,
            min_hits=min_hits,
            iou_threshold=iou_threshold,
            same_person=same_person,
        )
        self._schedule = _Schedule(detect_every, fps, max_detections, live)
        self._forget_after = max(int(10 * fps), 100)
        self._known: dict[int, _Known] = {}
        self._number = -1
        self._previous: list[Track] = []
        once = [task for task in ("attributes", "embedding") if task in analyzer.tasks]
        self._once = tuple(once)
        self._always = tuple(task for task in analyzer.tasks if task not in (*once, "detection"))

    def __call__(self, frame: Image, *, color: ChannelOrder = "bgr") -> FollowedFrame:
        """Takes the next frame.

        Args:
            frame: uint8 (H, W, 3) or (H, W).
            color: Channel order of a colour frame.

        Raises:
            ImageError: Not a picture.
        """
        frame = check_image(frame)
        self._number += 1
        due = self._schedule.due(frame)
        clock, start = _Clock(), time.perf_counter()
        if due:
            detected = self.analyzer.detect(frame, color=color)
            clock.add("detection", start)
            before = self._previous
            faces = self._detected(frame, detected, color, clock)
            surprised = _surprised(before, self._previous)
            self._schedule.learn(surprised, self._tracker.unsettled, sum(clock.seconds.values()))
        else:
            self._previous = self._tracker.predict()
            clock.add("tracking", start)
            faces = [self._predicted(track) for track in self._previous]
        self._drop_old()
        return FollowedFrame(self._number, due, tuple(faces), clock.seconds)

    def _detected(
        self, frame: Image, detected: Sequence[Face], color: ChannelOrder, clock: _Clock
    ) -> list[FollowedFace]:
        """The faces of a frame in which the detector ran."""
        described: dict[int, Face] = {}

        def describe(indices: Sequence[int]) -> FloatArray:
            chosen = [detected[index] for index in indices]
            found = self.analyzer.describe(frame, chosen, ("embedding",), color=color)
            described.update(zip(indices, found, strict=True))
            assert self.analyzer.embedder is not None
            nobody = np.zeros(self.analyzer.embedder.size, np.float32)
            return np.stack([nobody if f.embedding is None else f.embedding for f in found])

        boxes = np.array([face.bbox for face in detected], np.float32).reshape(-1, 4)
        scores = [face.det_score for face in detected]
        start = time.perf_counter()
        tracks = self._tracker.update(boxes, scores, describe)
        start = clock.add("tracking", start)
        chosen = []
        for track in tracks:
            assert track.detection is not None
            chosen.append(described.get(track.detection, detected[track.detection]))
        if self._always:
            chosen = self.analyzer.describe(frame, chosen, self._always, color=color)
        faces = [
            self._complete(frame, track, face, color)
            for track, face in zip(tracks, chosen, strict=True)
        ]
        clock.add("tasks", start)
        self._previous = tracks
        return faces

    def _complete(
        self, frame: Image, track: Track, face: Face, color: ChannelOrder
    ) -> FollowedFace:
        """Adds what is found once a track, now if the view is better than before."""
        known = self._known.setdefault(track.track_id, _Known())
        known.last_seen = self._number
        view = _view(face)
        kept: tuple[str, ...] = ()
        fresh: tuple[str, ...] = ()
        if self._once and (known.face is None or view >= _BETTER * known.view):
            tasks = [t for t in self._once if t != "embedding" or face.embedding is None]
            face = self.analyzer.describe(frame, [face], tasks, color=color)[0]
            known.view, known.face, fresh = view, face, self._once
            if face.embedding is not None:
                self._tracker.remember(track.track_id, face.embedding)
        elif known.face is not None:
            face, kept = _keeping(face, known.face), self._once
        face = dataclasses.replace(face, bbox=track.bbox)
        return FollowedFace(
            track.track_id,
            face,
            _present(face, ("bbox", "det_score", "kps", "pose", *fresh)),
            (),
            _present(face, kept),
        )

    def _predicted(self, track: Track) -> FollowedFace:
        """A face in a frame without a detection."""
        known = self._known.get(track.track_id)
        face = Face(bbox=track.bbox, det_score=math.nan)
        if known is not None and known.face is not None:
            face = _keeping(face, known.face)
            known.last_seen = self._number
        kept = _present(face, self._once)
        return FollowedFace(track.track_id, face, (), ("bbox",), kept)

    def _drop_old(self) -> None:
        """Forgets what faces looked like that were not seen for long: memory stays constant."""
        if self._number % self._forget_after == 0:
            self._known = {
                track_id: known
                for track_id, known in self._known.items()
                if self._number - known.last_seen < self._forget_after
            }


def _keeping(face: Face, best: Face) -> Face:
    """A face with what was found of it when it was seen best."""
    return dataclasses.replace(
        face,
        attributes=best.attributes,
        embedding=best.embedding,
        embedding_model=best.embedding_model,
    )


def _surprised(before: Sequence[Track], now: Sequence[Track]) -> bool:
    """True if a detection was needed: a face came, went, or is not where it was expected."""
    expected = {track.track_id: track.bbox.astype(np.float64) for track in before}
    if expected.keys() != {track.track_id for track in now}:
        return True
    overlaps = [
        iou(expected[track.track_id][None], track.bbox[None].astype(np.float64)) for track in now
    ]
    return any(float(overlap[0, 0]) < _SURPRISE for overlap in overlaps)


def _present(face: Face, names: Sequence[str]) -> tuple[str, ...]:
    """Those of the names that the face has."""
    there = {
        "bbox": True,
        "det_score": True,
        "kps": face.landmarks is not None,
        "pose": face.pose is not None,
        "attributes": face.attributes is not None,
        "embedding": face.embedding is not None,
    }
    return tuple(name for name in names if there[name])


def _view(face: Face) -> float:
    """How well a face is seen: its side in pixels, less the more it is turned away."""
    width, height = face.bbox[2:] - face.bbox[:2]
    side = float(np.sqrt(max(width, 0) * max(height, 0)))
    ratio = None if face.landmarks is None else frontality(face.landmarks)
    return side if ratio is None else side * ratio
