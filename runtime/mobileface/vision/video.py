"""Video files and cameras: frames in, frames out, at constant memory.

Reading and encoding is OpenCV's. Sound is neither read nor written.
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
"""What OpenCV's wheels can encode everywhere, by the suffix of the file."""

_SUFFIXES = frozenset({*_CODECS, ".webm", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp"})
_USUAL_RATE = 25.0
_USUAL_SUFFIX = ".mp4"
"""The format of pipes and devices whose name has no suffix."""

_FASTEST = 1000.0
_MOST_BROKEN = 50
"""Broken frames in a row after which the file counts as ended."""


def is_video(path: Path) -> bool:
    """True if a file's name is that of a video."""
    return path.suffix.lower() in _SUFFIXES


class VideoReader:
    """Frames of a video file or of a camera.

    Args:
        source: A file, or the number of a camera.

    Attributes:
        fps: Frames a second; 25 if the source does not say.
        count: Frames of the file as its header says; None for a camera or an unknown number.
        width: Pixels of the first frame.
        height: Pixels of the first frame.
        broken: Frames so far that could not be decoded; they are skipped.

    Raises:
        VideoError: No such file or camera, no video, or a video without a single frame.

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
            what = "cannot be opened" if self._is_camera else "no video that OpenCV can decode"
            raise VideoError(what, where=self._where)
        self.fps = self._rate()
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.count = count if count > 0 and not self._is_camera else None
        first = self._next()
        if first is None:
            self.close()
            raise VideoError("it holds no frame that can be decoded", where=self._where)
        self._first: Image | None = first
        self.height, self.width = first.shape[:2]

    def __iter__(self) -> Iterator[tuple[int, Image]]:
        """Number and picture of each frame, uint8 (H, W, 3) BGR; broken ones leave gaps."""
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
        """Frees the file or camera."""
        self._capture.release()

    def _next(self) -> Image | None:
        """The next frame that can be decoded; None at the end."""
        for _ in range(_MOST_BROKEN):
            done, frame = self._capture.read()
            if done and frame is not None and frame.size:
                self._number += 1
                return np.asarray(frame, np.uint8)
            if self._is_camera or self.count is None or self._number >= self.count:
                return None
            self._number += 1
            self.broken += 1
        # What is left is gone: frames that were counted at the end were never broken, but absent.
        return None

    def _rate(self) -> float:
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        return rate if 0 < rate <= _FASTEST else _USUAL_RATE


class _NotWantedError(Exception):
    """Tells `replacing` that the file is not wanted."""


class VideoWriter:
    """Writes frames into a video file that appears under its name when it is complete.

    Args:
        path: The file; its suffix chooses the container and codec.
        fps: Frames a second.
        width: Pixels; frames of another size are scaled to it.
        height: Pixels.

    Raises:
        OutputError: No such format, no codec for it, no sizes, or the folder cannot be written.

    Example:
        >>> with VideoWriter(Path("out.mp4"), 25, 1280, 720) as video:   # doctest: +SKIP
        ...     video.write(frame)
    """

    def __init__(self, path: Path, fps: float, width: int, height: int) -> None:
        check_place(path)
        suffix = path.suffix.lower()
        if not suffix and written_through(path):
            suffix = _USUAL_SUFFIX
        if suffix not in _CODECS:
            known = ", ".join(_CODECS)
            raise OutputError(
                f"no video format '{path.suffix}'", where=str(path), hint=f"known: {known}"
            )
        if width < 1 or height < 1 or not 0 < fps <= _FASTEST:
            raise OutputError(f"no video of {width}×{height} at {fps} a second", where=str(path))
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
                f"OpenCV has no codec '{_CODECS[suffix]}' for it",
                where=str(path),
                hint="write .avi, which needs no codec of the system",
            )

    def write(self, frame: Image) -> None:
        """Adds a frame, uint8 (H, W, 3) BGR."""
        if (frame.shape[1], frame.shape[0]) != self._size:
            frame = np.asarray(cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA))
        self._writer.write(np.ascontiguousarray(frame))
        self._frames += 1

    def finish(self) -> None:
        """Completes the file and gives it its name.

        Raises:
            OutputError: The disk is full (frames are missing), or the file cannot be renamed.
        """
        with held():
            self._release()
            try:
                if not self._temporary.stat().st_size:
                    raise OutputError("nothing could be written", where=str(self._path))
                if self._frames:
                    check_written(self._temporary, self._frames, self._path)
            except OutputError:
                self.discard()
                raise
            self._file.__exit__(None, None, None)

    def discard(self) -> None:
        """Gives the file up."""
        self._release()
        self._file.__exit__(_NotWantedError, _NotWantedError(), None)

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
        """Completes the file, also after an error or Ctrl-C: what was done stays."""
        if error is not None and not self._frames:
            self.discard()
        else:
            self.finish()


def _require_file(path: Path) -> None:
    """A clear error where OpenCV would print its own to the terminal.

    Raises:
        VideoError: No such file, or an empty one.
    """
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except (OSError, ValueError) as error:
        raise VideoError(f"cannot be read ({reason(error)})", where=str(path)) from error
    if empty:
        raise VideoError("an empty file", where=str(path))
