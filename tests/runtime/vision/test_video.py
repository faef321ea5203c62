"""Reading and writing videos: files, damage, interruption, and the commands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mobileface import FaceAnalyzer, FaceFollower, VideoReader, VideoWriter, read_image
from mobileface.commands import track as track_command
from mobileface.commands.main import main
from mobileface.errors import InputError, OutputError, VideoError
from mobileface.tracking.follower import FollowedFrame
from mobileface.vision.image import Image
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)

FRAMES, WIDTH, HEIGHT = 24, 320, 240

Output = pytest.CaptureFixture[str]


def write_video(path: Path, frames: Sequence[Image], fps: float = 25.0) -> Path:
    height, width = frames[0].shape[:2]
    with VideoWriter(path, fps, width, height) as video:
        for frame in frames:
            video.write(frame)
    return path


def plain_frames(count: int = FRAMES) -> list[Image]:
    """Frames whose grey value is their number, times ten."""
    return [np.full((HEIGHT, WIDTH, 3), 10 * number % 250, np.uint8) for number in range(count)]


@pytest.fixture(scope="module")
def walk(portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait's face walks through a video, seven pixels a frame, and is gone for a while."""
    image = read_image(portrait)
    face, frames = image[40:220, 130:320], []
    for number in range(FRAMES + 16):
        frame = np.full((HEIGHT, 480, 3), 90, np.uint8)
        if not FRAMES <= number < FRAMES + 4:
            left = 10 + 7 * number
            frame[30:210, left : left + 190] = face[:, : max(480 - left, 0)]
        frames.append(frame)
    return write_video(tmp_path_factory.mktemp("walk") / "walk.avi", frames)


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv"])
def test_what_is_written_is_read(suffix: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / "new" / f"video{suffix}", plain_frames(), fps=12.5)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    with VideoReader(path) as video:
        assert (video.width, video.height, video.fps, video.count) == (WIDTH, HEIGHT, 12.5, FRAMES)
        found = [(number, float(frame.mean())) for number, frame in video]
    assert [number for number, _ in found] == list(range(FRAMES))
    error = max(abs(mean - 10 * number) for number, mean in found)
    print(f"{suffix}: grey values {error:.1f} off")
    assert error < 5  # lossy codecs; the numbers are ten apart
    assert video.broken == 0


def test_frames_of_other_sizes_are_scaled(tmp_path: Path) -> None:
    frames = plain_frames(3)
    frames[1] = np.asarray(cv2.resize(frames[1], (100, 333)), np.uint8)
    frames[2] = frames[2][:, ::2]
    with VideoReader(write_video(tmp_path / "v.avi", frames)) as video:
        assert {frame.shape for _, frame in video} == {(HEIGHT, WIDTH, 3)}


def test_files_that_are_no_video(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_bytes(b"no video at all" * 100)
    reasons = {
        "absent.mp4": "cannot be read",
        "empty.mp4": "the file is empty",
        "text.mp4": "not a video that OpenCV can decode",
    }
    for name, reason in reasons.items():
        with pytest.raises(VideoError, match=reason) as caught:
            VideoReader(tmp_path / name)
        assert caught.value.where == str(tmp_path / name)
    with pytest.raises(VideoError, match="cannot be read"):
        VideoReader(tmp_path)
    with pytest.raises(VideoError, match="camera 77: cannot be opened"):
        VideoReader(77)


def test_a_video_without_frames(tmp_path: Path) -> None:
    """A header and nothing behind it."""
    path = tmp_path / "none.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (WIDTH, HEIGHT))
    writer.release()
    with pytest.raises(VideoError):
        VideoReader(path)


def test_a_truncated_video_gives_what_is_there(tmp_path: Path) -> None:
    """The frames before the end of the file are read; the rest is no error."""
    whole = write_video(tmp_path / "whole.avi", plain_frames(60)).read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: len(whole) // 2])
    with VideoReader(cut) as video:
        found = [number for number, _ in video]
    print(f"{len(found)} frames, {video.broken} broken")
    assert 20 < len(found) < 60


def test_broken_frames_are_skipped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two frames that cannot be decoded leave gaps in the numbers."""
    path = write_video(tmp_path / "v.avi", plain_frames(12))
    capture = cv2.VideoCapture

    class Flaky:
        def __init__(self, *arguments: Any) -> None:
            self._inner, self._count = capture(*arguments), 0

        def read(self) -> Any:
            self._count += 1
            done, frame = self._inner.read()
            return (False, None) if self._count in (4, 5) else (done, frame)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    monkeypatch.setattr(cv2, "VideoCapture", Flaky)
    with VideoReader(path) as video:
        assert [number for number, _ in video] == [0, 1, 2, 5, 6, 7, 8, 9, 10, 11]
    assert video.broken == 2


def test_outputs_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        VideoWriter(tmp_path / "file" / "out.mp4", 25, 64, 64)
    for name in ("out.gif", "out"):
        with pytest.raises(OutputError, match="unknown video format"):
            VideoWriter(tmp_path / name, 25, 64, 64)
    monkeypatch.setattr(cv2.VideoWriter, "isOpened", lambda _: False, raising=False)

    class Closed:
        fourcc = staticmethod(cv2.VideoWriter.fourcc)

        def __init__(self, *_: Any) -> None: ...

        def isOpened(self) -> bool:  # noqa: N802
            return False

        def release(self) -> None: ...

    monkeypatch.setattr(cv2, "VideoWriter", Closed)
    with pytest.raises(OutputError, match=r"no codec 'mp4v'.*use \.avi"):
        VideoWriter(tmp_path / "out.mp4", 25, 64, 64)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def write_and_stop(path: Path, frames: int) -> None:
    with VideoWriter(path, 25, 64, 48) as video:
        for _ in range(frames):
            video.write(np.zeros((48, 64, 3), np.uint8))
        raise RuntimeError("stop")


def test_an_error_before_the_first_frame_leaves_nothing(tmp_path: Path) -> None:
    """After it, what was written stays and can be read."""
    for frames in (0, 5):
        target = tmp_path / f"{frames}.avi"
        with pytest.raises(RuntimeError, match="stop"):
            write_and_stop(target, frames)
    assert [path.name for path in tmp_path.iterdir()] == ["5.avi"]
    with VideoReader(tmp_path / "5.avi") as found:
        assert found.count == 5


@pytest.mark.parametrize("shape", [(0, 48, 25.0), (64, 0, 25.0), (64, 48, 0.0)])
def test_videos_of_no_size(shape: tuple[int, int, float], tmp_path: Path) -> None:
    width, height, fps = shape
    with pytest.raises(OutputError, match="invalid video size or frame rate"):
        VideoWriter(tmp_path / "out.avi", fps, width, height)
    assert list(tmp_path.iterdir()) == []


def test_tracks_stay_after_an_error(
    walk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """The disk is full while the video is written: the lines so far are there."""

    def full(self: VideoWriter, frame: Image, time: float | None = None) -> None:
        if self._frames == 3:
            raise OutputError("cannot be written (No space left on device)")
        write(self, frame, time)

    write = VideoWriter.write
    monkeypatch.setattr(VideoWriter, "write", full)
    video, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    assert "No space left" in fails(capsys, "track", walk, "--output", video, "--tracks", lines)
    assert [record.get("frame") for record in records(lines)] == [None, 0, 1, 2, 3]
    with VideoReader(video) as found:
        assert found.count == 3


# commands


def command(*arguments: Any) -> int:
    return main([str(argument) for argument in arguments])


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_track_a_walking_face(walk: Path, tmp_path: Path, capsys: Output) -> None:
    """One person, also after a pause; a line a frame, and a video of as many frames."""
    video, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    assert command("track", walk, "--output", video, "--tracks", lines, "--show-fps") == 0
    assert "1 identities" in capsys.readouterr().out
    header, *frames, summary = records(lines)
    assert (header["schema"], header["width"], header["height"]) == (1, 480, HEIGHT)
    assert header["models"]["detection"] == ["detection_yunet"]
    count = FRAMES + 16
    assert [frame["frame"] for frame in frames] == list(range(count))
    seen = [frame["frame"] for frame in frames if frame["faces"]]
    assert set(range(2, FRAMES)) <= set(seen)
    assert {face["track_id"] for frame in frames for face in frame["faces"]} == {1}
    first, later = frames[0]["faces"][0], frames[10]["faces"][0]
    assert first["measured"] == ["bbox", "det_score", "kps", "attributes", "embedding"]
    assert later["kept"] == ["attributes", "embedding"]
    moved = later["bbox"][0] - first["bbox"][0]
    assert abs(moved - 70) < 8
    assert summary["summary"]["frames"] == count
    assert summary["summary"]["complete"] is True
    assert summary["summary"]["tracks"] == 1
    with VideoReader(video) as found:
        assert (found.fps, found.count, found.width) == (25.0, count, 480)


def test_track_with_fewer_detections(walk: Path, tmp_path: Path) -> None:
    lines = tmp_path / "out.jsonl"
    assert command("track", walk, "--tracks", lines, "--every", 4, "--limit", 12) == 0
    _, *frames, summary = records(lines)
    assert [frame["detected"] for frame in frames] == [n % 4 == 0 for n in range(12)]
    assert summary["summary"]["detections"] == 3
    predicted = frames[5]["faces"][0]
    assert predicted["predicted"] == ["bbox"]
    assert predicted["det_score"] is None


def test_ctrl_c_finishes_the_files(
    walk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """What was done is there, readable, and says that it is not all."""

    class Interrupted(FaceFollower):
        def __call__(self, frame: Image, **options: Any) -> FollowedFrame:
            if self._number == 6:
                raise KeyboardInterrupt
            return super().__call__(frame, **options)

    monkeypatch.setattr(track_command, "FaceFollower", Interrupted)
    video, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    assert command("track", walk, "--output", video, "--tracks", lines) == 130
    assert "interrupted; the output so far is saved" in capsys.readouterr().err
    assert records(lines)[-1]["summary"]["complete"] is False
    assert records(lines)[-1]["summary"]["frames"] == 7
    with VideoReader(video) as found:
        assert found.count == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.mp4"]


def fails(capsys: Output, *arguments: Any) -> str:
    assert command(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("mobileface: error: ") == 1
    return err


def test_track_refuses(walk: Path, tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "text.mp4").write_bytes(b"no video" * 99)
    lines = tmp_path / "out.jsonl"
    assert "no output specified" in fails(capsys, "track", walk)
    assert "not a video that" in fails(capsys, "track", tmp_path / "text.mp4", "--tracks", lines)
    assert "camera 77" in fails(capsys, "track", "77", "--tracks", lines)
    assert "unknown video format '.gif'" in fails(
        capsys, "track", walk, "--output", tmp_path / "out.gif"
    )
    target = tmp_path / "text.mp4" / "out.mp4"
    assert "cannot be written" in fails(capsys, "track", walk, "--output", target)
    assert "same_person 2.0" in fails(capsys, "track", walk, "--tracks", lines, "--same-person", 2)
    assert not lines.exists()
    with pytest.raises(SystemExit):
        command("track", walk, "--tracks", lines, "--every", "often")
    assert "must be 'auto' or a number of at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["enhance", "makeup"])
def test_pictures_folders_and_videos(
    name: str, walk: Path, portrait: Path, tmp_path: Path, capsys: Output
) -> None:
    """A picture to a file, a folder to a folder, a video frame by frame."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(portrait.read_bytes())
    (folder / "walk.avi").write_bytes(walk.read_bytes())
    single = tmp_path / "single.png"
    assert command(name, portrait, "--output", single) == 0
    assert read_image(single).shape == read_image(portrait).shape
    assert command(name, folder, "--output", tmp_path / "out") == 0
    assert "sound" not in capsys.readouterr().out  # the source has none
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "walk.mp4"]
    with VideoReader(tmp_path / "out" / "walk.mp4") as video:
        assert video.count == FRAMES + 16
    unchanged = tmp_path / "same.png"
    assert command(name, portrait, "--output", unchanged, "--strength", 0) == 0
    assert np.array_equal(read_image(unchanged), read_image(portrait))
    capsys.readouterr()
    assert "2 inputs but only one output file" in fails(capsys, name, folder, "--output", single)
    assert "strength 3.0" in fails(capsys, name, portrait, "--output", single, "--strength", 3)


def test_makeup_changes_the_face_alone(portrait: Path, tmp_path: Path) -> None:
    before, target = read_image(portrait), tmp_path / "out.png"
    assert command("makeup", portrait, "--output", target) == 0
    changed = (read_image(target) != before).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert changed[130, 220]
    assert 130 < columns.min() < columns.max() < 310
    assert rows.max() < 260
    assert command("makeup", portrait, "--output", target, "--whole") == 0
    assert (read_image(target) != before).any(axis=2).mean() > 0.7


def test_analyzer_steps_give_what_the_whole_gives(portrait: Path) -> None:
    image = read_image(portrait)
    analyzer = FaceAnalyzer()
    (whole,) = analyzer(image)
    (found,) = analyzer.detect(image)
    assert found.landmarks is not None
    assert found.landmarks.names == ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
    assert (found.roll, found.embedding) == (None, None)
    (marked,) = analyzer.describe(image, [found], ("landmarks",))
    assert marked.embedding is None
    (full,) = analyzer.describe(image, [marked], ("embedding",))
    assert full.kps is not None
    assert whole.kps is not None
    assert np.array_equal(full.kps, whole.kps)
    assert np.allclose(full.embedding, whole.embedding, atol=1e-6)
    assert analyzer.describe(image, []) == []
    with pytest.raises(InputError, match="unknown task 'age'"):
        analyzer.describe(image, [found], ("age",))


def test_a_folder_whose_name_has_a_dot(portrait: Path, tmp_path: Path) -> None:
    folder = tmp_path / "v1.2"
    folder.mkdir()
    assert command("enhance", portrait, portrait, "--output", folder) == 0
    assert len(list(folder.iterdir())) >= 1
