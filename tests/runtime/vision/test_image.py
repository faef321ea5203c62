"""Reading pictures, checking arrays, and making network inputs."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from mobileface.errors import ImageError, InputError
from mobileface.models.spec import ImageInput
from mobileface.vision.image import as_images, check_image, resize, to_tensor
from mobileface.vision.picture_files import read_image
from tests.runtime.tiny import max_error

Array = npt.NDArray[Any]


def noise(*shape: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def write(path: Path, picture: Array) -> Path:
    """Encodes by suffix; the path may have any characters."""
    path.write_bytes(cv2.imencode(path.suffix, picture)[1].tobytes())
    return path


# read_image


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_lossless_colour_is_exact(tmp_path: Path, suffix: str) -> None:
    picture = noise(13, 17, 3)
    found = read_image(write(tmp_path / f"a{suffix}", picture))
    assert found.dtype == np.uint8
    assert np.array_equal(found, picture)
    assert np.array_equal(read_image(str(tmp_path / f"a{suffix}")), picture)


def test_gray_file_has_three_equal_channels(tmp_path: Path) -> None:
    picture = noise(13, 17)
    found = read_image(write(tmp_path / "a.png", picture))
    assert np.array_equal(found, np.repeat(picture[:, :, None], 3, axis=2))


def test_alpha_is_dropped(tmp_path: Path) -> None:
    picture = noise(13, 17, 4)
    assert np.array_equal(read_image(write(tmp_path / "a.png", picture)), picture[:, :, :3])


@pytest.mark.parametrize("shape", [(13, 17, 3), (13, 17)])
def test_sixteen_bits_become_eight(tmp_path: Path, shape: tuple[int, ...]) -> None:
    picture = np.random.RandomState(0).randint(0, 1 << 16, shape).astype(np.uint16)
    found = read_image(write(tmp_path / "a.png", picture))
    assert found.dtype == np.uint8
    expected = (picture / 257).reshape(13, 17, -1)
    # The high byte or the nearest of 256: decoders differ, by less than one.
    assert max_error(found, np.broadcast_to(expected, found.shape)) < 1


def test_jpeg_is_as_opencv_reads_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", cv2.GaussianBlur(noise(48, 40, 3), (9, 9), 3))
    assert np.array_equal(read_image(path), cv2.imread(str(path)))


ORIENTATIONS: dict[int, Callable[[Array], Array]] = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: lambda x: np.rot90(x, 1),
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, order: str) -> None:
    plain = cv2.imencode(".jpg", noise(16, 24, 3))[1].tobytes()
    mark = b"II" if order == "<" else b"MM"
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = mark + struct.pack(f"{order}HIH", 42, 8, 1) + entry + struct.pack(f"{order}I", 0)
    segment = b"Exif\0\0" + tiff
    segment = b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment
    (tmp_path / "plain.jpg").write_bytes(plain)
    (tmp_path / "turned.jpg").write_bytes(plain[:2] + segment + plain[2:])
    expected = ORIENTATIONS[orientation](read_image(tmp_path / "plain.jpg"))
    assert np.array_equal(read_image(tmp_path / "turned.jpg"), expected)


@pytest.mark.parametrize("name", ["Größe.png", "顔 1.png", "a'b\"c.png", "🙂.png"])
def test_any_file_name(tmp_path: Path, name: str) -> None:
    picture = noise(3, 4, 3)
    assert np.array_equal(read_image(write(tmp_path / name, picture)), picture)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello\n", b"\0" * 1000, b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"BM", b"II*\0"],
)
def test_no_picture(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(
        ImageError, match=r"not an image of|not a whole (JPEG|PNG|BMP|TIFF) image"
    ) as caught:
        read_image(path)
    assert caught.value.where == str(path)


def test_absent_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.png", tmp_path, tmp_path / "absent" / "a.png"):
        with pytest.raises(ImageError, match="cannot be read") as caught:
            read_image(path)
        assert caught.value.where == str(path)


@pytest.mark.parametrize("name", ["a\0b.png", "a\ud800.png"])
def test_name_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path / name)


def test_more_pixels_than_are_decoded(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(b"\0"))
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + rows + chunk(b"IEND", b""))
    with pytest.raises(ImageError, match="more than 200,000,000 pixels"):
        read_image(path)


# check_image, as_images

GOOD = [(1, 1), (5, 7), (1, 1, 3), (5, 7, 3), (3, 3), (1, 900, 3)]
BAD: list[tuple[object, str]] = [
    (noise(5, 7, 3).astype(np.float32), "expected dtype uint8, got float32; scale to 0..255"),
    (noise(5, 7, 3).astype(np.float64) / 255, "expected dtype uint8, got float64"),
    (noise(5, 7, 3).astype(np.int64), "expected dtype uint8, got int64"),
    (noise(5, 7) > 127, "expected dtype uint8, got bool"),
    (np.empty((5, 7), object), "expected dtype uint8, got object"),
    (noise(5, 7, 4), "expected 3 channels, got 4; drop the alpha channel"),
    (noise(5, 7, 2), r"\(H, W, 3\), got \(5, 7, 2\)"),
    (noise(3, 5, 7), r"\(H, W, 3\), got \(3, 5, 7\)"),
    (noise(7), r"\(H, W, 3\), got \(7,\)"),
    (np.array(7, np.uint8), r"\(H, W, 3\), got \(\)"),
    (noise(1, 5, 7, 3), r"\(H, W, 3\), got \(1, 5, 7, 3\)"),
    (noise(0, 7, 3), "the image is empty"),
    (noise(5, 0, 3), "the image is empty"),
    (noise(5, 0), "the image is empty"),
    (noise(0, 7, 1), "the image is empty"),
    (noise(5, 7, 0), r"\(H, W, 3\), got \(5, 7, 0\)"),
    ([[1, 2], [3, 4]], "expected a NumPy array, got list"),
    (None, "expected a NumPy array, got NoneType"),
    ("a.png", "expected a NumPy array, got str"),
    (b"bytes", "expected a NumPy array, got bytes"),
    (np.uint8(3), "expected a NumPy array, got uint8"),
]


@pytest.mark.parametrize("shape", GOOD)
def test_good_pictures_are_handed_on(shape: tuple[int, ...]) -> None:
    picture = noise(*shape)
    assert check_image(picture) is picture
    assert as_images(picture)[0] is picture


def test_one_channel_is_gray() -> None:
    picture = noise(5, 7, 1)
    assert np.array_equal(check_image(picture), picture[:, :, 0])


@pytest.mark.parametrize(("picture", "message"), BAD)
def test_bad_pictures(picture: object, message: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        check_image(picture, "crop")
    assert caught.value.where == "crop"
    with pytest.raises(ImageError, match=f"image 1: .*{message}"):
        as_images([noise(5, 7), picture])


def test_forms_of_several_pictures() -> None:
    batch = noise(4, 5, 7, 3)
    for form in (batch, list(batch), tuple(batch)):
        found = as_images(form)
        assert len(found) == 4
        assert all(np.array_equal(a, b) for a, b in zip(found, batch, strict=True))
    assert as_images([]) == as_images(()) == as_images(noise(0, 5, 7, 3)) == []
    mixed = [noise(5, 7, 3), noise(2, 2), noise(9, 1, 1)]
    assert [picture.shape for picture in as_images(mixed)] == [(5, 7, 3), (2, 2), (9, 1)]
    gray = as_images(noise(4, 5, 7, 1))
    assert [picture.shape for picture in gray] == [(5, 7)] * 4


NONE: list[object] = [None, 3, "a.png", b"bytes", {"a": 1}, {1}, iter([])]
NONE += [
    np.array(7, np.uint8),
    noise(7),
    noise(1, 1, 5, 7, 3),
    noise(2, 5, 7, 3) / 255,
]


@pytest.mark.parametrize("images", NONE, ids=lambda value: type(value).__name__)
def test_no_pictures(images: object) -> None:
    with pytest.raises(ImageError):
        as_images(images)


# resize


@pytest.mark.parametrize(
    ("before", "after", "method"),
    [
        ((40, 60), (20, 20), cv2.INTER_AREA),
        ((41, 57), (20, 24), cv2.INTER_AREA),
        ((20, 60), (20, 20), cv2.INTER_AREA),
        ((60, 20), (20, 20), cv2.INTER_AREA),
        ((10, 10), (20, 20), cv2.INTER_LINEAR),
        ((20, 10), (20, 20), cv2.INTER_LINEAR),
        ((10, 60), (20, 20), cv2.INTER_LINEAR),
        ((60, 10), (20, 20), cv2.INTER_LINEAR),
        ((1, 1), (20, 24), cv2.INTER_LINEAR),
    ],
)
@pytest.mark.parametrize("channels", [(), (3,)])
def test_resize_method(
    before: tuple[int, int], after: tuple[int, int], method: int, channels: tuple[int, ...]
) -> None:
    picture = noise(*before, *channels)
    found = resize(picture, *after)
    assert found.shape == (*after, *channels)
    assert np.array_equal(found, cv2.resize(picture, after[::-1], interpolation=method))


def test_resize_to_the_same_size_is_the_picture() -> None:
    picture = noise(20, 24, 3)
    assert resize(picture, 20, 24) is picture


@pytest.mark.parametrize("factors", [(2, 2), (2, 3), (4, 4)])
def test_shrinking_takes_the_mean_of_blocks(factors: tuple[int, int]) -> None:
    rows, columns = factors
    picture = noise(20 * rows, 24 * columns, 3)
    expected = picture.reshape(20, rows, 24, columns, 3).mean(axis=(1, 3))
    assert max_error(resize(picture, 20, 24), expected) <= 0.5 + 1e-4


def test_growing_interpolates() -> None:
    picture = noise(10, 12)
    rows, columns = ((np.arange(2 * size) + 0.5) / 2 - 0.5 for size in picture.shape)
    by_column = np.stack([np.interp(columns, np.arange(12), row) for row in picture])
    expected = np.stack([np.interp(rows, np.arange(10), column) for column in by_column.T], axis=1)
    # OpenCV rounds twice, to whole numbers at last; seen: 0.625.
    assert max_error(resize(picture, 20, 24), expected) < 1


# to_tensor

PLAIN: dict[str, Any] = {"name": "data", "height": 6, "width": 9}
RGB = noise(3, 6, 9, 3)
LUMA = RGB @ np.array([0.299, 0.587, 0.114])


def spec(color: Any, **fields: Any) -> ImageInput:
    return ImageInput(**PLAIN, color=color, **fields)


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("given", ["rgb", "bgr"])
@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((0.0,), (1.0,)),
        ((127.5,), (128.0,)),
        ((1.0, 2.0, 3.5), (4.0, 5.0, 6.25)),
        ((0.0,), (255.0,)),
        ((0.0, 0.0, 9.0), (1.0,)),
        ((0.0,), (1.0, 1.0, 2.0)),
    ],
)
def test_colour_tensor(
    color: Any, given: Any, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    pictures = list(RGB if given == "rgb" else RGB[..., ::-1])
    tensor = to_tensor(pictures, spec(color, mean=mean, std=std), given)
    wanted = RGB if color == "rgb" else RGB[..., ::-1]
    expected = (wanted.astype(np.float32) - np.array(mean, np.float32)) / np.array(std, np.float32)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    assert np.array_equal(tensor, expected.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("given", ["rgb", "bgr"])
def test_gray_tensor_of_colour(given: Any) -> None:
    pictures = list(RGB if given == "rgb" else RGB[..., ::-1])
    tensor = to_tensor(pictures, spec("gray"), given)
    assert max_error(tensor[:, 0], LUMA) <= 0.5 + 0.02  # OpenCV's weights have 14 or 15 bits
    scaled = to_tensor(pictures, spec("gray", mean=(127.5,), std=(128.0,)), given)
    assert np.array_equal(scaled, (tensor - np.float32(127.5)) / np.float32(128))


@pytest.mark.parametrize("given", ["rgb", "bgr"])
@pytest.mark.parametrize("color", ["gray", "rgb", "bgr"])
def test_gray_pictures(color: Any, given: Any) -> None:
    picture = noise(6, 9)
    tensor = to_tensor([picture], spec(color), given)
    assert tensor.shape == (1, 1 if color == "gray" else 3, 6, 9)
    assert all(np.array_equal(channel, picture) for channel in tensor[0])


def test_sizes_are_mixed_and_order_is_kept() -> None:
    pictures = [noise(6, 9, 3), noise(12, 18, 3), noise(3, 3), noise(1, 1, 3)]
    together = to_tensor(pictures, spec("rgb"))
    alone = [to_tensor([picture], spec("rgb"))[0] for picture in pictures]
    assert np.array_equal(together, np.stack(alone))
    assert to_tensor([], spec("rgb")).shape == (0, 3, 6, 9)


def test_views_and_read_only_pictures() -> None:
    picture = noise(24, 36, 3)
    expected = to_tensor([picture[::-2, 1::2].copy()], spec("rgb"))
    assert np.array_equal(to_tensor([picture[::-2, 1::2]], spec("rgb")), expected)
    picture.setflags(write=False)
    before = picture.copy()
    to_tensor([picture], spec("gray"))
    assert np.array_equal(picture, before)


@pytest.mark.parametrize("color", ["RGB", "", "gray", None, 3])
def test_unknown_color(color: Any) -> None:
    with pytest.raises(InputError, match="color must be 'bgr' or 'rgb', not"):
        to_tensor([noise(6, 9, 3)], spec("rgb"), color)
    with pytest.raises(InputError):
        to_tensor([], spec("rgb"), color)
