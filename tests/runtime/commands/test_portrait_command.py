"""``mobileface portrait``: images, videos, SVG, and refusals."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

import mobileface
from mobileface import FaceAnalyzer, PortraitStyle, VideoReader, draw_portrait, read_image
from mobileface.commands.main import main
from mobileface.effects.background_video import small_mask
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)
from tests.runtime.vision.test_video import write_video

Output = pytest.CaptureFixture[str]


def call(*arguments: object) -> int:
    return main(["portrait", *map(str, arguments)])


@pytest.mark.slow
def test_the_command_is_the_function(portrait: Path, tmp_path: Path) -> None:
    image, target = read_image(portrait), tmp_path / "out.png"
    faces = FaceAnalyzer(tasks=("detection", "landmarks", "pose"), landmarks="landmark_mesh")(image)
    mask = small_mask(mobileface.load("segmentation_selfie"), image)
    options = ("--line-width", 1.5, "--darkness", 0.8)
    assert call(portrait, *options, "--output", target) == 0
    expected = draw_portrait(image, faces, mask, PortraitStyle(1.5, 0.8))
    assert np.array_equal(cv2.imread(str(target), cv2.IMREAD_UNCHANGED), expected)
    assert call(portrait, "--keep-background", "--output", target) == 0
    expected = draw_portrait(image, faces)
    assert np.array_equal(cv2.imread(str(target), cv2.IMREAD_UNCHANGED), expected)


def test_folders_and_photos_without_a_face(portrait: Path, tmp_path: Path, capsys: Output) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    plain = folder / "a.png"
    plain.write_bytes(cv2.imencode(".png", np.full((60, 80, 3), 90, np.uint8))[1].tobytes())
    (folder / "b.png").write_bytes(portrait.read_bytes())
    assert call(folder, "--output", out) == 2
    text = capsys.readouterr()
    assert text.err == f"mobileface: error: {plain}: no face found\n"
    assert text.out == f"{out / 'b.png'}\n"


def test_videos(portrait: Path, tmp_path: Path, capsys: Output) -> None:
    """The size of the video; a frame without a face shows the last drawing."""
    image = np.ascontiguousarray(read_image(portrait)[0:320, 60:380])
    wall = np.full_like(image, 200)
    path = write_video(tmp_path / "in.avi", [wall, image, image, wall])
    target = tmp_path / "out.avi"
    assert call(path, "--output", target) == 0
    text = capsys.readouterr().out
    assert "4 frames" in text
    assert "2 without a face to draw" in text
    with VideoReader(target) as video:
        frames = [frame.astype(int) for _, frame in video]
    assert frames[0].shape == image.shape
    dark = [float((frame < 128).mean()) for frame in frames]
    print([f"{share:.3f}" for share in dark])
    assert dark[0] == 0
    assert dark[1] > 0.05
    assert abs(dark[3] - dark[2]) < 0.005
    empty = write_video(tmp_path / "empty.avi", [wall] * 2)
    assert call(empty, "--output", target) == 0
    assert "no face to draw; all is white" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--line-width", 9), "line_width 9.0 is not between 0.5 and 3"),
        (("--darkness", -1), "darkness -1.0 is not between 0 and 2"),
    ],
)
def test_what_is_refused(
    options: tuple[object, ...], part: str, portrait: Path, tmp_path: Path, capsys: Output
) -> None:
    assert call(portrait, *options, "--output", tmp_path / "out.png") == 2
    assert part in capsys.readouterr().err


def test_svg_without_its_package(
    portrait: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "vtracer" else find(name)
    )
    target = tmp_path / "out.svg"
    assert call(portrait, "--output", target) == 2
    message = capsys.readouterr().err
    assert message.endswith("SVG needs vtracer; pip install 'mobileface[svg]'\n")
    assert not target.exists()
