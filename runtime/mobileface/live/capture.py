"""Reads the frames of one camera on a thread; the newest wins.

A camera that cannot be opened, falls silent or ends is opened again after a pause, see `Pauses`. A
video file is played by its time stamps, again and again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Literal

import cv2
import numpy as np

from ..errors import LoginError, MobileFaceError
from ..vision.image import Image
from ..vision.video import VideoReader
from ..vision.video_source import VideoSource, shown_url, source_place
from .backlog import Backlog
from .clock import SYSTEM_CLOCK, Clock
from .live_options import CameraOptions
from .pauses import Pauses

__all__ = ["Capture", "CapturedFrame", "Playback", "State"]

_log = logging.getLogger("mobileface.live")

State = Literal["starting", "running", "waiting", "ended"]

_STALL_SECONDS = 3.0
"""Longest silence of a camera; OpenCV ends a read of a stream by then."""

_HANGING_SECONDS = 8.0
"""Silence after which the reading thread itself is given up: more than the connection and the first
frame of a stream may take, `_STALL_SECONDS` each."""

_MOST_HANGING = 4

_TURNS = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}


@dataclass(frozen=True, slots=True)
class Playback:
    """How video files are played.

    Attributes:
        loop: Again from the start at the end.
        lossless: Wait until a frame is taken, rather than replace it by the next one.
    """

    loop: bool = True
    lossless: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class CapturedFrame:
    """A frame of a camera.

    Attributes:
        number: Its number, starting at 1, over all connections.
        taken: When it was read, by the clock's `monotonic`.
        time: When it was read, in seconds since 1970.
        image: uint8 (H, W, 3) BGR.
    """

    number: int
    taken: float
    time: float
    image: Image


class Capture:
    """Reads one camera.

    Args:
        options: The camera.
        playback: How a video file is played.
        clock: The time to go by.
        reconnected: Called each time that the camera is open again after it was lost.
        dropped: Called for each frame that a newer one replaced.
        running: Called when frames come, and when the camera is waited for.

    Attributes:
        state: "starting", "running", "waiting" for the camera, or "ended" (a file that does not
            loop, or after `close`).
        why: Why it waits, without a password.
        fps: Nominal frames per second of the source.
        frames: Number of frames that were read.
        drops: Number of frames that newer ones replaced before they were taken.
        reconnects: How often it was opened again.
    """

    def __init__(
        self,
        options: CameraOptions,
        *,
        playback: Playback | None = None,
        clock: Clock = SYSTEM_CLOCK,
        reconnected: Callable[[], None] = lambda: None,
        dropped: Callable[[], None] = lambda: None,
        running: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self.options = options
        self._playback, self._clock = playback or Playback(), clock
        self._reconnected, self._dropped, self._running = reconnected, dropped, running
        self.state: State = "starting"
        self.why = ""
        self.fps = 25.0
        self.frames = self.drops = self.reconnects = 0
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._waiting: CapturedFrame | None = None
        self._thread: threading.Thread | None = None
        self._hanging: list[threading.Thread] = []
        self._heard = clock.monotonic()
        self._threads: int | None = 1  # each one more delays the picture by a frame

    def start(self) -> None:
        """Starts the thread."""
        name = f"mobileface-camera-{self.options.name}"
        self._heard = self._clock.monotonic()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self, timeout: float = 1.0) -> None:
        """Ends the thread; one that hangs in the camera's driver is left to itself."""
        self._stop.set()
        with self._changed:
            self.state = "ended"
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)

    def take(self, timeout: float) -> CapturedFrame | None:
        """The newest frame that was not taken yet; None if none comes in time or it has ended."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._waiting is not None or self.state == "ended", timeout
            )
            frame, self._waiting = self._waiting, None
            self._changed.notify_all()
        if frame is None:
            self._check_thread()
        return frame

    def _check_thread(self) -> None:
        """Replaces a thread that hangs in a driver, which has no time limit."""
        silent = self._clock.monotonic() - self._heard
        if self._stop.is_set() or self.state == "ended" or silent < _HANGING_SECONDS:
            return
        if self._is_file:
            return
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if self._thread is None or len(self._hanging) >= _MOST_HANGING:
            return
        self._wait_for(f"no answer for {silent:.0f} s")
        self._hanging.append(self._thread)
        self.start()

    def _run(self) -> None:
        """Opens and reads until the end, again and again."""
        pauses, opened, refused = Pauses(), False, False
        while self._mine():
            try:
                before, refused = self.frames, False
                self._heard = self._clock.monotonic()  # a camera that is away is not one that hangs
                with self._open() as video:
                    if not self._mine():
                        return
                    if opened or self.state == "waiting":
                        self.reconnects += 1
                        self._reconnected()
                    opened = True
                    pauses.opened()
                    self.fps = video.fps
                    why = self._read(video)
                if self.frames > before + 1:
                    pauses.sent()
                if not self._mine():
                    return
                if self._is_file:
                    opened = False
                    if self._playback.loop and self.frames > before:
                        continue
                    self._end()
                    return
                self._wait_for(why)
            except MobileFaceError as error:
                refused = isinstance(error, LoginError)
                self._wait_for(str(error))
            except Exception as error:  # of OpenCV or a driver: no reason to give the camera up
                self._wait_for(f"{type(error).__name__} in the camera's driver")
            self._rest(pauses.next(refused=refused))

    def _rest(self, seconds: float) -> None:
        """Waits, and is not taken for a thread that hangs."""
        end = monotonic() + seconds
        while self._mine() and (left := end - monotonic()) > 0:
            self._heard = self._clock.monotonic()
            self._stop.wait(min(left, 1.0))

    def _open(self) -> VideoReader:
        place = source_place(self.options.source)
        return VideoReader(place, timeout=_STALL_SECONDS, threads=self._threads)

    @property
    def _is_file(self) -> bool:
        source = VideoSource(source_place(self.options.source))
        return not (source.is_camera or source.is_stream)

    def _mine(self) -> bool:
        """False once this thread was replaced, or all of it has ended."""
        return not self._stop.is_set() and threading.current_thread() is self._thread

    def _read(self, video: VideoReader) -> str:
        """Reads to the end, and says why it is the end."""
        start: float | None = None
        paced, backlog = self._is_file, Backlog()
        stamped = self.options.source.lower().startswith("rtsp")
        for _, time, image in video.frames():
            self._heard = self._clock.monotonic()
            if not self._mine():
                return ""
            if paced:
                start = self._clock.monotonic() - time if start is None else start
                if self._clock.wait_until(start + time, self._stop):
                    return ""
            self._put(image)
            if stamped and self._threads == 1 and backlog.grows(time, self._clock.monotonic()):
                self._threads = None
                return "one core decodes it too slowly; it is opened again for all cores"
        if paced and self.fps > 0:  # the last frame is shown as long as the others
            self._clock.wait_until(self._clock.monotonic() + 1 / self.fps, self._stop)
        return "the stream has ended or fell silent"

    def _put(self, image: Image) -> None:
        if self.options.rotate:
            image = np.asarray(cv2.rotate(image, _TURNS[self.options.rotate]), np.uint8)
        clock = self._clock
        frame = CapturedFrame(self.frames + 1, clock.monotonic(), clock.time(), image)
        with self._changed:
            self.frames = frame.number
            if self._playback.lossless:
                self._changed.wait_for(lambda: self._waiting is None or self.state == "ended")
            if self.state == "ended":
                return
            lost, came = self._waiting is not None, self.state != "running"
            self._waiting, self.state, self.why = frame, "running", ""
            self.drops += lost
            self._changed.notify_all()
        if lost:
            self._dropped()
        if came:
            self._running(True)

    def _wait_for(self, why: str) -> None:
        """Notes that the camera is not there, and why; logs it once."""
        why = why.replace(self.options.source, shown_url(self.options.source))
        with self._changed:
            if self.state == "ended":
                return
            if self.why != why:
                _log.warning("camera '%s': %s", self.options.name, why)
            went = self.state == "running"
            self.state, self.why = "waiting", why
        if went:
            self._running(False)

    def _end(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is None or self._stop.is_set())
            self.state = "ended"
            self._changed.notify_all()
