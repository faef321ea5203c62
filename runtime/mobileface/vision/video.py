"""Video files and cameras: frames in, frames out, at constant memory.

Reading and encoding is OpenCV's. Sound is not read; the program ffmpeg copies it into what is
written, if it is installed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import NamedTuple

import cv2
import numpy as np

from ..errors import OutputError, VideoError
from ..host.files import replacing
from .frame_times import FrameSlots, FrameTimes
from .image import Image
from .sound import copy_sound
from .video_source import VideoSource, frame_rates

__all__ = ["VideoFrame", "VideoReader", "VideoWriter", "is_video"]

_CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
"""What OpenCV's wheels can encode everywhere, by the suffix of the file."""

_SUFFIXES = frozenset({*_CODECS, ".webm", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp"})
_FASTEST = 1000.0
_MOST_BROKEN = 250
"""Broken frames in a row after which the file counts as ended."""

_LONGEST_SILENCE = 5.0
"""Seconds without a frame after which a stream counts as ended."""

_TURNS = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
"""What undoes the rotation entry that OpenCV reports."""


def is_video(path: Path) -> bool:
    """True if a file's name is that of a video."""
    return path.suffix.lower() in _SUFFIXES


class VideoFrame(NamedTuple):
    """A frame of a video.

    Attributes:
        number: Its number, starting at 0; the numbers of broken frames are left out.
        time: Its time in seconds, see `VideoReader`.
        image: uint8 (H, W, 3) BGR.
    """

    number: int
    time: float
    image: Image


class VideoReader:
    """Reads the frames of a video file, a camera or a stream.

    Frames are turned as the file's rotation entry says, which phones write.

    The time of a frame is its time stamp in the container, in seconds from the start of the video
    stream. It is exact for MP4, MOV, 3GP, MKV, WebM, TS, FLV and WMV, and for AVI without B-frames,
    also with variable rates. AVI with B-frames and MPEG program streams (``.mpg``) do not store the
    time of every frame: there it is OpenCV's estimate from the nominal rate. For a camera it is the
    time on the clock since the first frame. Times never go back.

    Args:
        source: A file, the index of a camera, or the URL of a stream (``rtsp://…``, ``http://…``).

    Attributes:
        fps: Nominal frames per second; 25 if unknown. With a variable rate, this is the mean or the
            usual rate, depending on the format.
        full_fps: Frames per second where the frames of a file are closest together; `fps` for a
            constant rate, a camera or a stream. A video written at this rate loses no frame.
        count: Number of frames by the file's header; None for a camera or if unknown. Formats that
            store the length only (MKV, WebM) give an estimate.
        live: True for a camera, and for a stream of unknown length.
        width: Width of the first frame in pixels.
        height: Height of the first frame in pixels.
        broken: Number of frames so far that could not be decoded and were skipped. Broken frames at
            the very end are not counted, because they look like the end.

    Raises:
        VideoError: If the source cannot be opened, or contains no frame that can be decoded.

    Example:
        >>> with VideoReader("in.mp4") as video:   # doctest: +SKIP
        ...     for number, time, image in video.frames(): ...
    """

    def __init__(self, source: str | Path | int) -> None:
        self._source = VideoSource(source)
        self._capture = self._source.open()
        self.broken = 0
        self._number = 0
        self.fps, self.full_fps = frame_rates(self._source, self._capture)
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.count = count if count > 0 and not self._source.is_camera else None
        self.live = self._source.is_camera or (self._source.is_stream and self.count is None)
        self._turn = _TURNS.get(round(self._capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 360)
        self._times = FrameTimes(self.fps)
        self._started: float | None = None
        first = self._next()
        if first is None:
            self.close()
            raise VideoError("it holds no frame that can be decoded", where=str(self._source))
        self._first: VideoFrame | None = first
        self.height, self.width = first.image.shape[:2]

    def frames(self) -> Iterator[VideoFrame]:
        """The frames with their numbers and times."""
        if self._first is not None:
            frame, self._first = self._first, None
            yield frame
        while (following := self._next()) is not None:
            yield following

    def __iter__(self) -> Iterator[tuple[int, Image]]:
        """Number and image of each frame, uint8 (H, W, 3) BGR; broken ones leave gaps."""
        for frame in self.frames():
            yield frame.number, frame.image

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Frees the file or camera."""
        self._capture.release()

    def _next(self) -> VideoFrame | None:
        """The next frame that can be decoded; None at the end.

        OpenCV fails in the same way for a broken frame and at the end: what failed was a broken
        frame only if another frame follows.
        """
        start = monotonic()
        for failed in range(1 if self._source.is_camera else _MOST_BROKEN):
            done, image = self._capture.read()
            if done and image is not None and image.size:
                self.broken += failed
                self._number += failed + 1
                if self._turn is not None:
                    image = cv2.rotate(image, self._turn)
                return VideoFrame(self._number - 1, self._time(), np.asarray(image, np.uint8))
            if self._source.is_stream and monotonic() - start > _LONGEST_SILENCE:
                break
        return None

    def _time(self) -> float:
        """The time of the frame that was read last."""
        if not self._source.is_camera:
            return self._times(float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000)
        now = monotonic()
        if self._started is None:
            self._started = now
        return now - self._started


class _NotWantedError(Exception):
    """Tells `replacing` that the file is not wanted."""


class VideoWriter:
    """Writes frames into a video file that appears under its name when it is complete.

    Args:
        path: The file; its suffix chooses the container and codec.
        fps: Frames a second.
        width: Pixels; frames of another size are scaled to it.
        height: Pixels.
        sound: A video file, read from its first frame on, whose sound is copied; None for none.

    Attributes:
        sound: After `finish`, what became of the sound: see `copy_sound`.

    Raises:
        OutputError: No such format, no codec for it, no sizes, or the folder cannot be written.

    Example:
        >>> with VideoWriter(Path("out.mp4"), 25, 1280, 720) as video:   # doctest: +SKIP
        ...     video.write(frame)
    """

    def __init__(
        self, path: Path, fps: float, width: int, height: int, *, sound: Path | None = None
    ) -> None:
        suffix = path.suffix.lower()
        if suffix not in _CODECS:
            known = ", ".join(_CODECS)
            raise OutputError(
                f"no video format '{path.suffix}'", where=str(path), hint=f"known: {known}"
            )
        if width < 1 or height < 1 or not 0 < fps <= _FASTEST:
            raise OutputError(f"no video of {width}×{height} at {fps} a second", where=str(path))
        self._path, self._size, self._frames, self._fps = path, (width, height), 0, fps
        self._slots, self._written = FrameSlots(fps), 0
        self._waiting: Image | None = None
        self._sound_source, self.sound = sound, ""
        self._file = replacing(path)
        self._temporary = self._file.__enter__()
        codec = cv2.VideoWriter.fourcc(*_CODECS[suffix])
        self._writer = cv2.VideoWriter(str(self._temporary), codec, fps, self._size)
        if not self._writer.isOpened():
            self.discard()
            raise OutputError(
                f"OpenCV has no codec '{_CODECS[suffix]}' for it",
                where=str(path),
                hint="write .avi, which needs no codec of the system",
            )

    def write(self, frame: Image, time: float | None = None) -> None:
        """Adds a frame.

        Args:
            frame: uint8 (H, W, 3) BGR.
            time: Its time in seconds. Frames are repeated or left out so that each is shown within
                half a frame of its time after the first. None: one frame later than the previous.
        """
        if (frame.shape[1], frame.shape[0]) != self._size:
            frame = np.asarray(cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA))
        self._frames += 1
        if time is None or not math.isfinite(time):
            self._encode(frame, 1)
        else:
            self._encode(self._waiting, self._slots.before(time))
            self._waiting = np.array(frame)

    def _encode(self, frame: Image | None, times: int) -> None:
        if frame is not None:
            frame = np.ascontiguousarray(frame)
            for _ in range(times):
                self._writer.write(frame)
            self._written += times

    def finish(self) -> None:
        """Completes the file and gives it its name.

        Raises:
            OutputError: The disk is full, or the file cannot be renamed.
        """
        self._encode(self._waiting, 1)
        self._waiting = None
        self._writer.release()
        if not self._temporary.stat().st_size:
            self.discard()
            raise OutputError("nothing could be written", where=str(self._path))
        try:
            if self._sound_source is not None:
                length = self._written / self._fps
                self.sound = copy_sound(self._temporary, self._sound_source, length)
        finally:
            self._file.__exit__(None, None, None)

    def discard(self) -> None:
        """Gives the file up."""
        self._writer.release()
        self._file.__exit__(_NotWantedError, _NotWantedError(), None)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Completes the file, also after an error or Ctrl-C: what was done stays."""
        if error is not None and not self._frames:
            self.discard()
        else:
            self.finish()
