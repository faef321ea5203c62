"""``mobileface anonymize``: images, folders, videos, metadata, warnings and refusals."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from mobileface import VideoReader, anonymize, load_detector, read_image
from mobileface.commands.main import main
from mobileface.models.kinds import kinds_for
from tests.runtime.models.test_starter import no_users_models  # noqa: F401  (autouse)
from tests.runtime.vision.test_video import write_video

PIL = pytest.importorskip("PIL")
from PIL import Image as Pillow  # noqa: E402

Output = pytest.CaptureFixture[str]
GPS, FIRST_THUMBNAIL = 0x8825, 1
SECRET = b"Eileen lives here"


def call(*arguments: object) -> int:
    return main(["anonymize", *map(str, arguments)])


def exif(thumbnail: bytes) -> bytes:
    """EXIF of two directories: orientation 6, a text and a place; then a thumbnail."""

    def directory(entries: list[tuple[int, int, int, bytes]], follows: int) -> bytes:
        rows = b"".join(struct.pack("<HHI", *row[:3]) + row[3] for row in entries)
        return struct.pack("<H", len(entries)) + rows + struct.pack("<I", follows)

    text = SECRET + b"\0"
    start = 8
    text_at = start + 2 + 3 * 12 + 4
    gps_at = text_at + len(text)
    degrees_at = gps_at + 2 + 4 * 12 + 4
    second = degrees_at + 48
    picture = second + 2 + 3 * 12 + 4
    main_entries = [
        (0x010E, 2, len(text), struct.pack("<I", text_at)),
        (0x0112, 3, 1, struct.pack("<HH", 6, 0)),
        (GPS, 4, 1, struct.pack("<I", gps_at)),
    ]
    gps = [
        (1, 2, 2, b"N\0\0\0"),
        (2, 5, 3, struct.pack("<I", degrees_at)),
        (3, 2, 2, b"E\0\0\0"),
        (4, 5, 3, struct.pack("<I", degrees_at + 24)),
    ]
    degrees = struct.pack("<12I", 48, 1, 12, 1, 30, 1, 11, 1, 34, 1, 55, 1)
    thumb = [
        (0x0103, 3, 1, struct.pack("<HH", 6, 0)),
        (0x0201, 4, 1, struct.pack("<I", picture)),
        (0x0202, 4, 1, struct.pack("<I", len(thumbnail))),
    ]
    parts = [directory(main_entries, second), text, directory(gps, 0), degrees]
    tiff = b"II*\0\x08\0\0\0" + b"".join(parts) + directory(thumb, 0) + thumbnail
    return b"Exif\0\0" + tiff


@pytest.fixture
def photo(portrait: Path, tmp_path: Path) -> Path:
    """A JPEG as a phone writes it: lying, with a place, a comment and a thumbnail."""
    image = Pillow.open(portrait).convert("RGB")
    small = tmp_path / "small.jpg"
    image.resize((96, 96)).save(small, quality=80)
    path = tmp_path / "photo.jpg"
    lying = image.transpose(Pillow.Transpose.ROTATE_90)
    lying.save(path, quality=95, exif=exif(small.read_bytes()), comment=SECRET, dpi=(301, 301))
    small.unlink()
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_nothing_of_the_metadata_is_left(photo: Path, suffix: str, capsys: Output) -> None:
    """GPS, comment and thumbnail are gone; the orientation is in the pixels."""
    with Pillow.open(photo) as before:
        tags = before.getexif()
        assert tags[0x0112] == 6
        assert tags.get_ifd(GPS)[2] == (48.0, 12.0, 30.0)
        assert "comment" in before.info
    assert photo.read_bytes().count(b"\xff\xd8\xff") == 2  # the photo and its thumbnail
    target = photo.with_name(f"out.{suffix}")
    assert call(photo, "--output", target) == 0
    assert f"{target} (1 face covered)" in capsys.readouterr().out
    data = target.read_bytes()
    with Pillow.open(target) as after:
        print(f"{suffix}: {sorted(after.info)}")
        assert not dict(after.getexif())
        assert not {"exif", "comment", "dpi", "icc_profile", "xmp"} & {*after.info}
        assert after.size == (512, 512)
    for trace in (SECRET, b"Exif", b"EXIF", b"eXIf", b"tEXt"):
        assert trace not in data
    if suffix == "jpg":
        assert data.count(b"\xff\xd8\xff") == 1
    upright = read_image(photo).astype(int)
    found = read_image(target).astype(int)
    away = np.abs(upright - found)[300:].mean()
    print(f"{away:.2f} grey levels off away from the face")
    assert away < 3
    assert np.abs(upright - found)[70:170, 190:260].mean() > 10


@pytest.mark.parametrize("method", ["blur", "pixelate", "fill"])
def test_the_command_is_the_function(method: str, portrait: Path, tmp_path: Path) -> None:
    """Colour and grey images; options reach the function and the detector."""
    from mobileface import FaceAnalyzer

    image = read_image(portrait)
    gray = tmp_path / "gray.png"
    gray.write_bytes(cv2.imencode(".png", image[:, :, 1])[1].tobytes())
    target = tmp_path / "out.png"
    analyzer = FaceAnalyzer(tasks=("detection",), score_threshold=0.4)
    options = ("--method", method, "--strength", 2, "--margin", 0.4, "--shape", "box")
    for path in (portrait, gray):
        assert call(path, "--output", target, *options) == 0
        given = read_image(path)
        expected = anonymize(
            given,
            analyzer.detect(given),
            method=method,  # type: ignore[arg-type]
            strength=2,
            margin=0.4,
            shape="box",
        )
        assert np.array_equal(read_image(target), expected)


def test_folders_and_photos_without_a_face(portrait: Path, tmp_path: Path, capsys: Output) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "a.png").write_bytes(portrait.read_bytes())
    plain = np.full((60, 80, 3), 90, np.uint8)
    (folder / "b.png").write_bytes(cv2.imencode(".png", plain)[1].tobytes())
    assert call(folder, "--output", out) == 0
    text = capsys.readouterr()
    assert text.out.splitlines() == [
        f"{out / 'a.png'} (1 face covered)",
        f"{out / 'b.png'} (0 faces covered)",
    ]
    assert text.err == f"mobileface: {folder / 'b.png'}: no face found; nothing is covered\n"
    assert np.array_equal(read_image(out / "b.png"), plain)
    (folder / "c.png").write_bytes(b"no image")
    assert call(folder, "--output", out) == 2
    assert "c.png" in capsys.readouterr().err


def test_thresholds_are_lower_than_those_of_detection(portrait: Path, tmp_path: Path) -> None:
    """The portrait blurred until only the lower threshold finds it."""
    thorough = {
        kind.name: option.thorough
        for kind in kinds_for("detection")
        for option in kind.options
        if option.name == "score_threshold"
    }
    print(thorough)
    assert thorough == {"hog": -0.2, "yolo": 0.4, "yunet": 0.4, "single_shot": 0.25}
    image = read_image(portrait)
    strict, lower = load_detector(), load_detector(score_threshold=0.4)
    path, target = tmp_path / "soft.png", tmp_path / "out.png"
    blurred = (
        np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8) for sigma in range(2, 40)
    )
    chosen = next(soft for soft in blurred if not len(strict(soft)) and len(lower(soft)))
    path.write_bytes(cv2.imencode(".png", chosen)[1].tobytes())
    assert call(path, "--output", target) == 0
    assert (read_image(target) != chosen).any()
    assert call(path, "--output", target, "--score-threshold", 0.6) == 0
    assert np.array_equal(read_image(target), chosen)


def test_another_detector(portrait: Path, tmp_path: Path, capsys: Output) -> None:
    target = tmp_path / "out.png"
    assert call(portrait, "--output", target, "--detector", "detection_hog") == 0
    assert "2 faces covered" in capsys.readouterr().out  # one of them wrong, at -0.2
    assert (read_image(target) != read_image(portrait))[70:170, 190:260].any(axis=2).mean() > 0.9


@pytest.mark.parametrize("every", [1, 3])
def test_every_frame_of_a_video(every: int, portrait: Path, tmp_path: Path, capsys: Output) -> None:
    """No frame shows a face again, and the frames keep their number and size."""
    image = read_image(portrait)
    frames = [np.ascontiguousarray(image[0:320, 40 + 3 * n : 360 + 3 * n]) for n in range(12)]
    path = write_video(tmp_path / "in.avi", frames)
    target = tmp_path / "out.mp4"
    assert call(path, "--output", target, "--detect-every", every) == 0
    assert "12 frames" in (text := capsys.readouterr().out)
    assert "1 track covered" in text
    detector = load_detector()
    with VideoReader(path) as before, VideoReader(target) as after:
        pairs = list(zip(before, after, strict=True))
    assert len(pairs) == 12
    for (_, one), (_, other) in pairs:
        assert len(detector(one)) == 1
        assert len(detector(other)) == 0


@pytest.mark.needs_ffmpeg
def test_tags_of_a_video_are_not_copied_with_its_sound(portrait: Path, tmp_path: Path) -> None:
    """Title, place, language and chapters of the source; ffprobe reads what is left."""
    path, silent = tmp_path / "in.mp4", tmp_path / "silent.avi"
    write_video(silent, [read_image(portrait)[:320, :320]] * 10)
    notes = tmp_path / "notes.txt"
    notes.write_text(
        f";FFMETADATA1\ntitle={SECRET.decode()}\nlocation=+48.2+011.5/\n"
        f"[CHAPTER]\nTIMEBASE=1/10\nSTART=0\nEND=3\ntitle={SECRET.decode()}\n"
    )
    tone = ("-f", "lavfi", "-i", "sine=frequency=440:duration=0.4")
    kept = ("-map", "0:v", "-map", "1:a", "-map_metadata", "2", "-map_chapters", "2")
    named = (
        "-metadata:s:a:0",
        "language=deu",
        "-metadata:s:a:0",
        f"handler_name={SECRET.decode()}",
    )
    command = ["ffmpeg", "-v", "error", "-i", str(silent), *tone, "-i", str(notes)]
    subprocess.run([*command, *kept, *named, str(path)], check=True)
    assert path.read_bytes().count(SECRET) >= 3
    target = tmp_path / "out.mp4"
    assert call(path, "--output", target) == 0
    command = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-show_chapters"]
    probe = subprocess.run(
        [*command, "-of", "json", str(target)], capture_output=True, check=True
    ).stdout
    found = json.loads(probe)
    tags = [found["format"].get("tags", {}), *(s.get("tags", {}) for s in found["streams"])]
    print(tags)
    assert [stream["codec_type"] for stream in found["streams"]] == ["video", "audio"]
    assert found["chapters"] == []
    assert SECRET not in target.read_bytes()
    assert found["streams"][1]["tags"].get("language", "und") == "und"
    assert not any("location" in tag for tag in tags)


def test_refusals(portrait: Path, tmp_path: Path, capsys: Output) -> None:
    """One error each, and nothing is written."""
    photo = tmp_path / "photo.png"
    photo.write_bytes(portrait.read_bytes())
    link, target = tmp_path / "link.png", tmp_path / "out.png"
    link.hardlink_to(photo)
    cases = {
        "would overwrite its own input": ("--output", link),
        "strength 0.5 is not between 1 and 4": ("--output", target, "--strength", 0.5),
        "margin 11.0 is not between 0 and 10": ("--output", target, "--margin", 11),
        "detect_every must be at least 1": ("--output", target, "--detect-every", 0),
        "max_age must be at least 0": ("--output", target, "--max-age", -1),
        "lookback must be at least 0": ("--output", target, "--lookback", -1),
        "score_threshold": ("--output", target, "--score-threshold", 2),
        "no model 'nobody'": ("--output", target, "--detector", "nobody"),
        "unknown image format '.xyz'": ("--output", tmp_path / "out.xyz"),
    }
    for message, options in cases.items():
        assert call(photo, *options) == 2
        error = capsys.readouterr().err
        assert message in error, error
        assert error.count("error:") == 1
    for options in (("--method", "smear"), ("--shape", "star")):
        with pytest.raises(SystemExit) as caught:
            call(photo, "--output", target, *options)
        assert caught.value.code == 2
        assert "invalid choice" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.png", "photo.png"]
    assert photo.read_bytes() == portrait.read_bytes()
