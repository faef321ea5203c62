"""The newest picture of a camera as JPEG, encoded once for all who look, and only then."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

from ..types import FloatArray
from ..vision.draw import Canvas, plain_text
from ..vision.image import Image
from ..vision.written_pictures import encode_jpeg

__all__ = ["PICTURE_QUALITY", "LivePicture", "annotated_picture"]

PICTURE_QUALITY = 80
"""JPEG quality of frames, 0 to 100."""

_LABELS = 2.0
"""Factor of the size of labels: pictures of cameras are shown at about half their size."""

_UNWRITABLE = "known"
"""Label of a person whose name has no character that OpenCV's font has."""

Mark = tuple[FloatArray, str]
"""The box of a face, float32 (4,), and its label."""


class LivePicture:
    """The newest frame of a camera. Threads may share it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._encoding = threading.Lock()
        self._number = 0
        self._image: Image | None = None
        self._marks: Sequence[Mark] = ()
        self._encoded: dict[bool, tuple[bytes, int]] = {}
        self._watchers: list[Callable[[], None]] = []

    @property
    def number(self) -> int:
        """Number of the newest frame; 0 before the first one."""
        return self._number

    def put(self, number: int, image: Image, marks: Sequence[Mark]) -> None:
        """Replaces the picture, and tells those who watch."""
        with self._changed:
            self._number, self._image, self._marks = number, image, marks
            self._changed.notify_all()
            watchers = list(self._watchers)
        for watcher in watchers:
            watcher()

    def latest(self, annotated: bool = True) -> tuple[bytes, int] | None:
        """The newest picture as JPEG, and its number; None before the first one.

        Args:
            annotated: With boxes and names.
        """
        with self._encoding:
            with self._changed:
                number, image, marks = self._number, self._image, self._marks
            if image is None:
                return None
            found = self._encoded.get(annotated)
            if found is None or found[1] != number:
                drawn = annotated_picture(image, marks) if annotated else image
                found = self._encoded[annotated] = (encode_jpeg(drawn, PICTURE_QUALITY), number)
            return found

    def relabel(self, old: str, new: str) -> None:
        """Replaces a label in the picture, also if no further one comes."""
        with self._encoding, self._changed:
            if any(label == old for _, label in self._marks):
                self._marks = [(box, new if label == old else label) for box, label in self._marks]
                self._encoded.pop(True, None)

    def wait_for(self, number: int, timeout: float) -> bool:
        """Waits for a frame later than the one of a number; False if none comes in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._number > number, timeout)

    def watch(self, callback: Callable[[], None]) -> None:
        """Has a function called, on the camera's thread, for each new frame; it must not block."""
        with self._changed:
            self._watchers.append(callback)

    def unwatch(self, callback: Callable[[], None]) -> None:
        """Ends that."""
        with self._changed, contextlib.suppress(ValueError):
            self._watchers.remove(callback)


def annotated_picture(image: Image, marks: Sequence[Mark]) -> Image:
    """A copy of a picture with boxes and labels, which are large enough to be read on a phone."""
    canvas = Canvas(image)
    canvas.scale *= _LABELS
    for bbox, label in marks:
        canvas.box(bbox)
        canvas.text([plain_text(label).strip() or _UNWRITABLE], bbox)
    return canvas.pixels
