"""``mobileface background``: images, folders, videos, no people, and refusals."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import mobileface
from mobileface import Backdrop, VideoReader, change_background, read_image
from mobileface.commands.main import main
from mobileface.effects.background import with_heads
from mobileface.effects.background_video import small_mask
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)
from tests.runtime.vision.test_video import write_video

Output = pytest.CaptureFixture[str]


def call(*arguments: object) -> int:
    return main(["background", *map(str, arguments)])


def write(path: Path, image: object) -> Path:
    path.write_bytes(cv2.imencode(".png", np.asarray(image))[1].tobytes())
    return path


def test_the_command_is_the_function(portrait: Path, tmp_path: Path) -> None:
    """Colour, gray and transparent pictures; each of the three backdrops."""
    image, segmenter = read_image(portrait), mobileface.load("segmentation_selfie")
    detector = mobileface.load_detector("detection_yunet")
    alpha = np.full((*image.shape[:2], 1), 90, np.uint8)
    scene = write(tmp_path / "scene.png", np.random.RandomState(2).randint(0, 256, (40, 90, 3)))
    pictures = {
        "gray": image[:, :, 1],
        "alpha": np.concatenate([image, alpha], axis=2),
    }
    target = tmp_path / "out.png"
    for path in (portrait, *(write(tmp_path / f"{n}.png", p) for n, p in pictures.items())):
        given = read_image(path)
        for options, backdrop in (
            (("--blur",), Backdrop(blur=1)),
            (("--blur", 2.5), Backdrop(blur=2.5)),
            (("--color", "#10ff80"), Backdrop(fill=(16, 255, 128))),
            (("--image", scene), Backdrop(picture=read_image(scene))),
        ):
            assert call(path, *options, "--output", target) == 0
            boxes = detector.detect(given).boxes
            mask = with_heads(small_mask(segmenter, given), boxes, given.shape)
            expected = change_background(given, mask, backdrop)
            assert np.array_equal(read_image(target), expected)
    assert call(portrait, "--blur", 0, "--output", target) == 0
    assert np.array_equal(read_image(target), image)


def test_a_photo_without_people_is_an_error(portrait: Path, tmp_path: Path, capsys: Output) -> None:
    """The other photos of a folder are written."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    plain = write(folder / "a.png", np.full((60, 80, 3), 90, np.uint8))
    (folder / "b.png").write_bytes(portrait.read_bytes())
    assert call(folder, "--blur", "--output", out) == 2
    text = capsys.readouterr()
    assert text.err == f"mobileface: error: {plain}: no person found; nothing is written\n"
    assert text.out == f"{out / 'b.png'}\n"
    assert not (out / "a.png").exists()


def test_videos(portrait: Path, tmp_path: Path, capsys: Output) -> None:
    """A person, then an empty room, which does not appear."""
    image = np.ascontiguousarray(read_image(portrait)[0:320, 60:380])
    room = np.full_like(image, 200)
    path = write_video(tmp_path / "in.avi", [image] * 6 + [room] * 4)
    target = tmp_path / "out.avi"
    assert call(path, "--color", "navy", "--output", target) == 0
    text = capsys.readouterr()
    assert "10 frames" in text.out
    assert "4 without a person" in text.out
    assert not text.err
    with VideoReader(target) as video:
        frames = [frame.astype(int) for _, frame in video]
    away = np.abs(frames[3][:40, :40] - (128, 0, 0)).max(), np.abs(frames[8] - (128, 0, 0)).max()
    face = np.abs(frames[3][80:150, 140:190] - image[80:150, 140:190]).mean()
    print(f"colour {away[0]} and {away[1]}, face {face:.1f} levels off")
    assert max(away) <= 12  # MJPG
    assert face < 6
    empty = write_video(tmp_path / "empty.avi", [room] * 3)
    assert call(empty, "--blur", "--output", target) == 0
    text = capsys.readouterr()
    assert "3 without a person" in text.out
    assert "no person found; all is background" in text.err


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ((), "one of the arguments --blur --color --image is required"),
        (("--blur", 1, "--color", "red"), "not allowed with argument"),
        (("--blur", "x"), "write files before --blur"),
        (("--blur", 5), "blur 5.0 is not between 0 and 4"),
        (("--color", "pinkish"), "unknown colour 'pinkish'"),
        (("--image", "none.png"), "none.png: cannot be read"),
    ],
)
def test_what_is_refused(
    options: tuple[object, ...], part: str, portrait: Path, tmp_path: Path, capsys: Output
) -> None:
    try:
        code: object = call(portrait, *options, "--output", tmp_path / "out.png")
    except SystemExit as error:
        code = error.code
    message = capsys.readouterr().err
    print(message)
    assert code == 2
    assert part in message
    assert not (tmp_path / "out.png").exists()
