"""Reads image files: the format by the first bytes, the size before anything is decoded.

OpenCV decodes; HEIC is decoded by pillow-heif where it is installed (``pip install
'mobileface[heif]'``). Formats whose decoder in OpenCV is not safe with damaged files are refused.
"""

from __future__ import annotations

import importlib.util
import io
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ImageError
from ..host.files import reason
from .image import Image, check_image
from .picture_header import PictureHeader, read_header

__all__ = [
    "MAX_PIXELS",
    "PICTURE_SUFFIXES",
    "decode_image",
    "is_picture",
    "may_be_file",
    "read_image",
    "why_not_decoded",
]

MAX_PIXELS = 200_000_000
"""Pixels up to which files are decoded by default: 600 MB in memory."""

_HEAD_BYTES, _MOST_BYTES = 256, 1 << 30
_LIMIT = "MOBILEFACE_MAX_PIXELS"
_DEPTHS = {1.0: 255.0, 255.0: 1.0, 65535.0: 255 / 65535}
"""Ranges of floating-point pixels, and the factor that brings each to 0..255."""

_OUTSIDE = 0.05
"""Share of the range by which pixels may lie outside, and are clipped: compressed TIFFs do so."""

PICTURE_SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "JPEG"),
    **dict.fromkeys((".png", ".apng"), "PNG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".bmp", ".dib"), "BMP"),
    **dict.fromkeys((".pbm", ".pgm", ".pnm", ".ppm"), "Netpbm"),
    **dict.fromkeys((".heic", ".heif"), "HEIC"),
    **dict.fromkeys((".jp2", ".j2k"), "JPEG 2000"),
    ".avif": "AVIF",
    ".exr": "OpenEXR",
    ".gif": "GIF",
    ".hdr": "Radiance HDR",
    ".jxl": "JPEG XL",
    ".ras": "Sun raster",
    ".webp": "WebP",
}
"""Suffixes of image files with their formats, also of those that cannot be decoded here."""

_BY_OPENCV = frozenset({"JPEG", "PNG", "BMP", "WebP", "TIFF", "Netpbm"})
_KNOWN = "JPEG, PNG, WebP, TIFF, BMP and Netpbm are read"
_HINTS = {
    "HEIC": "pip install 'mobileface[heif]'",
    "AVIF": "the installed OpenCV was built without it; newer ones have it",
    "GIF": "the installed OpenCV was built without it; newer ones have it",
    "JPEG 2000": "convert it to PNG: damaged files crash the decoder of OpenCV before 5.0",
}
_TURNS: dict[int, tuple[bool, int]] = {
    1: (False, 0),
    2: (True, 0),
    3: (False, 2),
    4: (True, 2),
    5: (True, 1),
    6: (False, 3),
    7: (True, 3),
    8: (False, 1),
}
"""For each EXIF orientation, whether the stored image is mirrored left to right, and how many
quarter turns counter-clockwise make it upright afterwards."""


def is_picture(path: Path) -> bool:
    """True if a file has the suffix of a format that can be decoded here."""
    return _decodes(PICTURE_SUFFIXES.get(path.suffix.lower(), ""))


def may_be_file(path: Path) -> bool:
    """False for folders, pipes and devices, whose reading may wait forever.

    True for a link to nothing: reading it is an error, which names it.
    """
    return path.is_file() or not path.exists()


def why_not_decoded(path: Path) -> str:
    """The format of a file whose suffix is that of an image which cannot be decoded here; or ""."""
    name = PICTURE_SUFFIXES.get(path.suffix.lower(), "")
    if not name or _decodes(name):
        return ""
    hint = _HINTS.get(name, "")
    return f"{name}: {hint}" if hint else name


def read_image(path: str | Path, *, max_pixels: int | None = None) -> Image:
    """Reads an image file as BGR.

    The EXIF orientation is applied, transparency is dropped, and of an animation the first frame is
    taken. 16 bits become 8; floating-point pixels may be in 0..1, 0..255 or 0..65535, by their
    maximum.

    Args:
        path: A JPEG, PNG, WebP, TIFF, BMP or Netpbm file; GIF, AVIF and JPEG 2000 where the
            installed OpenCV decodes them safely, HEIC with pillow-heif.
        max_pixels: Refuse images with more pixels before decoding. None: the environment variable
            MOBILEFACE_MAX_PIXELS, or `MAX_PIXELS`.

    Returns:
        uint8 (H, W, 3), BGR.

    Raises:
        ImageError: If the file is missing, unreadable, too large or not an image.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(_HEAD_BYTES)
            if read_header(data).format:  # else it may be endless
                data += file.read(_MOST_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise ImageError(f"cannot be read ({reason(error)})", where=str(path)) from error
    return decode_image(data, str(path), max_pixels=max_pixels)


def decode_image(data: bytes, where: str = "image", *, max_pixels: int | None = None) -> Image:
    """Decodes the content of an image file, like `read_image`.

    Args:
        data: Content of the file.
        where: Name of the image in error messages.
        max_pixels: As for `read_image`.

    Returns:
        uint8 (H, W, 3), BGR.

    Raises:
        ImageError: If the content is not an image, or too large.
    """
    header = read_header(data)
    limit = _limit() if max_pixels is None else max_pixels
    if header.pixels > limit:
        raise ImageError(
            f"{header.width}×{header.height} pixels are more than {limit:,} pixels",
            where=where,
            hint=f"make it smaller, or set {_LIMIT}",
        )
    if not header.format:
        raise ImageError("not an image of a known format", where=where, hint=_KNOWN)
    if _decodes(header.format) and header.pixels < 1:
        raise ImageError(f"damaged: not a whole {header.format} image", where=where)
    if not _decodes(header.format):
        raise ImageError(
            f"{header.format} is not decoded", where=where, hint=_HINTS.get(header.format, "")
        )
    if header.format == "HEIC":
        return check_image(_from_heif(data, where), where)
    image = _from_opencv(data, header, where)
    if image is None:
        raise ImageError(f"damaged: not a whole {header.format} image", where=where)
    return check_image(image, where)


def _limit() -> int:
    text = os.environ.get(_LIMIT, "")
    if not text:
        return MAX_PIXELS
    if not text.isdecimal() or len(text) > 18 or not int(text):
        raise ImageError(f"{_LIMIT} must be a number of pixels, not '{text}'")
    return int(text)


@lru_cache
def _decodes(name: str) -> bool:
    """True if files of a format can be decoded here, safely."""
    if name in _BY_OPENCV:
        return True
    if name == "HEIC":
        return importlib.util.find_spec("pillow_heif") is not None
    if name not in ("AVIF", "GIF", "JPEG 2000"):
        return False
    import cv2

    if name == "JPEG 2000" and int(cv2.__version__.split(".")[0]) < 5:
        return False
    built = re.search(rf"^\s+{name}:\s*(.*)$", cv2.getBuildInformation(), re.MULTILINE)
    return built is not None and built[1] not in ("", "NO")


def _from_opencv(data: bytes, header: PictureHeader, where: str) -> Any:
    import cv2

    content = np.frombuffer(data, np.uint8)
    by_hand = header.is_float or header.format == "WebP"
    flags = cv2.IMREAD_COLOR | (cv2.IMREAD_IGNORE_ORIENTATION if by_hand else 0)
    try:
        image: Any = cv2.imdecode(content, cv2.IMREAD_UNCHANGED if header.is_float else flags)
    except cv2.error as error:
        raise ImageError(f"cannot be decoded ({error.err})", where=where) from error
    if image is None or not by_hand:
        return image
    if header.is_float:
        image = _levels(image, where)
    mirrored, turns = _TURNS[header.orientation]
    upright = np.rot90(image[:, ::-1] if mirrored else image, turns)
    return np.ascontiguousarray(upright)


def _levels(image: Any, where: str) -> Any:
    """Floating-point pixels as uint8 BGR."""
    most = float(image.max())
    if not np.isfinite(image).all() or image.min() < -_OUTSIDE * abs(most):
        raise ImageError("has pixels that are negative or not finite", where=where)
    factor = next((factor for top, factor in _DEPTHS.items() if most <= (1 + _OUTSIDE) * top), None)
    if factor is None:
        raise ImageError(
            f"has pixels of {most:.6g}", where=where, hint="scale to 0..1, 0..255 or 0..65535"
        )
    levels = np.rint(np.clip(image * factor, 0, 255)).astype(np.uint8)
    if levels.ndim == 2:
        levels = np.repeat(levels[:, :, None], 3, axis=2)
    return levels[:, :, :3]


def _from_heif(data: bytes, where: str) -> Any:
    import pillow_heif

    try:
        file = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True, bgr_mode=True)
        pixels = np.asarray(file)
    except (ValueError, RuntimeError, EOFError, OSError, SyntaxError) as error:
        raise ImageError(f"cannot be decoded ({error})", where=where) from error
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return np.ascontiguousarray(pixels[:, :, :3])
