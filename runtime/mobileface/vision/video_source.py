"""What a video is read from: a file, a camera or the URL of a stream."""

from __future__ import annotations

import os
import re
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import cv2
import numpy as np

from ..errors import LoginError, VideoError
from ..host.files import reason, utf8_path
from .stream_login import wants_login
from .video_header import HEAD_BYTES, is_container

__all__ = ["VideoSource", "frame_rates", "is_url", "shown_url", "source_place"]

os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_flags;prefer_tcp")
"""RTSP over TCP where the camera can, else over UDP, which loses packets on a busy network. Most
versions of OpenCV do so by themselves; 4.11 does so only if the variable has a value. Set at
import, before there are threads that read the environment."""

_URL = re.compile(r"(rtsps?|rtmps?|https?|udp|tcp|rtp|srt)://", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)([^/@:?#]*):(?![0-9]{1,5}[/?#]).*@", re.DOTALL)
"""A login; up to the last "@", as passwords with "@" and "/" are often not escaped. What follows
the colon in ``host:8080/@`` is a port."""

_SECRET = re.compile(r"((?:pass|pwd|token|secret|key|auth|psw)[^=&/?#]*=)[^&#]*", re.IGNORECASE)
"""A field of an address, of those that many cameras are logged in by: ``?user=me&password=…``."""

_DEVICE = re.compile(r"/dev/video([0-9]{1,4})")
_STREAM_TIMEOUT, _LOGIN_SECONDS = 10.0, 2.0
_ANSWERED = 0.9
"""A stream that fails within this share of its time limit has a server that answers."""

_ESCAPES = "in a password write / as %2F, ? as %3F, # as %23, and % as %25"
_DEFAULT_FPS = 25.0
_MOST_CAMERAS = 9999
"""Larger numbers mean something else to OpenCV, or are no numbers of C."""

_MAX_NOMINAL_FPS = 120.0
"""A higher rate in a file's header is often the unit of its time stamps, and is checked."""

_MAX_WRITTEN_FPS = 240.0
_SCANNED_PACKETS = 300
_SMALL_GAP_PERCENTILE = 10
_SAME_RATE = 0.02
_SAME_GAP, _ROUNDING = 0.1, 1.5e-3
"""Gaps count as the same if they differ by less than this share, or by these seconds: many formats
round time stamps to milliseconds."""


def is_url(source: str) -> bool:
    """True for the URL of a stream, such as ``rtsp://…`` or ``http://…``."""
    return _URL.match(source) is not None


def shown_url(source: str) -> str:
    """The source for messages and results: passwords in a URL are replaced by ``***``."""
    return _SECRET.sub(r"\1***", _LOGIN.sub(r"\1:***@", source)) if is_url(source) else source


def source_place(text: str) -> str | int:
    """The source that a text names: digits are the index of a camera."""
    return int(text) if text.isdecimal() and len(text) < 10 else text


@dataclass(frozen=True)
class VideoSource:
    """A file, a camera or a stream.

    Args:
        place: A file, the index of a camera, or a URL. A camera's device, such as ``/dev/video0``,
            is the same as its index.
        timeout: Seconds to wait for the connection and for each frame of a stream.
        threads: Threads that decode a stream. Each but the first delays H.264 and H.265 by a frame.
            None: one a core, the fastest.
    """

    place: str | Path | int
    timeout: float = _STREAM_TIMEOUT
    threads: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.place, str | Path) and (found := _DEVICE.fullmatch(str(self.place))):
            object.__setattr__(self, "place", int(found[1]))

    @property
    def is_camera(self) -> bool:
        """True for the index of a camera."""
        return isinstance(self.place, int)

    @property
    def is_stream(self) -> bool:
        """True for a URL."""
        return isinstance(self.place, str) and is_url(self.place)

    def __str__(self) -> str:
        return f"camera {self.place}" if self.is_camera else shown_url(str(self.place))

    def open(self) -> cv2.VideoCapture:
        """Opens the source; frames come as they are stored, not turned.

        Raises:
            LoginError: If a stream's server refuses the login, or wants one.
            VideoError: If it cannot be opened.
        """
        start = monotonic()
        if isinstance(self.place, int):
            if not 0 <= self.place <= _MOST_CAMERAS:
                raise VideoError("is not the number of a camera", where=str(self.place))
            capture = cv2.VideoCapture(self.place)
            what, hint = "cannot be opened", ""
        elif self.is_stream:
            capture = _open_stream(str(self.place), self.timeout, self.threads)
            what = "the stream cannot be opened"
            hint = "check the address, the login and the network"
            if self._login_is_unescaped:
                hint = _ESCAPES
        else:
            _require_file(Path(self.place))
            with utf8_path(Path(self.place)) as name:
                capture = cv2.VideoCapture(name)
            what, hint = "not a video that OpenCV can decode", ""
        if not capture.isOpened():
            capture.release()
            raise self._failure(what, hint, monotonic() - start)
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)  # the default depends on the version
        return capture

    @property
    def _login_is_unescaped(self) -> bool:
        """True if a login has characters that end it in an address."""
        login = _LOGIN.search(str(self.place))
        return login is not None and bool(set("/?#") & set(login[0]))

    def _failure(self, what: str, hint: str, seconds: float) -> VideoError:
        """The error of a source that was not open after some seconds, as precise as can be."""
        if isinstance(self.place, int) and (why := _refusal(self.place)):
            what = f"{what} ({why})"
            hint = "in a container or service, its device and group must be given to it"
        elif self.is_stream and seconds < _ANSWERED * self.timeout:  # it has answered something
            url = str(self.place)
            login = _LOGIN.search(url) or _SECRET.search(url)
            if wants_login(_SECRET.sub("", url), min(self.timeout, _LOGIN_SECONDS)):
                what = f"the camera {'refuses the' if login else 'wants a'} login"
                if login is None:
                    hint = f"put it into the address, {url.partition(':')[0]}://USER:PASSWORD@…"
                elif not self._login_is_unescaped:
                    hint = "check the user, the password and the path"
                return LoginError(what, where=str(self), hint=hint)
        return VideoError(what, where=str(self), hint=hint)


def _refusal(index: int) -> str:
    """Why Linux does not open the device of a camera; empty if it does, or on other systems."""
    if sys.platform != "linux":
        return ""
    device = f"/dev/video{index}"
    try:
        os.close(os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return f"{device}: {reason(error)}"
    return ""


def frame_rates(source: VideoSource, capture: cv2.VideoCapture) -> tuple[float, float]:
    """The frame rate of a source, and the rate of its closest frames.

    Headers of files with a variable rate give the mean, the usual, or the finest possible rate. So
    the time stamps of the first frames are read, without decoding them.

    Returns:
        Frames per second: the nominal rate (25 if unknown), and the rate of the closest frames,
        which is the same for a constant rate.
    """
    nominal = float(capture.get(cv2.CAP_PROP_FPS))
    known = 0 < nominal <= _MAX_NOMINAL_FPS
    gaps = np.empty(0)
    if not (isinstance(source.place, int) or source.is_stream):
        gaps = np.diff(_first_stamps(Path(source.place)))
        gaps = gaps[gaps > 1e-4]
    if len(gaps) < 2:
        rate = nominal if known else _DEFAULT_FPS
        return rate, rate
    if not known:
        nominal = 1 / float(gaps.mean())
    least = float(np.percentile(gaps, _SMALL_GAP_PERCENTILE))
    same = gaps <= max((1 + _SAME_GAP) * least, least + _ROUNDING)
    least = float(gaps[same].mean())
    if abs(least * nominal - 1) <= _SAME_RATE:
        return nominal, nominal
    return nominal, min(max(round(1 / least, 3), 1.0), _MAX_WRITTEN_FPS)


def _first_stamps(path: Path) -> list[float]:
    """Time stamps of a file's first frames in seconds, in order; empty if they are unknown."""
    with utf8_path(path) as name:
        capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    stamps: list[float] = []
    while len(stamps) < _SCANNED_PACKETS and capture.grab():
        stamps.append(float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000)
    capture.release()
    return sorted(stamps)


def _open_stream(url: str, timeout: float, threads: int | None) -> cv2.VideoCapture:
    """Opens a URL, with a time limit in seconds and a number of threads where OpenCV has these."""
    limit = round(1000 * timeout)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
    if threads is not None:
        limits += [cv2.CAP_PROP_N_THREADS, threads]
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits)
    has_ffmpeg = cv2.CAP_FFMPEG in cv2.videoio_registry.getBackends()
    return capture if has_ffmpeg else cv2.VideoCapture(url)


def _require_file(path: Path) -> None:
    """Checks a file first: what it is must be known before FFmpeg opens it.

    Raises:
        VideoError: If the file does not exist, cannot be read, is empty, is no regular file, or if
            its first bytes are not those of a video.
    """
    head = b""
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # opening a pipe would wait for its writer
            with path.open("rb") as stream:
                head = stream.read(HEAD_BYTES)
    except (OSError, ValueError) as error:
        raise VideoError(f"cannot be read ({reason(error)})", where=str(path)) from error
    if not stat.S_ISREG(mode):
        hint = "save the video to a file; a camera is given by its number, a stream by its URL"
        raise VideoError(
            "is a pipe, device or socket, not a video file", where=str(path), hint=hint
        )
    if not head:
        raise VideoError("the file is empty", where=str(path))
    if not is_container(head):
        raise VideoError(
            "not a video that OpenCV can decode",
            where=str(path),
            hint="playlists are opened only by their URL",
        )
