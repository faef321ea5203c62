"""Live cameras over HTTP: state, pictures and MJPEG streams."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from mobileface.live.live_options import CameraOptions
from mobileface.serve.settings import Limits, ServeSettings
from mobileface.vision.video import VideoWriter
from tests.live.streaming import drawn_frames

from .running import Running, serving

API = "/api/v1/cameras"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.avi"
    with VideoWriter(path, 25, 160, 120) as video:
        for image in drawn_frames():
            video.write(image)
    return path


@pytest.fixture(scope="module")
def watching(film: Path) -> Iterator[Running]:
    """A camera that runs, and one that is not there."""
    settings = ServeSettings(
        cameras=(
            CameraOptions("front", str(film)),
            CameraOptions("gone", "http://user:secret@127.0.0.1:9/video"),
        ),
        limits=Limits(streams=3),
    )
    with serving(settings) as server:
        first_picture(server)
        yield server


def parts(answer: httpx.Response, count: int) -> list[bytes]:
    """The first pictures of an MJPEG stream."""
    kind = answer.headers["content-type"]
    assert kind == "multipart/x-mixed-replace; boundary=frame"
    data, found = b"", []
    for chunk in answer.iter_bytes():
        data += chunk
        while True:
            head, separator, rest = data.partition(b"\r\n\r\n")
            if not separator:
                break
            lines = head.strip().split(b"\r\n")
            assert lines[0] == b"--frame"
            assert lines[1] == b"Content-Type: image/jpeg"
            length = int(lines[2].partition(b": ")[2])
            if len(rest) < length + 2:
                break
            found.append(rest[:length])
            data = rest[length + 2 :]
            if len(found) == count:
                return found
    raise AssertionError("the stream ended")


def first_picture(server: Running) -> None:
    deadline = time.monotonic() + 20
    while not server.service.live.cameras["front"].picture.number:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_states(watching: Running) -> None:
    deadline = time.monotonic() + 10
    with watching.client() as client:
        while True:
            front, gone = client.get(API).json()["cameras"]
            if gone["state"] == "waiting":
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert (front["name"], front["state"]) == ("front", "running")
    assert (front["width"], front["height"]) == (160, 120)
    assert front["frames"] > 0
    assert front["people"] == []
    assert "secret" not in str(gone)
    assert "user:***@" in gone["why"]


def test_a_snapshot(watching: Running) -> None:
    with watching.client() as client:
        for annotated in ("true", "false"):
            answer = client.get(f"{API}/front/snapshot?annotated={annotated}")
            assert answer.headers["content-type"] == "image/jpeg"
            image = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
            assert image is not None
            assert image.shape == (120, 160, 3)
        answer = client.get(f"{API}/gone/snapshot")
        assert answer.status_code == 503
        assert "secret" not in answer.text
        assert client.get(f"{API}/side/snapshot").status_code == 404
        assert client.get(f"{API}/side/stream").status_code == 404


def test_a_stream_shows_new_pictures(watching: Running) -> None:
    with watching.client() as client, client.stream("GET", f"{API}/front/stream") as answer:
        start = time.monotonic()
        found = parts(answer, 10)
        passed = time.monotonic() - start
    assert len(set(found)) > 5
    assert all(cv2.imdecode(np.frombuffer(d, np.uint8), 1).shape == (120, 160, 3) for d in found)
    print(f"10 pictures in {passed:.2f} s")


def test_a_rate_can_be_asked_for(watching: Running) -> None:
    address = f"{API}/front/stream?fps=10&annotated=false"
    with watching.client() as client, client.stream("GET", address) as answer:
        start = time.monotonic()
        parts(answer, 6)
        assert time.monotonic() - start >= 0.45
    with watching.client() as client:
        assert client.get(f"{API}/front/stream?fps=0").status_code == 422


def test_streams_are_limited_and_give_back_their_places(watching: Running) -> None:
    streams = watching.service.streams
    clients = [watching.client() for _ in range(3)]
    opened = [c.send(c.build_request("GET", f"{API}/front/stream"), stream=True) for c in clients]
    try:
        assert streams.count == 3
        with watching.client() as client:
            refused = client.get(f"{API}/front/stream")
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "busy"
            assert refused.headers["retry-after"] == "1"
            assert client.get("/health").status_code == 200  # streams hold no worker
    finally:
        for answer, client in zip(opened, clients, strict=True):
            answer.close()
            client.close()
    deadline = time.monotonic() + 5
    while streams.count and time.monotonic() < deadline:
        time.sleep(0.02)
    assert streams.count == 0
    assert not watching.service.live.cameras["front"].picture._watchers


def test_many_streams_leave_the_service_quick(film: Path) -> None:
    settings = ServeSettings(
        cameras=(CameraOptions("front", str(film)),), limits=Limits(streams=20), workers=1
    )
    with serving(settings) as server:
        clients = [server.client() for _ in range(20)]
        address = f"{API}/front/stream"
        opened = [c.send(c.build_request("GET", address), stream=True) for c in clients]
        with server.client() as client:
            times = []
            for _ in range(20):
                start = time.monotonic()
                assert client.get("/api/v1/version").status_code == 200
                times.append(time.monotonic() - start)
        print(f"beside 20 streams an answer takes {1000 * float(np.median(times)):.1f} ms")
        for answer, client in zip(opened, clients, strict=True):
            answer.close()
            client.close()


def test_shutdown_ends_streams(film: Path) -> None:
    with serving(ServeSettings(cameras=(CameraOptions("front", str(film)),))) as server:
        client = server.client()
        answer = client.send(client.build_request("GET", f"{API}/front/stream"), stream=True)
        events = server.client()
        lines = events.send(events.build_request("GET", "/api/v1/events/stream"), stream=True)
        parts(answer, 1)
        start = time.monotonic()
    passed = time.monotonic() - start
    print(f"the service ended in {passed:.2f} s with two open streams")
    assert passed < 3
    for opened in (answer, lines, client, events):
        opened.close()


def test_the_key_in_the_address(film: Path, tmp_path: Path) -> None:
    """Programs that take nothing but a camera's address send its user and password as Basic."""
    key = "a-key-of-a-test-0123"
    keys = tmp_path / "keys"
    keys.write_text(key)
    settings = ServeSettings(cameras=(CameraOptions("front", str(film)),), api_key_file=keys)
    with serving(settings) as server, httpx.Client(trust_env=False, timeout=30) as client:
        first_picture(server)
        path = f"127.0.0.1:{server.port}{API}/front/snapshot"
        answer = client.get(f"http://anybody:{key}@{path}")
        assert answer.headers["content-type"] == "image/jpeg"
        image = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert image.shape == (120, 160, 3)
        assert client.get(f"http://{path}").status_code == 401
        assert client.get(f"http://{key}:wrong@{path}").status_code == 401
