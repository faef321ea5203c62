"""The sound of a video goes into the result, packet by packet, if ffmpeg is installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mobileface import VideoReader, VideoWriter
from mobileface.commands.main import main
from mobileface.vision.sound import copy_sound, has_sound
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)

from .making import RATE, make_video, phone_times, sound_packets

pytestmark = pytest.mark.needs_pyav

Output = pytest.CaptureFixture[str]
TIMES = [number / RATE for number in range(12)]
NOT_INSTALLED = "without sound (the program ffmpeg, which would copy it, is not installed)"

WITH_SOUND = {".mp4": "aac", ".mov": "aac", ".mkv": "aac", ".avi": "mp3", ".webm": "libopus"}


def source(folder: Path, suffix: str, sound: str | None) -> Path:
    codec = {".webm": "libvpx", ".avi": "mjpeg"}.get(suffix, "mpeg4")
    return make_video(folder / f"in{suffix}", codec, TIMES, sound=sound)


def makeup(path: Path, target: Path) -> int:
    return main(["makeup", "--whole", str(path), "--output", str(target)])


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that is the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.needs_ffmpeg
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_is_copied(suffix: str, tmp_path: Path, capsys: Output) -> None:
    path, target = source(tmp_path, suffix, "aac"), tmp_path / "out" / f"out{suffix}"
    assert makeup(path, target) == 0
    assert "with sound" in capsys.readouterr().out
    before, after = sound_packets(path), sound_packets(target)
    print(f"{suffix}: {len(after)} of {len(before)} packets")
    assert len(before) - len(after) <= 2  # the tone is up to two packets longer than the video
    assert after == before[: len(after)]
    assert [entry.name for entry in target.parent.iterdir()] == [target.name]
    with VideoReader(target) as video:
        assert sum(1 for _ in video) == len(TIMES)


@pytest.mark.needs_ffmpeg
def test_sound_of_variable_rates_and_of_track(tmp_path: Path, capsys: Output) -> None:
    path = make_video(tmp_path / "in.mp4", "libx264", phone_times(), sound="aac")
    target = tmp_path / "out.mp4"
    command = ["track", str(path), "--output", str(target), "--tasks", "detection"]
    assert main(command) == 0
    assert "out.mp4 with sound" in capsys.readouterr().out
    before, after = sound_packets(path), sound_packets(target)
    assert after == before[: len(after)]
    assert len(before) - len(after) <= 3
    assert main([*command, "--limit", "3"]) == 0  # the sound ends with the frames
    assert 1 <= len(sound_packets(target)) <= 8


@pytest.mark.needs_ffmpeg
def test_sound_that_the_format_cannot_hold(tmp_path: Path, capsys: Output) -> None:
    path = source(tmp_path, ".mov", "pcm_s16le")
    target = tmp_path / "out.mp4"
    assert makeup(path, target) == 0
    out = capsys.readouterr().out
    assert "without sound (ffmpeg: " in out
    assert sound_packets(target) == []
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in.mov", "out.mp4"]
    with VideoReader(target) as video:
        assert sum(1 for _ in video) == len(TIMES)


@pytest.mark.needs_ffmpeg
def test_no_sound_no_word(tmp_path: Path, capsys: Output) -> None:
    assert makeup(source(tmp_path, ".mp4", None), tmp_path / "out.mp4") == 0
    assert "sound" not in capsys.readouterr().out.replace(str(tmp_path), "")


@pytest.mark.parametrize("suffix", WITH_SOUND)
def test_whether_there_is_sound(suffix: str, tmp_path: Path) -> None:
    for sound in (WITH_SOUND[suffix], None):
        assert has_sound(source(tmp_path, suffix, sound)) is (sound is not None)


def test_formats_that_are_not_known(tmp_path: Path) -> None:
    for content in (b"", b"x" * 100, b"\0\0\0\1ftyp", b"\x1aE\xdf\xa3", b"RIFF\0\0\0\0AVI "):
        (tmp_path / "v").write_bytes(content)
        assert not has_sound(tmp_path / "v")
    assert has_sound(tmp_path / "absent") is None


@pytest.mark.parametrize("sound", ["aac", None])
def test_without_ffmpeg(
    sound: str | None, no_programs: Path, tmp_path: Path, capsys: Output
) -> None:
    """One sentence, and only if there was something to hear."""
    assert makeup(source(tmp_path, ".mp4", sound), tmp_path / "out.mp4") == 0
    out = capsys.readouterr().out.replace(str(tmp_path), "")
    assert (NOT_INSTALLED in out) == (sound is not None)
    assert ("sound" in out) == (sound is not None)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'no luck' >&2; exit 3", "no luck"),
        ("exit 3", "exit code 3"),
        ("exec {sleep} 60", "not finished after 1 s"),
    ],
)
def test_ffmpeg_fails(script: str, reason: str, no_programs: Path, tmp_path: Path) -> None:
    """The video is there, without sound and without temporary files."""
    sleep = shutil.which("sleep", path="/bin:/usr/bin")
    program = no_programs / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script.format(sleep=sleep)}\n")
    program.chmod(0o755)
    folder = tmp_path / "videos"
    folder.mkdir()
    path = source(folder, ".mp4", "aac")
    target = folder / "out.mp4"
    with VideoReader(path) as video, VideoWriter(target, RATE, 160, 120) as writer:
        for frame in video.frames():
            writer.write(frame.image, frame.time)
    before = target.read_bytes()
    assert copy_sound(target, path, 1.0, limit=1) == f"without sound (ffmpeg: {reason})"
    assert target.read_bytes() == before
    assert sorted(entry.name for entry in folder.iterdir()) == ["in.mp4", "out.mp4"]
