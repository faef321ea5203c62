"""Image files against Pillow: formats, sizes before decoding, orientations, depths, bad files."""

from __future__ import annotations

import io
import os
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from mobileface.commands.inputs import find_pictures
from mobileface.errors import ImageError, InputError
from mobileface.vision.picture_files import decode_image, is_picture, read_image
from mobileface.vision.picture_header import read_header

PIL = pytest.importorskip("PIL")
from PIL import Image as Pillow  # noqa: E402
from PIL import ImageOps  # noqa: E402

Pixels = npt.NDArray[np.uint8]

LOSSLESS = {"PNG": "png", "TIFF": "tiff", "BMP": "bmp", "PPM": "ppm"}
SIZES = ((1, 1), (3, 500), (301, 203), (1000, 7))
HAS_GIF = is_picture(Path("a.gif"))


def photo(width: int = 61, height: int = 40, seed: int = 0) -> Pixels:
    """Smooth RGB colours, which lossy formats keep, and one white pixel."""
    noise = np.random.RandomState(seed).randint(0, 255, (4, 5, 3)).astype(np.uint8)
    colours = np.array(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    colours[0, 0] = 255
    return colours


def encoded(image: Any, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def bgr(image: Any) -> Pixels:
    return np.asarray(image.convert("RGB"), np.uint8)[:, :, ::-1]


@pytest.mark.parametrize("kind", [*LOSSLESS, "JPEG", "WEBP", "GIF"])
@pytest.mark.parametrize("size", SIZES)
def test_sizes_before_decoding(kind: str, size: tuple[int, int]) -> None:
    for mode in ("RGB", "L"):
        data = encoded(Pillow.fromarray(photo(*size)).convert(mode), kind)
        header = read_header(data)
        assert (header.width, header.height) == Pillow.open(io.BytesIO(data)).size == size


@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"exif": b"Exif\0\0" + b"\xff\xc0" * 9}]
)
def test_sizes_of_other_jpegs(options: dict[str, Any]) -> None:
    """Also past a part that contains a frame marker, as thumbnails do."""
    header = read_header(encoded(Pillow.fromarray(photo()), "JPEG", **options))
    assert (header.width, header.height) == (61, 40)


def test_sizes_of_other_webps_and_tiffs() -> None:
    image = Pillow.fromarray(photo())
    for options in ({"lossless": True}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}):
        assert read_header(encoded(image, "WEBP", **options)).pixels == 61 * 40
    assert read_header(encoded(image, "TIFF", big_tiff=True)).pixels == 61 * 40


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientations(kind: str, orientation: int) -> None:
    """As Pillow turns them; JPEG within its rounding."""
    exif = Pillow.Exif()
    exif[274] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
    data = encoded(Pillow.fromarray(photo()), kind, exif=exif, **options)
    wanted = bgr(ImageOps.exif_transpose(Pillow.open(io.BytesIO(data))))
    found = decode_image(data)
    assert found.shape == wanted.shape
    error = int(np.abs(found.astype(int) - wanted).max())
    print(f"{kind}, orientation {orientation}: {error} levels")
    assert error <= (3 if kind == "JPEG" else 0)


def test_kinds_of_pixels() -> None:
    """Palette, alpha, one bit, CMYK and 16 bits, as Pillow converts them."""
    image = Pillow.fromarray(photo())
    alpha = image.copy()
    alpha.putalpha(200)
    cases = {
        "palette": (image.quantize(32), "PNG", 0),
        "alpha": (alpha, "PNG", 0),
        "one bit": (image.convert("1"), "PNG", 0),
        "grey": (image.convert("L"), "TIFF", 0),
        "CMYK": (image.convert("CMYK"), "JPEG", 6),
        "grey JPEG": (image.convert("L"), "JPEG", 1),
    }
    for name, (picture, kind, most) in cases.items():
        data = encoded(picture, kind)
        wanted = bgr(Pillow.open(io.BytesIO(data)))
        error = int(np.abs(decode_image(data).astype(int) - wanted).max())
        print(f"{name}: {error} levels")
        assert error <= most
    deep = photo()[:, :, 0].astype(np.uint16) * 257
    data = encoded(Pillow.fromarray(deep), "PNG")
    assert np.abs(decode_image(data)[:, :, 1].astype(int) - photo()[:, :, 0]).max() == 0


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0])
def test_floating_point_tiffs(top: float) -> None:
    """Whatever the range: half a level from rounding, not nearly white."""
    tifffile = pytest.importorskip("tifffile")
    grey = photo()[:, :, 0]
    for pixels in (grey, photo()):
        stream, values = io.BytesIO(), (pixels.astype(np.float64) * top / 255).astype(np.float32)
        kind = "minisblack" if pixels.ndim == 2 else "rgb"
        tifffile.imwrite(stream, values, photometric=kind)
        found = decode_image(stream.getvalue())
        assert found.shape == (40, 61, 3)
        wanted = np.dstack([pixels] * 3) if pixels.ndim == 2 else pixels[:, :, ::-1]
        assert np.array_equal(found, wanted)


def test_logarithmic_tiffs() -> None:
    """As OpenCV writes colours (LogLuv, with an error of 1 %)."""
    data = cv2.imencode(".tiff", photo().astype(np.float32) / 256)[1].tobytes()
    errors = np.abs(decode_image(data).astype(int) - photo())  # BGR, as they were
    print(f"{errors.max()} levels, {errors.mean():.2f} on average")
    assert errors.mean() <= 1.5


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "finite"), (-1.0, "negative"), (1e6, "1e+06")]
)
def test_floating_point_tiffs_of_no_range(value: float, said: str) -> None:
    pixels = np.full((4, 5), 0.5, np.float32)
    pixels[1, 1] = value
    with pytest.raises(ImageError, match=said.replace("+", r"\+")):
        decode_image(cv2.imencode(".tiff", pixels)[1].tobytes())


@pytest.mark.parametrize("kind", ["PNG", "WEBP", *(["GIF"] if HAS_GIF else [])])
def test_animations_give_their_first_frame(kind: str) -> None:
    frames = [Pillow.fromarray(photo(seed=seed)).quantize(64).convert("RGB") for seed in (0, 1)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert np.array_equal(decode_image(data), bgr(frames[0]))


def bomb(side: int) -> bytes:
    """A PNG of black pixels, a thousandth of its size in memory."""
    packer, rows = zlib.compressobj(9), b"\0" * (side + 1) * 64
    packed = b"".join(packer.compress(rows) for _ in range(side // 64)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def test_too_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bomb(16384)
    print(f"{len(data)} bytes")
    with pytest.raises(ImageError, match=r"16384×16384 pixels are more than 200,000,000.*_PIXELS"):
        decode_image(data, "a.png")
    small = bomb(1024)
    with pytest.raises(ImageError, match="more than 1,000 pixels"):
        decode_image(small, max_pixels=1000)
    assert decode_image(small, max_pixels=1024 * 1024).shape == (1024, 1024, 3)
    monkeypatch.setenv("MOBILEFACE_MAX_PIXELS", "1000000")
    with pytest.raises(ImageError, match="more than 1,000,000 pixels"):
        decode_image(small)
    monkeypatch.setenv("MOBILEFACE_MAX_PIXELS", "many")
    with pytest.raises(ImageError, match="MOBILEFACE_MAX_PIXELS must be a number"):
        decode_image(small)


@pytest.mark.skipif(int(cv2.__version__.split(".")[0]) >= 5, reason="OpenCV 5 decodes it safely")
def test_jpeg_2000_is_refused_before_opencv_5() -> None:
    """A damaged one would end the process, under any name."""
    data = cv2.imencode(".jp2", photo())[1].tobytes()
    for content in (data, data[:100]):
        with pytest.raises(ImageError, match=r"JPEG 2000 is not decoded.*convert it to PNG"):
            decode_image(content, "a.jpg")


def test_formats_that_are_not_decoded() -> None:
    for start, name in ((b"#?RADIANCE\n", "Radiance"), (b"\x76\x2f\x31\x01\2\0\0\0", "OpenEXR")):
        with pytest.raises(ImageError, match=f"{name}.* is not decoded"):
            decode_image(start + bytes(100))
    for data in (b"", b"P", b"RIFF", b"not an image", bytes(300)):
        with pytest.raises(ImageError, match="image: not an image of a known format; JPEG, PNG,"):
            decode_image(data)
    for kind in ("jpg", "png", "webp", "bmp"):
        whole = cv2.imencode(f".{kind}", photo(32, 24))[1].tobytes()
        name = read_header(whole).format
        with pytest.raises(ImageError, match=f"image: damaged: not a whole {name} image"):
            decode_image(whole[:24])


def test_heic(tmp_path: Path) -> None:
    """Through pillow-heif, turned as the file says."""
    heif = pytest.importorskip("pillow_heif")
    wanted = photo(128, 96)
    path = tmp_path / "a.HEIC"
    heif.from_pillow(Pillow.fromarray(wanted)).save(path, quality=95)
    header = read_header(path.read_bytes())
    assert header.format == "HEIC"
    assert header.pixels >= 128 * 96
    error = float(np.abs(read_image(path).astype(int) - wanted[:, :, ::-1]).mean())
    print(f"{error:.2f} levels on average")
    assert error <= 2  # colours are stored at half the size
    with pytest.raises(ImageError, match="more than 100 pixels"):
        read_image(path, max_pixels=100)
    data = path.read_bytes()
    for cut in (30, 200, len(data) // 2):
        with pytest.raises(ImageError, match=r"cannot be decoded|damaged: not a whole HEIC"):
            decode_image(data[:cut])


@pytest.mark.slow
def test_damaged_files_give_an_image_or_an_error() -> None:
    """Cut anywhere, bytes changed: `ImageError` or an image, never anything else."""
    chance, refused = random.Random(0), 0
    for kind in (*LOSSLESS, "JPEG", "WEBP", "GIF"):
        whole = encoded(Pillow.fromarray(photo()), kind)
        for number in range(150):
            data = bytearray(whole[: chance.randrange(len(whole))] if number % 2 else whole)
            for _ in range(chance.randrange(4) if data else 0):
                data[chance.randrange(min(len(data), 200))] = chance.randrange(256)
            try:
                decode_image(bytes(data), max_pixels=10**6)
            except ImageError:
                refused += 1
    print(f"{refused} refused")
    assert refused > 100


def test_what_is_found_in_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("a.jpg", "b.JFIF", "c.jpe", "d.mpo", "e.png", "f.webp", "g.pnm", "h.dib", "deep/i.TIF")
    other = ("x.jp2", "y.exr", "z.hdr", "z2.hdr")
    (tmp_path / "deep").mkdir()
    for name in (*names, *other, "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe.jpg")
    found = find_pictures([str(tmp_path)])
    assert {str(path.relative_to(tmp_path)) for path in found} >= set(names)
    assert not {path.name for path in found} & {"y.exr", "z.hdr", "pipe.jpg", "notes.txt"}
    said = capsys.readouterr().err
    print(said)
    assert "1 left out (y.exr; OpenEXR)" in said
    assert "2 left out (z.hdr, z2.hdr; Radiance HDR)" in said
    for name in names:
        (tmp_path / name).unlink()
    (tmp_path / "x.jp2").unlink()
    with pytest.raises(InputError, match=r"no images found.*1 left out \(y\.exr; OpenEXR\)"):
        find_pictures([str(tmp_path)])


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero")
def test_an_endless_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("/dev/zero")
    with pytest.raises(ImageError, match="not an image"):
        read_image(tmp_path / "a.png")
