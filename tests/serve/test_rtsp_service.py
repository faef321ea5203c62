"""``mobileface serve`` with network cameras: pictures arrive, and passwords stand nowhere."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import cv2
import httpx
import numpy as np
import pytest

from tests.live.rtsp_camera import RtspCamera, made

from .processes import started

PASSWORD = "Xy7/ge:h@im"
ESCAPED = quote(PASSWORD, safe="")


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.needs_rtsp
@pytest.mark.parametrize("kind", ["basic", "digest"])
def test_serving_network_cameras(kind: str) -> None:
    """One that is right, one with a wrong password, one with a wrong path."""
    place = RtspCamera(login=kind, password=PASSWORD, size="1280x720", sound=True)
    sources = (
        f"front={place.url(f'user:{ESCAPED}')}",
        f"refused={place.url('user:Xy7wrong')}",
        f"lost={place.url(f'user:{ESCAPED}', path='other')}",
    )
    try:
        with started(*(f"--camera={source}" for source in sources)) as process:
            api = f"http://127.0.0.1:{process.port}/api/v1/cameras"

            def states() -> dict[str, Any]:
                return {camera["name"]: camera for camera in httpx.get(api).json()["cameras"]}

            expected = {"front": "running", "refused": "waiting", "lost": "waiting"}
            wait_until(
                lambda: {name: state["state"] for name, state in states().items()} == expected
            )
            time.sleep(1.5)  # the backlog of the start is read
            answer = httpx.get(f"{api}/front/snapshot")
            now = time.monotonic()
            image = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
            assert image is not None
            age = now - made(np.asarray(image, np.uint8))
            text = httpx.get(api).text
            process.popen.terminate()
            out, err = process.popen.communicate(timeout=20)
            err = process.before + err
    finally:
        place.close()
    print(f"the snapshot is {1000 * age:.0f} ms old\n{text}\n{err}")
    assert image.shape == (720, 1280, 3)
    assert 0 < age < 2
    assert text.count("the stream cannot be opened; check the address, the login") == 1
    assert text.count("the camera refuses the login; check the user, the password") == 1
    basic = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    for secret in (PASSWORD, ESCAPED, "Xy7", basic):
        assert secret not in out + err + text
    assert "rtsp @" not in err  # FFmpeg's own lines


@pytest.mark.needs_rtsp
def test_ffmpeg_prints_no_password() -> None:
    """What FFmpeg inside OpenCV writes to stderr at its usual level, in somebody's own program."""
    place = RtspCamera(login="digest", password=PASSWORD)
    try:
        code = (
            "import sys\nfrom mobileface.vision.video import VideoReader\n"
            "for url in sys.argv[1:]:\n"
            "    try:\n        VideoReader(url, timeout=3).close()\n"
            "    except Exception as error:\n        print(error)\n"
        )
        urls = [
            place.url(f"user:{ESCAPED}"),
            place.url("user:Xy7wrong"),
            place.url(f"user:{ESCAPED}", path="other"),
            place.url(f"user:{PASSWORD}"),
            f"rtsp://user:{ESCAPED}@127.0.0.1:9/live",
        ]
        names = ("OPENCV_LOG_LEVEL", "OPENCV_FFMPEG_LOGLEVEL")
        environment = {name: value for name, value in os.environ.items() if name not in names}
        command = [sys.executable, "-c", code, *urls]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=True, env=environment
        )
    finally:
        place.close()
    print(done.stdout, done.stderr)
    assert "401 Unauthorized" in done.stderr
    assert "404 Not Found" in done.stderr
    assert done.stdout.count("rtsp://user:***@127.0.0.1") == 4
    for secret in (PASSWORD, ESCAPED, "Xy7", "ge:h"):
        assert secret not in done.stdout + done.stderr
