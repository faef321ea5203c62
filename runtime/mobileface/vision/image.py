"""Pictures: reading, checking, and turning them into a network's input tensor.

OpenCV is imported where it is used: a crop that has the network's size needs none of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ..arrays import ByteArray, FloatArray
from ..errors import ImageError, InputError
from ..host.files import reason
from .network_input import ImageInput

__all__ = [
    "PICTURE_SUFFIXES",
    "ChannelOrder",
    "Image",
    "Tensor",
    "as_images",
    "check_color",
    "check_image",
    "decode_image",
    "read_image",
    "resize",
    "tensor_batches",
    "to_color",
    "to_tensor",
]

Image = ByteArray
"""uint8, (H, W, 3) in the stated channel order or (H, W) gray, values 0..255."""

Tensor = FloatArray | ByteArray
"""A network's input, with the element type and the order of axes that its spec states."""

ChannelOrder = Literal["bgr", "rgb"]

PICTURE_SUFFIXES = frozenset(
    {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
"""What picture files in folders are known by."""

_CONVERSIONS = {
    ("bgr", "rgb"): "COLOR_BGR2RGB",
    ("bgr", "gray"): "COLOR_BGR2GRAY",
    ("rgb", "bgr"): "COLOR_RGB2BGR",
    ("rgb", "gray"): "COLOR_RGB2GRAY",
    ("gray", "bgr"): "COLOR_GRAY2BGR",
    ("gray", "rgb"): "COLOR_GRAY2RGB",
}


def read_image(path: str | Path) -> Image:
    """Reads a picture file as BGR; the EXIF orientation is applied, 16 bits become 8.

    Args:
        path: A file in any format that OpenCV reads.

    Returns:
        uint8 (H, W, 3), BGR.

    Raises:
        ImageError: The file is absent, unreadable or no picture.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise ImageError(f"cannot be read ({reason(error)})", where=str(path)) from error
    return decode_image(data, str(path))


def decode_image(data: bytes, where: str = "picture") -> Image:
    """Decodes the content of a picture file; as `read_image` does.

    Args:
        data: The content.
        where: What error messages call it.

    Returns:
        uint8 (H, W, 3), BGR.

    Raises:
        ImageError: No picture.
    """
    import cv2

    content = np.frombuffer(data, np.uint8)
    try:
        image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    except cv2.error as error:  # more pixels than OpenCV decodes
        raise ImageError(f"cannot be decoded ({error.err})", where=where) from error
    if image is None:
        raise ImageError("not a picture that OpenCV can decode", where=where)
    return check_image(image, where)


def check_image(image: object, where: str = "image") -> Image:
    """The picture itself, if it is one.

    Args:
        image: Anything.
        where: What error messages call it.

    Raises:
        ImageError: Not a uint8 array of shape (H, W), (H, W, 1) or (H, W, 3) with H, W ≥ 1.
    """
    if not isinstance(image, np.ndarray):
        raise ImageError(f"a {type(image).__name__} is no numpy array", where=where)
    if image.dtype != np.uint8:
        raise ImageError(
            f"dtype {image.dtype} instead of uint8", where=where, hint="scale to 0..255 and convert"
        )
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim == 3 and image.shape[2] == 4:
        raise ImageError(
            "4 channels instead of 3", where=where, hint="drop the alpha channel: image[..., :3]"
        )
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ImageError(f"shape {image.shape} is neither (H, W) nor (H, W, 3)", where=where)
    if 0 in image.shape:
        raise ImageError(f"an empty picture of shape {image.shape}", where=where)
    return image


def as_images(images: object) -> list[Image]:
    """A list of checked pictures from one picture, a batch or a sequence of pictures.

    Args:
        images: (H, W, 3) or (H, W): one picture; (N, H, W, 3): a batch; or a sequence of pictures
            of any sizes.

    Raises:
        ImageError: An element is no picture; names its number.
    """
    if isinstance(images, np.ndarray) and images.ndim in (0, 2, 3):
        return [check_image(images)]
    if not isinstance(images, np.ndarray | Sequence) or isinstance(images, str | bytes):
        raise ImageError(f"a {type(images).__name__} is no picture and no list of pictures")
    return [check_image(image, f"image {index}") for index, image in enumerate(images)]


def resize(image: Image, height: int, width: int) -> Image:
    """The picture at another size: by area where it shrinks both ways, else bilinear."""
    if image.shape[:2] == (height, width):
        return image
    import cv2

    shrinks = image.shape[0] >= height and image.shape[1] >= width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


def check_color(color: object) -> None:
    """Refuses an order of channels that pictures do not have.

    Raises:
        InputError: ``color`` is neither "bgr" nor "rgb".
    """
    if color not in ("bgr", "rgb"):
        raise InputError(f"color '{color}' is neither 'bgr' nor 'rgb'")


def to_color(image: Image, wanted: str, color: ChannelOrder = "bgr") -> Image:
    """A checked picture in another order of channels.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        wanted: "gray", "rgb" or "bgr".
        color: Channel order of a colour picture.

    Raises:
        InputError: ``color`` is neither "bgr" nor "rgb".
    """
    check_color(color)
    have = "gray" if image.ndim == 2 else color
    if have == wanted:
        return image
    import cv2

    return np.asarray(cv2.cvtColor(image, getattr(cv2, _CONVERSIONS[have, wanted])), np.uint8)


def to_tensor(images: Sequence[Image], spec: ImageInput, color: ChannelOrder = "bgr") -> Tensor:
    """The network input for pictures: at its size, in the network's colours, (x − mean) / std.

    A network that reads uint8 gets the pixels as they are: it scales them itself.

    Args:
        images: Checked pictures of any sizes; the spec says whether they are stretched or cropped.
        spec: What the network wants.
        color: Channel order of the pictures.

    Returns:
        float32 or uint8, (N, C, height, width) or (N, height, width, C), as the spec says.

    Raises:
        InputError: ``color`` is neither "bgr" nor "rgb".
    """
    check_color(color)
    planes = spec.layout == "nchw"
    batch = np.empty((len(images), *spec.shape), spec.dtype)
    fit = _center_crop if spec.fit == "center_crop" else resize
    for slot, image in zip(batch, images, strict=True):
        if spec.color != "gray" and image.shape == (spec.height, spec.width, 3):
            right = image if spec.color == color else image[:, :, ::-1]
            places = slot if planes else slot.transpose(2, 0, 1)
            for place, channel in zip(places, right.transpose(2, 0, 1), strict=True):
                place[...] = channel  # one by one: five times as fast as pixels in reverse
            continue
        small = fit(to_color(image, spec.color, color), spec.height, spec.width)
        small = small.reshape(spec.height, spec.width, spec.channels)
        slot[...] = small.transpose(2, 0, 1) if planes else small
    if spec.dtype == "uint8":
        return batch
    mean, std = (np.asarray(values, np.float32) for values in (spec.mean, spec.std))
    if mean.any():
        batch -= mean.reshape(-1, 1, 1) if planes else mean
    if (std != 1).any():
        batch /= std.reshape(-1, 1, 1) if planes else std
    return batch


def tensor_batches(
    images: Image | Sequence[Image], spec: ImageInput, color: ChannelOrder, batch_size: int
) -> Iterator[Tensor]:
    """Network inputs of at most so many pictures each; see `as_images` and `to_tensor`.

    Raises:
        ImageError: An element is no picture; names its number.
        InputError: ``batch_size`` is below 1 or ``color`` unknown.
    """
    if batch_size < 1:
        raise InputError(f"batch_size {batch_size} is below 1")
    check_color(color)
    pictures = as_images(images)
    for start in range(0, len(pictures), batch_size):
        yield to_tensor(pictures[start : start + batch_size], spec, color)


def _center_crop(image: Image, height: int, width: int) -> FloatArray:
    """The middle of the picture, scaled until it just covers the size; bilinear, not rounded.

    The longer side is cut to whole pixels before scaling, as GluonCV's transforms do.
    """
    rows, columns = image.shape[:2]
    pixels = image.astype(np.float32)
    if rows * width <= columns * height:
        scaled = (height, max(width, columns * height // rows))
    else:
        scaled = (max(height, rows * width // columns), width)
    if scaled != (rows, columns):
        import cv2

        pixels = np.asarray(cv2.resize(pixels, scaled[::-1], interpolation=cv2.INTER_LINEAR))
    top, left = (scaled[0] - height) // 2, (scaled[1] - width) // 2
    return pixels[top : top + height, left : left + width]
