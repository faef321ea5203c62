"""``mobileface swap``: photos, videos, choices, the note in the metadata and refusals."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from mobileface import FaceAnalyzer, FaceSwapper, VideoReader, read_image
from mobileface.commands.main import main
from mobileface.vision.image import Image
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)
from tests.runtime.vision.test_video import write_video

PIL = pytest.importorskip("PIL")
from PIL import Image as Pillow  # noqa: E402

Output = pytest.CaptureFixture[str]
NOTE = "mobileface swap; digitally altered"


def call(*arguments: object) -> int:
    return main(["swap", *map(str, arguments)])


def write(path: Path, image: Image) -> Path:
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


@pytest.fixture
def image(portrait: Path) -> Image:
    return read_image(portrait)


@pytest.fixture
def other(image: Image) -> Image:
    """Another face: mirrored and darker."""
    return np.asarray(image[:, ::-1] // 2, np.uint8)


@pytest.fixture
def pair(image: Image, other: Image, tmp_path: Path) -> Path:
    """The portrait at the left, another face at the right."""
    return write(tmp_path / "pair.png", np.hstack([image, other]))


def changed(before: Image, after: Image) -> list[bool]:
    """Whether more than 1000 pixels of the left and of the right half differ."""
    different = (before != after).any(axis=2)
    half = different.shape[1] // 2
    return [bool(part.sum() > 1000) for part in (different[:, :half], different[:, half:])]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("0", [True, False]), ("1", [False, True]), ("all", [True, True])],
)
def test_faces_are_counted_from_the_left(
    choice: str, expected: list[bool], pair: Path, other: Image, capsys: Output
) -> None:
    face = write(pair.with_name("face.png"), cv2.convertScaleAbs(other, alpha=1.5))
    target = pair.with_name("out.png")
    assert call("--face", face, pair, "--to", choice, "--output", target) == 0
    assert f"{target} ({sum(expected)} face" in capsys.readouterr().out
    assert changed(read_image(pair), read_image(target)) == expected


def test_the_command_is_the_class(
    image: Image, other: Image, portrait: Path, tmp_path: Path
) -> None:
    photo, target = write(tmp_path / "photo.png", other), tmp_path / "out.png"
    assert call("--face", portrait, photo, "--output", target) == 0
    analyzer = FaceAnalyzer(
        tasks=("detection", "landmarks", "pose"), landmarks="landmark_mesh", pose="pose_mesh"
    )
    expected = FaceSwapper(image, analyzer(image)[0])(other, analyzer(other))
    np.testing.assert_array_equal(read_image(target), expected)


@pytest.mark.parametrize(("suffix", "key"), [(".png", "Software"), (".jpg", "comment")])
def test_the_result_says_what_it_is(
    suffix: str, key: str, other: Image, portrait: Path, tmp_path: Path
) -> None:
    photo = write(tmp_path / "photo.png", other)
    for number, more in enumerate(((), ("--no-mark",))):
        target = tmp_path / f"out{number}{suffix}"
        assert call("--face", portrait, photo, "--output", target, *more) == 0
        with Pillow.open(target) as found:
            value = found.info.get(key, "")
        value = value.decode() if isinstance(value, bytes) else value
        print(repr(value))
        assert value == ("" if more else NOTE)


@pytest.mark.needs_ffmpeg
def test_a_video_keeps_frames_without_a_face(
    other: Image, portrait: Path, tmp_path: Path, capsys: Output
) -> None:
    video, target = tmp_path / "video.avi", tmp_path / "out.mp4"
    empty = np.full_like(other, 60)
    frames = [empty] * 3 + [np.roll(other, 2 * number, axis=1) for number in range(6)] + [empty] * 3
    write_video(video, frames)
    arguments = ("--face", portrait, video, "--detect-every", 3)
    assert call(*arguments, "--output", target) == 0
    assert "12 frames" in (told := capsys.readouterr().out)
    assert "a face swapped in 6 frames" in told
    with VideoReader(video) as before, VideoReader(target) as after:
        shown = [list(reader) for reader in (before, after)]
    away = [
        float(np.abs(one.astype(int) - two)[70:170, 220:330].mean())
        for (_, one), (_, two) in zip(*shown, strict=True)
    ]
    print(" ".join(f"{value:.1f}" for value in away))
    assert max(away[:3] + away[9:]) < 4 < 8 < min(away[3:9])  # grey levels of compression
    command = ["ffprobe", "-v", "error", "-show_format", "-of", "json", target]
    probed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert probed["format"]["tags"]["comment"] == NOTE


def test_refusals(pair: Path, portrait: Path, other: Image, capsys: Output) -> None:
    """One error each, nothing written."""
    folder = pair.parent
    target = folder / "out.png"
    empty = write(folder / "empty.png", np.full((200, 200, 3), 60, np.uint8))
    tiny = write(folder / "tiny.png", cv2.resize(other, (128, 128), interpolation=cv2.INTER_AREA))
    cases: list[tuple[tuple[object, ...], str]] = [
        (("--face", portrait, pair), "2 faces found; choose with --to, from left to right 0: ("),
        (("--face", pair, portrait), "2 faces found; choose with --source-face, from left"),
        (("--face", portrait, pair, "--to", 2), "there is no face 2, only 2, numbered from 0"),
        (("--face", pair, portrait, "--source-face", 4), "there is no face 4, only 2"),
        (("--face", empty, portrait), "empty.png: no face found"),
        (("--face", portrait, empty), "empty.png: no face found"),
        (("--face", portrait, empty, "--to", "all"), "empty.png: no face found"),
        (("--face", tiny, portrait), "pixels wide, fewer than 32"),
        (("--face", portrait, tiny), "pixels wide, fewer than 32"),
        (("--face", folder / "none.png", portrait), "none.png: cannot be read"),
        (("--face", portrait, pair, "--detect-every", 0), "detect_every must be at least 1"),
    ]
    for arguments, told in cases:
        assert call(*arguments, "--output", target) == 2
        errors = [
            line for line in capsys.readouterr().err.splitlines() if line.startswith("mobileface")
        ]
        print(errors)
        assert len(errors) == 1
        assert told in errors[0]
        assert not target.exists()


def test_a_format_without_a_note_is_refused(
    other: Image, portrait: Path, tmp_path: Path, capsys: Output
) -> None:
    photo, target = write(tmp_path / "photo.png", other), tmp_path / "out.webp"
    assert call("--face", portrait, photo, "--output", target) == 2
    assert "'.webp' files have no place for the note" in capsys.readouterr().err
    assert not target.exists()
    assert call("--face", portrait, photo, "--output", target, "--no-mark") == 0
    assert target.exists()


def test_no_output_is_the_source(
    other: Image, portrait: Path, tmp_path: Path, capsys: Output
) -> None:
    photo, face = write(tmp_path / "photo.png", other), tmp_path / "face.png"
    face.write_bytes(portrait.read_bytes())
    assert call("--face", face, photo, "--output", face) == 2
    assert face.read_bytes() == portrait.read_bytes()
    assert "face.png" in capsys.readouterr().err


def test_a_video_without_a_face_is_refused(
    other: Image, portrait: Path, tmp_path: Path, capsys: Output
) -> None:
    video, target = tmp_path / "video.avi", tmp_path / "out.mp4"
    write_video(video, [np.full_like(other, 60)] * 5)
    assert call("--face", portrait, video, "--output", target) == 2
    assert "video.avi: no face found" in capsys.readouterr().err
    assert not target.exists()
