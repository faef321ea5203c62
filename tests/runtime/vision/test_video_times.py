"""Times of frames and slots for them, cameras with a clock of their own, and streams."""

from __future__ import annotations

import functools
import http.server
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mobileface import VideoReader, VideoWriter
from mobileface.commands.main import main
from mobileface.effects.enhance import Enhancer
from mobileface.errors import VideoError
from mobileface.tracking.schedule import DetectionSchedule
from mobileface.vision import video as video_module
from mobileface.vision.frame_times import FrameSlots, FrameTimes
from mobileface.vision.video_source import is_url, shown_url
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)

STAMPS: dict[str, tuple[list[float], list[float]]] = {
    "as they are": ([0.0, 0.1, 0.5, 0.6], [0.0, 0.1, 0.5, 0.6]),
    "a later start": ([0.5, 0.6], [0.5, 0.6]),
    "unknown": ([0.0, 0.0, 0.0], [0.0, 0.04, 0.08]),
    "not finite": ([math.nan, math.nan, 0.1], [0.0, 0.04, 0.1]),
    "a little back": ([0.0, 0.2, 0.16, 0.24], [0.0, 0.2, 0.2, 0.24]),
    "joined files": ([0.0, 2.0, 0.0, 0.5], [0.0, 2.0, 2.04, 2.54]),
}


@pytest.mark.parametrize("name", STAMPS)
def test_times_never_go_back(name: str) -> None:
    stamps, expected = STAMPS[name]
    times = FrameTimes(25)
    assert [times(stamp) for stamp in stamps] == pytest.approx(expected)


def test_slots_of_a_constant_rate_are_the_frames() -> None:
    """Over an hour, with time stamps rounded to milliseconds."""
    for fps in (24000 / 1001, 25.0, 30000 / 1001, 59.94):
        slots = FrameSlots(fps)
        repeats = [slots.before(round(number / fps, 3)) for number in range(round(3600 * fps))]
        assert repeats == [0] + [1] * (len(repeats) - 1)


def test_slots_are_within_half_a_frame() -> None:
    random = np.random.RandomState(5)
    times = np.cumsum(random.exponential(0.05, 5000))
    fps = 30.0
    slots, slot, worst = FrameSlots(fps), 0, 0.0
    for time in times:
        slot += slots.before(float(time))
        worst = max(worst, abs(slot / fps - (time - times[0])))
    print(f"{1000 * worst:.2f} ms off, half a frame is {500 / fps:.2f} ms")
    assert worst <= 0.5 / fps + 1e-9


def test_a_pause_of_a_day_is_shortened() -> None:
    slots = FrameSlots(10)
    assert [slots.before(time) for time in (0.0, 0.1, 86400.1, 86400.2)] == [0, 1, 6000, 1]


class Camera:
    """A camera that says 30 frames a second and gives one at each of some times."""

    times: tuple[float, ...] = ()
    now = 0.0

    def __init__(self, *_: Any) -> None:
        self._next = 0

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def get(self, name: int) -> float:
        return 30.0 if name == cv2.CAP_PROP_FPS else 0.0

    def set(self, *_: Any) -> bool:
        return False

    def read(self) -> tuple[bool, Any]:
        if self._next == len(Camera.times):
            return False, None
        Camera.now = Camera.times[self._next]
        self._next += 1
        return True, np.full((48, 64, 3), 20 * self._next, np.uint8)

    def release(self) -> None: ...


def test_a_camera_slower_than_it_says_gives_real_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten frames in 1.5 seconds instead of 0.3."""
    Camera.times = tuple(100.0 + 0.15 * number for number in range(10))
    monkeypatch.setattr(video_module, "monotonic", lambda: Camera.now)
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    path = tmp_path / "out.avi"
    with VideoWriter(path, 30.0, 64, 48) as writer:
        with VideoReader(0) as video:
            assert (video.live, video.count, video.fps, video.full_fps) == (True, None, 30.0, 30.0)
            times = []
            for frame in video.frames():
                times.append(frame.time)
                writer.write(frame.image, frame.time)
        monkeypatch.undo()  # the writer reads its file
    assert times == pytest.approx([0.15 * number for number in range(10)])
    with VideoReader(path) as video:
        seen = [(frame.time, round(float(frame.image.mean()) / 20)) for frame in video.frames()]
    first = [min(time for time, value in seen if value == number + 1) for number in range(10)]
    error = float(np.abs(np.subtract(first, times)).max())
    print(f"{1000 * error:.1f} ms off; {len(seen)} frames in the file")
    assert error <= 0.5 / 30 + 1e-3


def test_urls() -> None:
    for url in ("rtsp://a/b", "RTSPS://a", "http://a/b.mp4", "https://a", "udp://@:5000"):
        assert is_url(url)
    for path in ("a.mp4", "/a//b", "rtsp:/a", "C://x", "file:///a"):
        assert not is_url(path)
    assert shown_url("rtsp://me:secret@host:554/x") == "rtsp://me:***@host:554/x"
    assert shown_url("rtsp://me:se@cr/et@host:554/x") == "rtsp://me:***@host:554/x"
    assert shown_url("http://host:8080/@me/x") == "http://host:8080/@me/x"
    assert shown_url("http://host/v?user=a&Password=b&pwd=c#d") == (
        "http://host/v?user=a&Password=***&pwd=***#d"
    )
    assert shown_url("rtsp://host/user=a&password=b&channel=1") == (
        "rtsp://host/user=a&password=***&channel=1"
    )
    assert shown_url("rtsp://me@host/x:y@z") == "rtsp://me@host/x:y@z"
    assert shown_url("a:b@c.mp4") == "a:b@c.mp4"


@pytest.mark.parametrize("url", ["rtsp://me:secret@127.0.0.1:9/live", "http://127.0.0.1:9/a.mp4"])
def test_streams_that_cannot_be_opened(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tmp_path / "out.jsonl"
    assert main(["track", url, "--tracks", str(lines)]) == 2
    message = capsys.readouterr().err
    expected = f"mobileface: error: {shown_url(url)}: the stream cannot be opened; check the"
    assert expected in message
    assert "secret" not in message
    assert not lines.exists()


def test_urls_reach_opencv_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    class Nothing(Camera):
        def __init__(self, source: Any, *_: Any) -> None:
            opened.append(source)

        def isOpened(self) -> bool:  # noqa: N802
            return False

    monkeypatch.setattr(cv2, "VideoCapture", Nothing)
    with pytest.raises(VideoError, match="the stream cannot be opened"):
        VideoReader("rtsp://host//double/slash?a=b")
    assert set(opened) == {"rtsp://host//double/slash?a=b"}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which its files can be fetched."""
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield tmp_path, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_video_over_http(served: tuple[Path, str]) -> None:
    folder, address = served
    with VideoWriter(folder / "v.avi", 25, 64, 48) as writer:
        for number in range(8):
            writer.write(np.full((48, 64, 3), 30 * number, np.uint8))
    with VideoReader(f"{address}/v.avi") as video:
        times = [frame.time for frame in video.frames()]
    assert times == pytest.approx([number / 25 for number in range(8)], abs=1e-3)
    assert not video.live


def detections(times: list[float], **options: Any) -> list[float]:
    """Times at which the detector runs; nothing happens in the video, and it costs 1 ms."""
    settings = {"every": "auto", "fps": 30.0, "max_rate": None, "live": False} | options
    schedule = DetectionSchedule(**settings)
    frame, found = np.zeros((48, 64, 3), np.uint8), []
    for time in times:
        if schedule.due(frame, time):
            found.append(time)
            schedule.learn(surprised=False, unsettled=False, seconds=options.get("cost") or 0.001)
    return found


def test_detections_are_scheduled_by_time() -> None:
    """At 30 frames a second by the header, but 60 in one half and 5 in the other."""
    times = [n / 60 for n in range(300)] + [5 + n / 5 for n in range(25)]
    most = detections(times, every=1, max_rate=10.0)
    gaps = np.diff(most)
    print(f"gaps of {1000 * gaps.min():.0f} to {1000 * gaps.max():.0f} ms")
    assert gaps.min() >= 0.1 - 0.0015
    assert gaps.max() <= 0.2 + 1e-9
    auto = np.diff(detections(times))
    print(f"automatic: gaps of {1000 * auto.min():.0f} to {1000 * auto.max():.0f} ms")
    assert auto[:-25].max() <= 0.2 + 1e-9
    late = [time for time in detections(times) if time > 5]
    assert late == times[301:]  # every frame: the next one would be too late


def test_enhancer_follows_time() -> None:
    """A quarter of the frames with four times the gaps: the same light at the same time."""
    dark = np.full((32, 32, 3), 40, np.uint8)
    normal = np.full((32, 32, 3), 130, np.uint8)
    ends = []
    for gap in (0.02, 0.08):
        enhancer = Enhancer(25)
        enhancer(dark, time=0.0)
        for number in range(1, round(0.8 / gap) + 1):
            result = enhancer(normal, time=number * gap)
        ends.append(float(result.mean()))
    print(f"grey values after 0.8 s: {ends}")
    assert abs(ends[0] - ends[1]) <= 1
