"""Tracking: which face in this frame is which of the frames before.

SORT (Bewley et al., "Simple Online and Realtime Tracking", arXiv 1602.00763): a motion model
predicts each track's box, detections are assigned to the predictions so that the sum of IoU is the
largest, pairs below a threshold are dropped. A track counts once it was detected in several frames
running, and ends after several frames without. Optionally faces that motion cannot explain, after
an occlusion or a cut, get their identity back by their embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..types import FloatArray, Track
from ..vision.boxes import as_boxes
from .assignment import assign
from .identities import Identities
from .motion import BoxFilter, iou

__all__ = ["Tracker"]

FloatArray64 = npt.NDArray[np.float64]
Pairs = npt.NDArray[np.int64]
Describe = Callable[[Sequence[int]], FloatArray]
"""Indices of detections → their embeddings, float32 (K, D), each of unit length; zeros: unknown."""

_UNSURE = 0.5
"""A pair that overlaps less is confirmed by embeddings, in the mode that uses them."""


class Tracker:
    """Follows faces through the frames of one video.

    Args:
        max_age: Frames that a track outlives without a detection.
        min_hits: Detections in frames running until a track counts. In the first frames of the
            video, as many as this, tracks count at once, as published.
        iou_threshold: Least IoU of a detection with the predicted box of its track.
        same_person: Least cosine at which two embeddings are one person's; None: embeddings are
            not used. The scale is the identification model's own.
        memory: Identities that are remembered, the latest seen, in the mode with embeddings.

    Raises:
        InputError: An option out of range.

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
        iou_threshold: float = 0.3,
        same_person: float | None = None,
        memory: int = 1000,
    ) -> None:
        for name, value, least in (("max_age", max_age, 0), ("min_hits", min_hits, 1)):
            if value < least:
                raise InputError(f"{name} {value} is below {least}")
        if not 0 < iou_threshold <= 1:
            raise InputError(f"iou_threshold {iou_threshold} is not above 0 and at most 1")
        self._max_age, self._min_hits, self._iou = max_age, min_hits, iou_threshold
        self._frames = 0
        self._filter = BoxFilter()
        # One element a track, in the filter's order; identity 0: it does not count yet.
        self._age, self._streak, self._missed, self._ids = (np.zeros(0, np.int64) for _ in range(4))
        self._identities = Identities(same_person, memory)

    def __len__(self) -> int:
        """Tracks that are followed, those included that do not count yet."""
        return len(self._ids)

    @property
    def unsettled(self) -> bool:
        """True if the next detection will tell more: a track does not count yet, or was missed."""
        return bool(((self._ids == 0) | (self._missed > 0)).any())

    def update(
        self,
        boxes: npt.ArrayLike,
        scores: npt.ArrayLike | None = None,
        describe: Describe | None = None,
    ) -> list[Track]:
        """Takes the detections of the next frame.

        Args:
            boxes: (N, 4): x1, y1, x2, y2 in pixels, finite, x1 < x2 and y1 < y2.
            scores: (N,): det_score of each; copied to the tracks.
            describe: Gives embeddings of detections by index; asked only for those whose identity
                motion does not settle, and only in the mode that uses embeddings.

        Returns:
            The tracks that count and were detected in this frame, by identity.

        Raises:
            InputError: No such boxes, or another number of scores.
        """
        found = _checked(boxes)
        marks = [] if scores is None else np.asarray(scores, np.float64).reshape(-1).tolist()
        if scores is not None and len(marks) != len(found):
            raise InputError(f"{len(marks)} scores for {len(found)} boxes")
        self._frames += 1
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
        detections = self._renew(detections, found)
        self._name(detections, describe)
        return self._tracks(detections, marks)

    def predict(self) -> list[Track]:
        """Goes one frame on in which no detector ran.

        Returns:
            The tracks that count, at their predicted boxes, by identity; without `det_score`.
            Tracks that the last detection missed are left out.
        """
        self._frames += 1
        self._filter.predict()
        self._age += 1
        return self._tracks(np.full(len(self), -1), [])

    def _confirm(self, pairs: Pairs, overlaps: FloatArray64, describe: Describe) -> Pairs:
        """Drops pairs that barely overlap and do not look alike: another face came in its place."""
        kept = np.ones(len(pairs), bool)
        for number, (track, detection) in enumerate(pairs.tolist()):
            track_id = int(self._ids[track])
            if track_id and overlaps[track, detection] < _UNSURE:
                kept[number] = self._identities.agrees(track_id, describe([detection])[0])
        self._missed[pairs[~kept, 0]] = self._max_age  # its place is taken: it ends here
        return np.asarray(pairs[kept])

    def _renew(self, detections: Pairs, found: FloatArray64) -> Pairs:
        """Ends tracks that were missed too long and begins new ones; each track's detection."""
        fresh = np.setdiff1d(np.arange(len(found)), detections)
        alive = self._missed <= self._max_age
        if not alive.all():
            self._filter.keep(alive)
            for name in ("_age", "_streak", "_missed", "_ids"):
                setattr(self, name, getattr(self, name)[alive])
            detections = detections[alive]
        if len(fresh):
            self._filter.add(found[fresh])
            for name, value in (("_age", 1), ("_streak", 1), ("_missed", 0), ("_ids", 0)):
                values = np.full(len(fresh), value)
                setattr(self, name, np.concatenate([getattr(self, name), values]))
            detections = np.concatenate([detections, fresh])
        return detections

    def _name(self, detections: Pairs, describe: Describe | None) -> None:
        """Gives tracks that count their identity: one that was lost, or the next number."""
        early = self._frames <= self._min_hits
        counts = early | (self._streak >= self._min_hits)
        for index in np.flatnonzero((self._ids == 0) & (detections >= 0)).tolist():
            if not self._identities.used or describe is None:
                if counts[index]:
                    self._ids[index] = self._identities.next()
            elif counts[index] or self._streak[index] == 1:
                # Between its first look, which was of nobody known, and the one that counts: none.
                embedding = describe([int(detections[index])])[0]
                self._recognise(index, embedding, counts=bool(counts[index]))

    def _recognise(self, index: int, embedding: FloatArray, *, counts: bool) -> None:
        """A known identity comes back at once; a new one is numbered when its track counts."""
        present = set(self._ids[self._missed == 0].tolist())
        track_id = self._identities.find(embedding, without=present)
        if track_id is not None:
            lost = self._ids == track_id  # where it was followed before, nobody is any more
            self._ids[lost], self._missed[lost], self._streak[lost] = 0, self._max_age, 0
        elif counts:
            track_id = self._identities.next()
        if track_id is not None:
            self._ids[index] = track_id
            self._identities.remember(track_id, embedding)

    def remember(self, track_id: int, embedding: FloatArray) -> None:
        """Refines what an identity looks like, in the mode that uses embeddings.

        Args:
            track_id: An identity that `update` gave.
            embedding: float32 (D,), of unit length.
        """
        if self._identities.used:
            self._identities.remember(track_id, embedding)

    def _tracks(self, detections: Pairs, scores: list[float]) -> list[Track]:
        """What is reported: tracks that count and that the last detection did not miss."""
        shown = np.flatnonzero((self._ids > 0) & (self._missed == 0))
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
    """Boxes as float64 (N, 4).

    Raises:
        InputError: They are none; names the first that is wrong.
    """
    array = as_boxes(boxes)
    bad = ~np.isfinite(array).all(axis=1) | (array[:, 2:] <= array[:, :2]).any(axis=1)
    if bad.any():
        number = int(bad.argmax())
        raise InputError(f"{array[number].tolist()} is no box", where=f"box {number}")
    return array
