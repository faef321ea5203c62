"""Detects, tracks and describes the faces of a video, with detection only in some frames."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from ..analyzer import FaceAnalyzer
from ..errors import InputError
from ..types import Face, FloatArray, Track
from ..vision.frontality import frontality
from ..vision.image import ChannelOrder, Image, check_image
from .motion import iou
from .schedule import DetectionSchedule, Interval
from .tracker import Confirmation, Tracker

__all__ = ["FaceFollower", "FollowedFace", "FollowedFrame", "view_score"]

_FULL_MEASUREMENT = 25
"""Every so many frames the roll of a face is measured without that of the frame before."""

_SURPRISE_IOU = 0.7
"""A detection whose IoU with its track's prediction is below this shows that it was needed."""

_BETTER_VIEW = 1.25
"""A face is described again when its view score is this many times the best so far."""


@dataclass(frozen=True, slots=True, eq=False)
class FollowedFace:
    """A tracked face in one frame of a video.

    Attributes:
        track_id: ID of the track, the same in all frames.
        face: The face. Its embedding and attributes may come from the earlier frame with the best
            view.
        measured: Fields that were measured in this frame: "bbox", "det_score", "kps", "mesh",
            "pose", "attributes", "embedding".
        predicted: Fields that were predicted by the tracker: "bbox" or none.
        kept: Fields that come from an earlier frame: "attributes", "embedding".
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
        number: Number of the frame, starting at 0.
        detected: True if the detector ran in this frame.
        faces: The faces, sorted by `track_id`.
        seconds: Run time of each stage: "detection", "tracking", "tasks".
    """

    number: int
    detected: bool
    faces: tuple[FollowedFace, ...]
    seconds: dict[str, float]


@dataclass(slots=True)
class _Known:
    """What is known about one identity, from the frame with its best view."""

    view: float = 0.0
    last_seen: int = 0
    face: Face | None = None
    roll: float | None = None


@dataclass(slots=True)
class _Clock:
    """Accumulates run times by stage, in seconds."""

    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, stage: str, start: float) -> float:
        now = perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - start
        return now


class FaceFollower:
    """Detects and tracks the faces of one video, frame by frame.

    Args:
        analyzer: Provides the detector and the tasks. Landmarks and pose are computed in each frame
            with a detection; embedding and attributes once per track, and again when the face is
            larger or more frontal than before.
        detect_every: Frames from one detection to the next; boxes in between are predicted. "auto"
            adapts the interval to the movement of the faces and the run time of a detection.
        max_detections: Maximum number of detections per second of video; None for no limit.
        fps: Frames per second of the video; with times, only a first estimate.
        live: True for a camera: "auto" then makes the interval long enough for the detector to keep
            up with the frame rate.
        max_age: See `Tracker`; counted in frames with a detection.
        min_hits: See `Tracker`.
        confirmation: See `Tracker`.
        iou_threshold: See `Tracker`.
        same_person: See `Tracker`; needs an embedder.
        tasks: Tasks of the analyzer to run; None for all.
        look: Called with track ID and face in frames with a detection, when the embedding would be
            kept from an earlier frame. If it returns True, the embedding of this frame is computed
            and returned for this frame; a better view stays the one that is kept.

    Raises:
        InputError: If an option is out of range, or ``same_person`` is given without an embedder.
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
        confirmation: Confirmation = "once",
        iou_threshold: float = 0.3,
        same_person: float | None = None,
        tasks: Sequence[str] | None = None,
        look: Callable[[int, Face], bool] | None = None,
    ) -> None:
        if detect_every != "auto" and not (isinstance(detect_every, int) and detect_every >= 1):
            raise InputError(
                f"detect_every must be 'auto' or an integer of at least 1, not {detect_every!r}"
            )
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
            confirmation=confirmation,
            iou_threshold=iou_threshold,
            same_person=same_person,
        )
        self._schedule = DetectionSchedule(detect_every, fps, max_detections, live)
        self._forget_after = max(int(10 * fps), 100)
        self._known: dict[int, _Known] = {}
        self._number = -1
        self._previous: list[Track] = []
        self._look = look
        run = analyzer.tasks if tasks is None else [t for t in analyzer.tasks if t in tasks]
        per_track = tuple(task for task in ("attributes", "embedding") if task in run)
        others = (*per_track, "detection")
        self._per_track = per_track
        self._per_frame = tuple(task for task in run if task not in others)

    @property
    def following(self) -> bool:
        """True while there are tracks, also unconfirmed ones and ones that were just missed."""
        return len(self._tracker) > 0

    def __call__(
        self, frame: Image, *, time: float | None = None, color: ChannelOrder = "bgr"
    ) -> FollowedFrame:
        """Processes the next frame.

        Args:
            frame: uint8 (H, W, 3) or (H, W).
            time: Its time in seconds, for videos with a variable rate; None: the rate is constant.
            color: Channel order of a colour frame.

        Raises:
            ImageError: If ``frame`` does not have this type or shape.
        """
        frame = check_image(frame)
        self._number += 1
        due = self._schedule.due(frame, time)
        clock, start = _Clock(), perf_counter()
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
            unknown = np.zeros(self.analyzer.embedder.size, np.float32)
            return np.stack([unknown if f.embedding is None else f.embedding for f in found])

        boxes = np.array([face.bbox for face in detected], np.float32).reshape(-1, 4)
        scores = [face.det_score for face in detected]
        start = perf_counter()
        tracks = self._tracker.update(boxes, scores, describe)
        start = clock.add("tracking", start)
        chosen = []
        for track in tracks:
            assert track.detection is not None
            found = described.get(track.detection, detected[track.detection])
            chosen.append(self._with_roll(track, found))
        if self._per_frame:
            chosen = self.analyzer.describe(frame, chosen, self._per_frame, color=color)
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
        """Adds embedding and attributes: new ones if the view is better, else the kept ones."""
        known = self._known.setdefault(track.track_id, _Known())
        known.last_seen, known.roll = self._number, face.roll
        view = view_score(face)
        kept: tuple[str, ...] = ()
        fresh: tuple[str, ...] = ()
        if self._per_track and (known.face is None or view >= _BETTER_VIEW * known.view):
            tasks = [t for t in self._per_track if t != "embedding" or face.embedding is None]
            face = self.analyzer.describe(frame, [face], tasks, color=color)[0]
            known.view, known.face, fresh = view, face, self._per_track
            if face.embedding is not None:
                self._tracker.remember(track.track_id, face.embedding)
        elif self._look is not None and known.face and self._look(track.track_id, face):
            face = self.analyzer.describe(frame, [face], ("embedding",), color=color)[0]
            face = dataclasses.replace(face, attributes=known.face.attributes)
            fresh, kept = ("embedding",), ("attributes",)
        elif known.face is not None:
            face, kept = _keeping(face, known.face), self._per_track
        face = dataclasses.replace(face, bbox=track.bbox)
        return FollowedFace(
            track.track_id,
            face,
            _present(face, ("bbox", "det_score", "kps", "mesh", "pose", *fresh)),
            (),
            _present(face, kept),
        )

    def _with_roll(self, track: Track, face: Face) -> Face:
        """A face with the roll of its previous frame, near which it is measured again.

        Now and then it is measured without, each face in another frame.
        """
        known = self._known.get(track.track_id)
        if known is None or face.roll is not None or known.last_seen < self._number - 1:
            return face
        if (self._number + track.track_id) % _FULL_MEASUREMENT == 0:
            return face
        return dataclasses.replace(face, roll=known.roll)

    def _predicted(self, track: Track) -> FollowedFace:
        """A face in a frame without a detection."""
        known = self._known.get(track.track_id)
        face = Face(bbox=track.bbox, det_score=math.nan)
        if known is not None and known.face is not None:
            face = _keeping(face, known.face)
            known.last_seen = self._number
        kept = _present(face, self._per_track)
        return FollowedFace(track.track_id, face, (), ("bbox",), kept)

    def _drop_old(self) -> None:
        """Forgets faces that have not been seen for long, so that memory use stays constant."""
        if self._number % self._forget_after == 0:
            self._known = {
                track_id: known
                for track_id, known in self._known.items()
                if self._number - known.last_seen < self._forget_after
            }


def _keeping(face: Face, best: Face) -> Face:
    """A face with the attributes and embedding of its best view."""
    return dataclasses.replace(
        face,
        attributes=best.attributes,
        embedding=best.embedding,
        embedding_model=best.embedding_model,
    )


def _surprised(before: Sequence[Track], now: Sequence[Track]) -> bool:
    """True if a detection was needed: a face appeared, disappeared or was not where predicted."""
    expected = {track.track_id: track.bbox.astype(np.float64) for track in before}
    if expected.keys() != {track.track_id for track in now}:
        return True
    overlaps = [
        iou(expected[track.track_id][None], track.bbox[None].astype(np.float64)) for track in now
    ]
    return any(float(overlap[0, 0]) < _SURPRISE_IOU for overlap in overlaps)


def _present(face: Face, names: Sequence[str]) -> tuple[str, ...]:
    """The given fields that are set in the face."""
    present = {
        "bbox": True,
        "det_score": True,
        "kps": face.landmarks is not None,
        "mesh": face.mesh is not None,
        "pose": face.pose is not None,
        "attributes": face.attributes is not None,
        "embedding": face.embedding is not None,
    }
    return tuple(name for name in names if present[name])


def view_score(face: Face) -> float:
    """View score of a face: its side length in pixels, times its frontality if known."""
    width, height = face.bbox[2:] - face.bbox[:2]
    side = float(np.sqrt(max(width, 0) * max(height, 0)))
    ratio = None if face.landmarks is None else frontality(face.landmarks)
    return side if ratio is None else side * ratio
