"""Reads frames from videos and cameras, and writes videos, with constant memory.

Uses OpenCV for decoding and encoding. Sound is not read; the program ffmpeg copies it to what is
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
from ..host.ending import held
from ..host.files import replacing, utf8_path
from ..host.outputs import check_place, written_through
from .comments import add_video_comment, holds_comment
from .frame_times import FrameSlots, FrameTimes
from .image import Image
from .sound import COPY_SECONDS, copy_sound
from .video_source import VideoSource, frame_rates
from .written_video import check_written

__all__ = ["VideoFrame", "VideoReader", "VideoWriter", "is_video"]

_CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
"""Codecs that OpenCV's wheels support on all systems, by file suffix."""

_SUFFIXES = frozenset({*_CODECS, ".webm", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp"})
_DEFAULT_SUFFIX = ".mp4"
"""The format of pipes and devices whose name has no suffix."""

_MAX_FPS = 1000.0
_MAX_BROKEN = 250
"""Number of consecutive broken frames after which the file is treated as ended."""

_HURRIED_COPY_SECONDS = 5.0

_LONGEST_SILENCE = 5.0
"""Seconds without a frame after which a stream counts as ended."""

_TURNS = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
"""What undoes the rotation entry that OpenCV reports."""


def is_video(path: Path) -> bool:
    """True if the suffix of a file is that of a video."""
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
        timeout: Seconds to wait for a stream's connection and for each of its frames.
        threads: Threads that decode a stream; see `VideoSource`.

    Attributes:
        fps: Nominal frames per second; 25 if unknown. With a variable rate, this is the mean or the
            usual rate, depending on the format.
        full_fps: Frames per second where the frames of a file are closest together; `fps` for a
            constant rate, a camera or a stream. A video written at this rate repeats frames rather
            than leave some out.
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

    def __init__(
        self, source: str | Path | int, *, timeout: float = 10.0, threads: int | None = None
    ) -> None:
        self._source = VideoSource(source, timeout, threads)
        self._silence = min(timeout, _LONGEST_SILENCE)
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
            raise VideoError("contains no frame that can be decoded", where=str(self._source))
        self._first: VideoFrame | None = first
        self.height, self.width = first.image.shape[:2]

    def frames(self) -> Iterator[VideoFrame]:
        """Yields the frames with their numbers and times."""
        if self._first is not None:
            frame, self._first = self._first, None
            yield frame
        while (following := self._next()) is not None:
            yield following

    def __iter__(self) -> Iterator[tuple[int, Image]]:
        """Yields numbers and frames, uint8 (H, W, 3) BGR; numbers of broken frames are skipped."""
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
        """Releases the file or camera."""
        self._capture.release()

    def _next(self) -> VideoFrame | None:
        """The next frame that can be decoded; None at the end.

        OpenCV fails in the same way for a broken frame and at the end: what failed was a broken
        frame only if another frame follows. A stream ends when it is silent for its `timeout`.
        """
        start = monotonic()
        for failed in range(1 if self._source.is_camera else _MAX_BROKEN):
            done, image = self._capture.read()
            if self._source.is_stream and monotonic() - start > self._source.timeout:
                break  # a frame that comes now is an old one, which the decoder held back
            if done and image is not None and image.size:
                self.broken += failed
                self._number += failed + 1
                if self._turn is not None:
                    image = cv2.rotate(image, self._turn)
                return VideoFrame(self._number - 1, self._time(), np.asarray(image, np.uint8))
            if self._source.is_stream and monotonic() - start > self._silence:
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


class _DiscardError(Exception):
    """Signals `replacing` to discard the file."""


class VideoWriter:
    """Writes frames to a video file, which gets its name only when it is complete.

    Args:
        path: The file; its suffix determines the container and codec.
        fps: Frames per second.
        width: Width in pixels; frames of another size are scaled.
        height: Height in pixels.
        sound: Video file whose sound is copied; its first frame is the first frame here.
        metadata: See `copy_sound`.
        comment: Comment in the metadata of MP4 and MOV files.

    Attributes:
        sound: After `finish`, what became of the sound, see `copy_sound`; "" without a source.

    Raises:
        OutputError: If the format is unknown, has no place for the comment, or OpenCV has no codec
            for it; if the size or frame rate is invalid, or the folder cannot be written.

    Example:
        >>> with VideoWriter("out.mp4", 25, 1280, 720) as video:   # doctest: +SKIP
        ...     video.write(frame)
    """

    def __init__(
        self,
        path: str | Path,
        fps: float,
        width: int,
        height: int,
        *,
        sound: Path | None = None,
        metadata: bool = True,
        comment: str = "",
    ) -> None:
        path = Path(path)
        check_place(path)
        suffix = path.suffix.lower()
        if not suffix and written_through(path):
            suffix = _DEFAULT_SUFFIX
        if suffix not in _CODECS:
            raise OutputError(
                f"unknown video format '{path.suffix}'",
                where=str(path),
                hint=f"available: {', '.join(_CODECS)}",
            )
        if comment and not holds_comment(path.with_suffix(suffix)):
            raise OutputError(f"'{suffix}' has no place for a comment", where=str(path))
        if width < 1 or height < 1 or not 0 < fps <= _MAX_FPS:
            raise OutputError(
                f"invalid video size or frame rate: {width}×{height} at {fps} fps", where=str(path)
            )
        self._path, self._size, self._frames, self._fps = path, (width, height), 0, fps
        self._slots, self._written = FrameSlots(fps), 0
        self._waiting: Image | None = None
        self._sound_source, self._sound_limit, self.sound = sound, COPY_SECONDS, ""
        self._metadata, self._comment = metadata, comment
        self._file = replacing(path, suffix=suffix)
        with held():
            self._temporary = self._file.__enter__()
            codec = cv2.VideoWriter.fourcc(*_CODECS[suffix])
            self._link = utf8_path(self._temporary)
            self._writer = cv2.VideoWriter(self._link.__enter__(), codec, fps, self._size)
        if not self._writer.isOpened():
            self.discard()
            raise OutputError(
                f"OpenCV has no codec '{_CODECS[suffix]}'",
                where=str(path),
                hint="use .avi, which needs no system codec",
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
        with held():  # frames are counted as they are written
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

    def hurry(self) -> None:
        """Shortens the time limit for the sound: somebody waits for the end of the process."""
        self._sound_limit = _HURRIED_COPY_SECONDS

    def finish(self) -> None:
        """Completes the file and renames it to its final name.

        Raises:
            OutputError: If frames are missing (a full disk), or the file cannot be renamed.
        """
        with held():
            self._encode(self._waiting, 1)
            self._waiting = None
            self._release()
            try:
                if not self._temporary.stat().st_size:
                    raise OutputError("cannot be written", where=str(self._path))
                if self._written:
                    check_written(self._temporary, self._written, self._path)
            except OutputError:
                self.discard()
                raise
            if self._sound_source is not None:
                length = self._written / self._fps
                self.sound = copy_sound(
                    self._temporary,
                    self._sound_source,
                    length,
                    limit=self._sound_limit,
                    metadata=self._metadata,
                )
            if self._comment:
                self._add_comment()
            self._file.__exit__(None, None, None)

    def _add_comment(self) -> None:
        try:
            add_video_comment(self._temporary, self._comment, self._path)
        except OutputError:
            self.discard()
            raise

    def discard(self) -> None:
        """Deletes the unfinished file."""
        self._release()
        self._file.__exit__(_DiscardError, _DiscardError(), None)

    def _release(self) -> None:
        self._writer.release()
        self._link.__exit__(None, None, None)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Completes the file, even after an error or Ctrl-C, so that its frames are kept."""
        if error is not None and not self._frames:
            self.discard()
        else:
            self.finish()
