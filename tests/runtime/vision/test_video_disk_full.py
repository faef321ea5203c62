"""A disk that is full while a video is written; a limit on the size of files stands for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mobileface.errors import OutputError
from mobileface.vision.written_video import check_written
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)
from tests.runtime.vision.test_video import plain_frames, write_video

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".avi")
NOISE = 40


def noise(folder: Path) -> Path:
    """A video that does not compress, of about 1.8 MB."""
    rng = np.random.default_rng(7)
    frames = [rng.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(NOISE)]
    return write_video(folder / "noise.avi", frames)


_LIMITED = """
import os, resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
os.execv(sys.executable, [sys.executable, "-m", "mobileface", *sys.argv[2:]])
"""


def run(*arguments: str | Path, limit: int) -> subprocess.CompletedProcess[str]:
    """The command in a process whose files cannot be larger than a limit.

    The process limits itself. A ``preexec_fn`` would fork pytest's process, and other libraries
    in it (gRPC, which Milvus brings) then write messages of their own into the command's.
    """
    return subprocess.run(
        [sys.executable, "-c", _LIMITED, str(limit), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("command", ["enhance", "track"])
def test_a_full_disk_is_one_error_and_leaves_nothing(
    command: str, suffix: str, tmp_path: Path
) -> None:
    video, target = noise(tmp_path), tmp_path / "out" / f"video{suffix}"
    target.parent.mkdir()
    target.write_bytes(b"an older one")
    for limit in (200_000, 600_000):
        done = run(command, video, "--output", target, limit=limit)
        print(f"{limit}: {done.returncode}, {done.stderr.strip()}")
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.count("mobileface: error: ") == 1
        assert done.stderr.count("\n") == 1
        assert str(target) in done.stderr
        assert os.listdir(target.parent) == [target.name]  # noqa: PTH208
        assert target.read_bytes() == b"an older one"


def test_the_tracks_beside_a_video_are_whole_lines(tmp_path: Path) -> None:
    video, out = noise(tmp_path), tmp_path / "out"
    arguments = ("track", video, "--output", out / "v.mp4", "--tracks", out / "t.jsonl")
    done = run(*arguments, limit=600_000)
    lines = [json.loads(line) for line in (out / "t.jsonl").read_text().splitlines()]
    print(f"{done.returncode}, {len(lines)} lines, {done.stderr.strip()}")
    assert (done.returncode, len(lines)) == (2, NOISE + 2)
    assert [line["frame"] for line in lines[1:-1]] == list(range(NOISE))
    assert os.listdir(out) == ["t.jsonl"]  # noqa: PTH208
    done = run(*arguments, limit=1500)
    text = (out / "t.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    print(f"{done.returncode}, {len(lines)} lines in {len(text)} bytes")
    assert done.returncode == 2
    assert done.stderr.count("mobileface: error: ") == 1
    assert text.endswith("\n")
    assert os.listdir(out) == ["t.jsonl"]  # noqa: PTH208


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_complete_videos_pass(suffix: str, tmp_path: Path) -> None:
    for count in (1, 2, 3, 7, 31):
        for fps in (3.0, 25.0, 29.97):
            path = write_video(tmp_path / f"{count}{suffix}", plain_frames(count), fps)
            capture = cv2.VideoCapture(str(path))
            assert sum(1 for _ in iter(capture.grab, False)) == count


def test_missing_frames_are_found(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.avi", plain_frames(10))
    check_written(path, 10, path)
    with pytest.raises(OutputError, match="10 of 12 frames"):
        check_written(path, 12, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(OutputError, match=r"v\.avi: "):
        check_written(path, 10, path)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    for suffix in SUFFIXES:
        path = write_video(folder / os.fsdecode(b"gar\xe7on" + suffix.encode()), plain_frames(5))
        check_written(path, 5, path)
    assert len(list(folder.iterdir())) == len(SUFFIXES)
