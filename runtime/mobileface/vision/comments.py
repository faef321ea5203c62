"""Comments in written files: PNG and JPEG pictures, MP4 and MOV videos."""

from __future__ import annotations

import zlib
from pathlib import Path

from ..errors import OutputError
from .picture_files import PICTURE_SUFFIXES

__all__ = ["add_video_comment", "commented_picture", "holds_comment"]

_VIDEOS = frozenset({".mp4", ".m4v", ".mov"})
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_PNG_START = len(_PNG) + 25
"""Bytes up to the end of the first chunk, IHDR, which has 13 bytes."""

_PLACE = (b"udta", b"meta", b"ilst")
"""Boxes around the comment, in the box "moov"."""

_HANDLER = b"\0" * 8 + b"mdirappl" + b"\0" * 9
"""Content of the box "hdlr" of a "meta" that holds an "ilst"."""


def holds_comment(path: Path) -> bool:
    """Whether a file has a place for a comment, by its suffix; without one, it is a PNG."""
    suffix = path.suffix.lower()
    return suffix in _VIDEOS or PICTURE_SUFFIXES.get(suffix or ".png") in ("PNG", "JPEG")


def commented_picture(data: bytes, text: str) -> bytes:
    """The content of a picture file with a comment.

    It is a chunk tEXt "Software" of a PNG (PNG 1.2, section 4.2.3), a segment COM of a JPEG (ITU-T
    T.81, B.2.4.5).

    Args:
        data: Content of a PNG or JPEG file.
        text: The comment, ASCII.

    Raises:
        OutputError: If it is another format.
    """
    comment = text.encode("ascii")
    if data.startswith(_PNG):
        body = b"tEXt" + b"Software\0" + comment
        size, check = ((value).to_bytes(4, "big") for value in (len(body) - 4, zlib.crc32(body)))
        return data[:_PNG_START] + size + body + check + data[_PNG_START:]
    if data.startswith(_JPEG):
        start = len(_JPEG)
        if data[start : start + 2] == b"\xff\xe0":  # JFIF comes first
            start += 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        return data[:start] + segment + data[start:]
    raise OutputError("only PNG and JPEG pictures hold a comment")


def add_video_comment(path: Path, text: str, where: Path) -> None:
    """Adds a comment to an MP4 or MOV file whose index is at the end, as `VideoWriter` makes it.

    Players and FFmpeg show it as "comment": moov/udta/meta/ilst/©cmt.

    Args:
        path: The file.
        text: The comment.
        where: What error messages call it.

    Raises:
        OutputError: If the file has another layout.
    """
    value = _box(b"data", (1).to_bytes(4, "big") + b"\0" * 4 + text.encode())
    with path.open("r+b") as file:
        start, size, end, head = 0, 0, file.seek(0, 2), b""
        while start < end:
            file.seek(start)
            head = file.read(16)
            size = int.from_bytes(head[:4], "big")
            if size == 1:
                size = int.from_bytes(head[8:16], "big")
            if head[4:8] == b"moov" or size < 8:
                break
            start += size
        if start + size != end or head[4:8] != b"moov":
            raise OutputError("the video has no place for a comment", where=str(where))
        file.seek(start + 8)
        content = _inserted(file.read(), _PLACE, _box(b"\xa9cmt", value))
        file.seek(start)
        file.write(_box(b"moov", content))


def _inserted(content: bytes, place: tuple[bytes, ...], item: bytes) -> bytes:
    """The content of a box with an item at the end of the boxes that lie within each other."""
    if not place:
        return content + item
    at = 4 if content[8:12] == b"hdlr" else 0  # after version and flags of "meta"
    while at + 8 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        if size < 8:
            break
        if content[at + 4 : at + 8] == place[0]:
            inner = _inserted(content[at + 8 : at + size], place[1:], item)
            return content[:at] + _box(place[0], inner) + content[at + size :]
        at += size
    start = b"\0" * 4 + _box(b"hdlr", _HANDLER) if place[0] == b"meta" else b""
    new = _box(place[0], _inserted(start, place[1:], item))
    return content[:at] + new + content[at:]


def _box(kind: bytes, content: bytes) -> bytes:
    return (len(content) + 8).to_bytes(4, "big") + kind + content
