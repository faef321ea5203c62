"""Times, rotation and broken frames of files, against PyAV, which reads them by itself."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mobileface import VideoReader
from mobileface.commands.main import main
from mobileface.errors import VideoError
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)

from .making import (
    HEIGHT,
    PHONE,
    RATE,
    STEP,
    WIDTH,
    container_times,
    damage,
    greys,
    make_video,
    phone_times,
    sparse_times,
)

pytestmark = pytest.mark.needs_pyav

MILLISECOND = 1e-3
B_FRAMES = {"bf": "2"}

CONTAINERS = {
    "mp4": ("mpeg4", {}),
    "b-frames.mp4": ("libx264", B_FRAMES),
    "mov": ("libx264", {}),
    "3gp": ("mpeg4", {}),
    "mkv": ("mpeg4", {}),
    "b-frames.mkv": ("libx264", B_FRAMES),
    "webm": ("libvpx", {}),
    "ts": ("libx264", B_FRAMES),
    "flv": ("flv", {}),
    "wmv": ("wmv2", {}),
}
SPARSE_CONTAINERS = {
    "avi": ("mjpeg", {}),
    "divx.avi": ("mpeg4", {}),
    "mpeg2.ts": ("mpeg2video", {}),
}


@pytest.fixture(params=[*CONTAINERS, *SPARSE_CONTAINERS])
def variable(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[float]]:
    """A video with a variable rate, and the times that it was made with."""
    name = request.param
    if name in CONTAINERS:
        codec, options = CONTAINERS[name]
        times, base = phone_times(), Fraction(1, 1000)
    else:
        codec, options = SPARSE_CONTAINERS[name]
        times, base = sparse_times(), Fraction(1, RATE)
    path = tmp_path / f"phone.{name}"
    return make_video(path, codec, times, base=base, options=options), times


def test_times_are_the_containers(variable: tuple[Path, list[float]]) -> None:
    path, made = variable
    with VideoReader(path) as video:
        found = [frame.time for frame in video.frames()]
    expected = container_times(path)
    nominal = max(abs(n / video.fps - time) for n, time in enumerate(expected))
    assert len(found) == len(expected) == len(made)
    error = float(np.abs(np.subtract(found, expected)).max())
    print(f"{path.name}: {1000 * error:.3f} ms off; number over rate {1000 * nominal:.0f} ms")
    assert error < MILLISECOND
    assert float(np.abs(np.subtract(found, made)).max()) < 1.5 * MILLISECOND  # rounded when made
    assert nominal > 100 * MILLISECOND
    assert video.broken == 0


def test_every_frame_has_its_slot(variable: tuple[Path, list[float]]) -> None:
    """The rate for writing follows the closest frames, also where a header gives 1000."""
    path, _ = variable
    with VideoReader(path) as video:
        print(path.name, video.fps, video.full_fps)
    closest = RATE if "avi" in path.name or "mpeg2" in path.name else 1000 / min(PHONE[1:])
    assert video.full_fps == pytest.approx(closest, rel=0.05)
    assert video.fps <= 1.01 * video.full_fps or "divx" in path.name


def test_tracks_have_the_times(tmp_path: Path) -> None:
    path = make_video(tmp_path / "phone.mp4", "libx264", phone_times())
    lines = tmp_path / "out.jsonl"
    assert main(["track", str(path), "--tracks", str(lines), "--tasks", "detection"]) == 0
    records = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    found = [record["time"] for record in records[1:-1]]
    error = float(np.abs(np.subtract(found, container_times(path))).max())
    print(f"{1000 * error:.3f} ms off")
    assert error < MILLISECOND


def test_written_videos_keep_real_time(variable: tuple[Path, list[float]]) -> None:
    """Every frame is shown within half a frame of its time, and none is lost."""
    path, times = variable
    target = path.with_name("out.mp4")
    assert main(["makeup", "--whole", "--strength", "0", str(path), "--output", str(target)]) == 0
    shown = greys(target)
    source = [mean for _, mean in greys(path)]
    with VideoReader(path) as video:
        half = 0.5 / video.full_fps
    worst = 0.0
    for time, grey in zip(times, source, strict=True):
        first = min(when for when, mean in shown if abs(mean - grey) < STEP / 2)
        worst = max(worst, abs(first - (time - times[0])))
    print(f"{path.name}: {1000 * worst:.1f} ms off at most, half a frame is {1000 * half:.1f} ms")
    assert worst <= half + MILLISECOND


def test_a_few_long_gaps(tmp_path: Path) -> None:
    """The mean is 28 a second, and yet none of the frames, 30 a second, is left out."""
    times = [*np.cumsum([*[1 / 30] * 20, 0.08] * 4), 3.0]
    images = [np.full((HEIGHT, WIDTH, 3), 90 * n % 250, np.uint8) for n in range(len(times))]
    path = make_video(tmp_path / "in.mp4", "mpeg4", times, images=images)
    with VideoReader(path) as video:
        print(video.fps, video.full_fps)
        assert video.full_fps == pytest.approx(30, rel=0.01)
    target = tmp_path / "out.mp4"
    assert main(["makeup", "--whole", "--strength", "0", str(path), "--output", str(target)]) == 0
    means = np.array([mean for _, mean in greys(target)])
    shown = 1 + int((np.abs(np.diff(means)) > 45).sum())
    assert shown == len(times)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_constant_rates_are_written_frame_by_frame(suffix: str, tmp_path: Path) -> None:
    times = [number / 30 for number in range(60)]
    values = [90 * number % 250 for number in range(60)]  # neighbours differ by 90 or more
    grey = [np.full((HEIGHT, WIDTH, 3), value, np.uint8) for value in values]
    codec = "mjpeg" if suffix == ".avi" else "mpeg4"
    base = Fraction(1, 30) if suffix == ".avi" else Fraction(1, 1000)
    path = make_video(tmp_path / f"in{suffix}", codec, times, base=base, images=grey)
    target = tmp_path / "out.mp4"
    assert main(["makeup", "--whole", "--strength", "0", str(path), "--output", str(target)]) == 0
    written = [mean for _, mean in greys(target)]
    assert len(written) == 60
    error = max(abs(mean - value) for mean, value in zip(written, values, strict=True))
    print(f"{suffix}: grey values {error:.1f} off")
    assert error < 20


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("turned", [0, 90, 180, 270])
def test_rotation(turned: int, suffix: str, tmp_path: Path) -> None:
    """Frames are turned as PyAV says, which leaves that to its users."""
    import av

    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:40, :50], image[80:, 100:] = (255, 60, 0), (20, 200, 255)
    path = tmp_path / f"turned{suffix}"
    make_video(path, "mpeg4", [0.0, 0.04], turned=turned, images=[image, image])
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        expected = np.rot90(frame.to_ndarray(format="bgr24"), frame.rotation // 90)
        assert frame.rotation % 360 == turned
    with VideoReader(path) as video:
        frames = [image for _, image in video]
    assert frames[0].shape == expected.shape == (video.height, video.width, 3)
    error = float(np.abs(frames[0].astype(int) - expected).mean())
    print(f"{turned}°{suffix}: {error:.2f} grey values off on average")
    assert error < 1
    target = tmp_path / "out.mp4"
    assert main(["makeup", "--whole", str(path), "--output", str(target)]) == 0
    with av.open(str(target)) as container:
        written = next(container.decode(video=0))
    assert (written.height, written.width, written.rotation) == (video.height, video.width, 0)


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv"])
def test_broken_frames_are_those_that_fail(suffix: str, tmp_path: Path) -> None:
    random = np.random.RandomState(3)
    images = [random.randint(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8) for _ in range(30)]
    times = [number / RATE for number in range(30)]
    path = make_video(
        tmp_path / f"v{suffix}", "mjpeg", times, base=Fraction(1, RATE), images=images
    )
    with VideoReader(path) as video:
        assert [number for number, _ in video] == list(range(30))
    assert video.broken == 0
    failed = damage(path, (5, 6, 20))
    with VideoReader(path) as video:
        frames = [(frame.number, frame.time) for frame in video.frames()]
    print(f"{suffix}: {video.broken} broken, {failed} that PyAV cannot decode")
    assert video.broken == failed == 3
    assert [number for number, _ in frames] == [n for n in range(30) if n not in (5, 6, 20)]
    assert all(abs(time - number / RATE) < MILLISECOND for number, time in frames)


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "libx264"), (".webm", "libvpx")])
def test_an_intact_matroska_file_has_no_broken_frames(
    suffix: str, codec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its header has the length only, from which more frames are expected than there are."""
    path = make_video(tmp_path / f"phone{suffix}", codec, phone_times())
    with VideoReader(path) as video:
        found = sum(1 for _ in video)
    print(f"{video.count} frames by the header, {found} found, {video.broken} broken")
    assert video.count is not None
    assert video.count > found == len(PHONE)
    assert video.broken == 0
    capsys.readouterr()
    assert main(["makeup", "--whole", str(path), "--output", str(tmp_path / "out.mp4")]) == 0
    assert "broken" not in capsys.readouterr().out.replace(str(tmp_path), "")


def test_a_video_of_broken_frames_only(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", "mjpeg", [0.0, 0.04, 0.08])
    assert damage(path, (0, 1, 2)) == 3
    with pytest.raises(VideoError, match="contains no frame that can be decoded"):
        VideoReader(path)
