"""Which boxes of a video's frames have to be covered so that no face shows through.

A detector misses a face in single frames, and finds it late when it comes in at the border. So each
frame is covered by

- every box that is detected in it, without waiting for a confirmation,
- in a frame that misses a face, or in which the detector does not run, the face's last box and the
  box that its track predicts, both with a margin that grows with every such frame,
- where a face is found for the first time or again, that box also in the frames before, back to
  where the face was seen last, and at most ``lookback`` frames. Frames wait for that long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..effects.anonymize import MAX_MARGIN
from ..errors import InputError
from ..types import Face, FloatArray, Track
from ..vision.image import Image
from .tracker import Tracker

__all__ = ["CoveredFrame", "FaceCover"]


@dataclass(slots=True)
class CoveredFrame:
    """A frame and what has to be covered in it.

    Attributes:
        number: Number of the frame, starting at 0.
        time: Its time in seconds.
        image: The frame.
        boxes: float32 (4,) each: x1, y1, x2, y2 in pixels.
        margins: By how much of its sides each box grows on each side.
    """

    number: int
    time: float
    image: Image
    boxes: list[FloatArray] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)

    def add(self, box: FloatArray, margin: float) -> None:
        """Adds a box."""
        self.boxes.append(box)
        self.margins.append(min(margin, MAX_MARGIN))


class FaceCover:
    """Finds what has to be covered in the frames of one video.

    Args:
        detect: Finds the faces of a frame, e.g. `FaceAnalyzer.detect`.
        margin: Margin of a detected box, a share of its sides.
        growth: What the margin grows by with each frame since the face was seen, or until it is.
        detect_every: Frames from one detection to the next.
        max_age: Frames for which a face is covered on after detections have begun to miss it,
            rounded down to whole intervals of ``detect_every``.
        lookback: Frames before a face is found in which it is covered too.

    Attributes:
        faces: Number of tracks so far.

    Raises:
        InputError: If an option is out of range.

    Example:
        >>> cover = FaceCover(analyzer.detect)                      # doctest: +SKIP
        >>> for found in cover.frames(video):                       # doctest: +SKIP
        ...     faces = [Face(bbox=box, det_score=1.0) for box in found.boxes]
        ...     writer.write(anonymize(found.image, faces, margin=found.margins))
    """

    def __init__(
        self,
        detect: Callable[[Image], Sequence[Face]],
        *,
        margin: float = 0.25,
        growth: float = 0.05,
        detect_every: int = 1,
        max_age: int = 10,
        lookback: int = 5,
    ) -> None:
        for name, value, least in (
            ("margin", margin, 0.0),
            ("growth", growth, 0.0),
            ("detect_every", detect_every, 1),
            ("max_age", max_age, 0),
            ("lookback", lookback, 0),
        ):
            if not least <= value < np.inf:
                raise InputError(f"{name} must be at least {least}, not {value}")
        self._detect, self._every, self._lookback = detect, detect_every, lookback
        self._margin, self._growth = margin, growth
        self._tracker = Tracker(max_age=max_age // detect_every, min_hits=1)
        self._seen: dict[int, tuple[int, FloatArray]] = {}
        self._waiting: deque[CoveredFrame] = deque()
        self._number = -1
        self.faces = 0

    def frames(self, frames: Iterable[tuple[Image, float]]) -> Iterator[CoveredFrame]:
        """Yields the frames with their boxes, ``lookback`` frames late.

        Args:
            frames: The next frames, uint8 (H, W, 3) BGR, and their times in seconds.

        Raises:
            ImageError: If a frame is not an image.
        """
        for image, time in frames:
            self._number += 1
            frame = CoveredFrame(self._number, time, image)
            if self._number % self._every == 0:
                self._find(frame)
            else:
                self._keep(frame, self._tracker.predict())
            self._keep(frame, self._tracker.missed())
            self._waiting.append(frame)
            if len(self._waiting) > self._lookback:
                yield self._waiting.popleft()
        while self._waiting:
            yield self._waiting.popleft()

    def _find(self, frame: CoveredFrame) -> None:
        """Covers what is detected in a frame, and in the frames before."""
        faces = self._detect(frame.image)
        boxes = [face.bbox for face in faces]
        for box in boxes:
            frame.add(box, self._margin)
        solid = [box for box in boxes if box[2] > box[0] and box[3] > box[1]]
        tracks = self._tracker.update(np.reshape(solid, (-1, 4)))
        for track in tracks:
            assert track.detection is not None
            box = solid[track.detection]
            last = self._seen.get(track.track_id, (-1, box))[0]
            for before in self._waiting:
                if before.number > last:
                    gap = self._number - before.number
                    before.add(box, self._margin + self._growth * gap)
            self._seen[track.track_id] = (self._number, box)
            self.faces = max(self.faces, track.track_id)
        alive = {track.track_id for track in [*tracks, *self._tracker.missed()]}
        self._seen = {number: seen for number, seen in self._seen.items() if number in alive}

    def _keep(self, frame: CoveredFrame, tracks: Sequence[Track]) -> None:
        """Covers faces where they were and where they should be by now."""
        for track in tracks:
            last, box = self._seen[track.track_id]
            margin = self._margin + self._growth * (self._number - last)
            frame.add(box, margin)
            frame.add(track.bbox, margin)
