"""Multi-object tracking: matches the faces of each frame with those of earlier frames.

SORT (Bewley et al., "Simple Online and Realtime Tracking", arXiv 1602.00763): a motion model
predicts the box of each track, detections are assigned to predictions so that the sum of their IoU
is maximal, and pairs below a threshold are dropped. A track is confirmed once it was detected in
several consecutive frames, and ends after several frames without a detection. The published program
confirms a track anew after each miss (`Confirmation`). Optionally, faces that cannot be matched by
motion, after an occlusion or a cut, get their identity back by their embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..types import FloatArray, Track
from ..vision.boxes import as_boxes
from .assignment import assign
from .identities import Identities
from .motion import BoxFilter, iou

__all__ = ["Confirmation", "Tracker"]

FloatArray64 = npt.NDArray[np.float64]
Pairs = npt.NDArray[np.int64]
Describe = Callable[[Sequence[int]], FloatArray]
"""Indices of detections → their embeddings, float32 (K, D), L2-normalized; zeros if unknown."""

Confirmation = Literal["once", "streak"]
"""For how long a track is confirmed: "once" and until it ends, or, as SORT's published program does
it, only while its current "streak" of detections is long enough."""

_UNSURE_IOU = 0.5
"""Pairs whose IoU is below this are confirmed by embeddings, if they are used."""


class Tracker:
    """Tracks the faces of one video, frame by frame.

    Args:
        max_age: Number of frames that a track survives without a detection.
        min_hits: Number of consecutive frames with a detection until a track is confirmed. In the
            first ``min_hits`` frames of the video, tracks are confirmed at once, as published.
        confirmation: "once": a track stays confirmed until it ends, so that a face that was missed
            is reported as soon as it is found again; ``min_hits`` includes the first detection.
            "streak": as in SORT's published program, a track is reported only while it was detected
            in at least ``min_hits`` consecutive frames, not counting the one in which it began. The
            published parameters are then ``max_age=1, min_hits=3``.
        iou_threshold: Minimum IoU of a detection with the predicted box of its track.
        same_person: Cosine at or above which two embeddings are considered the same person; it
            depends on the identification model. None disables the use of embeddings.
        memory: Maximum number of identities that are remembered, the most recent ones, if
            embeddings are used.

    Raises:
        InputError: If an option is out of range.

    Example:
        >>> tracker = Tracker()                              # doctest: +SKIP
        >>> for frame in frames:                             # doctest: +SKIP
        ...     found = detector.detect(frame)
        ...     tracks = tracker.update(found.boxes, found.scores)
    """

    def __init__(
        self,
        *,
        max_age: int = 10,
        min_hits: int = 3,
        confirmation: Confirmation = "once",
        iou_threshold: float = 0.3,
        same_person: float | None = None,
        memory: int = 1000,
    ) -> None:
        for name, value, least in (("max_age", max_age, 0), ("min_hits", min_hits, 1)):
            if value < least:
                raise InputError(f"{name} must be at least {least}, not {value}")
        if confirmation not in get_args(Confirmation):
            raise InputError(
                f"unknown confirmation {confirmation!r}",
                hint=f"available: {', '.join(get_args(Confirmation))}",
            )
        if not 0 < iou_threshold <= 1:
            raise InputError(
                f"iou_threshold must be greater than 0 and at most 1, not {iou_threshold}"
            )
        self._max_age, self._min_hits, self._iou = max_age, min_hits, iou_threshold
        self._always = confirmation == "once"
        self._frames = 0
        self._early = True
        self._filter = BoxFilter()
        # One element per track, in the filter's order; ID 0 means not confirmed yet.
        self._age, self._streak, self._missed, self._ids = (np.zeros(0, np.int64) for _ in range(4))
        self._identities = Identities(same_person, memory)

    def __len__(self) -> int:
        """Number of tracks, including unconfirmed ones."""
        return len(self._ids)

    @property
    def unsettled(self) -> bool:
        """True if a track is unconfirmed or was missed, so that another detection is useful."""
        return bool((~self._confirmed() | (self._missed > 0)).any())

    def update(
        self,
        boxes: npt.ArrayLike,
        scores: npt.ArrayLike | None = None,
        describe: Describe | None = None,
    ) -> list[Track]:
        """Updates the tracks with the detections of the next frame.

        Args:
            boxes: (N, 4): x1, y1, x2, y2 in pixels, finite, x1 < x2 and y1 < y2.
            scores: (N,): det_score of each box; copied to the tracks.
            describe: Returns embeddings of detections by index. It is called only if embeddings are
                used, and only for detections whose identity is not determined by motion.

        Returns:
            The confirmed tracks that were detected in this frame, sorted by ID.

        Raises:
            InputError: If a box is invalid, or the number of scores differs from that of boxes.
        """
        found = _checked(boxes)
        marks = [] if scores is None else np.asarray(scores, np.float64).reshape(-1).tolist()
        if scores is not None and len(marks) != len(found):
            raise InputError(f"{len(marks)} scores for {len(found)} boxes")
        self._frames += 1
        self._early = self._frames <= self._min_hits
        predicted = self._filter.predict()
        overlaps = iou(predicted, found)
        pairs = assign(overlaps)
        pairs = pairs[overlaps[pairs[:, 0], pairs[:, 1]] >= self._iou]
        if describe is not None and self._identities.used:
            pairs = self._confirm(pairs, overlaps, describe)
        self._filter.correct(pairs[:, 0], found[pairs[:, 1]])
        detections = np.full(len(self), -1)
        detections[pairs[:, 0]] = pairs[:, 1]
        hit = detections >= 0
        self._age += 1
        self._missed = np.where(hit, 0, self._missed + 1)
        self._streak = np.where(hit, self._streak + 1, 0)
        detections = self._end_and_begin(detections, found)
        self._identify(detections, describe)
        return self._tracks(detections, marks)

    def predict(self) -> list[Track]:
        """Advances by one frame without detections.

        Returns:
            The confirmed tracks with their predicted boxes, sorted by ID, without `det_score`.
            Tracks that were missed by the last detection are omitted.
        """
        self._frames += 1
        self._filter.predict()
        self._age += 1
        return self._tracks(np.full(len(self), -1), [])

    def missed(self) -> list[Track]:
        """The confirmed tracks that the last detection missed, sorted by ID.

        `update` and `predict` omit them until they end. Their boxes are predictions.
        """
        return self._tracks(np.full(len(self), -1), [], missed=True)

    def _confirm(self, pairs: Pairs, overlaps: FloatArray64, describe: Describe) -> Pairs:
        """Drops pairs with little overlap and different embeddings: another face took the place."""
        kept = np.ones(len(pairs), bool)
        for number, (track, detection) in enumerate(pairs.tolist()):
            track_id = int(self._ids[track])
            if track_id and overlaps[track, detection] < _UNSURE_IOU:
                kept[number] = self._identities.agrees(track_id, describe([detection])[0])
        self._missed[pairs[~kept, 0]] = self._max_age  # the track ends
        return np.asarray(pairs[kept])

    def _end_and_begin(self, detections: Pairs, found: FloatArray64) -> Pairs:
        """Ends lost tracks and begins new ones; returns the index of each track's detection."""
        fresh = np.setdiff1d(np.arange(len(found)), detections)
        alive = self._missed <= self._max_age
        if not alive.all():
            self._filter.keep(alive)
            for name in ("_age", "_streak", "_missed", "_ids"):
                setattr(self, name, getattr(self, name)[alive])
            detections = detections[alive]
        if len(fresh):
            self._filter.add(found[fresh])
            first = ("_streak", int(self._always))  # SORT's program counts from the second on
            for name, value in (("_age", 1), first, ("_missed", 0), ("_ids", 0)):
                values = np.full(len(fresh), value)
                setattr(self, name, np.concatenate([getattr(self, name), values]))
            detections = np.concatenate([detections, fresh])
        return detections

    def _identify(self, detections: Pairs, describe: Describe | None) -> None:
        """Assigns IDs to tracks that are now confirmed: that of a lost identity, or a new one."""
        counts = self._counts()
        for index in np.flatnonzero((self._ids == 0) & (detections >= 0)).tolist():
            if not self._identities.used or describe is None:
                if counts[index]:
                    self._ids[index] = self._identities.next()
            elif counts[index] or self._streak[index] <= 1:
                # Embed only the first detection and the one that confirms the track.
                embedding = describe([int(detections[index])])[0]
                self._recognise(index, embedding, counts=bool(counts[index]))

    def _counts(self) -> npt.NDArray[np.bool_]:
        """Which tracks have been detected often enough by now, or in the first frames."""
        return self._early | (self._streak >= self._min_hits)

    def _confirmed(self) -> npt.NDArray[np.bool_]:
        """Which tracks are confirmed."""
        return (self._ids > 0) & (self._always | self._counts())

    def _recognise(self, index: int, embedding: FloatArray, *, counts: bool) -> None:
        """Assigns a known identity at once, and a new ID once the track is confirmed."""
        present = set(self._ids[self._missed == 0].tolist())
        track_id = self._identities.find(embedding, without=present)
        if track_id is not None:
            lost = self._ids == track_id  # the identity's previous track ends
            self._ids[lost], self._missed[lost], self._streak[lost] = 0, self._max_age, 0
        elif counts:
            track_id = self._identities.next()
        if track_id is not None:
            self._ids[index] = track_id
            self._identities.remember(track_id, embedding)

    def remember(self, track_id: int, embedding: FloatArray) -> None:
        """Adds an embedding to an identity, if embeddings are used.

        Args:
            track_id: ID of a track that `update` returned.
            embedding: float32 (D,), L2-normalized.
        """
        if self._identities.used:
            self._identities.remember(track_id, embedding)

    def _tracks(
        self, detections: Pairs, scores: list[float], *, missed: bool = False
    ) -> list[Track]:
        """The confirmed tracks, missed by the last detection or not, sorted by ID."""
        shown = np.flatnonzero(self._confirmed() & ((self._missed > 0) == missed))
        shown = shown[self._ids[shown].argsort()]
        boxes = self._filter.boxes()[shown].astype(np.float32)
        rows = (self._ids[shown], detections[shown], self._age[shown])
        found = []
        for box, track_id, detection, age in zip(
            boxes, *(row.tolist() for row in rows), strict=True
        ):
            score = scores[detection] if scores and detection >= 0 else None
            found.append(
                Track(
                    track_id=track_id,
                    bbox=box,
                    det_score=score,
                    detection=None if detection < 0 else detection,
                    age=age,
                )
            )
        return found


def _checked(boxes: npt.ArrayLike) -> FloatArray64:
    """Checks boxes and converts them to float64 (N, 4).

    Raises:
        InputError: If a box is invalid; the error names the first one.
    """
    array = as_boxes(boxes)
    bad = ~np.isfinite(array).all(axis=1) | (array[:, 2:] <= array[:, :2]).any(axis=1)
    if bad.any():
        number = int(bad.argmax())
        raise InputError(
            f"{array[number].tolist()} is not a box (finite, x1 < x2, y1 < y2)",
            where=f"box {number}",
        )
    return array
