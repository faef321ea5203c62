"""Reads frames from videos and cameras, and writes videos, with constant memory.

Uses OpenCV for decoding and encoding. Sound is neither read nor written.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from ..errors import OutputError, VideoError
from ..host.ending import held
from ..host.files import reason, replacing, utf8_path
from ..host.outputs import check_place, written_through
from .image import Image
from .written_video import check_written

__all__ = ["VideoReader", "VideoWriter", "is_video"]

_CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
"""Codecs that OpenCV's wheels support on all systems, by file suffix."""

_SUFFIXES = frozenset({*_CODECS, ".webm", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp"})
_DEFAULT_FPS = 25.0
_DEFAULT_SUFFIX = ".mp4"
"""The format of pipes and devices whose name has no suffix."""

_MAX_FPS = 1000.0
_MAX_BROKEN = 50
"""Number of consecutive broken frames after which the file is treated as ended."""


def is_video(path: Path) -> bool:
    """True if the suffix of a file is that of a video."""
    return path.suffix.lower() in _SUFFIXES


class VideoReader:
    """Reads the frames of a video file or camera.

    Args:
        source: A file, or the index of a camera.

    Attributes:
        fps: Frames per second; 25 if unknown.
        count: Number of frames in the file's header; None if unknown, or for a camera.
        width: Width of the first frame in pixels.
        height: Height of the first frame in pixels.
        broken: Number of frames so far that could not be decoded and were skipped.

    Raises:
        VideoError: If the file or camera does not exist, or is not a video with at least one
            frame.

    Example:
        >>> with VideoReader("in.mp4") as video:   # doctest: +SKIP
        ...     for number, frame in video: ...
    """

    def __init__(self, source: str | Path | int) -> None:
        self._where = f"camera {source}" if isinstance(source, int) else str(source)
        if not isinstance(source, int):
            _require_file(Path(source))
        self._is_camera = isinstance(source, int)
        if isinstance(source, int):
            self._capture = cv2.VideoCapture(source)
        else:
            with utf8_path(Path(source)) as name:
                self._capture = cv2.VideoCapture(name)
        self.broken = 0
        self._number = 0
        if not self._capture.isOpened():
            what = "cannot be opened" if self._is_camera else "not a video that OpenCV can decode"
            raise VideoError(what, where=self._where)
        self.fps = self._rate()
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.count = count if count > 0 and not self._is_camera else None
        first = self._next()
        if first is None:
            self.close()
            raise VideoError("contains no frame that can be decoded", where=self._where)
        self._first: Image | None = first
        self.height, self.width = first.shape[:2]

    def __iter__(self) -> Iterator[tuple[int, Image]]:
        """Yields numbers and frames, uint8 (H, W, 3) BGR; numbers of broken frames are skipped."""
        if self._first is not None:
            frame, self._first = self._first, None
            yield self._number - 1, frame
        while (following := self._next()) is not None:
            yield self._number - 1, following

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

    def _next(self) -> Image | None:
        """The next decodable frame; None at the end."""
        for _ in range(_MAX_BROKEN):
            done, frame = self._capture.read()
            if done and frame is not None and frame.size:
                self._number += 1
                return np.asarray(frame, np.uint8)
            if self._is_camera or self.count is None or self._number >= self.count:
                return None
            self._number += 1
            self.broken += 1
        # Treated as the end of the file: a header may count frames that do not exist.
        return None

    def _rate(self) -> float:
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        return rate if 0 < rate <= _MAX_FPS else _DEFAULT_FPS


class _DiscardError(Exception):
    """Signals `replacing` to discard the file."""


class VideoWriter:
    """Writes frames to a video file, which gets its name only when it is complete.

    Args:
        path: The file; its suffix determines the container and codec.
        fps: Frames per second.
        width: Width in pixels; frames of another size are scaled.
        height: Height in pixels.

    Raises:
        OutputError: If the format is unknown, OpenCV has no codec for it, the size or frame rate is
            invalid, or the folder cannot be written.

    Example:
        >>> with VideoWriter(Path("out.mp4"), 25, 1280, 720) as video:   # doctest: +SKIP
        ...     video.write(frame)
    """

    def __init__(self, path: Path, fps: float, width: int, height: int) -> None:
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
        if width < 1 or height < 1 or not 0 < fps <= _MAX_FPS:
            raise OutputError(
                f"invalid video size or frame rate: {width}×{height} at {fps} fps", where=str(path)
            )
        self._path, self._size, self._frames = path, (width, height), 0
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

    def write(self, frame: Image) -> None:
        """Adds a frame, uint8 (H, W, 3) BGR."""
        if (frame.shape[1], frame.shape[0]) != self._size:
            frame = np.asarray(cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA))
        with held():  # frames are counted as they are written
            self._writer.write(np.ascontiguousarray(frame))
            self._frames += 1

    def finish(self) -> None:
        """Completes the file and renames it to its final name.

        Raises:
            OutputError: If frames are missing (a full disk), or the file cannot be renamed.
        """
        with held():
            self._release()
            try:
                if not self._temporary.stat().st_size:
                    raise OutputError("cannot be written", where=str(self._path))
                if self._frames:
                    check_written(self._temporary, self._frames, self._path)
            except OutputError:
                self.discard()
                raise
            self._file.__exit__(None, None, None)

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


def _require_file(path: Path) -> None:
    """Checks a file first, because OpenCV prints its own errors to the terminal.

    Raises:
        VideoError: If the file does not exist, cannot be read or is empty.
    """
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except (OSError, ValueError) as error:
        raise VideoError(f"cannot be read ({reason(error)})", where=str(path)) from error
    if empty:
        raise VideoError("the file is empty", where=str(path))
