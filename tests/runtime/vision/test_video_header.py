"""Videos are recognised by their first bytes; what would open other files is not handed over."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mobileface.errors import VideoError
from mobileface.vision.video import VideoReader
from mobileface.vision.video_header import HEAD_BYTES, is_container

FORMATS = {
    ".mp4": "mp4v",
    ".mov": "mp4v",
    ".avi": "MJPG",
    ".mkv": "mp4v",
    ".ts": "mp4v",
    ".mpg": "PIM1",
    ".flv": "FLV1",
    ".wmv": "WMV2",
    ".webm": "VP80",
}


def write(path: Path, codec: str) -> bool:
    """Writes a short video with OpenCV; False where this OpenCV cannot."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, (64, 48))
    for level in range(10):
        writer.write(np.full((48, 64, 3), 20 * level, np.uint8))
    writer.release()
    return path.is_file() and path.stat().st_size > 0


def test_containers(tmp_path: Path) -> None:
    written = []
    for suffix, codec in FORMATS.items():
        path = tmp_path / f"v{suffix}"
        if write(path, codec):
            written.append(suffix)
            assert is_container(path.read_bytes()[:HEAD_BYTES]), suffix
            with VideoReader(path) as video:
                assert next(video.frames()).image.shape == (48, 64, 3)
    print("written:", written)
    assert {".mp4", ".avi", ".mkv"} <= set(written)


PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile '{}'\n",
    "concat after empty lines": "\n\nffconcat version 1.0\nfile '{}'\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9.0,\n{}\n#EXT-X-ENDLIST\n",
    "m3u": "{}\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{}</BaseURL>'
    "</MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 5004 RTP/AVP 96\n",
    "asx": '<asx version="3.0"><entry><ref href="{}"/></entry></asx>',
    "reference": "[Reference]\nRef1={}\n",
}


@pytest.mark.parametrize("name", PLAYLISTS)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_playlists(name: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are refused before FFmpeg sees them, also where they name a file beside them."""
    assert write(tmp_path / "other.mp4", "mp4v")
    monkeypatch.chdir(tmp_path)
    for target in ("other.mp4", str(tmp_path / "other.mp4")):
        path = Path(f"list{suffix}")
        path.write_text(PLAYLISTS[name].format(target))
        monkeypatch.setattr(cv2, "VideoCapture", None)  # not even opened
        with pytest.raises(VideoError, match="not a video"):
            VideoReader(path)


@pytest.mark.parametrize("number", [-1, 10_000, 2**31, 10**20, 10**400])
def test_numbers_of_no_camera(number: int) -> None:
    with pytest.raises(VideoError, match="is not the number of a camera"):
        VideoReader(number)


def test_pipes_and_devices(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.mp4")
    (tmp_path / "z.mp4").symlink_to("/dev/zero")
    for name in ("p.mp4", "z.mp4"):
        with pytest.raises(VideoError, match="is a pipe, device or socket"):
            VideoReader(tmp_path / name)


def test_the_device_of_a_camera_is_its_number() -> None:
    why = r" \(/dev/video77: No such file or directory\); in a" if sys.platform == "linux" else ""
    with pytest.raises(VideoError, match=f"camera 77: cannot be opened{why}"):
        VideoReader("/dev/video77")
