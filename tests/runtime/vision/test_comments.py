"""Comments in pictures and videos, as Pillow and ffprobe read them."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from mobileface import MobileFaceError, VideoReader, VideoWriter
from mobileface.vision.comments import add_video_comment, commented_picture, holds_comment

PIL = pytest.importorskip("PIL")
from PIL import Image as Pillow  # noqa: E402

TEXT = "mobileface swap; digitally altered"


@pytest.mark.parametrize(("suffix", "key"), [(".png", "Software"), (".jpg", "comment")])
def test_pictures(suffix: str, key: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    plain = cv2.imencode(suffix, pixels)[1].tobytes()
    data = commented_picture(plain, TEXT)
    with Pillow.open(io.BytesIO(data)) as after, Pillow.open(io.BytesIO(plain)) as before:
        after.verify()
        found = after.info[key]
        print(found)
        assert (found.decode() if isinstance(found, bytes) else found) == TEXT
        assert key not in before.info
    decoded = (cv2.imdecode(np.frombuffer(part, np.uint8), 1) for part in (plain, data))
    np.testing.assert_array_equal(*decoded)


def test_other_formats_are_refused() -> None:
    webp = cv2.imencode(".webp", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    with pytest.raises(MobileFaceError, match="only PNG and JPEG"):
        commented_picture(webp, TEXT)
    with pytest.raises(MobileFaceError, match="has no place for a comment"):
        VideoWriter(Path("a.avi"), 25, 64, 48, comment=TEXT)
    held = [name for name in ("a", "a.PNG", "a.jpg", "a.mp4", "a.mov") if holds_comment(Path(name))]
    assert held == ["a", "a.PNG", "a.jpg", "a.mp4", "a.mov"]
    assert not any(holds_comment(Path(name)) for name in ("a.webp", "a.bmp", "a.avi", "a.mkv"))


@pytest.mark.needs_ffmpeg
@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov"])
def test_videos(suffix: str, tmp_path: Path) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (6, 48, 64, 3)).astype(np.uint8)
    shown = []
    for name, comment in (("plain", ""), ("noted", TEXT)):
        path = tmp_path / f"{name}{suffix}"
        with VideoWriter(path, 25, 64, 48, comment=comment) as writer:
            for frame in frames:
                writer.write(frame)
        command = ["ffprobe", "-v", "error", "-show_format", "-of", "json", path]
        probed = subprocess.run(command, capture_output=True, check=True)
        assert not probed.stderr
        tags = json.loads(probed.stdout)["format"]["tags"]
        print(tags)
        assert tags.get("comment", "") == comment
        with VideoReader(path) as video:
            shown.append(np.stack([image for _, image in video]))
    np.testing.assert_array_equal(shown[0], shown[1])
    assert len(shown[0]) == 6


def test_another_layout_is_one_error(tmp_path: Path) -> None:
    for content in (b"", b"\0\0\0\x08free", b"\0\0\0\x08moov\0\0\0\x08mdat", b"RIFFabcdAVI "):
        path = tmp_path / "x.mp4"
        path.write_bytes(content)
        with pytest.raises(MobileFaceError, match=r"x\.mp4: the video has no place"):
            add_video_comment(path, TEXT, path)
        assert path.read_bytes() == content
