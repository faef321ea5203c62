"""Changes what lies behind people: blurred, one colour, or another picture.

1. A network gives a soft mask of people, a few hundred pixels wide (`PersonSegmenter`). It is made
   for one person close to the camera; in groups it fades, so the heads of faces that a detector
   found are added (`with_heads`).
2. A guided filter with the gray image as guide gives it the edges of the image, at the image's own
   size (He, Sun and Tang, "Guided image filtering", 2013): in each window the mask is a linear
   function of the gray values. Between `_CLEAR` and 1 − `_CLEAR` it is stretched to
   0..1. The result is the share of each pixel that belongs to people, its *alpha*.
3. Pixels on edges mix both colours. The people's own is estimated by blur fusion (Forte,
   "Approximate fast foreground colour estimation", 2021, eq. 4 to 6), so that the old background
   does not shine through hair.
4. They are blended with the new background. The blurred one is the mean of the background alone:
   no colour of people spreads into it.

Large images are refined and blended in strips.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from ..arrays import ByteArray, FloatArray
from ..errors import ImageError
from ..vision.guided_filter import guided_strips
from ..vision.image import ChannelOrder, Image, check_color, check_image, to_color
from .backdrops import Backdrop, shrunk, to_bytes, weighted_blur, whole_factor

__all__ = ["change_background", "check_mask", "person_alpha", "shows_person", "with_heads"]

_WINDOW = 4.0
"""Radius of the guided filter's windows, in pixels of the mask as the network gives it."""

_FINENESS = 1.25
"""Pixels at which the filter's coefficients are computed, for each pixel of the mask."""

_EPSILON = 1e-4
"""Variance of gray values (0 to 1) below which a window counts as flat (ε of the paper)."""

_CLEAR = 0.15
"""Alphas up to this are background, those above 1 minus this are people."""

_PERSON = 0.5
_LEAST_SHARE = 0.002
"""A mask shows a person if this share of its pixels is at least `_PERSON`."""

_STRIP_PIXELS = 1 << 20
_COLOR_SIDE = 192
"""Longer side of the images in which the mean colours of both sides of an edge are taken."""

_COLOR_SIGMA = 1.5
"""Sigma of these means, in pixels of those images."""


_HEAD, _LIFTED = (1.25, 1.5), 0.12
"""Width and height of a head with its hair, and how far its centre is above the face's, in widths
and heights of the face's box."""

_HEAD_SIGMA = 0.08
"""Sigma of the head's edge, in widths of the box."""


def with_heads(mask: FloatArray, boxes: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """A mask of people that is 1 also on an ellipse around each face, with a soft edge.

    Args:
        mask: float32 (h, w), 0 to 1: see `person_alpha`.
        boxes: (N, 4): x1, y1, x2, y2 of the faces in pixels of the image.
        shape: Height and width of the image.
    """
    scale = np.array([mask.shape[1] / shape[1], mask.shape[0] / shape[0]])
    for x1, y1, x2, y2 in np.asarray(boxes, np.float64).reshape(-1, 4):
        size = np.array([x2 - x1, y2 - y1])
        centre = np.array([(x1 + x2) / 2, (y1 + y2) / 2 - _LIFTED * size[1]]) * scale
        axes = size * _HEAD / 2 * scale
        head = np.zeros(mask.shape, np.uint8)
        (x, y), (a, b) = np.rint(16 * np.stack([centre, axes])).astype(int).tolist()
        cv2.ellipse(head, (x, y), (a, b), 0, 0, 360, (255,), -1, cv2.LINE_AA, 4)
        sigma = max(_HEAD_SIGMA * size[0] * scale[0], 0.5)
        soft = cv2.GaussianBlur(head, (0, 0), sigma).astype(np.float32) / 255
        mask = np.maximum(mask, soft)
    return mask


def shows_person(mask: FloatArray) -> bool:
    """True if at least 0.2 % of a mask's pixels are 0.5 or more."""
    return float(np.mean(mask >= _PERSON)) >= _LEAST_SHARE


def person_alpha(image: Image, mask: FloatArray, *, color: ChannelOrder = "bgr") -> ByteArray:
    """The share of each pixel that belongs to people, with the edges of the image.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        mask: float32 (h, w), 0 to 1, of any size, of the whole image: see `PersonSegmenter`.
        color: Channel order of a colour image.

    Returns:
        uint8 (H, W): 0 is background, 255 people.

    Raises:
        ImageError: If ``image`` is not an image, or ``mask`` has another type or shape.
        InputError: If ``color`` is unknown.
    """
    image = check_image(image)
    check_color(color)
    check_mask(mask)
    gray = to_color(image, "gray", color)
    cell = max(side / of_mask for side, of_mask in zip(gray.shape, mask.shape, strict=True))
    factor = max(int(cell / _FINENESS), 1)
    radius = max(round(_WINDOW * cell / factor), 1)
    alpha = np.empty(gray.shape, np.uint8)
    stretch = 1 / (1 - 2 * _CLEAR)
    for rows, fine in guided_strips(gray, mask.clip(0, 1), factor, radius, _EPSILON):
        fine *= np.float32(255 * stretch)
        fine += np.float32(0.5 - 255 * stretch * _CLEAR)
        alpha[rows] = np.clip(fine, 0, 255, out=fine)
    return alpha


def change_background(
    image: Image,
    mask: FloatArray,
    backdrop: Backdrop,
    *,
    color: ChannelOrder = "bgr",
) -> Image:
    """Changes what lies behind people.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        mask: float32 (h, w), 0 to 1: the probability that a pixel shows a person, of any size. One
            without a person changes the whole image.
        backdrop: What takes the place of the background.
        color: Channel order of a colour image.

    Returns:
        A new image of the same shape; a gray image gets the backdrop in gray.

    Raises:
        ImageError: If ``image`` is not an image, or ``mask`` has another type or shape.
        InputError: If ``color`` is unknown.

    Example:
        >>> segmenter = mobileface.load("segmentation_selfie")             # doctest: +SKIP
        >>> mask = segmenter(image)                                        # doctest: +SKIP
        >>> change_background(image, mask, Backdrop(blur=1))               # doctest: +SKIP
    """
    image = check_image(image)
    check_color(color)
    check_mask(mask)
    if backdrop.unchanged:
        return image.copy()
    alpha = person_alpha(image, mask, color=color)
    near, far = _colors(image, alpha)
    result = backdrop.behind(image, alpha, color)
    for rows in _strips(*alpha.shape):
        share = alpha[rows]
        part = np.ascontiguousarray(result[rows])
        cv2.copyTo(image[rows], (share == 255).view(np.uint8), part)
        mixed = np.flatnonzero(share - np.uint8(1) < 254)  # 1 to 254; 0 wraps to 255
        layers = [image[rows], *(_rows_of(layer, rows, alpha.shape) for layer in (near, far)), part]
        pixels, people, old, new = (
            layer.reshape(share.size, -1).take(mixed, axis=0) for layer in layers
        )
        part.reshape(share.size, -1)[mixed] = _mixed(pixels, share.take(mixed), people, old, new)
        result[rows] = part
    return result


def check_mask(mask: FloatArray) -> None:
    """Checks a mask.

    Raises:
        ImageError: If it is not a (H, W) array of finite floats.
    """
    if not isinstance(mask, np.ndarray) or mask.ndim != 2 or 0 in mask.shape:
        raise ImageError("expected a mask of shape (H, W)", where="mask")
    if not np.issubdtype(mask.dtype, np.floating) or not np.isfinite(mask).all():
        raise ImageError(f"expected finite floats, got {mask.dtype}", where="mask")


def _strips(height: int, width: int) -> Iterator[slice]:
    """The rows of an image in strips."""
    rows = max(_STRIP_PIXELS // width, 1)
    for start in range(0, height, rows):
        yield slice(start, min(start + rows, height))


def _colors(image: Image, alpha: ByteArray) -> tuple[Image, Image]:
    """The mean colours of people and of background around each pixel of a small image, uint8."""
    factor = whole_factor(max(alpha.shape) / _COLOR_SIDE)
    small = shrunk(image, factor).astype(np.float32)
    share = shrunk(alpha, factor).astype(np.float32) / 255
    sigma = _COLOR_SIGMA * max(share.shape) / _COLOR_SIDE
    near, far = (weighted_blur(small, weight, sigma) for weight in (share, 1 - share))
    return to_bytes(near), to_bytes(far)


def _rows_of(small: Image, rows: slice, shape: tuple[int, ...]) -> Image:
    """Rows of an image that is enlarged to a shape, each pixel the nearest one."""
    places = np.arange(rows.start, rows.stop) * small.shape[0] // shape[0]
    size = (shape[1], small.shape[0])
    wide = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    return wide.take(places, axis=0)


def _mixed(
    pixels: ByteArray, alpha: ByteArray, near: ByteArray, far: ByteArray, behind: ByteArray
) -> ByteArray:
    """Pixels on edges, with the old background exchanged for the new one.

    Args:
        pixels: uint8 (N, channels), as all arguments but ``alpha``.
        alpha: uint8 (N,).
        near: Mean colours of people around.
        far: Mean colours of background around.
        behind: The new background.
    """
    share = (alpha.astype(np.float32) * np.float32(1 / 255))[:, None]
    here, people, old, new = (values.astype(np.float32) for values in (pixels, near, far, behind))
    own = people + share * (here - old - share * (people - old))
    np.clip(own, 0, 255, out=own)
    return to_bytes(new + share * (own - new))
