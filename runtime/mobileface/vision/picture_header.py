"""What the first bytes of an image file say: format, size, orientation. Nothing is decoded.

Formats: JPEG (ITU-T T.81, annex B), PNG (ISO/IEC 15948), WebP (RFC 9649), TIFF 6.0 with BigTIFF,
BMP, GIF89a, Netpbm, JPEG 2000, and HEIF (ISO/IEC 23008-12) with AVIF. Orientation is EXIF's tag
274, in TIFF and in the EXIF part of WebP. Standard library only.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

__all__ = ["PictureHeader", "read_header"]

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"BM", "BMP"),
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?", "Radiance HDR"),
    (b"\x59\xa6\x6a\x95", "Sun raster"),
)
_HEIF = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF = frozenset({b"avif", b"avis"})

_NETPBM = re.compile(rb"P[1-6](?:\s+|#[^\n\r]*[\n\r])+(\d{1,9})(?:\s+|#[^\n\r]*[\n\r])+(\d{1,9})\s")
_NO_SIZE = frozenset({0x01, *range(0xD0, 0xDA)})
"""JPEG markers without a length."""

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers of a frame header."""

_WIDTH, _HEIGHT, _ORIENTATION, _SAMPLE_FORMAT = 256, 257, 274, 339
_COMPRESSION, _SGI_LOG = 259, frozenset({34676, 34677})
_FLOAT = 3
_MOST_ENTRIES = 4096
_HEIF_HEAD = 1 << 20


@dataclass(frozen=True)
class PictureHeader:
    """What a file is, by its first bytes.

    Attributes:
        format: Name of the format, such as "JPEG"; "" if it is not known.
        width: Width in pixels as stored; 0 if unknown.
        height: Height in pixels as stored; 0 if unknown.
        orientation: EXIF orientation, 1 to 8, of TIFF and WebP files; 1 for the others.
        is_float: The pixels are floating-point numbers, or their logarithms (TIFF).
    """

    format: str
    width: int = 0
    height: int = 0
    orientation: int = 1
    is_float: bool = False

    @property
    def pixels(self) -> int:
        """Width times height; 0 if unknown."""
        return self.width * self.height


def read_header(data: bytes) -> PictureHeader:
    """Reads the header of an image file.

    Args:
        data: Content of the file; damaged content gives what can be read.
    """
    name = _format(data)
    try:
        if name == "JPEG":
            return PictureHeader(name, *_jpeg_size(data))
        if name == "PNG":
            return PictureHeader(name, *struct.unpack_from(">II", data, 16))
        if name == "GIF":
            return PictureHeader(name, *struct.unpack_from("<HH", data, 6))
        if name == "BMP":
            return PictureHeader(name, *_bmp_size(data))
        if name == "Netpbm":
            found = _NETPBM.match(data[:4096])
            return (
                PictureHeader(name, int(found[1]), int(found[2])) if found else PictureHeader(name)
            )
        if name in ("AVIF", "HEIC"):
            return PictureHeader(name, *_heif_size(data))
        if name == "WebP":
            return PictureHeader(name, *_webp_size(data), _webp_orientation(data))
        if name == "TIFF":
            tags = _tiff_tags(data)
            orientation, sample = tags.get(_ORIENTATION, 1), tags.get(_SAMPLE_FORMAT)
            size = tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0)
            is_float = sample == _FLOAT or tags.get(_COMPRESSION) in _SGI_LOG
            return PictureHeader(name, *size, _orientation(orientation), is_float)
    except struct.error:  # the file ends too early
        pass
    return PictureHeader(name)


def _format(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        size = min(int.from_bytes(data[:4], "big"), 256)
        brands = {data[at : at + 4] for at in (8, *range(16, size, 4))}
        return "AVIF" if brands & _AVIF else "HEIC" if brands & _HEIF else ""
    if data[:1] == b"P" and data[1:2] in b"123456" and data[2:3].isspace():
        return "Netpbm"
    return next((name for magic, name in _MAGIC if data.startswith(magic)), "")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    place = 2
    while place + 9 < len(data):
        if data[place] != 0xFF:
            place += 1
            continue
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
        elif marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        elif marker in _NO_SIZE:
            place += 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return 0, 0


def _bmp_size(data: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", data, 14)[0] == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)


def _heif_size(data: bytes) -> tuple[int, int]:
    """The largest of the sizes ("ispe") of the images and tiles."""
    head, place, sizes = data[:_HEIF_HEAD], -1, [(0, 0)]
    while (place := head.find(b"ispe", place + 1)) >= 0:
        width, height = struct.unpack_from(">II", head, place + 8)
        sizes.append((width, height))
    return max(sizes, key=lambda size: size[0] * size[1])


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return width, height
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _webp_orientation(data: bytes) -> int:
    place = 12
    while place + 8 <= len(data):
        kind, size = data[place : place + 4], struct.unpack_from("<I", data, place + 4)[0]
        if kind == b"EXIF":
            part = data[place + 8 : place + 8 + size]
            return _orientation(_tiff_tags(part.removeprefix(b"Exif\0\0")).get(_ORIENTATION, 1))
        place += 8 + size + size % 2
    return 1


def _orientation(value: int) -> int:
    return value if 1 <= value <= 8 else 1


def _tiff_tags(data: bytes) -> dict[int, int]:
    """The first whole number of each entry of the first directory."""
    order = ">" if data[:2] == b"MM" else "<"
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    start = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, 8 if big else 4)[0]
    count = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, start)[0]
    place, length = start + (8 if big else 2), 20 if big else 12
    tags: dict[int, int] = {}
    for _ in range(min(count, _MOST_ENTRIES)):
        tag, kind = struct.unpack_from(f"{order}HH", data, place)
        if kind in (3, 4, 16):
            code = {3: "H", 4: "I", 16: "Q"}[kind]
            many = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, place + 4)[0]
            field = 12 if big else 8
            at = place + field
            if many * struct.calcsize(f"{order}{code}") > length - field:
                at = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, at)[0]
            value = struct.unpack_from(f"{order}{code}", data, at)[0]
            tags[tag] = max(value, tags.get(tag, 0))  # decoders differ in which one they take
        place += length
    return tags
