"""Checks images, and converts them to a network's input tensor.

OpenCV is imported where it is used, because a crop that has the network's size does not need it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from ..arrays import ByteArray, FloatArray
from ..errors import ImageError, InputError
from .network_input import ImageInput

__all__ = [
    "ChannelOrder",
    "Image",
    "Tensor",
    "as_images",
    "check_color",
    "check_image",
    "resize",
    "tensor_batches",
    "to_color",
    "to_tensor",
]

Image = ByteArray
"""uint8, (H, W, 3) in the given channel order or (H, W) greyscale, values 0..255."""

Tensor = FloatArray | ByteArray
"""A network's input, with the element type and layout of its spec."""

ChannelOrder = Literal["bgr", "rgb"]

_CONVERSIONS = {
    ("bgr", "rgb"): "COLOR_BGR2RGB",
    ("bgr", "gray"): "COLOR_BGR2GRAY",
    ("rgb", "bgr"): "COLOR_RGB2BGR",
    ("rgb", "gray"): "COLOR_RGB2GRAY",
    ("gray", "bgr"): "COLOR_GRAY2BGR",
    ("gray", "rgb"): "COLOR_GRAY2RGB",
}


def check_image(image: object, where: str = "image") -> Image:
    """Checks that an object is an image and returns it; (H, W, 1) becomes (H, W).

    Args:
        image: The object.
        where: Name of the image in error messages.

    Raises:
        ImageError: If it is not a uint8 array of shape (H, W), (H, W, 1) or (H, W, 3) with
            H, W ≥ 1.
    """
    if not isinstance(image, np.ndarray):
        raise ImageError(f"expected a NumPy array, got {type(image).__name__}", where=where)
    if image.dtype != np.uint8:
        raise ImageError(
            f"expected dtype uint8, got {image.dtype}",
            where=where,
            hint="scale to 0..255 and convert",
        )
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim == 3 and image.shape[2] == 4:
        raise ImageError(
            "expected 3 channels, got 4", where=where, hint="drop the alpha channel: image[..., :3]"
        )
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ImageError(f"expected shape (H, W) or (H, W, 3), got {image.shape}", where=where)
    if 0 in image.shape:
        raise ImageError(f"the image is empty: shape {image.shape}", where=where)
    return image


def as_images(images: object) -> list[Image]:
    """Converts an image, a batch or a sequence of images to a list of checked images.

    Args:
        images: One image (H, W, 3) or (H, W), a batch (N, H, W, 3), or a sequence of images of any
            sizes.

    Raises:
        ImageError: If an element is not an image.
    """
    if isinstance(images, np.ndarray) and images.ndim in (0, 2, 3):
        return [check_image(images)]
    if not isinstance(images, np.ndarray | Sequence) or isinstance(images, str | bytes):
        raise ImageError(f"expected an image or a list of images, got {type(images).__name__}")
    return [check_image(image, f"image {index}") for index, image in enumerate(images)]


def resize(image: Image, height: int, width: int) -> Image:
    """Resizes an image: area averaging if both sides shrink, otherwise bilinear."""
    if image.shape[:2] == (height, width):
        return image
    import cv2

    shrinks = image.shape[0] >= height and image.shape[1] >= width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


def check_color(color: object) -> None:
    """Raises an error for an unknown channel order.

    Raises:
        InputError: If ``color`` is neither "bgr" nor "rgb".
    """
    if color not in ("bgr", "rgb"):
        raise InputError(f"color must be 'bgr' or 'rgb', not '{color}'")


def to_color(image: Image, wanted: str, color: ChannelOrder = "bgr") -> Image:
    """Converts a checked image to another channel order.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        wanted: Channel order of the result: "gray", "rgb" or "bgr".
        color: Channel order of a colour image.

    Raises:
        InputError: If ``color`` is neither "bgr" nor "rgb".
    """
    check_color(color)
    have = "gray" if image.ndim == 2 else color
    if have == wanted:
        return image
    import cv2

    return np.asarray(cv2.cvtColor(image, getattr(cv2, _CONVERSIONS[have, wanted])), np.uint8)


def to_tensor(images: Sequence[Image], spec: ImageInput, color: ChannelOrder = "bgr") -> Tensor:
    """Converts images to a network input: resized, in the network's channel order and scaled.

    Scaling is (x − mean) / std. For networks with uint8 input, which scale the pixels themselves,
    the pixel values are unchanged.

    Args:
        images: Checked images of any sizes; they are stretched or cropped to the input's size, as
            the spec requires.
        spec: The input of the network.
        color: Channel order of the images.

    Returns:
        float32 or uint8, (N, C, height, width) or (N, height, width, C), depending on the spec.

    Raises:
        InputError: If ``color`` is neither "bgr" nor "rgb".
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
                place[...] = channel  # one by one: five times as fast as reversing the pixels
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
    """Converts images to network inputs of up to ``batch_size`` images each.

    See `as_images` and `to_tensor`.

    Raises:
        ImageError: If an element is not an image.
        InputError: If ``batch_size`` is below 1 or ``color`` is unknown.
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}")
    check_color(color)
    checked = as_images(images)
    for start in range(0, len(checked), batch_size):
        yield to_tensor(checked[start : start + batch_size], spec, color)


def _center_crop(image: Image, height: int, width: int) -> FloatArray:
    """The centre of the image, scaled bilinearly to just cover the size, without rounding.

    The scaled size is truncated to whole pixels, as in GluonCV's transforms.
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
